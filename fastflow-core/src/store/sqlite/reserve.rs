//! Room kept free for the day the disk is full.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{host::Role, lock::beside, open::folder};

/// The time between two tries to take the room back.
const RETAKE_AFTER: Duration = Duration::from_secs(5);

/// A file beside the database that holds nothing but room. On a full disk SQLite can neither change nor delete a
/// row; giving this file up lets the runs that are open reach their end, while new work is refused.
///
/// The file says to every process that has the database open whether the room was given up: it is empty then. Who makes it
/// first takes the room; after it was given up, only the host takes it back, or who gave it up. Others who did would take
/// it from the runs that it was given up for.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Whether this one has given it up.
    is_giver: bool,
    tried_at: Duration,
}

impl Reserve {
    /// The reserve of `bytes` beside `database`, made where there is none; 0 for none.
    pub(super) fn new(database: &Path, bytes: u64, now: Duration) -> Self {
        let reserve = Self { path: beside(database, ".reserve"), bytes, is_giver: false, tried_at: now };
        let held = reserve.held();
        if held.is_none_or(|held| held > 0 && held < bytes) && !reserve.take() && held.is_none() {
            reserve.make_empty();
        }
        reserve
    }

    /// Gives the room up.
    pub(super) fn spend(&mut self, now: Duration) {
        if self.bytes == 0 || self.held() == Some(0) {
            return;
        }
        self.is_giver = true;
        self.tried_at = now;
        self.make_empty();
        tracing::error!(
            path = %self.path.display(),
            "the disk of the database is full: no new runs until there is room; open runs go on"
        );
    }

    /// Whether the room is gone, after trying to take it back if that is for this one to do and was not tried just now.
    pub(super) fn is_spent(&mut self, role: Role, now: Duration) -> bool {
        if self.bytes == 0 || self.held().is_some_and(|held| held > 0) {
            self.is_giver = false;
            return false;
        }
        let takes = self.is_giver || matches!(role, Role::Host { .. });
        if !takes || now.saturating_sub(self.tried_at) < RETAKE_AFTER {
            return true;
        }
        self.tried_at = now;
        // The room that was given up is free until open runs need it: there must be as much again.
        !(self.is_free(self.bytes.saturating_mul(2)) && self.take())
    }

    /// How large the file is; none where there is none.
    fn held(&self) -> Option<u64> {
        std::fs::metadata(&self.path).map(|file| file.len()).ok()
    }

    fn is_free(&self, bytes: u64) -> bool {
        rustix::fs::statvfs(folder(&self.path))
            .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes)
    }

    fn make_empty(&self) {
        let emptied = OpenOptions::new().write(true).create(true).truncate(true).open(&self.path);
        if let Err(error) = emptied {
            tracing::warn!(%error, path = %self.path.display(), "cannot give up the room for a full disk");
        }
    }

    fn take(&self) -> bool {
        if self.bytes == 0 {
            return true;
        }
        // Under a name of its own: a file that is empty for a moment would refuse the work of other processes.
        let mut partial = self.path.clone().into_os_string();
        partial.push(".partial");
        let taken = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&partial)
            .and_then(|file| allocate(&file, self.bytes))
            .and_then(|()| std::fs::rename(&partial, &self.path));
        let Err(error) = taken else { return true };
        // A file of part of the size would fill the disk and serve nobody.
        let _ = std::fs::remove_file(&partial);
        // Another process may have done it at the same moment.
        let is_there = self.held().is_some_and(|held| held >= self.bytes);
        if !is_there {
            tracing::warn!(%error, path = %self.path.display(), "cannot keep room for a full disk");
        }
        is_there
    }
}

/// Makes the file own its blocks. File systems that cannot promise blocks get them by being written to.
fn allocate(file: &File, bytes: u64) -> std::io::Result<()> {
    static CHUNK: [u8; 64 << 10] = [0x5a; 64 << 10];
    if file.metadata()?.len() == bytes {
        return Ok(());
    }
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    file.set_len(0)?;
    let mut left = bytes;
    let mut file = file;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK.len());
        file.write_all(&CHUNK[..part])?;
        left -= part as u64;
    }
    Ok(())
}
