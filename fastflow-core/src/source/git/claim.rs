//! That a folder belongs to one source at a time, also when the host that had it is shut down and its work not over.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::{mirror, watch::TICK};
use crate::{Error, ErrorKind, Result};

/// How often it is tried, once a tick: ten seconds. What was told to end ends sooner.
const MAX_TRIES: u32 = 100;

/// The folder of a source. Its works share one claim, which ends with the last of them.
#[derive(Debug)]
pub(super) struct Claims {
    folder: PathBuf,
    current: Mutex<Weak<Claim>>,
}

/// A folder that nobody else changes as long as this is held.
#[derive(Debug)]
pub(super) struct Claim {
    /// Its lock goes when it is closed.
    _lock: File,
}

impl Claims {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, current: Mutex::default() }
    }

    /// Takes the folder, and waits a while for another source to let go of it. Blocks.
    ///
    /// # Errors
    ///
    /// `Unavailable` when another source is at work there, or nobody waits for this one any more.
    pub(super) fn take(&self, interrupt: &AtomicBool) -> Result<Arc<Claim>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claim) = current.upgrade() {
            return Ok(claim);
        }
        mirror::make_closed(&self.folder)?;
        let path = self.folder.join("lock");
        let failed = |error| Error::from(error).with("lock", path.display());
        // It stays when it is let go of: removing it would let two sources lock two files of one name.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        for _ in 0..MAX_TRIES {
            match file.try_lock() {
                Ok(()) => {
                    let claim = Arc::new(Claim { _lock: file });
                    *current = Arc::downgrade(&claim);
                    return Ok(claim);
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            if interrupt.load(Ordering::Acquire) {
                return Err(broken_off());
            }
            thread::park_timeout(TICK);
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "another source is at work in this folder, which belongs to one",
        )
        .with("folder", self.folder.display()))
    }
}

/// Nobody waits for this any more.
pub(super) fn broken_off() -> Error {
    Error::new(ErrorKind::Unavailable, "the work on the repository was broken off by its host")
}
