//! Where pipelines come from: a catalog of names and revisions, and a folder for each revision.

#[cfg(feature = "git")]
mod batch;
mod chain;
mod commit;
mod content;
mod copy;
mod directory;
mod event;
mod failure;
#[cfg(feature = "git")]
mod git;
mod given;
mod limit;
mod listing;
mod load;
mod names;
mod shelf;
mod snapshot;
mod sync;
mod tree;
mod watch;

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Error, ErrorKind, PipelineName, Result,
    pipeline::{Diagnostic, Pipeline},
};

#[cfg(feature = "git")]
pub use self::git::{
    AppKey, DeployKey, GitAccess, GitConfig, GitHubApp, GitLimits, GitReference, GitSource, HostKeyPolicy,
    InsecureScheme, Token, TokenAccess, TokenProvider,
};
/// For tests alone.
#[cfg(all(feature = "git", feature = "testing"))]
#[doc(hidden)]
pub use self::git::{GitArrived, GitMirror};
pub(crate) use self::given::{GivenShelf, GivenTree};
pub use self::{
    commit::{Commit, CommitId, Provenance},
    copy::{CopyStats, copy_tree},
    directory::{DirectorySource, without_steps_back},
    event::SourceEvent,
    failure::{SyncFailure, SyncFailureKind},
    limit::TreeLimits,
    sync::{
        ChangeKind, Distance, Fetched, PipelineChange, Probe, SyncId, SyncOutcome, SyncRecord, SyncRequest,
        SyncTrigger,
    },
};

/// A place that pipelines come from.
///
/// What a source has is shown in two steps: [`fetch`](Self::fetch) finds it and makes it ready, and once the store has
/// it as a whole, [`publish`](Self::publish) shows it. A host that dies in between shows what the store has.
///
/// # Contract
///
/// - A revision never changes: [`checkout`](Self::checkout) of the same revision is the same content, always.
/// - A pipeline that is broken is part of the catalog, with what is wrong; it stops no other.
/// - `fetch` changes nothing that the other calls return.
#[async_trait]
pub trait PipelineSource: fmt::Debug + Send + Sync + 'static {
    /// Where its pipelines come from, for people and to tell one source from another: the path of a folder from the root,
    /// or anything else that does not begin with `/`. Without credentials, and the same each time. None, by default: nobody
    /// can tell.
    fn origin(&self) -> Option<String> {
        None
    }

    /// All pipelines as they are shown now, without a look over a network.
    ///
    /// # Errors
    ///
    /// `Unavailable` when nothing was published yet, or the source cannot be read or keeps changing; `Denied` and
    /// `StorageFull` by the file system's word.
    ///
    /// # Cancel safety
    ///
    /// Safe: work in progress is finished or thrown away in the background.
    async fn catalog(&self) -> Result<Arc<Catalog>>;

    /// One pipeline as it is shown now; cheap when nothing changed, so that it can be asked before each run.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such pipeline, else as [`catalog`](Self::catalog).
    ///
    /// # Cancel safety
    ///
    /// Safe, as [`catalog`](Self::catalog).
    async fn refresh(&self, name: &PipelineName) -> Result<CatalogEntry>;

    /// Looks for what is new, and makes all of it ready without showing it. One at a time.
    ///
    /// # Errors
    ///
    /// A [`SyncFailure`]: a value, since it goes to the log of syncs.
    ///
    /// # Cancel safety
    ///
    /// Safe: what was begun is thrown away.
    async fn fetch(&self, request: &SyncRequest) -> Result<Fetched, SyncFailure>;

    /// Shows what was fetched. The store has it already.
    async fn publish(&self, fetched: &Fetched);

    /// Shows what the store says was published by an earlier host, without a network.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not there any more, else as [`catalog`](Self::catalog).
    ///
    /// # Cancel safety
    ///
    /// Safe.
    async fn restore(&self, _published: &Commit) -> Result<()> {
        Ok(())
    }

    /// Returns when the source has reason to believe that something changed. Never, for one that cannot tell.
    ///
    /// # Cancel safety
    ///
    /// Safe: a change that was not told yet is told by the next call.
    async fn changed(&self) {
        std::future::pending::<()>().await;
    }

    /// Whether it can be reached, and what it has; changes nothing.
    ///
    /// # Errors
    ///
    /// A [`SyncFailure`] that says why not.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    async fn probe(&self) -> Result<Probe, SyncFailure>;

    /// Forgets the key that is pinned for the server, and returns its fingerprint, such as `SHA256:…`: the next connection
    /// pins the one that the server has then.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a source without such a server, which is the default; else by the file system's word.
    ///
    /// # Cancel safety
    ///
    /// Whether a dropped call was carried out is unknown; calling again is safe.
    async fn forget_host_key(&self) -> Result<Option<String>> {
        Err(Error::new(ErrorKind::Unsupported, "this source has no server whose key is pinned"))
    }

    /// A folder that holds exactly `revision`, which nobody will change. Where it is not there any more it is made
    /// again, if the source can do that from its `provenance`.
    ///
    /// # Errors
    ///
    /// `NotFound` when the revision was never seen, or cannot be made again.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    async fn checkout(&self, revision: &Revision, provenance: Option<&Provenance>) -> Result<PathBuf>;

    /// Removes the folders of revisions that are neither in `keep` nor shown.
    ///
    /// # Errors
    ///
    /// By the file system's word; what could be removed is.
    ///
    /// # Cancel safety
    ///
    /// Safe: a half removed folder is never handed out.
    async fn collect(&self, keep: &BTreeSet<Revision>) -> Result<Collected>;
}

/// What [`PipelineSource::collect`] did.
///
/// ```
/// assert_eq!(fastflow_core::source::Collected::default().removed, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Collected {
    /// Revisions whose folder was removed.
    pub removed: usize,
    /// Left-overs of interrupted copies that were removed.
    pub stale: usize,
}

/// All pipelines of a source at one moment, sorted by name.
///
/// ```
/// assert!(fastflow_core::source::Catalog::default().entries.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// One entry per pipeline, broken ones too.
    pub entries: Vec<CatalogEntry>,
    /// What is odd and belongs to no pipeline, such as a folder whose name cannot be one.
    pub warnings: Vec<Diagnostic>,
    /// The commit that holds all of them, for sources that have such.
    pub commit: Option<Commit>,
}

impl Catalog {
    /// The entry of this name.
    pub fn get(&self, name: &PipelineName) -> Option<&CatalogEntry> {
        self.entries.iter().find(|entry| entry.name == *name)
    }
}

/// One pipeline of a source: ready to run, or with what is wrong.
///
/// ```
/// use fastflow_core::{pipeline::Diagnostic, source::CatalogEntry};
///
/// let entry = CatalogEntry {
///     name: "etl".parse().unwrap(),
///     pipeline: Err(vec![Diagnostic::error("pipeline.json", "", "found the end of the file")]),
/// };
/// assert!(entry.runnable().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogEntry {
    /// The pipeline's name.
    pub name: PipelineName,
    /// The pipeline, or why it cannot run. The list holds at least one error, and warnings beside it.
    pub pipeline: Result<RevisedPipeline, Vec<Diagnostic>>,
}

impl CatalogEntry {
    /// The pipeline, if it can run.
    ///
    /// # Errors
    ///
    /// `Invalid` with all its configuration errors in the text.
    pub fn runnable(&self) -> Result<&RevisedPipeline> {
        self.pipeline.as_ref().map_err(|diagnostics| {
            let errors = diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string);
            Error::new(ErrorKind::Invalid, "the pipeline has configuration errors")
                .with("pipeline", &self.name)
                .with("errors", errors.collect::<Vec<_>>().join("; "))
        })
    }
}

/// A pipeline and the revision it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisedPipeline {
    /// Names the folder's exact content.
    pub revision: Revision,
    /// What that content says.
    pub pipeline: Arc<Pipeline>,
    /// Where the content comes from, for sources that have commits.
    pub provenance: Option<Arc<Provenance>>,
}

/// One exact content of a pipeline's folder: the SHA-256 over its files, in lowercase hexadecimal.
///
/// ```
/// use fastflow_core::source::Revision;
///
/// let revision: Revision = "ab".repeat(32).parse().unwrap();
/// assert_eq!(revision.short(), "abababababab");
/// assert!("../x".parse::<Revision>().is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(Box<str>);

impl Revision {
    const HEX_CHARS: usize = 64;
    const SHORT_CHARS: usize = 12;

    /// The whole hash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its beginning, for people.
    pub fn short(&self) -> &str {
        &self.0[..Self::SHORT_CHARS]
    }
}

impl FromStr for Revision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == Self::HEX_CHARS && text.bytes().all(hex) {
            return Ok(Self(text.into()));
        }
        Err(Error::new(ErrorKind::Invalid, "not a revision: 64 lowercase hexadecimal digits")
            .with("found", text.escape_debug().take(80).collect::<String>()))
    }
}

impl TryFrom<String> for Revision {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.0.into()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
