//! What a sync is asked for and what became of it, as data.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Catalog, Commit, CommitId, SyncFailure};
use crate::{PipelineName, Timestamp, pipeline::Diagnostic};

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
