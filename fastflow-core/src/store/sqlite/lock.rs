//! One host per database file.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result, Timestamp};

/// More than this is not read of a lock file.
const OWNER_MAX_BYTES: u64 = 4096;

/// Holds `<database>.lock`. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct HostLock {
    _file: File,
}

/// Who holds it, written into the lock file for people and for the refusal of a second host.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    since: Timestamp,
}

impl HostLock {
    /// Takes the lock of the database at `database`, or fails with `Conflict` naming the process that has it.
    ///
    /// The lock file stays when the lock goes: removing it would let two hosts lock two files of one name.
    pub(super) fn take(database: &Path, now: Timestamp) -> Result<Self> {
        let path = beside(database, ".lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| Error::from(error).with("lock", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&mut file, database)),
            Err(TryLockError::Error(error)) => return Err(Error::from(error).with("lock", path.display())),
        }
        let owner = Owner { pid: std::process::id(), since: now };
        let text = serde_json::to_string(&owner).map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot write the lock's owner").because(error)
        })?;
        // The lock holds without its text: on a full disk an existing host must still be able to start.
        if let Err(error) = write_owner(&mut file, &text) {
            tracing::warn!(%error, lock = %path.display(), "cannot note the owner in the lock file");
        }
        Ok(Self { _file: file })
    }
}

fn write_owner(file: &mut File, text: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())
}

fn held(file: &mut File, database: &Path) -> Error {
    let mut text = String::new();
    let read = file.take(OWNER_MAX_BYTES).read_to_string(&mut text);
    let error = Error::new(
        ErrorKind::Conflict,
        "another host has this database open; stop it, or use a database of your own",
    )
    .with("database", database.display());
    match read.ok().and_then(|_| serde_json::from_str::<Owner>(&text).ok()) {
        Some(owner) => error.with("pid", owner.pid).with("since", owner.since),
        None => error,
    }
}

/// The path of a file beside the database.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
