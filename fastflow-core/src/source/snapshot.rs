//! Immutable copies of pipelines' folders, one per revision.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};

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

    /// Sets the time of a snapshot to now. False when it is not there.
    pub(super) fn touch(&self, revision: &Revision) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        rustix::fs::utimensat(CWD, self.path(revision), &times, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The revision of a tree, with a snapshot of it. The contents' own error when they changed meanwhile.
    pub(super) fn take(&self, contents: &dyn Contents, tree: &Tree) -> Result<Revision, Refusal> {
        let revision = content::hash(contents, tree)?;
        // Once it is touched, no other process removes it.
        if self.touch(&revision) {
            return Ok(revision);
        }
        let partial = self.write(contents, tree, &revision, Flush::Each)?;
        self.name(&partial, &revision)?;
        self.flush_names()?;
        Ok(revision)
    }

    /// Writes a copy that has no name yet, and checks that it is `revision`.
    pub(super) fn write(
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
    pub(super) fn name(&self, partial: &Path, revision: &Revision) -> Result<()> {
        let target = self.path(revision);
        let Err(error) = fs::rename(partial, &target) else { return Ok(()) };
        let _ = remove(partial);
        // Another one may have taken the same snapshot at the same time.
        if self.has(revision) { Ok(()) } else { Err(at(error, &target)) }
    }

    pub(super) fn flush_names(&self) -> Result<()> {
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

    /// Takes the name of a snapshot away, so that a half of it is never found, and says where its content is now.
    pub(super) fn unname(&self, revision: &Revision) -> Result<PathBuf> {
        let partial = self.new_partial()?;
        let path = self.path(revision);
        fs::rename(&path, &partial).map_err(|error| at(error, &path))?;
        Ok(partial)
    }

    #[cfg(all(test, feature = "git"))]
    pub(super) fn remove(&self, revision: &Revision) -> Result<()> {
        let partial = self.unname(revision)?;
        remove(&partial).map_err(|error| at(error, &partial))
    }
}

/// Removes a folder whose folders are not writable. Another one may remove it at the same time.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    gone(fs::set_permissions(path, Permissions::from_mode(0o700)))?;
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        } else {
            gone(fs::remove_file(entry.path()))?;
        }
    }
    gone(fs::remove_dir(path))
}

/// What is not there any more needs nothing done to it.
fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

pub(super) fn at(error: io::Error, path: &Path) -> Error {
    Error::from(error).with("path", path.display())
}
