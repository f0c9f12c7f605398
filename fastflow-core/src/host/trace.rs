//! What can be seen of a file from outside. It may be a program's own, who puts anything there: what is no regular file
//! is none, and no link is followed.

use std::{path::Path, time::Duration};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::Timestamp;

/// How a file was left: its size, and when it was last touched. Writing to it touches it, even if there is no room for
/// what is written: on a full disk nobody looks silent who is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Trace {
    bytes: i64,
    seconds: i64,
    nanos: i32,
}

impl Trace {
    /// Its size.
    pub(super) fn bytes(self) -> u64 {
        u64::try_from(self.bytes).unwrap_or_default()
    }

    /// How long ago it was touched; nothing for a time that is still to come.
    pub(super) fn age(self, now: Timestamp) -> Option<Duration> {
        let touched = Timestamp::new(self.seconds, self.nanos).ok()?;
        Some(Duration::try_from(now.duration_since(touched)).unwrap_or_default())
    }
}

/// The trace of the file `name` in `dir`, neither of which is a link.
pub(super) fn of(dir: &Path, name: &str) -> Option<Trace> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Some(Trace { bytes: stat.st_size, seconds: stat.st_mtime, nanos })
}
