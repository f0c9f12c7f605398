//! Changes of values. The writer makes each in a transaction of its own, in which it also reads what it depends on.

use sqlx::SqliteConnection;

use crate::{
    Result, Timestamp,
    secret::{SecretName, SecretScope},
    store::{PutSecret, ResealSecret, SecretContent, keep, sqlite::writer::Writer},
};

pub(crate) const SELECT_NEWEST: &str =
    "SELECT max(version) FROM secret_versions WHERE scope = $1 AND name = $2";

/// Puts a value in the place of the one before it, which the connection then wipes from the file (`secure_delete`).
pub(crate) const PUT_SECRET: &str = "
UPDATE secret_versions SET ended_at = $4 WHERE scope = $1 AND name = $2 AND ended_at IS NULL;
INSERT INTO secret_versions (scope, name, version, is_sealed, put_at) VALUES ($1, $2, $3, $5 IS NOT NULL, $4);
INSERT INTO secrets (scope, name, version, put_at, sealed, plain) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (scope, name) DO UPDATE SET version = excluded.version, put_at = excluded.put_at, used_at = NULL,
   used_by = NULL, sealed = excluded.sealed, plain = excluded.plain;
";

/// Removes a value that is there.
pub(crate) const REMOVE_SECRET: &str = "
DELETE FROM secrets WHERE scope = $1 AND name = $2;
UPDATE secret_versions SET ended_at = $3 WHERE scope = $1 AND name = $2 AND ended_at IS NULL;
";

const SELECT_PRESENT: &str = "SELECT version FROM secrets WHERE scope = $1 AND name = $2";

/// Puts the same value under another key, if the row is still as it was read.
pub(crate) const RESEAL_SECRET: &str =
    "UPDATE secrets SET sealed = $5 WHERE scope = $1 AND name = $2 AND version = $3 AND sealed = $4";

/// What is asked for.
#[derive(Debug)]
pub(crate) enum SecretChange {
    Put(PutSecret),
    Remove { scope: SecretScope, name: SecretName, at: Timestamp },
    Reseal(ResealSecret),
}

impl Writer {
    /// Changes one value. False where the row that was to be sealed anew is not there any more.
    pub(crate) async fn change_secret(&mut self, change: &SecretChange) -> Result<bool> {
        let admitted = self.check_file().and_then(|()| match change {
            // A removal makes room.
            SecretChange::Remove { .. } => Ok(()),
            SecretChange::Put(_) | SecretChange::Reseal(_) => self.check_room(),
        });
        admitted.map_err(|fault| fault.error())?;
        self.begin().await.map_err(|fault| fault.error())?;
        let connection = self.connection().await.map_err(|fault| fault.error())?;
        let changed = match change {
            SecretChange::Put(put) => put_secret(connection, put).await,
            SecretChange::Remove { scope, name, at } => remove_secret(connection, scope, name, *at).await,
            SecretChange::Reseal(reseal) => reseal_secret(connection, reseal).await.map(Ok),
        };
        self.committed(changed).await.map_err(|fault| fault.error())?
    }
}

/// The outer error is the database's, the inner one the caller's.
type Changed = std::result::Result<Result<bool>, sqlx::Error>;

async fn put_secret(connection: &mut SqliteConnection, put: &PutSecret) -> Changed {
    let (scope, name) = (put.scope.to_string(), put.name.as_str().to_owned());
    let newest: Option<i64> = sqlx::query_scalar(SELECT_NEWEST)
        .bind(scope.clone())
        .bind(name.clone())
        .fetch_one(&mut *connection)
        .await?;
    let newest = u32::try_from(newest.unwrap_or(0)).unwrap_or(u32::MAX);
    if let Err(stale) = keep::check_version(put, newest) {
        return Ok(Err(stale));
    }
    let (sealed, plain) = match &put.content {
        SecretContent::Sealed(envelope) => (Some(envelope.as_bytes().to_vec()), None),
        SecretContent::Parameter(text) => (None, Some(text.clone())),
    };
    sqlx::query(PUT_SECRET)
        .bind(scope)
        .bind(name)
        .bind(i64::from(put.version.get()))
        .bind(put.at.as_microsecond())
        .bind(sealed)
        .bind(plain)
        .execute(connection)
        .await?;
    Ok(Ok(true))
}

async fn remove_secret(
    connection: &mut SqliteConnection,
    scope: &SecretScope,
    name: &SecretName,
    at: Timestamp,
) -> Changed {
    let present: Option<i64> = sqlx::query_scalar(SELECT_PRESENT)
        .bind(scope.to_string())
        .bind(name.as_str().to_owned())
        .fetch_optional(&mut *connection)
        .await?;
    if present.is_none() {
        return Ok(Err(keep::no_such_secret(scope, name)));
    }
    sqlx::query(REMOVE_SECRET)
        .bind(scope.to_string())
        .bind(name.as_str().to_owned())
        .bind(at.as_microsecond())
        .execute(connection)
        .await?;
    Ok(Ok(true))
}

async fn reseal_secret(
    connection: &mut SqliteConnection,
    reseal: &ResealSecret,
) -> std::result::Result<bool, sqlx::Error> {
    let done = sqlx::query(RESEAL_SECRET)
        .bind(reseal.scope.to_string())
        .bind(reseal.name.as_str().to_owned())
        .bind(i64::from(reseal.version.get()))
        .bind(reseal.from.as_bytes().to_vec())
        .bind(reseal.to.as_bytes().to_vec())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}
