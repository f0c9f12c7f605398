//! `fastflow run`: a pipeline, or a file that is none.

use std::time::Duration;

use fastflow_core::{Error, ExecutorName, Submission};
use jiff::SpanRelativeTo;

use super::{
    command::Context,
    exit::Exit,
    failed::Failed,
    follow::{self, Patience},
    place::Place,
    script::{self, Subject},
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  fastflow run hello                     run it, and follow its log to the end
  fastflow run hello -p who=you -p n=3   with parameters, which are environment variables
  fastflow run etl.py                    a file: its first lines may say which packages it needs (PEP 723)
  fastflow run etl --detach              print the id of the run, and let it go on
  fastflow run etl --key 2026-11-26      at most once, however often this is repeated

The program's standard output comes out here, and so does its exit code. 124 is its time limit, 125 that there is no
exit code of it, 130 Ctrl-C, after which the run goes on, 143 that somebody cancelled it.";

/// What to run, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// The pipeline, or the path of a Python file
    #[arg(value_name = "NAME|FILE.py")]
    name: String,
    /// A parameter of the run; can be repeated
    #[arg(short, long = "parameter", value_name = "KEY=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Run it as this entry of its `schedules` does
    #[arg(long, value_name = "ID")]
    config: Option<String>,
    /// Run it there, whatever it asks for: process, docker or podman
    #[arg(long, value_name = "NAME")]
    executor: Option<ExecutorName>,
    /// A name for this submission: repeating it answers with the same run
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// Higher comes first in the queue; 0 is usual
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i16>,
    /// Begin no earlier than after this time, such as 90, 10m or 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    delay: Option<Duration>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Whether the run is followed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Waiting {
    /// Follow the log until the run has ended; this is what happens when nothing is said
    #[arg(short, long, overrides_with = "detach")]
    follow: bool,
    /// Print the id of the run, and come back once it needs nobody any more
    #[arg(short, long, overrides_with = "follow")]
    detach: bool,
}

impl Waiting {
    /// What that comes to.
    pub(crate) fn patience(self) -> Patience {
        if self.detach { Patience::UntilItRuns } else { Patience::ToTheEnd }
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a parameter has the form KEY=VALUE")?;
    Ok((name.into(), value.into()))
}

/// A length of time: seconds, or in words that jiff knows.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: Option<jiff::Span> = text.parse().ok();
    // A day is one of the clock, whatever the calendar makes of it.
    span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
        .and_then(|duration| duration.try_into().ok())
        .ok_or_else(|| {
            "it is a number of seconds, or a time such as `90s`, `10m`, `2h 30m` or `7d`".to_owned()
        })
}

impl RunArgs {
    fn submission(&self, subject: &Subject) -> Result<Submission, Error> {
        let mut what = match subject {
            Subject::Pipeline(name) => Submission::new(name),
            Subject::Script(path) => Submission::code(script::code(path)?),
        };
        for (name, value) in &self.parameters {
            what = what.parameter(name, value);
        }
        if let Some(config) = &self.config {
            what = what.config(config);
        }
        if let Some(executor) = &self.executor {
            what = what.executor(executor.clone());
        }
        if let Some(key) = &self.key {
            what = what.key(key);
        }
        if let Some(priority) = self.priority {
            what = what.priority(priority);
        }
        Ok(what.delay(self.delay.unwrap_or_default()))
    }
}

/// Runs it.
///
/// # Errors
///
/// When the run is not accepted, or cannot be followed.
pub(crate) async fn run(args: RunArgs, context: &mut Context) -> Result<Exit, Failed> {
    let subject = Subject::of(&args.name);
    let submission = args.submission(&subject)?;
    let place = Place::find(&context.global)?;
    let place = match subject {
        Subject::Pipeline(_) => place.with_pipelines()?,
        Subject::Script(_) => place.with_pipelines_or_none()?,
    };
    let interrupts = std::sync::Arc::clone(&context.interrupts);
    let accepted = tokio::select! {
        accepted = async {
            let session = Session::host(context, &place, args.executor.as_ref()).await?;
            let run = session.flow().submit(submission).await;
            Ok::<_, Failed>((session, run))
        } => accepted?,
        () = interrupts.first() => return Ok(Exit::INTERRUPTED),
    };
    match accepted {
        (session, Ok(run)) => follow::see_through(session, run, args.waiting.patience(), context).await,
        (session, Err(error)) => {
            session.close().await;
            Err(error.into())
        }
    }
}
