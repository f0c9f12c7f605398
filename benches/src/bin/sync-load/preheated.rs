//! The first run after an environment was made ahead.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use fastflow_benches::{
    engine,
    process::monotonic,
    report::{Report, Row, Verdict, ratio, spread},
    sample::Samples,
};
use fastflow_core::{
    Error, ErrorKind, Orchestrator, Preheat, Result, Shutdown, SystemClock,
    environment::{UvConfig, UvEnvironments},
    source::{SourceEvent, SyncRequest},
    testing::git::Repository,
};
use futures::StreamExt as _;

use crate::{
    Common,
    place::{Place, Scheme},
};

/// What is as fast as any other is within the noise of this.
const TARGET: f64 = 1.1;
const NAME: &str = "heated";
/// The first line asks the clock that the load program asks.
const PROGRAM: &str = "import time; first = time.monotonic_ns()
import ff_load
with open('first', 'w') as out: out.write(str(first))
";
/// A wheel of one module that holds its own version.
const WHEEL: &str = "import sys, zipfile
place, version = sys.argv[1:]
info = f'ff_load-{version}.dist-info'
with zipfile.ZipFile(f'{place}/ff_load-{version}-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('ff_load.py', f'VERSION = {version!r}\\n')
    wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: ff_load\\nVersion: {version}\\n')
    wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(f'{info}/RECORD', f'ff_load.py,,\\n{info}/METADATA,,\\n{info}/WHEEL,,\\n{info}/RECORD,,\\n')
";

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How many environments are made, with a run of each that is the first.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Which run of each is the warm one.
    #[arg(long, default_value_t = 20)]
    warm: u32,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { rounds: 20, warm: 20 }
    }
}

pub(crate) async fn measure(common: &Common, arguments: &Arguments) -> Result<Report> {
    let dir = tempfile::tempdir_in(common.made()?)?;
    let place = Place::new(0);
    let heated = start(common, dir.path(), &place, Preheat::default()).await?;
    let cold = start(common, dir.path(), &place, Preheat::Off).await?;
    let [mut first, mut warm, mut unheated] = [Samples::default(), Samples::default(), Samples::default()];
    for version in 0..=arguments.rounds {
        push(&place.repository, dir.path(), version)?;
        sync_and_wait(&heated).await?;
        cold.source().sync(SyncRequest::default()).await?;
        let run = first_line(&heated).await?;
        let mut last = run;
        for _ in 1..arguments.warm {
            last = first_line(&heated).await?;
        }
        let unheated_run = first_line(&cold).await?;
        // The first of all fetches what all of them share.
        if version > 0 {
            first.push(run);
            warm.push(last);
            unheated.push(unheated_run);
        }
    }
    heated.shutdown(Shutdown::Detach).await?;
    cold.shutdown(Shutdown::Detach).await?;

    let mut report =
        Report::new("preheated: submit → first line of user code, after a sync with a new package");
    let (value, floor) = (first.median().as_secs_f64(), warm.median().as_secs_f64());
    report.row(
        Row::new("the first run, pre-heated", spread(&first))
            .against(spread(&warm), ratio(value, floor))
            .verdict(Verdict::at_most(value / floor, TARGET, "x")),
    );
    report.row(
        Row::new("the first run, not pre-heated", spread(&unheated))
            .against(spread(&warm), ratio(unheated.median().as_secs_f64(), floor)),
    );
    report.note(format!("Floor: run {} of the same pipeline and the same environment.", arguments.warm));
    Ok(report)
}

/// A host that finds packages in `dir/wheels` and nowhere else.
async fn start(common: &Common, dir: &Path, place: &Place, preheat: Preheat) -> Result<Orchestrator> {
    let wheels = wheels(dir);
    fs::create_dir_all(&wheels)?;
    let data = dir.join(format!("{preheat:?}"));
    let mut uv = UvConfig::new(data.join("environments"));
    uv.uv = common.uv.as_ref().map(std::path::absolute).transpose()?;
    uv.python_downloads = false;
    let extra = [("UV_OFFLINE", "1".into()), ("UV_FIND_LINKS", wheels), ("UV_CACHE_DIR", data.join("cache"))];
    uv.extra_env
        .extend(extra.map(|(name, value): (_, PathBuf)| (name.to_owned(), value.display().to_string())));
    let environments = UvEnvironments::new(uv, Arc::new(SystemClock::new()))?;
    let builder = Orchestrator::builder(&data).git(place.config(Scheme::Https)).preheat(preheat);
    let flow = builder.environments(environments).build().await?;
    flow.start().await?;
    Ok(flow)
}

fn wheels(dir: &Path) -> PathBuf {
    dir.join("wheels")
}

/// A commit of the same program with another package.
fn push(repository: &Repository, dir: &Path, version: u32) -> Result<()> {
    let mut python = Command::new("python3");
    python.args(["-c", WHEEL]).arg(wheels(dir)).arg(format!("{version}.0")).stdin(Stdio::null());
    if !python.status()?.success() {
        return Err(Error::new(ErrorKind::Internal, "python3 could not make a wheel"));
    }
    repository.write(&format!("{NAME}/main.py"), PROGRAM);
    repository.write(&format!("{NAME}/requirements.txt"), format!("ff_load=={version}.0\n"));
    repository.commit("Another package");
    Ok(())
}

/// Syncs, and waits until the environment was made ahead.
async fn sync_and_wait(flow: &Orchestrator) -> Result<()> {
    let mut events = flow.source().events();
    flow.source().sync(SyncRequest::default()).await?;
    while let Some(event) = events.next().await {
        if let SourceEvent::EnvironmentEnded { outcome, .. } = event {
            return outcome.map(drop).map_err(|failure| {
                Error::new(ErrorKind::Internal, "the environment was not made").with("failure", failure)
            });
        }
    }
    Err(Error::new(ErrorKind::Internal, "the host told nothing of the environment"))
}

/// From `submit` to the first line of one run.
async fn first_line(flow: &Orchestrator) -> Result<Duration> {
    let began = monotonic();
    let run = engine::succeed(flow, NAME).await?;
    let text = fs::read_to_string(engine::work_dir(flow, run.id).await?.join("first"))?;
    let at = text
        .trim()
        .parse()
        .map_err(|error| Error::new(ErrorKind::Internal, "a mark holds no number").because(error))?;
    Ok(Duration::from_nanos(at).saturating_sub(began))
}
