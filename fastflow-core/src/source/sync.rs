//! What a sync is asked for and what became of it, as data.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::Catalog;
use crate::{Error, ErrorKind, PipelineName, Result, Timestamp, pipeline::Diagnostic};

/// The most of a subject or an author that is kept, in characters.
const MAX_TEXT_CHARS: usize = 200;

/// What is to be synced.
///
/// ```
/// use fastflow_core::source::SyncRequest;
///
/// let request = SyncRequest::default().branch("release");
/// assert_eq!(request.branch.as_deref(), Some("release"));
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct SyncRequest {
    /// The branch to publish. A source follows it from then on, until the host ends or another one is named. None: the
    /// one it follows now.
    pub branch: Option<String>,
}

impl SyncRequest {
    /// Another branch than the one that is followed now.
    #[must_use]
    pub fn branch(mut self, branch: impl Into<String>) -> Self {
        self.branch = Some(branch.into());
        self
    }
}

/// What a source has found, ready to be used and not shown yet.
///
/// ```
/// use fastflow_core::source::{Catalog, Fetched};
///
/// assert_eq!(Fetched::new(Catalog::default()).bytes, 0);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fetched {
    /// All its pipelines.
    pub catalog: Catalog,
    /// Bytes that came over the network for it.
    pub bytes: u64,
    /// How the new commit lies to the one that was published before; none where that is not known.
    pub distance: Option<Distance>,
}

impl Fetched {
    /// Found without a network.
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog, bytes: 0, distance: None }
    }
}

/// How what was published lies to what the remote has, in commits.
///
/// ```
/// use fastflow_core::source::Distance;
///
/// // A rewritten history: two commits of ours are gone, three are new.
/// assert!(Distance { ahead: 2, behind: 3 }.is_rewritten());
/// ```
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Distance {
    /// Commits that were published and that the remote's branch does not have (any more).
    pub ahead: u32,
    /// Commits of the remote's branch that were not published.
    pub behind: u32,
}

impl Distance {
    /// Whether the remote's branch does not build on what was published.
    pub fn is_rewritten(self) -> bool {
        self.ahead > 0
    }
}

/// The name of a commit: 40 or 64 lowercase hexadecimal digits.
///
/// ```
/// use fastflow_core::source::CommitId;
///
/// let id: CommitId = "8a".repeat(20).parse().unwrap();
/// assert_eq!(id.short(), "8a8a8a8a8a");
/// assert!("HEAD".parse::<CommitId>().is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(Box<str>);

impl CommitId {
    const SHA1_CHARS: usize = 40;
    const SHA256_CHARS: usize = 64;
    const SHORT_CHARS: usize = 10;

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its beginning, for people.
    pub fn short(&self) -> &str {
        &self.0[..Self::SHORT_CHARS]
    }
}

impl FromStr for CommitId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if matches!(text.len(), Self::SHA1_CHARS | Self::SHA256_CHARS) && text.bytes().all(hex) {
            return Ok(Self(text.into()));
        }
        Err(Error::new(ErrorKind::Invalid, "not a commit: 40 or 64 lowercase hexadecimal digits")
            .with("found", text.escape_debug().take(80).collect::<String>()))
    }
}

impl TryFrom<String> for CommitId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One commit of a repository, and where it was found.
///
/// ```
/// use fastflow_core::{Timestamp, source::Commit};
///
/// let id = "8a".repeat(20).parse().unwrap();
/// let commit = Commit::new(id, "refs/heads/main", "Ada", "Mend\u{1b}[31m it", Timestamp::UNIX_EPOCH);
/// assert_eq!((commit.branch(), commit.subject.as_str()), (Some("main"), "Mend\u{fffd}[31m it"));
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Commit {
    /// Its name.
    pub id: CommitId,
    /// The full name of the branch or tag it was found by, such as `refs/heads/main`.
    pub reference: String,
    /// Who wrote it, without an address.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// When it was committed, by its committer's clock.
    pub at: Timestamp,
}

impl Commit {
    /// A commit. What is not printable in its texts is replaced, and they are cut at 200 characters.
    pub fn new(
        id: CommitId,
        reference: impl Into<String>,
        author: &str,
        subject: &str,
        at: Timestamp,
    ) -> Self {
        Self { id, reference: reference.into(), author: clean(author), subject: clean(subject), at }
    }

    /// The branch's short name, if it was found by a branch.
    pub fn branch(&self) -> Option<&str> {
        self.reference.strip_prefix("refs/heads/")
    }
}

/// People's texts go to terminals and pages.
fn clean(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MAX_TEXT_CHARS).collect()
}

/// Where exactly a run's files come from, so that they can be had again.
///
/// ```
/// use fastflow_core::source::Provenance;
///
/// fn line(provenance: &Provenance) -> String {
///     format!("{} at {}", provenance.path, provenance.commit.id.short())
/// }
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Provenance {
    /// The commit that was published when the run was made.
    pub commit: Commit,
    /// The pipeline's folder or file in the repository, such as `pipelines/etl`.
    pub path: String,
}

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

/// Whether a source can be reached, without anything having been changed.
///
/// ```
/// use fastflow_core::source::Probe;
///
/// assert!(Probe::default().branches.is_empty());
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Probe {
    /// The commit that a sync would publish.
    pub commit: Option<CommitId>,
    /// The branches that are there, by name; at most 1,000.
    pub branches: Vec<String>,
    /// The fingerprint of the server's key, such as `SHA256:…`, where it has one that is pinned.
    pub host_key: Option<String>,
}

/// The position of a sync in the log of syncs.
///
/// ```
/// use fastflow_core::source::SyncId;
///
/// assert!(SyncId(1) < SyncId(2));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SyncId(pub u64);

/// One line of the log of syncs.
///
/// ```
/// use fastflow_core::source::SyncRecord;
///
/// fn line(sync: &SyncRecord) -> String {
///     format!("{} by {}: {}", sync.started_at, sync.trigger, sync.outcome)
/// }
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SyncRecord {
    /// Its position; the store gives it.
    pub id: SyncId,
    /// When it began; the last one, where the line stands for several.
    pub started_at: Timestamp,
    /// When the first one began of those that the line stands for.
    pub since: Timestamp,
    /// How many syncs in a row the line stands for: those that all came to the same and changed nothing.
    pub repeated: u64,
    /// How long it took, in microseconds.
    pub duration_micros: u64,
    /// What it was made for.
    pub trigger: SyncTrigger,
    /// The branch that was asked for, if one was.
    pub branch: Option<String>,
    /// What came of it.
    pub outcome: SyncOutcome,
    /// The commit that was published before it.
    pub previous: Option<CommitId>,
    /// The commit that is published after it.
    pub commit: Option<Commit>,
    /// How the one lies to the other.
    pub distance: Option<Distance>,
    /// Bytes that came over the network for it.
    pub bytes: u64,
}

impl SyncRecord {
    /// The lines of the log that are kept.
    pub const MAX_KEPT: u32 = 1000;

    /// Whether another one came to the same, and both changed nothing.
    pub(crate) fn is_repeated_by(&self, later: &Self) -> bool {
        !matches!(self.outcome, SyncOutcome::Published { .. })
            && self.outcome == later.outcome
            && self.trigger == later.trigger
            && self.branch == later.branch
            && self.commit == later.commit
    }

    /// How long it took.
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.duration_micros)
    }
}

/// What a sync was made for.
///
/// ```
/// assert_eq!(fastflow_core::source::SyncTrigger::Interval.to_string(), "interval");
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncTrigger {
    /// Somebody called for it.
    Call,
    /// The host started.
    Start,
    /// It was time.
    Interval,
    /// The source said that something has changed.
    Change,
}

impl fmt::Display for SyncTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Call => "call",
            Self::Start => "start",
            Self::Interval => "interval",
            Self::Change => "change",
        })
    }
}

/// What came of a sync.
///
/// ```
/// use fastflow_core::source::SyncOutcome;
///
/// assert_eq!(SyncOutcome::Published { changes: Vec::new() }.to_string(), "published, no pipeline changed");
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncOutcome {
    /// There was nothing new.
    Unchanged,
    /// What is there now is shown, all of it at once.
    Published {
        /// What that changed, by name.
        changes: Vec<PipelineChange>,
    },
    /// Nothing was changed, and why.
    Failed(SyncFailure),
}

impl SyncOutcome {
    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&SyncFailure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

impl fmt::Display for SyncOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
            Self::Published { changes } if changes.is_empty() => {
                f.write_str("published, no pipeline changed")
            }
            Self::Published { changes } => write!(f, "published, {} pipelines changed", changes.len()),
        }
    }
}

/// What a sync changed of one pipeline.
///
/// ```
/// use fastflow_core::source::{PipelineChange, ChangeKind};
///
/// let change = PipelineChange { name: "etl".parse().unwrap(), kind: ChangeKind::Added, findings: Vec::new() };
/// assert_eq!(change.to_string(), "etl added");
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PipelineChange {
    /// Its name.
    pub name: PipelineName,
    /// What happened to it.
    pub kind: ChangeKind,
    /// What is wrong with it now, if it is broken; the first five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Diagnostic>,
}

impl fmt::Display for PipelineChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// What happened to a pipeline.
///
/// ```
/// assert_eq!(fastflow_core::source::ChangeKind::Removed.to_string(), "removed");
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new, or came back.
    Added,
    /// Its files or what they say differ.
    Changed,
    /// It has configuration errors, new ones or for the first time.
    Broken,
    /// It is gone. Its history stays.
    Removed,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Broken => "broken",
            Self::Removed => "removed",
        })
    }
}
