//! Answers for programs. Fields have the names that the classes of the package have; instants are RFC 3339 in UTC, and
//! lengths of time are seconds.

use std::fmt::Write as _;

use fastflow_core::{
    Error, ErrorKind, Timestamp,
    pipeline::{Diagnostic, Severity},
    run::{Exit, Failure, Run},
};
use serde_json::{Value, json};

use super::text;
use crate::record::{failure_kind, origin};

/// The value on one line, without anything that a terminal could take for a command.
pub(crate) fn text(value: &Value) -> String {
    let mut safe = String::new();
    for c in value.to_string().chars() {
        // Such characters stand in strings only, where an escape means the same.
        if c.is_control() || text::reorders(c) {
            // Writing into a String cannot fail.
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// An instant.
pub(crate) fn instant(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// A run, with the fields of the class `Run`.
pub(crate) fn run(run: &Run) -> Value {
    let spec = &run.spec;
    let parameters: serde_json::Map<String, Value> = run
        .parameters
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
        .collect();
    json!({
        "id": run.id.to_string(),
        "pipeline": run.pipeline().as_str(),
        "status": run.status().to_string(),
        "state": run.state.name(),
        "parameters": parameters,
        "executor": spec.executor.as_str(),
        "config": spec.config.as_ref().map(fastflow_core::pipeline::ConfigName::as_str),
        "revision": spec.revision.to_string(),
        "commit": spec.provenance.as_ref().map(|found| found.commit.id.to_string()),
        "origin": origin(&run.origin),
        "schedule": run.scheduled_by().map(ToString::to_string),
        "scheduled_for": instant(run.scheduled_for()),
        "chain": run.chain.to_string(),
        "priority": run.priority,
        "key": run.key.as_ref().map(fastflow_core::run::IdempotencyKey::as_str),
        "attempt": run.attempt,
        "failed_attempts": run.failed_attempts,
        "created_at": run.created_at.to_string(),
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "failure": run.failure().map(failure),
    })
}

/// Why a run failed, with the fields of the class `Failure`.
pub(crate) fn failure(failure: &Failure) -> Value {
    let (code, signal) = match failure {
        Failure::Exit(Exit::Code(code)) => (Some(code), None),
        Failure::Exit(Exit::Signal(signal)) => (None, Some(signal)),
        _ => (None, None),
    };
    json!({
        "kind": failure_kind(failure),
        "message": failure.to_string(),
        "exit_code": code,
        "signal": signal,
    })
}

/// What is wrong with a pipeline, or beside all of them.
pub(crate) fn diagnostic(finding: &Diagnostic) -> Value {
    json!({
        "severity": if finding.severity == Severity::Error { "error" } else { "warning" },
        "text": finding.to_string(),
        "file": finding.file,
        "line": finding.position.map(|at| at.line),
        "column": finding.position.map(|at| at.column),
        "field": finding.field,
        "message": finding.message,
    })
}

/// What somebody should look at.
pub(crate) fn warning(finding: &Diagnostic) -> Value {
    json!({"warning": diagnostic(finding)})
}

/// The same, where it is about no file.
pub(crate) fn warning_of_text(text: &str) -> Value {
    let mut value = warning(&Diagnostic::warning("", "", text));
    value["warning"]["text"] = text.into();
    value
}

/// Why a command could not be carried out.
pub(crate) fn error(error: &Error) -> Value {
    let context: serde_json::Map<String, Value> =
        error.context().map(|(key, value)| (key.to_owned(), value.into())).collect();
    json!({"error": {"kind": kind(error.kind()), "message": error.chain(), "context": context}})
}

/// The name of a kind, as programs read it.
fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::AlreadyExists => "already_exists",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Denied => "denied",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::StorageFull => "storage_full",
        ErrorKind::Corrupt => "corrupt",
        _ => "internal",
    }
}
