//! What can go wrong between this process and the engine. Told by status codes and kinds, never by texts.

use std::{error::Error as StdError, io, time::Duration};

use fastflow_core::{Error, ErrorKind};

type Cause = Box<dyn StdError + Send + Sync>;

/// The longest text of an engine that is repeated, in characters.
const MAX_WORDS: usize = 1000;

/// How a call of the engine failed. What that means depends on the call.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There was no answer within this time.
    TimedOut(Duration),
    /// The engine, or the way to it, is not there, or broke off in the middle of an answer.
    Unreachable(Cause),
    /// This user may not talk to it.
    Refused(Cause),
    /// The engine answered with a code other than success.
    Status { code: u16, words: String },
    /// The answer is none that this version understands.
    Garbled(Cause),
}

impl Failure {
    /// The status code, where the engine answered with one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The error that it is where nothing better is known about the call. `what` failed.
    pub(crate) fn into_error(self, what: &'static str) -> Error {
        let kind = match &self {
            Self::TimedOut(_) | Self::Unreachable(_) => ErrorKind::Unavailable,
            Self::Refused(_) => ErrorKind::Denied,
            Self::Garbled(_) => ErrorKind::Internal,
            Self::Status { code, .. } => match code {
                400 => ErrorKind::Invalid,
                401 | 403 => ErrorKind::Denied,
                404 => ErrorKind::NotFound,
                409 => ErrorKind::Conflict,
                500.. => ErrorKind::Unavailable,
                _ => ErrorKind::Internal,
            },
        };
        self.into_error_of(kind, what)
    }

    /// The error that it is where an answer other than success means `kind`. Failures without an answer keep their own.
    pub(crate) fn into_error_where_answered(self, kind: ErrorKind, what: &'static str) -> Error {
        match self {
            Self::Status { .. } => self.into_error_of(kind, what),
            _ => self.into_error(what),
        }
    }

    fn into_error_of(self, kind: ErrorKind, what: &'static str) -> Error {
        let error = Error::new(kind, what);
        match self {
            Self::TimedOut(limit) => error.with("no answer within", format_args!("{limit:?}")),
            Self::Unreachable(cause) | Self::Refused(cause) | Self::Garbled(cause) => error.because(cause),
            Self::Status { code, words } => error.with("status", code).with("podman", short(&words)),
        }
    }

    /// Tells a door that is shut from one that is not there.
    pub(crate) fn of_connection(error: impl Into<Cause>) -> Self {
        let cause: Cause = error.into();
        let mut next: Option<&(dyn StdError + 'static)> = Some(&*cause);
        while let Some(error) = next {
            let inner = error.downcast_ref::<io::Error>();
            if inner.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
                return Self::Refused(cause);
            }
            next = error.source();
        }
        Self::Unreachable(cause)
    }
}

impl From<podman_api::Error> for Failure {
    /// Takes the error apart and never clones it: its `clone` does not return.
    fn from(error: podman_api::Error) -> Self {
        match error {
            podman_api::Error::Fault { code, message } => {
                Self::Status { code: code.as_u16(), words: message }
            }
            podman_api::Error::Error(error) => Self::of_connection(error),
            podman_api::Error::IO(error) => Self::of_connection(error),
            error => Self::Garbled(error.into()),
        }
    }
}

/// As much of an engine's words as is repeated.
pub(crate) fn short(words: &str) -> String {
    words.trim().chars().take(MAX_WORDS).collect()
}
