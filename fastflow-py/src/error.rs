//! From the errors of the machinery to the exceptions of the package.

use fastflow_core::{Error, ErrorKind};
use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyDict};

/// Where the classes of exceptions are, in Python.
const MODULE: &str = "fastflow.errors";

/// The exception for an error.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error.kind() {
        ErrorKind::NotFound => "NotFoundError",
        ErrorKind::AlreadyExists => "AlreadyExistsError",
        ErrorKind::Conflict => "ConflictError",
        ErrorKind::Invalid => "InvalidError",
        ErrorKind::Unsupported => "UnsupportedError",
        ErrorKind::Denied => "DeniedError",
        ErrorKind::Unavailable => "UnavailableError",
        ErrorKind::StorageFull => "StorageFullError",
        ErrorKind::Corrupt => "CorruptError",
        _ => "InternalError",
    };
    let context = PyDict::new(py);
    for (key, value) in error.context() {
        if let Err(failed) = context.set_item(key, value) {
            return failed;
        }
    }
    exception(py, class, &with_remedy(error), Some(&context))
}

/// What is wrong, and how to mend it where that is a call of this package.
fn with_remedy(error: &Error) -> String {
    let value = |wanted| error.context().find_map(|(key, value)| (key == wanted).then_some(value));
    match (value("executor"), value("registered")) {
        (Some(name @ ("docker" | "podman")), Some(_)) => format!(
            "{}: open the flow with it, as in open(..., executors=[\"process\", \"{name}\"]); the first is the default",
            error.chain()
        ),
        (Some(name @ "process"), Some(_)) => {
            format!("{}: open the flow with it, as in open(..., executors=[..., \"{name}\"])", error.chain())
        }
        _ => error.chain(),
    }
}

/// The kind of an error that an executor in Python has raised.
pub(crate) fn kind(name: &str) -> ErrorKind {
    match name {
        "not_found" => ErrorKind::NotFound,
        "already_exists" => ErrorKind::AlreadyExists,
        "conflict" => ErrorKind::Conflict,
        "invalid" => ErrorKind::Invalid,
        "unsupported" => ErrorKind::Unsupported,
        "denied" => ErrorKind::Denied,
        "unavailable" => ErrorKind::Unavailable,
        "storage_full" => ErrorKind::StorageFull,
        "corrupt" => ErrorKind::Corrupt,
        _ => ErrorKind::Internal,
    }
}

/// What a forked child gets for using the flow of its parent.
pub(crate) fn forked(py: Python<'_>, parent: u32) -> PyErr {
    let message = format!(
        "this flow was opened by process {parent}, and a fork does not copy the threads that work for it: fork before \
         a flow is opened, or start processes with the method `spawn` or `forkserver`"
    );
    exception(py, "ForkError", &message, None)
}

/// What a caller gets whose time is up.
pub(crate) fn timed_out(py: Python<'_>, seconds: f64) -> PyErr {
    exception(py, "TimedOutError", &format!("there was no answer within {seconds} s"), None)
}

/// What a caller gets who comes after the end.
pub(crate) fn closed(py: Python<'_>) -> PyErr {
    exception(py, "ClosedError", "this flow is closed; open another", None)
}

fn exception(py: Python<'_>, class: &str, message: &str, context: Option<&Bound<'_, PyDict>>) -> PyErr {
    let made = py
        .import(MODULE)
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call((message,), context));
    match made {
        Ok(made) => PyErr::from_value(made),
        // The interpreter is being taken apart: the words are all that is left.
        Err(_) => PyRuntimeError::new_err(message.to_owned()),
    }
}
