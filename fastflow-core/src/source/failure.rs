//! Why a source could not be synced.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

/// Why a source could not be synced. Nothing has changed then.
///
/// ```
/// use fastflow_core::source::{SyncFailure, SyncFailureKind};
///
/// let failure = SyncFailure::new(SyncFailureKind::Authentication, "the server refused the token");
/// assert!(!failure.kind.is_transient());
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SyncFailure {
    /// What to branch on.
    pub kind: SyncFailureKind,
    /// What went wrong and what to do, without any credential.
    pub message: String,
}

impl SyncFailure {
    /// The most characters of a message.
    pub const MAX_CHARS: usize = 4096;

    /// A failure. Control characters in the message are replaced: some of it comes from servers.
    pub fn new(kind: SyncFailureKind, message: impl AsRef<str>) -> Self {
        let plain = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
        Self { kind, message: message.as_ref().chars().map(plain).take(Self::MAX_CHARS).collect() }
    }
}

impl fmt::Display for SyncFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind)
    }
}

impl std::error::Error for SyncFailure {}

impl From<Error> for SyncFailure {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl SyncFailure {
    /// An error of the machinery, as a failure.
    pub(crate) fn of(error: &Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Unavailable => SyncFailureKind::Unreachable,
            ErrorKind::Denied => SyncFailureKind::Denied,
            ErrorKind::StorageFull => SyncFailureKind::StorageFull,
            ErrorKind::Invalid | ErrorKind::Unsupported => SyncFailureKind::Refused,
            ErrorKind::Corrupt => SyncFailureKind::Corrupt,
            ErrorKind::NotFound => SyncFailureKind::Missing,
            _ => SyncFailureKind::Internal,
        };
        Self::new(kind, error.chain())
    }
}

impl From<SyncFailure> for Error {
    fn from(failure: SyncFailure) -> Self {
        let kind = match failure.kind {
            SyncFailureKind::Unreachable | SyncFailureKind::TimedOut => ErrorKind::Unavailable,
            SyncFailureKind::Authentication | SyncFailureKind::HostKey | SyncFailureKind::Denied => {
                ErrorKind::Denied
            }
            SyncFailureKind::Missing => ErrorKind::NotFound,
            SyncFailureKind::Refused | SyncFailureKind::TooLarge => ErrorKind::Invalid,
            SyncFailureKind::StorageFull => ErrorKind::StorageFull,
            SyncFailureKind::Corrupt => ErrorKind::Corrupt,
            SyncFailureKind::Internal => ErrorKind::Internal,
        };
        Self::new(kind, "the source could not be synced").because(failure)
    }
}

/// What kind of thing went wrong with a sync, in the only form code may branch on.
///
/// ```
/// use fastflow_core::source::SyncFailureKind;
///
/// assert!(SyncFailureKind::Unreachable.is_transient());
/// assert_eq!(SyncFailureKind::HostKey.as_str(), "host_key");
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SyncFailureKind {
    /// The server or the folder cannot be reached, or broke off.
    Unreachable,
    /// The server does not accept the credentials, or wants some.
    Authentication,
    /// The server's key is not the one that is trusted, or none is.
    HostKey,
    /// There is no such repository, branch, tag or folder.
    Missing,
    /// What came is not taken: by its address, its kind, or a rule for trees.
    Refused,
    /// What came is larger than the limits.
    TooLarge,
    /// It took too long.
    TimedOut,
    /// What came is damaged, and so it was after another try.
    Corrupt,
    /// No room is left on a device.
    StorageFull,
    /// File permissions do not allow it.
    Denied,
    /// A bug, or a failure with no better name.
    Internal,
}

impl SyncFailureKind {
    /// Whether the same sync may work later without anybody changing anything.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::StorageFull)
    }

    /// The kind as stored and as shown, such as `host_key`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Authentication => "authentication",
            Self::HostKey => "host_key",
            Self::Missing => "missing",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::TimedOut => "timed_out",
            Self::Corrupt => "corrupt",
            Self::StorageFull => "storage_full",
            Self::Denied => "denied",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for SyncFailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
