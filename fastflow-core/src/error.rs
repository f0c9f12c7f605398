//! The one public error of Fast-Flow: a kind to branch on, a message to read, context and a source.

use std::{borrow::Cow, error::Error as StdError, fmt};

/// What every fallible call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the only form code may branch on.
///
/// ```
/// use fastflow_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::NotFound, "no such pipeline").with("pipeline", "nightly");
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.to_string(), "no such pipeline (pipeline: nightly)");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists, and this call had to create it.
    AlreadyExists,
    /// The thing moved on since the caller looked: a stale claim, an illegal transition.
    Conflict,
    /// The caller's input can never work as it stands.
    Invalid,
    /// The plug-in, or this version, lacks a capability that the call needs.
    Unsupported,
    /// The credentials or file permissions do not allow this.
    Denied,
    /// Out of reach or out of capacity now. Worth trying again, as it is.
    Unavailable,
    /// No room is left on a device. Worth trying again, but it works only once somebody has made room.
    StorageFull,
    /// Stored data is not what was written.
    Corrupt,
    /// A bug, or a failure with no better name.
    Internal,
}

/// A failure of the machinery. A workload that fails is not an error, it is a
/// [`Failure`](crate::run::Failure).
///
/// One pointer wide, so that `Result<()>` stays one machine word.
///
/// ```
/// use fastflow_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "the store cannot be read").because(std::io::Error::other("bus"));
/// assert!(error.is_transient());
/// assert_eq!(error.chain(), "the store cannot be read: bus");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`. `message` is a lowercase fragment that can follow "failed: ".
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), context: Vec::new(), source: None }))
    }

    /// Adds one fact, such as the run's id or the path.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Adds the underlying cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What to branch on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message without context and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The facts added by [`with`](Self::with), in that order.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// Whether the same call may work later as it is: `Unavailable` and `StorageFull`.
    pub fn is_transient(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::StorageFull)
    }

    /// The message with its whole chain of causes on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (index, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if index == 0 { " (" } else { ", " })?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;

        use rustix::io::Errno;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::AlreadyExists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::StorageFull,
            Io::WouldBlock | Io::TimedOut | Io::Interrupted | Io::ResourceBusy | Io::OutOfMemory => {
                ErrorKind::Unavailable
            }
            Io::InvalidInput | Io::InvalidFilename => ErrorKind::Invalid,
            Io::InvalidData | Io::UnexpectedEof => ErrorKind::Corrupt,
            // The standard library has no name for these.
            _ => match Errno::from_io_error(&error) {
                Some(Errno::MFILE | Errno::NFILE) => ErrorKind::Unavailable,
                _ => ErrorKind::Internal,
            },
        };
        Self::new(kind, "input or output failed").because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_is_one_machine_word() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn an_io_error_keeps_its_meaning_and_its_text() {
        let error = Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull)).with("path", "/x");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.is_transient());
        assert!(error.chain().contains("no storage space"), "{}", error.chain());
    }

    #[test]
    fn what_the_machine_has_run_out_of_is_worth_another_try() {
        for errno in [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::NOMEM] {
            assert_eq!(Error::from(std::io::Error::from(errno)).kind(), ErrorKind::Unavailable, "{errno}");
        }
    }
}
