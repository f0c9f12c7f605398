//! What a failure of SQLite means, by its result code and never by its text.

use std::{path::Path, sync::Arc};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::{Error, ErrorKind};

/// Below this many free bytes, a failed write is taken for a full disk even where SQLite only says "I/O error",
/// as it does for a quota.
const FULL_BELOW_BYTES: u64 = 64 << 10;

/// More files than a store has open at one time when it is opened.
const FILES_OF_STORE: usize = 16;

/// A failure that every command of one batch is answered with.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: ErrorKind,
    message: &'static str,
    path: Arc<Path>,
    cause: Option<Arc<str>>,
    host: Option<u32>,
}

impl Fault {
    pub(super) fn new(kind: ErrorKind, message: &'static str, path: &Arc<Path>) -> Self {
        Self { kind, message, path: Arc::clone(path), cause: None, host: None }
    }

    pub(super) fn of(error: &sqlx::Error, path: &Arc<Path>) -> Self {
        let (kind, message) = classify(error, path);
        Self { kind, message, path: Arc::clone(path), cause: Some(error.to_string().into()), host: None }
    }

    /// Names the process that hosts: the first to look at when one that writes does not go on.
    pub(super) fn beside(self, host: Option<u32>) -> Self {
        Self { host, ..self }
    }

    pub(super) fn error(&self) -> Error {
        let mut error = Error::new(self.kind, self.message).with("database", self.path.display());
        if let Some(host) = self.host {
            error = error.with("host_pid", host);
        }
        match &self.cause {
            Some(cause) => error.because(cause.to_string()),
            None => error,
        }
    }
}

/// The extended result code, if SQLite said this.
pub(super) fn result_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// Whether another connection kept this one from writing for too long.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    result_code(error).is_some_and(|code| code & 0xff == 5)
}

fn classify(error: &sqlx::Error, path: &Path) -> (ErrorKind, &'static str) {
    const CLOSED: (ErrorKind, &str) = (ErrorKind::Unavailable, "the store is closed");
    const FULL: (ErrorKind, &str) =
        (ErrorKind::StorageFull, "the disk of the database is full; make room on it");
    match error {
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => return CLOSED,
        sqlx::Error::PoolTimedOut => {
            return (ErrorKind::Unavailable, "all connections to the database are in use; try again");
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            return (ErrorKind::Corrupt, "the database holds a value of an unexpected form");
        }
        _ => {}
    }
    // The primary codes, and the one extended code that says more: https://sqlite.org/rescode.html
    let Some(code) = result_code(error) else {
        return (ErrorKind::Internal, "the database call failed");
    };
    if code == 4874 {
        return FULL; // IOERR_SHMSIZE: the file beside the database could not grow
    }
    match code & 0xff {
        3 | 8 | 23 => (ErrorKind::Denied, "the database file or its folder is not writable"),
        5 | 6 | 15 | 17 => (ErrorKind::Unavailable, "another process holds the database; try again"),
        10 if is_full(path) => FULL,
        10 => (ErrorKind::Unavailable, "the disk of the database failed to read or write"),
        11 | 26 => (
            ErrorKind::Corrupt,
            "the database file is damaged; put a backup in its place, or recover it with the `sqlite3` tool",
        ),
        13 => FULL,
        14 if lacks_descriptors(path) => (
            ErrorKind::Unavailable,
            "this process or the machine has no file descriptor left for the database",
        ),
        14 => (ErrorKind::Denied, "the database file or its folder cannot be opened"),
        _ => (ErrorKind::Internal, "the database refused a statement"),
    }
}

/// SQLite says only that it could not open a file, and has let go of the others by then. Whether that was for want of a
/// descriptor shows when as many are opened at one time.
fn lacks_descriptors(path: &Path) -> bool {
    let dir = path.parent().unwrap_or(path);
    let open = |_| rustix::fs::open(dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened: Result<Vec<_>, _> = (0..FILES_OF_STORE).map(open).collect();
    matches!(opened, Err(Errno::MFILE | Errno::NFILE))
}

fn is_full(path: &Path) -> bool {
    let dir = path.parent().unwrap_or(path);
    rustix::fs::statvfs(dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL_BELOW_BYTES)
}
