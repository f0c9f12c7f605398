//! Many snapshots at once.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use super::{
    Revision,
    content::{self, Contents, Flush},
    snapshot::{Snapshots, at, remove},
    tree::{Refusal, Tree},
};
use crate::{Result, durable};

/// Snapshots that are made together: written one by one, durable by one flush, and named only then. What was not
/// published when this is dropped is removed.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    snapshots: &'a Snapshots,
    /// Finished copies without a name.
    staged: Mutex<HashMap<Revision, PathBuf>>,
}

impl Batch<'_> {
    /// The revision of a tree, and the folder that holds it until the batch is published or dropped.
    pub(super) fn add(&self, contents: &dyn Contents, tree: &Tree) -> Result<(Revision, PathBuf), Refusal> {
        let revision = content::hash(contents, tree)?;
        if self.snapshots.has(&revision) {
            let path = self.snapshots.path(&revision);
            return Ok((revision, path));
        }
        if let Some(staged) = self.staged(&revision) {
            return Ok((revision, staged));
        }
        let partial = self.snapshots.write(contents, tree, &revision, Flush::Later)?;
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        let first = staged.entry(revision.clone()).or_insert_with(|| partial.clone()).clone();
        drop(staged);
        if first != partial {
            // Another thread wrote the same content meanwhile.
            remove(&partial).map_err(|error| at(error, &partial))?;
        }
        Ok((revision, first))
    }

    /// Makes all that was added durable, and only then gives it its names.
    pub(super) fn publish(mut self) -> Result<()> {
        let snapshots = self.snapshots;
        let staged = self.staged.get_mut().unwrap_or_else(PoisonError::into_inner);
        if staged.is_empty() {
            return Ok(());
        }
        let folder = snapshots.folder();
        durable::flush_file_system(folder).map_err(|error| at(error, folder))?;
        for (revision, partial) in &*staged {
            snapshots.name(partial, revision)?;
        }
        staged.clear();
        snapshots.flush_names()
    }

    fn staged(&self, revision: &Revision) -> Option<PathBuf> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).get(revision).cloned()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for partial in self.staged.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            // What cannot be removed now is removed with all partial copies by the next opening.
            let _ = remove(partial);
        }
    }
}

impl Snapshots {
    /// Snapshots that are made together.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { snapshots: self, staged: Mutex::default() }
    }

    /// Removes all copies that were never finished, and says how many there were. Only for the one process that the
    /// folder belongs to, before it begins any.
    pub(super) fn clear_partials(&self) -> Result<usize> {
        let partials = self.partials()?;
        for path in &partials {
            remove(path).map_err(|error| at(error, path))?;
        }
        Ok(partials.len())
    }
}
