//! `fastflow logs`.

use std::{num::NonZeroU32, time::Duration};

use clap::ValueEnum;
use fastflow_core::{
    AttemptId, Clock as _, ErrorKind, Orchestrator, Result, SystemClock, Timestamp,
    journal::{Journal, LogLine, LogStream, Offset},
    orchestrator::RunLogLine,
    run::Run,
};
use indicatif::ProgressBar;

use super::{
    command::Context,
    exit::Exit,
    failed::Failed,
    follow::{self, Told, Wanted},
    output::Output,
    place::Place,
    run::duration,
    session::Session,
    which,
};

/// The file with the log in the directory of an attempt.
const LOG_FILE: &str = "log.ndjson";

const EXAMPLES: &str = "\
Examples:
  fastflow logs etl@latest               what its last run said
  fastflow logs -f 3fa91c22              and what it says from now on, to its end
  fastflow logs latest --since 10m       of the last ten minutes
  fastflow logs latest --json | jq .text

What the program wrote to its standard error comes out there, and so does what the sandbox says.";

/// Which log, and what of it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogsArgs {
    /// The run
    run: String,
    /// Go on until the run has ended
    #[arg(short, long)]
    follow: bool,
    /// Only what was written from then on: an instant, or so long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Only what follows this position, which `--json` tells of each line
    #[arg(long, value_name = "POSITION", value_parser = position)]
    after: Option<(NonZeroU32, Offset)>,
    /// Only of this stream; can be repeated
    #[arg(long, value_name = "NAME", value_enum)]
    stream: Vec<StreamName>,
}

/// The streams of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum StreamName {
    /// The program's standard output
    Stdout,
    /// The program's standard error
    Stderr,
    /// What came before the program
    Setup,
    /// The sandbox's own words
    Sandbox,
}

/// From when on.
#[derive(Clone, Copy, Debug)]
enum Since {
    At(Timestamp),
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    duration(text).map(Since::Ago).map_err(|_| {
        "it is an instant such as `2026-11-26T17:00:00Z`, or how long ago, such as `10m`".to_owned()
    })
}

fn position(text: &str) -> Result<(NonZeroU32, Offset), String> {
    let parts = text.split_once(':');
    let parsed = parts.and_then(|(attempt, offset)| {
        Some((attempt.parse().ok()?, Offset::from_bytes(offset.parse().ok()?)))
    });
    parsed.ok_or_else(|| "it is the `position` of a line, such as `1:4096`".to_owned())
}

impl LogsArgs {
    fn wanted(&self) -> Wanted {
        let streams = self.stream.iter().map(|stream| match stream {
            StreamName::Stdout => LogStream::Out,
            StreamName::Stderr => LogStream::Err,
            StreamName::Setup => LogStream::Setup,
            StreamName::Sandbox => LogStream::Shim,
        });
        let since = self.since.map(|since| match since {
            Since::At(at) => at,
            Since::Ago(ago) => SystemClock::new().now().saturating_sub(ago).unwrap_or(Timestamp::MIN),
        });
        Wanted { streams: streams.collect(), since }
    }
}

/// Shows it.
///
/// # Errors
///
/// When there is no such run, its log is not kept any more, or cannot be read.
pub(crate) async fn logs(args: LogsArgs, context: &mut Context) -> Result<Exit, Failed> {
    let place = Place::find(&context.global)?.with_runs()?;
    let session = Session::reader(context, &place).await?;
    let flow = session.flow();
    let run = which::find(flow, &args.run).await?;
    let (attempt, from) = args.after.unwrap_or((NonZeroU32::MIN, Offset::START));
    let wanted = args.wanted();
    let out = &mut context.out;
    if args.follow && !run.state.is_terminal() && matches!(flow.host().await, Ok(None)) {
        out.warning("nobody hosts, so that this run does not come to its end: `fastflow host` does");
    }
    if args.follow || run.state.is_terminal() {
        let lines = flow.runs().follow_from(run.id, attempt, from);
        follow::print(lines, &wanted, Told::Lines, (ProgressBar::hidden(), out)).await?;
    } else {
        print_so_far(flow, &run, (attempt, from), (&wanted, out)).await?;
    }
    session.close().await;
    Ok(Exit::SUCCESS)
}

/// What the attempts of a run that has not ended have written so far.
async fn print_so_far(
    flow: &Orchestrator,
    run: &Run,
    (first, from): (NonZeroU32, Offset),
    (wanted, out): (&Wanted, &mut Output),
) -> Result<(), Failed> {
    let mut from = from;
    for number in first.get()..=run.attempt {
        let Some(number) = NonZeroU32::new(number) else { continue };
        let attempt = AttemptId { run: run.id, number };
        let journal = match flow.runs().directory(attempt).await {
            Ok(directory) => Journal::<LogLine>::new(directory.join(LOG_FILE)),
            // It has not begun to write.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        print_journal(&journal, attempt, from, (wanted, &mut *out)).await?;
        from = Offset::START;
    }
    Ok(())
}

async fn print_journal(
    journal: &Journal<LogLine>,
    attempt: AttemptId,
    mut from: Offset,
    (wanted, out): (&Wanted, &mut Output),
) -> Result<(), Failed> {
    loop {
        let batch = match journal.read(from).await {
            Ok(batch) => batch,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if batch.records.is_empty() {
            return Ok(());
        }
        for (offset, line) in batch.records {
            let line = RunLogLine { attempt, offset, line };
            if wanted.has(&line) {
                follow::write(&line, Told::Lines, out)?;
            }
        }
        out.flush()?;
        from = batch.end;
    }
}
