//! Which warm sandbox serves which attempt: one small file each, written before the sandbox gets its order.
//!
//! A container that was made for an attempt carries its name and label. One that was made ahead of it cannot, and this
//! is where it is written down instead.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    AttemptId, Error, OwnerId, Result,
    executor::aside::{create_aside, remove_left},
};

/// The folder of all entries.
#[derive(Clone, Debug)]
pub(super) struct Serving(PathBuf);

impl Serving {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("serving"))
    }

    /// Writes that the container `name` serves `attempt`, in one step.
    pub(super) fn write(&self, owner: &OwnerId, attempt: AttemptId, name: &str) -> Result<()> {
        let dir = self.0.join(owner.as_str());
        let describe = |error: io::Error| Error::from(error).with("path", dir.display());
        fs::create_dir_all(&dir).map_err(describe)?;
        let (aside, mut file) = create_aside(&dir).map_err(describe)?;
        file.write_all(name.as_bytes())
            .and_then(|()| fs::rename(&aside, dir.join(attempt.to_string())))
            .map_err(|error| {
                let _ = fs::remove_file(&aside);
                describe(error)
            })
    }

    /// The container that serves `attempt`.
    pub(super) fn read(&self, owner: &OwnerId, attempt: AttemptId) -> Result<Option<String>> {
        let path = self.0.join(owner.as_str()).join(attempt.to_string());
        match fs::read_to_string(&path) {
            // One that was cut short when the machine went down: no container survived that either.
            Ok(name) => Ok(Some(name).filter(|name| !name.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::from(error).with("path", path.display())),
        }
    }

    pub(super) fn remove(&self, owner: &OwnerId, attempt: AttemptId) -> Result<()> {
        let path = self.0.join(owner.as_str()).join(attempt.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::from(error).with("path", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// All of them, by the container. Two attempts have the same one only where a host died while both reached for it.
    pub(super) fn all(&self, owner: &OwnerId) -> Result<BTreeMap<String, Vec<AttemptId>>> {
        let dir = self.0.join(owner.as_str());
        let describe = |error: io::Error| Error::from(error).with("path", dir.display());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(describe(error)),
        };
        let mut found: BTreeMap<String, Vec<AttemptId>> = BTreeMap::new();
        for entry in entries {
            let name = entry.map_err(describe)?.file_name();
            let Some(name) = name.to_str() else { continue };
            let Ok(attempt) = name.parse::<AttemptId>() else {
                // Entries that are only just being written have other names.
                remove_left(&dir, name);
                continue;
            };
            if let Some(container) = self.read(owner, attempt)? {
                found.entry(container).or_default().push(attempt);
            }
        }
        Ok(found)
    }
}
