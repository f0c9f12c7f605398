//! The schema, moved forward and never back.

use std::{fs::File, path::Path};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteRow};

use super::{codec::Columns, fault::Fault, lock::beside, open};
use crate::{Error, ErrorKind, Result, Timestamp};

/// One step of the schema.
#[derive(Debug)]
pub(super) struct Migration {
    /// The schema's version after it.
    version: u32,
    /// The oldest version of this library, by its own schema, that may open a database after it.
    min_reader: u32,
    sql: &'static str,
}

/// All steps, in their order. A published step never changes.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, min_reader: 1, sql: include_str!("migrations/0001_initial.sql") },
    Migration { version: 2, min_reader: 1, sql: include_str!("migrations/0002_queue_by_spec.sql") },
    Migration { version: 3, min_reader: 3, sql: include_str!("migrations/0003_schedules.sql") },
    Migration { version: 4, min_reader: 4, sql: include_str!("migrations/0004_sources.sql") },
    Migration { version: 5, min_reader: 4, sql: include_str!("migrations/0005_packages.sql") },
    // An earlier version would start what is queued without the secrets that it asks for.
    Migration { version: 6, min_reader: 6, sql: include_str!("migrations/0006_secrets.sql") },
];

const VERSION_TABLE: &str = "CREATE TABLE schema_version (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    version     INTEGER NOT NULL,
    min_reader  INTEGER NOT NULL,
    migrated_at INTEGER NOT NULL
) STRICT";

const SET_VERSION: &str =
    "INSERT OR REPLACE INTO schema_version (id, version, min_reader, migrated_at) VALUES (1, $1, $2, $3)";

/// Brings the schema to the last of `migrations`, in one transaction and after a backup of what is there.
///
/// # Errors
///
/// `Unsupported` when the database needs a newer version of this library; `Invalid` when it is somebody else's.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    migrations: &[Migration],
    path: &std::sync::Arc<Path>,
    now: Timestamp,
) -> Result<()> {
    let fault = |error: sqlx::Error| Fault::of(&error, path).error();
    let stored = stored_version(connection, path).await?;
    let pending = pending(migrations, stored, path)?;
    if pending.is_empty() {
        return Ok(());
    }
    let from = stored.map_or(0, |(version, _)| version);
    if from > 0 {
        back_up(connection, path, from).await?;
    }
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(fault)?;
    let applied = apply(connection, &pending, now).await;
    if applied.is_err() {
        // Whatever goes wrong here, the transaction was never committed.
        let _ = sqlx::query("ROLLBACK").execute(connection).await;
    }
    applied.map_err(fault)
}

/// Whether there is a database whose schema needs nothing done to it. Nothing is made or changed.
///
/// # Errors
///
/// As [`migrate`].
pub(super) async fn is_current(path: &std::sync::Arc<Path>, migrations: &[Migration]) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let mut connection = open::looker(path).await.map_err(|error| Fault::of(&error, path).error())?;
    let stored = stored_version(&mut connection, path).await?;
    // All that there could be to say was said by what was read.
    let _ = connection.close().await;
    Ok(stored.is_some() && pending(migrations, stored, path)?.is_empty())
}

/// The steps that a database lacks whose version and `min_reader` are these.
fn pending<'a>(
    migrations: &'a [Migration],
    stored: Option<(i64, i64)>,
    path: &std::sync::Arc<Path>,
) -> Result<Vec<&'a Migration>> {
    let newest = migrations.last().map_or(0, |last| last.version);
    if let Some((version, min_reader)) = stored
        && i64::from(newest) < min_reader
    {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a newer version of fast-flow wrote this database; use that version or a newer one",
        )
        .with("database", path.display())
        .with("schema_of_database", version)
        .with("schema_of_this_version", newest));
    }
    let from = stored.map_or(0, |(version, _)| version);
    Ok(migrations.iter().filter(|step| i64::from(step.version) > from).collect())
}

async fn apply(
    connection: &mut SqliteConnection,
    pending: &[&Migration],
    now: Timestamp,
) -> std::result::Result<(), sqlx::Error> {
    for step in pending {
        if step.version == 1 {
            sqlx::query(VERSION_TABLE).execute(&mut *connection).await?;
        }
        sqlx::raw_sql(step.sql).execute(&mut *connection).await?;
        sqlx::query(SET_VERSION)
            .bind(i64::from(step.version))
            .bind(i64::from(step.min_reader))
            .bind(now.as_microsecond())
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("COMMIT").execute(connection).await.map(drop)
}

/// Version and `min_reader` of the database; none when it is empty.
async fn stored_version(
    connection: &mut SqliteConnection,
    path: &std::sync::Arc<Path>,
) -> Result<Option<(i64, i64)>> {
    let fault = |error: sqlx::Error| Fault::of(&error, path).error();
    let tables: SqliteRow = sqlx::query(
        "SELECT count(*), coalesce(sum(name = 'schema_version'), 0) FROM sqlite_schema WHERE type = 'table'",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(fault)?;
    let mut columns = Columns::of(&tables);
    match (columns.int()?, columns.int()?) {
        (0, _) => return Ok(None),
        (_, 0) => {
            return Err(Error::new(
                ErrorKind::Invalid,
                "this database belongs to another program; choose a file of your own",
            )
            .with("database", path.display()));
        }
        _ => {}
    }
    let row = sqlx::query("SELECT version, min_reader FROM schema_version WHERE id = 1")
        .fetch_one(connection)
        .await
        .map_err(fault)?;
    let mut columns = Columns::of(&row);
    Ok(Some((columns.int()?, columns.int()?)))
}

/// Copies the database to `<database>.backup-v<version>`, which exists only when it is whole.
async fn back_up(connection: &mut SqliteConnection, path: &std::sync::Arc<Path>, version: i64) -> Result<()> {
    let target = beside(path, &format!(".backup-v{version}"));
    let partial = beside(path, &format!(".backup-v{version}.partial"));
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let text = partial.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "the database's path must be UTF-8").with("database", path.display())
    })?;
    sqlx::query("VACUUM INTO $1")
        .bind(text.to_owned())
        .execute(connection)
        .await
        .map_err(|error| Fault::of(&error, path).error())?;
    let published = (|| {
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, &target)?;
        target.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    })();
    published.map_err(|error: std::io::Error| Error::from(error).with("backup", target.display()))?;
    tracing::info!(backup = %target.display(), "kept a copy of the database before its schema moves forward");
    Ok(())
}

#[cfg(test)]
mod tests;
