//! Content that is read nowhere: whoever wants it to be run gives all of it.

mod tree;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use bytes::Bytes;

pub(crate) use self::tree::GivenTree;
use super::{
    Collected, RevisedPipeline, Revision,
    content::{self, Contents, Pour},
    load,
    shelf::Shelf,
    tree::{Entry, Refusal},
};
use crate::{Clock, Error, ErrorKind, PipelineName, Result, pipeline::Diagnostic};

/// What can be run, or what is wrong with it.
type Given = Result<RevisedPipeline, Vec<Diagnostic>>;

/// Snapshots of what was given.
#[derive(Debug)]
pub(crate) struct GivenShelf {
    shelf: Shelf,
}

impl GivenShelf {
    /// Snapshots in a folder that nothing else is in. Nothing is touched.
    pub(crate) fn new(folder: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { shelf: Shelf::new(folder, clock) }
    }

    /// Writes what was given down, and reads it as the pipeline `name`. It is durable then, whoever has written it, and
    /// kept for a while. Blocks.
    pub(crate) fn put(&self, given: &GivenTree, name: &PipelineName) -> Result<Given> {
        let _held = self.shelf.hold();
        let revision = match self.shelf.snapshots.take(given, &given.tree) {
            Ok(revision) => revision,
            Err(Refusal::Content(findings)) => return Ok(Err(findings)),
            Err(Refusal::Failed(error)) => return Err(error),
        };
        // Another process may have given it its name, and be about to make that durable.
        self.shelf.snapshots.flush_names()?;
        let pipeline = match load::load(&self.shelf.snapshots.path(&revision), name, None)? {
            Ok(pipeline) => Arc::new(pipeline),
            Err(findings) => return Ok(Err(findings)),
        };
        self.shelf.hand_out(&revision);
        Ok(Ok(RevisedPipeline { revision, pipeline, provenance: None }))
    }

    /// The folder of a revision, kept for a while. Blocks.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not there.
    pub(crate) fn checkout(&self, revision: &Revision) -> Result<PathBuf> {
        self.shelf.checkout(revision)
    }

    /// Removes what is not in `keep` and was not handed out a short while ago. Blocks.
    pub(crate) fn collect(&self, keep: &BTreeSet<Revision>) -> Result<Collected> {
        self.shelf.collect(keep, BTreeSet::new)
    }
}

impl GivenTree {
    /// What this content is called. Blocks for as long as hashing it takes.
    pub(crate) fn revision(&self) -> Result<Revision> {
        content::hash(self, &self.tree).map_err(|refusal| match refusal {
            Refusal::Failed(error) => error,
            Refusal::Content(_) => Error::new(ErrorKind::Internal, "content in memory was refused"),
        })
    }
}

impl Contents for GivenTree {
    fn pour(&self, index: usize, _: &Entry, into: &mut Pour) -> Result<(), Refusal> {
        let bytes: Option<&Bytes> = self.bytes.get(index).and_then(Option::as_ref);
        Ok(bytes.map_or(Ok(()), |bytes| into.put(bytes))?)
    }

    fn unstable(&self) -> Error {
        Error::new(ErrorKind::Internal, "content in memory was not the same when it was read again")
    }
}
