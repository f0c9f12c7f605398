//! Where pipelines come from: a catalog of names and revisions, and a folder for each revision.

mod chain;
mod copy;
mod directory;
mod limit;
mod listing;
mod load;
mod snapshot;
mod tree;

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Error, ErrorKind, PipelineName, Result,
    pipeline::{Diagnostic, Pipeline},
};

pub use self::{
    copy::{CopyStats, copy_tree},
    directory::DirectorySource,
    limit::TreeLimits,
};

/// A place that pipelines come from.
///
/// # Contract
///
/// - A revision never changes: [`checkout`](Self::checkout) of the same revision is the same content, always.
/// - A pipeline that is broken is part of the catalog, with what is wrong; it stops no other.
#[async_trait]
pub trait PipelineSource: fmt::Debug + Send + Sync + 'static {
    /// All pipelines in their newest state.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the source cannot be reached or keeps changing, `Denied` and `StorageFull` by the
    /// file system's word.
    ///
    /// # Cancel safety
    ///
    /// Safe: work in progress is finished or thrown away in the background.
    async fn sync(&self) -> Result<Catalog>;

    /// One pipeline in its newest state; cheap when nothing changed, so that it can be asked before each run.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such pipeline, else as [`sync`](Self::sync).
    ///
    /// # Cancel safety
    ///
    /// Safe, as [`sync`](Self::sync).
    async fn refresh(&self, name: &PipelineName) -> Result<CatalogEntry>;

    /// A folder that holds exactly `revision`, which nobody will change.
    ///
    /// # Errors
    ///
    /// `NotFound` when the revision was never seen or has been collected.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    async fn checkout(&self, revision: &Revision) -> Result<PathBuf>;

    /// Removes the folders of revisions that are neither in `keep` nor current.
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
