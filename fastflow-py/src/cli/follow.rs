//! Follows a run: its log as it comes, and how it ended.

use std::{io, num::NonZeroU32, time::Duration};

use anstyle::{AnsiColor, Style};
use fastflow_core::{
    Clock as _, Error, ErrorKind, Orchestrator, Result, RunId, SystemClock, Timestamp,
    hosting::HostPlace,
    journal::{LogStream, Offset},
    orchestrator::RunLogLine,
    run::{Run, RunState, Status},
};
use futures::{StreamExt as _, stream::BoxStream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    command::Context, exit::Exit, failed::Failed, json, line, output::Output, session::Session, show, text,
};

/// Lines that are written at once, when so many are there.
const BATCH_LINES: usize = 256;
/// How fast what moves on the screen moves.
const TICK: Duration = Duration::from_millis(120);
/// How often a run is looked at until its program has begun.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Which lines are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Only of these streams; of all when empty.
    pub(crate) streams: Vec<LogStream>,
    /// Only those that were read from this instant on.
    pub(crate) since: Option<Timestamp>,
}

impl Wanted {
    /// Whether a line is shown.
    pub(crate) fn has(&self, line: &RunLogLine) -> bool {
        (self.streams.is_empty() || self.streams.contains(&line.line.stream))
            && self.since.is_none_or(|since| line.line.time >= since)
    }
}

/// What lines are told as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    /// By themselves.
    Lines,
    /// Beside other things, so that each says what it is.
    Mixed,
}

/// Whether a run is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Patience {
    /// Until it has ended.
    ToTheEnd,
    /// Until nobody is needed for it.
    UntilItRuns,
}

/// Sees an accepted run through, and closes the session.
///
/// # Errors
///
/// When it cannot be followed, or the output not written. The run goes on.
pub(crate) async fn see_through(
    session: Session,
    run: Run,
    patience: Patience,
    context: &mut Context,
) -> Result<Exit, Failed> {
    let interrupts = std::sync::Arc::clone(&context.interrupts);
    let id = run.id;
    let done = tokio::select! {
        done = seen_through(session.flow(), run, patience, &mut context.out) => done,
        () = interrupts.first() => {
            context.out.note(&format!(
                "\nrun {id} goes on without this\n  follow it: {}\n  end it:    {}",
                context.global.command(&format!("logs -f {id}")),
                context.global.command(&format!("cancel {id}")),
            ));
            Ok(Exit::INTERRUPTED)
        }
    };
    session.close().await;
    done
}

async fn seen_through(
    flow: &Orchestrator,
    run: Run,
    patience: Patience,
    out: &mut Output,
) -> Result<Exit, Failed> {
    match patience {
        Patience::ToTheEnd => {
            if out.is_json() {
                out.json(&mixed("run", json::run(&run)))?;
                out.flush()?;
            }
            let waiting = waiting(&run, out);
            let lines = flow.runs().follow_from(run.id, NonZeroU32::MIN, Offset::START);
            print(lines, &Wanted::default(), Told::Mixed, (waiting, &mut *out)).await?;
            let ended = flow.runs().wait(run.id).await?;
            if out.is_json() {
                out.json(&mixed("run", json::run(&ended)))?;
                out.flush()?;
            }
            tell_end(&ended, out);
            Ok(Exit::of_run(&ended))
        }
        Patience::UntilItRuns => {
            // Whoever is told its id can find it, whatever becomes of this process.
            if out.is_json() {
                out.json(&json::run(&run))?;
            } else {
                out.line(&run.id.to_string())?;
            }
            out.flush()?;
            until_it_runs(flow, run.id).await?;
            Ok(Exit::SUCCESS)
        }
    }
}

/// An object that says what it is.
fn mixed(what: &str, mut value: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = value.as_object_mut() {
        fields.insert("type".to_owned(), what.into());
    }
    value
}

/// Waits until the run needs this process no more: somebody else hosts, its program has begun, or it waits for its time.
async fn until_it_runs(flow: &Orchestrator, id: RunId) -> Result<()> {
    let clock = SystemClock::new();
    loop {
        let is_hosted_elsewhere = match flow.host().await {
            Ok(host) => host.is_some_and(|host| host.place == HostPlace::Elsewhere),
            // Somebody has the lock of a host, and could not write there who it is.
            Err(error) if error.kind() == ErrorKind::Unavailable => true,
            Err(error) => return Err(error),
        };
        let run = flow.runs().get(id).await?;
        let is_later = matches!(run.state, RunState::Queued { not_before } if not_before > clock.now());
        if is_hosted_elsewhere || run.status() != Status::Pending || is_later {
            return Ok(());
        }
        clock.sleep(LOOK_INTERVAL).await;
    }
}

/// Something that moves until the first line comes.
fn waiting(run: &Run, out: &Output) -> ProgressBar {
    let target = if out.may_move() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template("{spinner} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message(format!("run {} of {}", run.id, run.pipeline()));
    if out.may_move() {
        bar.enable_steady_tick(TICK);
    }
    bar
}

/// Writes lines as they come, until there are no more.
///
/// # Errors
///
/// When they cannot be read on, or not be written. A record that cannot be understood is left out, with a warning.
pub(crate) async fn print(
    lines: BoxStream<'static, Result<RunLogLine>>,
    wanted: &Wanted,
    told: Told,
    (waiting, out): (ProgressBar, &mut Output),
) -> Result<(), Failed> {
    let mut batches = lines.ready_chunks(BATCH_LINES);
    while let Some(batch) = batches.next().await {
        waiting.finish_and_clear();
        for line in batch {
            match line {
                Ok(line) if wanted.has(&line) => write(&line, told, out)?,
                Ok(_) => {}
                Err(error) => skipped(error, out)?,
            }
        }
        out.flush()?;
    }
    waiting.finish_and_clear();
    Ok(())
}

/// One record that is no good is no reason to hide the rest.
pub(crate) fn skipped(error: Error, out: &Output) -> Result<()> {
    if error.kind() != ErrorKind::Corrupt {
        return Err(error);
    }
    out.warning(&text::plain(&error.chain()));
    Ok(())
}

/// Writes a line: what the program wrote to where it wrote it, and what else there is to the standard error.
pub(crate) fn write(line: &RunLogLine, told: Told, out: &mut Output) -> io::Result<()> {
    if out.is_json() {
        let value = line::value(line);
        return out.json(&if told == Told::Mixed { mixed("line", value) } else { value });
    }
    let shown = line.line.text();
    let shown = text::last_part(&shown);
    let end = if line.line.continues { "" } else { "\n" };
    let coloured = |colours: bool| if colours { text::coloured(shown) } else { text::plain(shown) };
    match line.line.stream {
        LogStream::Out => out.write(&format!("{}{end}", coloured(out.has_colours()))),
        LogStream::Err => out.write_error(&format!("{}{end}", coloured(out.has_error_colours()))),
        stream => {
            let style = if out.has_error_colours() { aside(stream) } else { Style::new() };
            let said = match line.line.dropped {
                Some(dropped) => format!("{} lines are missing here", dropped.lines),
                None => text::plain(shown),
            };
            out.write_error(&format!("{style}{said}{style:#}{end}"))
        }
    }
}

fn aside(stream: LogStream) -> Style {
    match stream {
        LogStream::Truncated => AnsiColor::Yellow.on_default(),
        _ => AnsiColor::BrightBlack.on_default(),
    }
}

/// Says how a run ended.
fn tell_end(run: &Run, out: &Output) {
    let status = run.status();
    let style = if out.has_error_colours() { show::status_style(status) } else { Style::new() };
    let took =
        show::run_time(run, SystemClock::new().now()).map(|took| format!(" in {}", show::duration(took)));
    let why = run.failure().map(|failure| format!(": {}", text::plain(&failure.to_string())));
    let (took, why) = (took.unwrap_or_default(), why.unwrap_or_default());
    let said = format!("{style}{status}{style:#} {} {}{took}{why}", run.pipeline(), run.id);
    out.remark(&said);
}
