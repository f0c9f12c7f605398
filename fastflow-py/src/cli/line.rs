//! One line of a log, for people and for programs.

use fastflow_core::{journal::LogStream, orchestrator::RunLogLine};
use serde_json::{Value, json};

/// The name of a stream, as the class `LogLine` of the package has it.
pub(crate) fn stream(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Out => "stdout",
        LogStream::Err => "stderr",
        LogStream::Setup => "setup",
        LogStream::Truncated => "truncated",
        _ => "sandbox",
    }
}

/// The position after it, from which the log can be read on.
pub(crate) fn position(line: &RunLogLine) -> String {
    format!("{}:{}", line.attempt.number, line.offset)
}

/// It for programs, with the fields of the class `LogLine`.
pub(crate) fn value(line: &RunLogLine) -> Value {
    json!({
        "text": line.line.text(),
        "time": line.line.time.to_string(),
        "stream": stream(line.line.stream),
        "attempt": line.attempt.number,
        "continues": line.line.continues,
        "dropped_lines": line.line.dropped.map_or(0, |dropped| dropped.lines),
        "position": position(line),
    })
}
