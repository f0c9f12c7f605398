//! The list of attempts that are not removed yet: one small file each, written before anything is started.
//!
//! It is what keeps [`list`](crate::executor::Executor::list) independent of how many attempts there ever
//! were. A crash at any point leaves a file too many, never a process too many. The files need not survive a
//! crash of the machine: no process does.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    AttemptId, Error, OwnerId, Result,
    executor::aside::{create_aside, remove_left},
};

/// The directory of all entries.
#[derive(Clone, Debug)]
pub(super) struct LiveDir(PathBuf);

/// What is needed to find an attempt, and to end whatever there is of it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Entry {
    pub(super) run_dir: PathBuf,
    pub(super) cgroups: Vec<PathBuf>,
    /// Where there is no cgroup: the session of the attempt, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<u32>,
    /// Where its secrets are as files, if it has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secrets: Option<PathBuf>,
}

impl LiveDir {
    pub(super) fn create(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join("live");
        fs::create_dir_all(&path).map_err(|error| Error::from(error).with("path", path.display()))?;
        Ok(Self(path))
    }

    /// Whether entries can be written.
    pub(super) fn probe(&self) -> Result<()> {
        let describe = |error: io::Error| Error::from(error).with("path", self.0.display());
        let (path, _) = create_aside(&self.0).map_err(describe)?;
        fs::remove_file(path).map_err(describe)
    }

    /// Writes the entry in one step, over an earlier one.
    pub(super) fn write(&self, owner: &OwnerId, attempt: AttemptId, entry: &Entry) -> Result<()> {
        let (dir, path) = (self.0.join(owner.as_str()), self.path(owner, attempt));
        let describe = |error: io::Error| Error::from(error).with("path", path.display());
        let bytes = serde_json::to_vec(entry).map_err(|error| describe(error.into()))?;
        if let Err(error) = fs::create_dir(&dir)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(describe(error));
        }
        let mut file = create_aside(&dir).map_err(describe)?;
        let written = io::Write::write_all(&mut file.1, &bytes).and_then(|()| fs::rename(&file.0, &path));
        written.map_err(|error| {
            let _ = fs::remove_file(&file.0);
            describe(error)
        })
    }

    /// The entry of an attempt. One that cannot be understood was cut short when the machine went down, and
    /// has nothing to say but that it was there.
    pub(super) fn read(&self, owner: &OwnerId, attempt: AttemptId) -> Result<Option<Entry>> {
        let path = self.path(owner, attempt);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::from(error).with("path", path.display())),
        }
    }

    pub(super) fn remove(&self, owner: &OwnerId, attempt: AttemptId) -> Result<()> {
        let path = self.path(owner, attempt);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::from(error).with("path", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// The attempts of `owner` that have an entry.
    pub(super) fn attempts(&self, owner: &OwnerId) -> Result<Vec<AttemptId>> {
        let dir = self.0.join(owner.as_str());
        let describe = |error: io::Error| Error::from(error).with("path", dir.display());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(describe(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(describe)?.file_name();
            match name.to_str().map(|name| (name, name.parse::<AttemptId>())) {
                Some((_, Ok(attempt))) => found.push(attempt),
                // Entries that are only just being written have other names.
                Some((name, Err(_))) => remove_left(&dir, name),
                None => {}
            }
        }
        Ok(found)
    }

    fn path(&self, owner: &OwnerId, attempt: AttemptId) -> PathBuf {
        self.0.join(owner.as_str()).join(attempt.to_string())
    }
}
