//! Room kept free for the day the disk is full.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use super::lock::beside;

/// The time between two tries to take the room back.
const RETAKE_AFTER: Duration = Duration::from_secs(5);

/// A file beside the database that holds nothing but room. On a full disk SQLite can neither change nor delete a
/// row; giving this file up lets the runs that are open reach their end, while new work is refused.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    spent_at: Option<Duration>,
}

impl Reserve {
    /// A reserve of `bytes` beside `database`; 0 for none.
    pub(super) fn new(database: &Path, bytes: u64, now: Duration) -> Self {
        let mut reserve = Self { path: beside(database, ".reserve"), bytes, spent_at: None };
        if bytes > 0 && !reserve.take() {
            reserve.spent_at = Some(now);
        }
        reserve
    }

    /// Gives the room up. False when there is none left to give.
    pub(super) fn spend(&mut self, now: Duration) -> bool {
        if self.bytes == 0 || self.spent_at.is_some() {
            return false;
        }
        self.spent_at = Some(now);
        match std::fs::remove_file(&self.path) {
            Ok(()) => {
                tracing::error!(
                    path = %self.path.display(),
                    "the disk of the database is full: no new runs until there is room; open runs go on"
                );
                true
            }
            Err(_) => false,
        }
    }

    /// Whether the room is gone, after trying to take it back if that was not tried just now.
    pub(super) fn is_spent(&mut self, now: Duration) -> bool {
        if let Some(tried) = self.spent_at
            && now.saturating_sub(tried) >= RETAKE_AFTER
        {
            self.spent_at = if self.take() { None } else { Some(now) };
        }
        self.spent_at.is_some()
    }

    fn take(&self) -> bool {
        let taken = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .and_then(|file| allocate(&file, self.bytes));
        if let Err(error) = &taken {
            tracing::warn!(%error, path = %self.path.display(), "cannot keep room for a full disk");
            // A file of part of the size would fill the disk and serve nobody.
            let _ = std::fs::remove_file(&self.path);
        }
        taken.is_ok()
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
