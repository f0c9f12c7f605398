//! Why a command could not be carried out.

use std::io;

use fastflow_core::{Error, ErrorKind};
use serde_json::json;

use super::{exit::Exit, output::Output, text};

/// Why a command could not be carried out.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The machinery did not do it.
    Core(Error),
    /// The same, where exit codes are those of programs.
    Submission(Error),
    /// The output could not be written.
    Output(io::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failed {
    /// The same in a command whose exit codes are those of programs.
    pub(crate) fn in_place_of_a_program(self) -> Self {
        match self {
            Self::Core(error) => Self::Submission(error),
            other => other,
        }
    }

    /// Says it where errors are said, and how the process ends.
    pub(crate) fn tell(&self, out: &Output) -> Exit {
        let (error, exit) = match self {
            Self::Core(error) => (error, Exit::of_error(error.kind())),
            Self::Submission(error) => (error, Exit::NO_CODE),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::BROKEN_PIPE,
            Self::Output(error) => {
                out.error(&format!("the output cannot be written: {error}"));
                return Exit::FAILURE;
            }
        };
        if out.is_json() {
            let context: serde_json::Map<String, serde_json::Value> =
                error.context().map(|(key, value)| (key.to_owned(), value.into())).collect();
            let told = json!({"error": {
                "kind": kind(error.kind()), "message": error.chain(), "context": context,
            }});
            out.raw_error(&super::json::text(&told));
        } else {
            out.error(&text::plain(&error.chain()));
        }
        exit
    }
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
