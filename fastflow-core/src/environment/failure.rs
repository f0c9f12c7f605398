//! Why an environment could not be made ready.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most of a tool's words that a failure keeps.
const MESSAGE_MAX_BYTES: usize = 16 * 1024;
/// How much of that is the beginning; the rest is the end, where tools put their reason.
const MESSAGE_HEAD_BYTES: usize = 4 * 1024;

/// What kind of thing went wrong, in the only form code may branch on.
///
/// ```
/// use fastflow_core::environment::EnvironmentFailureKind;
///
/// assert!(EnvironmentFailureKind::DownloadFailed.is_transient());
/// assert!(!EnvironmentFailureKind::ResolutionFailed.is_transient());
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EnvironmentFailureKind {
    /// There is no `uv` to build with.
    ToolMissing,
    /// No interpreter fits the request, and none could be had.
    InterpreterMissing,
    /// The requirements cannot be satisfied, are not readable, or are of a kind that is refused.
    ResolutionFailed,
    /// An index or a file could not be fetched, took too long, or was not what the lock says.
    DownloadFailed,
    /// A package that has to be built from source failed to build.
    BuildFailed,
    /// No room is left on the device.
    StorageFull,
    /// File permissions do not allow it.
    Denied,
    /// The place where it is to be built, such as a container engine, cannot be used now.
    PlaceUnavailable,
    /// A bug, or a failure with no better name.
    Internal,
}

impl EnvironmentFailureKind {
    /// Whether the same request may work later without anybody changing it.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::DownloadFailed | Self::StorageFull | Self::PlaceUnavailable)
    }

    /// The kind as stored and as shown, such as `resolution_failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToolMissing => "tool_missing",
            Self::InterpreterMissing => "interpreter_missing",
            Self::ResolutionFailed => "resolution_failed",
            Self::DownloadFailed => "download_failed",
            Self::BuildFailed => "build_failed",
            Self::StorageFull => "storage_full",
            Self::Denied => "denied",
            Self::PlaceUnavailable => "place_unavailable",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for EnvironmentFailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An environment that could not be made ready: the reason of a run that failed in its set-up.
///
/// ```
/// use fastflow_core::environment::{EnvironmentFailure, EnvironmentFailureKind};
///
/// let failure = EnvironmentFailure::new(EnvironmentFailureKind::ToolMissing, "uv was not found")
///     .with_help("install it with `pip install uv`");
/// assert_eq!(failure.kind, EnvironmentFailureKind::ToolMissing);
/// assert_eq!(failure.to_string(), "uv was not found; install it with `pip install uv`");
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EnvironmentFailure {
    /// What to branch on.
    pub kind: EnvironmentFailureKind,
    /// What happened, in the tool's own words where a tool spoke. At most 16 KiB: the beginning and the end.
    pub message: String,
    /// What a person can do about it.
    pub help: Option<String>,
}

impl EnvironmentFailure {
    /// A failure of `kind`. A `message` over the limit loses its middle.
    pub fn new(kind: EnvironmentFailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: bounded(message.into()), help: None }
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A failure of our own file operations, with the path it happened at.
    pub(super) fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::StorageFull | Io::QuotaExceeded => EnvironmentFailureKind::StorageFull,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => EnvironmentFailureKind::Denied,
            _ => EnvironmentFailureKind::Internal,
        };
        Self::new(kind, format!("cannot {what} {}: {error}", path.display()))
    }
}

impl fmt::Display for EnvironmentFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for EnvironmentFailure {}

fn bounded(text: String) -> String {
    if text.len() <= MESSAGE_MAX_BYTES {
        return text;
    }
    let head = text.floor_char_boundary(MESSAGE_HEAD_BYTES);
    let tail = text.ceil_char_boundary(text.len() - (MESSAGE_MAX_BYTES - MESSAGE_HEAD_BYTES - 64));
    format!("{}\n[{} bytes left out]\n{}", &text[..head], tail - head, &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_keeps_its_beginning_and_its_end() {
        let text = format!("begin{}end", "ä".repeat(20_000));
        let failure = EnvironmentFailure::new(EnvironmentFailureKind::Internal, text);
        assert!(failure.message.len() <= MESSAGE_MAX_BYTES, "{}", failure.message.len());
        assert!(failure.message.starts_with("begin") && failure.message.ends_with("end"));
        assert!(failure.message.contains("bytes left out"));
    }

    #[test]
    fn a_kind_is_stored_as_it_is_shown() {
        let kind = EnvironmentFailureKind::DownloadFailed;
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
    }
}
