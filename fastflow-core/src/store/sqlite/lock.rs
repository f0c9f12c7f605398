//! One host per database file.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileExt, MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastflow_shim::proc::Stat;
use serde::{Deserialize, Serialize};

use crate::{Clock, Error, ErrorKind, Result, Timestamp};

/// More than this is not read of a lock file.
const OWNER_MAX_BYTES: usize = 4096;
/// In place of the first byte of a text that is not all there.
const UNFINISHED: &[u8; 1] = b" ";
/// How long a lock may outlive the process that took it.
const LET_GO_LIMIT: Duration = Duration::from_secs(5);
/// How long a lock may be held by somebody who has not said who it is: one who only asks whether it is held, or who has
/// taken it just now.
const UNSAID_LIMIT: Duration = Duration::from_millis(500);
/// Between two tries meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// `<database>.lock`, whose lock the host holds. The kernel lets go of it when the process ends, however it ends.
///
/// The file is open as long as the store, whether or not it hosts: who forks must know beforehand which files those are.
#[derive(Debug)]
pub(super) struct HostLock {
    database: Arc<Path>,
    path: PathBuf,
    file: File,
}

/// Who holds it, written into the lock file for people and for the refusal of a second host. Nothing is written there
/// while nobody holds it, unless its last holder was killed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) pid: u32,
    pub(super) since: Timestamp,
    /// Where the process has that number, as the system numbers namespaces of processes; none where it has none.
    #[serde(default)]
    pub(super) pid_namespace: Option<u64>,
    /// Where its pipelines come from; none where it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
}

/// Whether a lock whose process has ended is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Patience {
    UntilLetGo,
    /// For those who try again anyway.
    None,
}

impl HostLock {
    /// Opens the lock file of the database at `database`, and takes no lock.
    ///
    /// The file stays when the lock goes: removing it would let two hosts lock two files of one name.
    pub(super) fn open(database: &Arc<Path>) -> Result<Self> {
        let path = beside(database, ".lock");
        let file = open(&path)?;
        Ok(Self { database: Arc::clone(database), path, file })
    }

    /// Takes the lock, or fails with `Conflict` naming the process that has it. Says since when it is held.
    ///
    /// A host that was killed while it started a child leaves the lock, for a moment, to that child, which lets
    /// go of it when it becomes another program. That moment is waited for, by who has the patience.
    pub(super) async fn take(
        &self,
        clock: &dyn Clock,
        patience: Patience,
        source: Option<&str>,
    ) -> Result<Timestamp> {
        let began = clock.elapsed();
        loop {
            match self.file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(self.failed(error)),
            }
            let owner = owner(&self.file);
            let limit = match &owner {
                _ if patience == Patience::None => Duration::ZERO,
                None => UNSAID_LIMIT,
                Some(owner) if owner.is_gone() => LET_GO_LIMIT,
                Some(_) => Duration::ZERO,
            };
            if clock.elapsed().saturating_sub(began) >= limit {
                return Err(self.held(owner));
            }
            clock.sleep(LOOK_EVERY).await;
        }
        self.note_owner(clock.now(), source)
    }

    fn note_owner(&self, since: Timestamp, source: Option<&str>) -> Result<Timestamp> {
        let source = source.map(str::to_owned);
        let mut owner = Owner { pid: std::process::id(), since, pid_namespace: pid_namespace(), source };
        let mut text = owner.text()?;
        if text.len() > OWNER_MAX_BYTES {
            owner.source = None;
            text = owner.text()?;
        }
        // The lock holds without its text: on a full disk an existing host must still be able to start.
        if let Err(error) = self.write(text.as_bytes()) {
            tracing::warn!(%error, lock = %self.path.display(), "cannot note the owner in the lock file");
        }
        Ok(since)
    }

    /// Writes over what is there, where that takes no room on the disk. The first byte comes last: whoever reads meanwhile
    /// finds no text that is half the one before it.
    fn write(&self, text: &[u8]) -> io::Result<()> {
        let (first, rest) = text.split_at(1);
        self.file.write_all_at(UNFINISHED, 0)?;
        self.file.write_all_at(rest, 1)?;
        self.file.set_len(text.len() as u64)?;
        self.file.write_all_at(first, 0)
    }

    /// Lets go of a lock that is held. Closing would not be enough while a child that is just being started has a copy.
    pub(super) fn release(&self) {
        // First its text: whoever finds the lock taken from now on waits for who takes it.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }

    /// The process that hosts, by what it has written, if that has not ended since.
    pub(super) fn noted(&self) -> Option<u32> {
        owner(&self.file).filter(|owner| !owner.is_gone()).map(|owner| owner.pid)
    }

    /// Where the pipelines of the process that hosts come from, by what it has written.
    pub(super) fn noted_source(&self) -> Option<String> {
        owner(&self.file)?.source
    }

    /// Who holds it, other than this one.
    pub(super) async fn holder(&self, clock: &dyn Clock) -> Result<Option<Owner>> {
        // A lock belongs to the opened file: through the one that may hold it, it would be changed.
        let asking = open(&self.path)?;
        let began = clock.elapsed();
        loop {
            match asking.try_lock_shared() {
                Ok(()) => {
                    let _ = asking.unlock();
                    return Ok(None);
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(self.failed(error)),
            }
            match owner(&asking) {
                Some(owner) if !owner.is_gone() => return Ok(Some(owner)),
                Some(owner) if clock.elapsed().saturating_sub(began) >= UNSAID_LIMIT => {
                    return Ok(Some(owner));
                }
                None if clock.elapsed().saturating_sub(began) >= UNSAID_LIMIT => {
                    let message =
                        "another process hosts, and could not write into the lock file which one it is";
                    return Err(Error::new(ErrorKind::Unavailable, message).with("lock", self.path.display()));
                }
                _ => clock.sleep(LOOK_EVERY).await,
            }
        }
    }

    fn held(&self, owner: Option<Owner>) -> Error {
        let error = Error::new(
            ErrorKind::Conflict,
            "another host has this database open; stop it, use a database of your own, or only submit and read \
             beside it",
        )
        .with("database", self.database.display());
        match owner {
            Some(owner) => error.with("pid", owner.pid).with("since", owner.since),
            None => error,
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::from(error).with("lock", self.path.display())
    }
}

impl AsFd for HostLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Owner {
    fn text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot write the lock's owner").because(error))
    }

    /// Whether its process has ended, as far as that can be known here: in another container it has another number.
    fn is_gone(&self) -> bool {
        if self.pid_namespace.is_some() && self.pid_namespace != pid_namespace() {
            return false;
        }
        match Stat::read(self.pid) {
            Ok(stat) => stat.is_zombie(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// None where the system has no such thing.
fn pid_namespace() -> Option<u64> {
    std::fs::metadata("/proc/self/ns/pid").map(|namespace| namespace.ino()).ok()
}

fn owner(file: &File) -> Option<Owner> {
    let mut text = vec![0; OWNER_MAX_BYTES];
    let read = file.read_at(&mut text, 0).ok()?;
    serde_json::from_slice(&text[..read]).ok()
}

/// Opens a file that is there to be locked or rung, and makes it where there is none.
pub(super) fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| Error::from(error).with("lock", path.display()))
}

/// The path of a file beside the database.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
