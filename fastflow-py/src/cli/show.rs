//! Instants, lengths of time and states, for people.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use fastflow_core::{
    RunId, Timestamp,
    run::{Run, Status},
};
use jiff::tz::TimeZone;

/// How many characters of a run's id tables show: the end of it, which is random.
const SHORT_ID_CHARS: usize = 8;

/// The end of the id, which commands take for the whole.
pub(crate) fn short_id(id: RunId) -> String {
    let text = id.to_string();
    text[text.len() - SHORT_ID_CHARS..].to_owned()
}

/// The instant on the clock of this machine.
pub(crate) fn local(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago it was.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// A length of time with three figures, as `12.3 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        ..0.9995 => format!("{:.0} ms", seconds * 1e3),
        ..9.995 => format!("{seconds:.2} s"),
        ..99.95 => format!("{seconds:.1} s"),
        ..7200.0 => format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60),
        _ => format!("{} h {} min", duration.as_secs() / 3600, duration.as_secs() / 60 % 60),
    }
}

/// How long the run took from its first start on, or has taken so far.
pub(crate) fn run_time(run: &Run, now: Timestamp) -> Option<Duration> {
    let started = run.started_at?;
    run.finished_at.unwrap_or(now).duration_since(started).try_into().ok()
}

/// The colour of a status.
pub(crate) fn colour(status: Status) -> AnsiColor {
    match status {
        Status::Success => AnsiColor::Green,
        Status::Failed => AnsiColor::Red,
        Status::Cancelled => AnsiColor::Yellow,
        Status::Running => AnsiColor::Cyan,
        Status::Pending => AnsiColor::Blue,
    }
}

/// The status with its colour.
pub(crate) fn status_style(status: Status) -> Style {
    colour(status).on_default()
}
