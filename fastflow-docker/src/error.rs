//! What can go wrong between this process and the engine. Told by status codes and kinds, never by texts.

use std::{error::Error as StdError, io, time::Duration};

use bollard::errors::Error as Bollard;
use fastflow_core::{Error, ErrorKind};

use crate::filter::Withheld;

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
    /// This user may not talk to it, or one of both does not accept the other's certificate.
    Refused(Cause),
    /// Somebody between this process and the engine did not let the call through.
    Withheld(Withheld),
    /// The engine answered with a code other than success.
    Status { code: u16, words: String },
    /// The engine reported a failure within an answer that had begun as a success.
    Late { words: String },
    /// The answer is none that this version understands.
    Garbled(Cause),
    /// The engine cannot do what it must; with the reason.
    Unfit(Error),
}

impl Failure {
    /// The status code, where the engine answered with one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether it may be another engine by now.
    pub(crate) fn is_lost_connection(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Unreachable(_) | Self::Refused(_))
    }

    /// The error that it is where nothing better is known about the call. `what` failed.
    pub(crate) fn into_error(self, what: &'static str) -> Error {
        let kind = self.kind();
        self.into_error_of(kind, what)
    }

    /// The error that it is where a status code means `kind`. Failures without one keep their own.
    pub(crate) fn into_error_where(self, code: u16, kind: ErrorKind, what: &'static str) -> Error {
        let kind = if self.status() == Some(code) { kind } else { self.kind() };
        self.into_error_of(kind, what)
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::TimedOut(_) | Self::Unreachable(_) | Self::Late { .. } => ErrorKind::Unavailable,
            Self::Refused(_) | Self::Withheld(_) => ErrorKind::Denied,
            Self::Garbled(_) => ErrorKind::Internal,
            Self::Unfit(error) => error.kind(),
            Self::Status { code, .. } => match code {
                400 => ErrorKind::Invalid,
                401 | 403 => ErrorKind::Denied,
                404 => ErrorKind::NotFound,
                409 => ErrorKind::Conflict,
                500.. => ErrorKind::Unavailable,
                _ => ErrorKind::Internal,
            },
        }
    }

    pub(crate) fn into_error_of(self, kind: ErrorKind, what: &'static str) -> Error {
        let error = Error::new(kind, what);
        match self {
            Self::TimedOut(limit) => error.with("no answer within", format_args!("{limit:?}")),
            Self::Unreachable(cause) | Self::Refused(cause) | Self::Garbled(cause) => error.because(cause),
            Self::Withheld(withheld) => error.with("call", &withheld).with("help", withheld.help()),
            Self::Status { code, words } => error.with("status", code).with("docker", short(&words)),
            Self::Late { words } => error.with("docker", short(&words)),
            Self::Unfit(error) => error,
        }
    }
}

fn short(words: &str) -> String {
    words.trim().chars().take(MAX_WORDS).collect()
}

impl From<Bollard> for Failure {
    fn from(error: Bollard) -> Self {
        match error {
            Bollard::DockerResponseServerError { status_code, message } => {
                Self::Status { code: status_code, words: message }
            }
            Bollard::IOError { err } => match withheld(&err) {
                Some(withheld) => Self::Withheld(withheld.clone()),
                None => Self::of_connection(err),
            },
            Bollard::DockerStreamError { error } => Self::Late { words: error },
            Bollard::JsonSerdeError { err } if !err.is_eof() => Self::Garbled(err.into()),
            Bollard::HyperResponseError { .. }
            | Bollard::HyperLegacyError { .. }
            | Bollard::JsonSerdeError { .. }
            | Bollard::SocketNotFoundError(_)
            | Bollard::RequestTimeoutError => Self::of_connection(error),
            _ => Self::Garbled(error.into()),
        }
    }
}

fn withheld(error: &io::Error) -> Option<&Withheld> {
    error.get_ref()?.downcast_ref()
}

impl Failure {
    /// Tells a door that is shut from one that is not there.
    pub(crate) fn of_connection(error: impl Into<Cause>) -> Self {
        let cause: Cause = error.into();
        if is_refusal(&*cause) { Self::Refused(cause) } else { Self::Unreachable(cause) }
    }
}

/// Whether a file's permissions, or one side's certificate, are the cause.
fn is_refusal(error: &(dyn StdError + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    let next = match error.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::PermissionDenied => return true,
        // An error of input and output does not name as its source what it is made of.
        Some(error) => error.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    };
    next.is_some_and(is_refusal)
}
