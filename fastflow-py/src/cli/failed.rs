//! Why a command could not be carried out.

use std::io;

use fastflow_core::Error;

use super::{exit::Exit, json, output::Output, text};

/// Why a command could not be carried out.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The machinery did not do it, or the answer could not be written.
    Core(Error),
    /// The same, where exit codes are those of programs.
    Submission(Error),
    /// Whoever read the output went away.
    NobodyReads,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

impl From<io::Error> for Failed {
    /// Of writing an answer.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::NobodyReads;
        }
        let error = Error::from(error);
        Self::Core(Error::new(error.kind(), "the output cannot be written").because(error))
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
            Self::NobodyReads => return Exit::BROKEN_PIPE,
        };
        if out.is_json() {
            out.raw_error(&json::text(&json::error(error)));
        } else {
            out.error(&text::plain(&error.chain()));
        }
        exit
    }
}
