//! One host per database file.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use fastflow_shim::proc::Stat;
use serde::{Deserialize, Serialize};

use crate::{Clock, Error, ErrorKind, Result, Timestamp};

/// More than this is not read of a lock file.
const OWNER_MAX_BYTES: u64 = 4096;
/// How long a lock may outlive the process that took it.
const LET_GO_LIMIT: Duration = Duration::from_secs(5);
/// Between two tries meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Holds `<database>.lock`. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct HostLock {
    file: File,
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
    ///
    /// A host that was killed while it started a child leaves the lock, for a moment, to that child, which lets
    /// go of it when it becomes another program. That moment is waited for.
    pub(super) async fn take(database: &Path, clock: &dyn Clock) -> Result<Self> {
        let path = beside(database, ".lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| Error::from(error).with("lock", path.display()))?;
        let began = clock.elapsed();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(Error::from(error).with("lock", path.display()));
                }
            }
            let owner = read_owner(&mut file);
            let is_gone = owner.as_ref().is_some_and(Owner::is_gone);
            if !is_gone || clock.elapsed().saturating_sub(began) > LET_GO_LIMIT {
                return Err(held(owner, database));
            }
            clock.sleep(LOOK_EVERY).await;
        }
        Self::note_owner(file, &path, clock.now())
    }

    fn note_owner(mut file: File, path: &Path, now: Timestamp) -> Result<Self> {
        let owner = Owner { pid: std::process::id(), since: now };
        let text = serde_json::to_string(&owner).map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot write the lock's owner").because(error)
        })?;
        // The lock holds without its text: on a full disk an existing host must still be able to start.
        if let Err(error) = write_owner(&mut file, &text) {
            tracing::warn!(%error, lock = %path.display(), "cannot note the owner in the lock file");
        }
        Ok(Self { file })
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        // Closing is not enough while a child that is just being started has a copy. Closing follows anyway.
        let _ = self.file.unlock();
    }
}

impl Owner {
    /// Whether its process has ended.
    fn is_gone(&self) -> bool {
        match Stat::read(self.pid) {
            Ok(stat) => stat.is_zombie(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        }
    }
}

fn write_owner(file: &mut File, text: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())
}

fn read_owner(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(OWNER_MAX_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn held(owner: Option<Owner>, database: &Path) -> Error {
    let error = Error::new(
        ErrorKind::Conflict,
        "another host has this database open; stop it, or use a database of your own",
    )
    .with("database", database.display());
    match owner {
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
