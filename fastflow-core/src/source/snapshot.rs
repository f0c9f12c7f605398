//! Immutable copies of pipelines' folders, one per revision.

use std::{
    collections::HashMap,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Revision,
    content::{self, Contents, Flush},
    tree::{Refusal, Tree},
};
use crate::{Error, Result, durable};

/// What a name of a copy in progress begins with.
const PARTIAL_PREFIX: &str = ".partial-";

/// The folder of all snapshots.
#[derive(Debug)]
pub(super) struct Snapshots {
    folder: PathBuf,
    /// Makes names of copies unique within this process.
    copies: AtomicU64,
}

impl Snapshots {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, copies: AtomicU64::new(0) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self, revision: &Revision) -> PathBuf {
        self.folder.join(revision.as_str())
    }

    pub(super) fn has(&self, revision: &Revision) -> bool {
        fs::symlink_metadata(self.path(revision)).is_ok_and(|meta| meta.is_dir())
    }

    /// The revision of a tree, with a snapshot of it. The contents' own error when they changed meanwhile.
    pub(super) fn take(&self, contents: &dyn Contents, tree: &Tree) -> Result<Revision, Refusal> {
        let revision = content::hash(contents, tree)?;
        if self.has(&revision) {
            return Ok(revision);
        }
        let partial = self.write(contents, tree, &revision, Flush::Each)?;
        self.name(&partial, &revision)?;
        self.flush_names()?;
        Ok(revision)
    }

    /// Snapshots that are made together.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { snapshots: self, staged: Mutex::default() }
    }

    /// Writes a copy that has no name yet, and checks that it is `revision`.
    fn write(
        &self,
        contents: &dyn Contents,
        tree: &Tree,
        revision: &Revision,
        flush: Flush,
    ) -> Result<PathBuf, Refusal> {
        fs::create_dir_all(&self.folder).map_err(|error| at(error, &self.folder))?;
        let partial = self.new_partial()?;
        let written = content::write(contents, tree, &partial, flush)
            .and_then(|copied| if copied == *revision { Ok(()) } else { Err(contents.unstable().into()) });
        if written.is_err() {
            // What cannot be removed now is stale, and collected later.
            let _ = remove(&partial);
        }
        written.map(|()| partial)
    }

    fn new_partial(&self) -> Result<PathBuf> {
        loop {
            let number = self.copies.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!("{PARTIAL_PREFIX}{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                // Left by an earlier process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at(error, &path)),
                Ok(()) => return Ok(path),
            }
        }
    }

    /// Gives a finished copy its name.
    fn name(&self, partial: &Path, revision: &Revision) -> Result<()> {
        let target = self.path(revision);
        let Err(error) = fs::rename(partial, &target) else { return Ok(()) };
        let _ = remove(partial);
        // Another one may have taken the same snapshot at the same time.
        if self.has(revision) { Ok(()) } else { Err(at(error, &target)) }
    }

    fn flush_names(&self) -> Result<()> {
        durable::flush_folder(&self.folder).map_err(|error| at(error, &self.folder))
    }

    /// The snapshots that are there.
    pub(super) fn revisions(&self) -> Result<Vec<Revision>> {
        Ok(self.names()?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The copies that were never finished.
    pub(super) fn partials(&self) -> Result<Vec<PathBuf>> {
        let names = self.names()?;
        let partials = names.iter().filter(|name| name.starts_with(PARTIAL_PREFIX));
        Ok(partials.map(|name| self.folder.join(name)).collect())
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

    fn names(&self) -> Result<Vec<String>> {
        let list = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            list => list.map_err(|error| at(error, &self.folder))?,
        };
        let name = |entry: io::Result<fs::DirEntry>| {
            Ok(entry.map_err(|error| at(error, &self.folder))?.file_name().into_string().ok())
        };
        list.filter_map(|entry| name(entry).transpose()).collect()
    }

    /// Removes a snapshot: first its name, then its content, so that a half of it is never found.
    pub(super) fn remove(&self, revision: &Revision) -> Result<()> {
        let partial = self.new_partial()?;
        let path = self.path(revision);
        fs::rename(&path, &partial).map_err(|error| at(error, &path))?;
        remove(&partial).map_err(|error| at(error, &partial))
    }
}

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

/// Removes a folder whose folders are not writable.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(path)
}

fn at(error: io::Error, path: &Path) -> Error {
    Error::from(error).with("path", path.display())
}
