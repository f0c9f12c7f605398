//! The demo itself: one orchestrator, all pipelines of a folder.

use std::{collections::BTreeMap, error::Error, num::NonZeroU32, path::PathBuf};

use fastflow_core::{
    Orchestrator, RunId, Shutdown, Submission, executor::ImageName, run::Status, store::RunQuery,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    engine::Engine,
    expected::{self, Expected, Found},
    follow::{Teller, Work, follow},
    quiet::QuietKeys,
    screen::{self, Looks, Screen},
    table::Row,
    update::{News, Update},
};

/// News that wait to be shown. A log that is written faster than it can be shown waits in its file.
const MAX_WAITING_NEWS: usize = 4096;

/// What to run, and how to show it.
#[derive(Debug)]
pub(crate) struct Options {
    /// The folder of pipelines.
    pub(crate) pipelines: PathBuf,
    /// Where everything is kept.
    pub(crate) data: PathBuf,
    /// Where uv is.
    pub(crate) uv: Option<PathBuf>,
    /// What runs them.
    pub(crate) engine: Engine,
    /// The image for containers.
    pub(crate) image: Option<ImageName>,
    /// Only these; all when empty.
    pub(crate) only: Vec<String>,
    /// Given to every run.
    pub(crate) parameters: Vec<(String, String)>,
    /// Lines of each log to show.
    pub(crate) max_lines: usize,
    /// What the output can show.
    pub(crate) looks: Looks,
    /// The command that picks up what was let go.
    pub(crate) pick_up: String,
}

/// How the demo ended.
#[derive(Debug)]
pub(crate) enum Finish {
    /// Every pipeline ended as its folder says.
    AsExpected,
    /// At least one did not.
    NotAsExpected,
    /// By Ctrl-C.
    Interrupted,
}

/// Runs it.
///
/// # Errors
///
/// When the machinery fails. A pipeline that fails is no error.
pub(crate) async fn run(options: Options) -> Result<Finish, Box<dyn Error>> {
    let expected = expected::read(&options.pipelines)?;
    let mut builder = Orchestrator::builder(&options.data).pipelines(&options.pipelines);
    if let Some(uv) = &options.uv {
        builder = builder.uv(uv);
    }
    if let Some(executor) = options.engine.executor(&options.data, options.image.clone()).await? {
        builder = builder.executor(options.engine.to_string(), executor);
    }
    let flow = builder.build().await?;
    // Before the start, for they may end as soon as they are taken over.
    let earlier = open_runs(&flow).await?;
    flow.start().await?;
    let names = names(&flow, &options).await?;
    let work = names.iter().map(|name| work(name, &earlier, &options.parameters)).collect();

    let mut screen = Screen::new(&names, options.max_lines, options.looks);
    let end = watch(&flow, work, &mut screen).await;
    let end = match end {
        Ok(end) => end,
        Err(error) => {
            flow.shutdown(Shutdown::Detach).await?;
            return Err(error);
        }
    };
    if end == End::LetGo {
        screen.say("Letting go of what runs. It goes on without this program; to see more of it:")?;
        screen.say(&format!("  {}", options.pick_up))?;
    }
    let rows = screen.into_rows();
    // Everything has ended or is let go, so there is nothing to wait for.
    flow.shutdown(Shutdown::Detach).await?;
    if end == End::LetGo {
        return Ok(Finish::Interrupted);
    }
    let (finish, remarks) = match end {
        End::Complete => judge(&rows, &expected),
        _ => (Finish::Interrupted, Vec::new()),
    };
    screen::conclude(&rows, &remarks, options.looks)?;
    Ok(finish)
}

/// Compares the ends of all pipelines with what their folder says.
fn judge(rows: &[Row], expected: &BTreeMap<String, Expected>) -> (Finish, Vec<String>) {
    let differences = differences(rows, expected);
    if differences.is_empty() {
        return (Finish::AsExpected, vec!["Every pipeline ended as expected.".into()]);
    }
    (Finish::NotAsExpected, differences)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Complete,
    Cancelled,
    LetGo,
}

/// The pipelines to run, by name.
async fn names(flow: &Orchestrator, options: &Options) -> Result<Vec<String>, Box<dyn Error>> {
    if !options.only.is_empty() {
        return Ok(options.only.clone());
    }
    let all = flow.pipelines().list().await?;
    let names: Vec<String> =
        all.into_iter().filter(|info| info.present).map(|info| info.name.to_string()).collect();
    if names.is_empty() {
        let folder = options.pipelines.display();
        return Err(format!("{folder} has no pipelines: no folder with a main.py, and no .py file").into());
    }
    Ok(names)
}

/// What an earlier process left, by pipeline.
async fn open_runs(flow: &Orchestrator) -> Result<BTreeMap<String, RunId>, Box<dyn Error>> {
    let mut query = RunQuery::default();
    query.statuses = vec![Status::Pending, Status::Running];
    query.limit = NonZeroU32::new(RunQuery::MAX_LIMIT);
    let open = flow.runs().list(&query).await?.items;
    Ok(open.into_iter().map(|run| (run.pipeline().to_string(), run.id)).collect())
}

/// A new run, or the one that an earlier process left.
fn work(pipeline: &str, earlier: &BTreeMap<String, RunId>, parameters: &[(String, String)]) -> Work {
    if let Some(run) = earlier.get(pipeline) {
        return Work::Earlier(*run);
    }
    let new = Submission::new(pipeline);
    Work::New(parameters.iter().fold(new, |new, (name, value)| new.parameter(name, value)))
}

/// Shows everything until all has ended, or until it is to be let go.
async fn watch(flow: &Orchestrator, work: Vec<Work>, screen: &mut Screen) -> Result<End, Box<dyn Error>> {
    let _quiet = QuietKeys::new();
    let mut interrupts = signal(SignalKind::interrupt())?;
    let (updates, mut news) = mpsc::channel(MAX_WAITING_NEWS);
    let mut followers = JoinSet::new();
    for (pipeline, work) in work.into_iter().enumerate() {
        followers.spawn(follow(flow.clone(), work, Teller { pipeline, updates: updates.clone() }));
    }
    let mut runs = Vec::new();
    let mut end = End::Complete;
    let mut batch = Vec::with_capacity(MAX_WAITING_NEWS);
    while !screen.is_complete() {
        tokio::select! {
            _ = news.recv_many(&mut batch, MAX_WAITING_NEWS) => {
                let accepted = accepted(&batch);
                screen.show(batch.drain(..))?;
                if end == End::Cancelled {
                    cancel(flow, &accepted, &mut followers);
                }
                runs.extend(accepted);
            }
            _ = interrupts.recv() => {
                if end == End::Cancelled {
                    return Ok(End::LetGo);
                }
                end = End::Cancelled;
                screen.say("Cancelling what runs. Press Ctrl-C again to let go of it.")?;
                cancel(flow, &runs, &mut followers);
            }
        }
    }
    Ok(end)
}

fn accepted(batch: &[Update]) -> Vec<RunId> {
    let run = |update: &Update| match &update.news {
        News::Accepted { run, .. } => Some(*run),
        _ => None,
    };
    batch.iter().filter_map(run).collect()
}

/// Cancels the runs in the background: their ends are told by those who follow them.
fn cancel(flow: &Orchestrator, runs: &[RunId], tasks: &mut JoinSet<()>) {
    for run in runs {
        let (flow, run) = (flow.clone(), *run);
        tasks.spawn(async move {
            // A run that has ended in the meantime needs no cancel.
            let _ = flow.runs().cancel(run).await;
        });
    }
}

/// Every way in which the pipelines did not end as their folder says.
fn differences(rows: &[Row], expected: &BTreeMap<String, Expected>) -> Vec<String> {
    let mut differences = Vec::new();
    for row in rows {
        let directory = row.end.as_ref().ok().and_then(|outcome| outcome.directory.as_deref());
        let found = Found { status: row.status(), reason: row.reason(), lines: row.lines, directory };
        let expected = expected.get(&row.pipeline).cloned().unwrap_or_default();
        let named = expected.differences(&found).into_iter().map(|text| format!("{}: {text}", row.pipeline));
        differences.extend(named);
    }
    differences
}
