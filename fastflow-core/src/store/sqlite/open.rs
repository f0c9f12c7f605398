//! Opening a database file: the checks before it, and its connections.

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{SqliteOptions, batch::FENCE, codec::Columns, fault::Fault};
use crate::{Error, ErrorKind, Result};

/// How long a statement waits for another process that writes, or holds the file as a backup tool does.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a read waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read at one time.
const READERS: u32 = 4;
/// A reader that was not used so long is closed.
const READER_IDLE: Duration = Duration::from_mins(1);
/// Memory for pages, in KiB, of the writer and of each reader.
const WRITER_CACHE_KIB: u32 = 8 << 10;
const READER_CACHE_KIB: u32 = 2 << 10;
/// The write-ahead log is moved into the database when it holds so many pages (of 4 KiB).
const CHECKPOINT_PAGES: u32 = 2000;
/// What a write-ahead log that has grown is cut back to.
const WAL_KEEP_BYTES: u32 = 16 << 20;

fn options(path: &Path) -> SqliteConnectOptions {
    // No memory mapping: a failing disk would then kill the process instead of failing a call.
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .pragma("mmap_size", "0")
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

/// The one connection of this process that writes.
pub(super) async fn writer(path: &Path) -> std::result::Result<SqliteConnection, sqlx::Error> {
    let mut connection = options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("journal_size_limit", WAL_KEEP_BYTES.to_string())
        // What a secret was before must not be found in what the file has no use for.
        .pragma("secure_delete", "on")
        .connect()
        .await?;
    sqlx::query(FENCE).execute(&mut connection).await?;
    Ok(connection)
}

/// A connection that only looks at what is there.
pub(super) async fn looker(path: &Path) -> std::result::Result<SqliteConnection, sqlx::Error> {
    options(path).read_only(true).connect().await
}

/// The connections that read, opened as they are needed.
pub(super) fn readers(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .min_connections(0)
        .idle_timeout(READER_IDLE)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .connect_lazy_with(options(path).read_only(true).pragma("cache_size", format!("-{READER_CACHE_KIB}")))
}

/// Checks what must be known before anything touches the file.
pub(super) fn check_place(path: &Path, options: &SqliteOptions) -> Result<()> {
    if path.is_dir() {
        return Err(Error::new(ErrorKind::Invalid, "the database's path is a folder; name a file in it")
            .with("database", path.display()));
    }
    if !options.network_file_system && is_network_file_system(folder(path))? {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the database would be on a network file system, whose locks cannot be trusted; put it on a local \
             disk, or allow it by `SqliteOptions::network_file_system`",
        )
        .with("database", path.display()));
    }
    Ok(())
}

pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(target_os = "linux")]
fn is_network_file_system(dir: &Path) -> Result<bool> {
    /// NFS, SMB (three times), 9p, FUSE, Ceph, AFS, Coda, Lustre, GFS2, OCFS2: statfs(2).
    const MAGIC: [u32; 12] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x0102_1997,
        0x6573_5546,
        0x00c3_6400,
        0x5346_414f,
        0x7375_7245,
        0x0bd0_0bd0,
        0x0116_1970,
        0x7461_636f,
    ];
    let found = rustix::fs::statfs(dir)
        .map_err(|error| Error::from(std::io::Error::from(error)).with("folder", dir.display()))?;
    // The magic number is 32 bits wide, whatever the width and sign of the field.
    Ok(MAGIC.iter().any(|magic| i128::from(found.f_type) & 0xffff_ffff == i128::from(*magic)))
}

#[cfg(not(target_os = "linux"))]
fn is_network_file_system(_dir: &Path) -> Result<bool> {
    Ok(false)
}

/// Walks the whole file, when it is no larger than `max_bytes`.
pub(super) async fn quick_check(
    connection: &mut SqliteConnection,
    path: &Arc<Path>,
    max_bytes: u64,
) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > max_bytes) {
        return Ok(());
    }
    let row = sqlx::query("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|error| Fault::of(&error, path).error())?;
    match Columns::of(&row).text()? {
        "ok" => Ok(()),
        damage => Err(Error::new(
            ErrorKind::Corrupt,
            "the database file is damaged; put a backup (`<database>.backup-v…`) in its place, or recover it with \
             the `sqlite3` tool",
        )
        .with("database", path.display())
        .because(damage.to_owned())),
    }
}
