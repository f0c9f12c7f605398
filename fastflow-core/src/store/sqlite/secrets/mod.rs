//! Sealed values and parameters, as rows.

pub(super) mod change;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use sqlx::sqlite::SqliteRow;

pub(super) use self::change::SecretChange;
use super::{
    SqliteStore,
    codec::{self, Columns},
};
use crate::{
    Error, Result,
    secret::{Envelope, MasterKeyId, SecretName, SecretScope},
    store::{SecretContent, SecretLastUse, SecretQuery, SecretRecord, SecretVersion, keep},
};

/// The bound behind all scopes: no text comes after it.
const BEHIND_ALL: &str = "\u{10FFFF}";

/// What is read of a value, and whether it is the one in force: the newest that there ever was, and neither replaced nor
/// removed since. Whoever puts an older row back is found out here.
macro_rules! secret_columns {
    () => {
        "s.scope, s.name, s.version, s.sealed, s.plain, s.put_at, s.used_at, s.used_by, coalesce((
             SELECT v.version = s.version AND v.ended_at IS NULL AND v.is_sealed = (s.sealed IS NOT NULL)
             FROM secret_versions AS v WHERE v.scope = s.scope AND v.name = s.name ORDER BY v.version DESC LIMIT 1), 0)"
    };
}

pub(super) const SELECT_FOUND: &str = concat!(
    "SELECT ",
    secret_columns!(),
    " FROM json_each($1) AS wanted_scopes CROSS JOIN json_each($2) AS wanted_names
     CROSS JOIN secrets AS s ON s.scope = wanted_scopes.value AND s.name = wanted_names.value"
);

pub(super) const SELECT_SECRETS: &str = concat!(
    "SELECT ",
    secret_columns!(),
    " FROM secrets AS s WHERE (s.scope, s.name) > ($1, $2) AND s.scope <= $3 ORDER BY s.scope, s.name LIMIT $4"
);

/// The first values under each key but one, and of these the first: those under that key are never looked at, so that a
/// page of a rotation costs the same at its end as at its beginning.
pub(super) const SELECT_SECRETS_NOT_UNDER: &str = concat!(
    "WITH RECURSIVE wanted_keys (id) AS (
         SELECT min(sealed_with) FROM secrets WHERE sealed_with IS NOT NULL
         UNION ALL
         SELECT (SELECT min(sealed_with) FROM secrets WHERE sealed_with > wanted_keys.id) FROM wanted_keys
         WHERE wanted_keys.id IS NOT NULL)
     SELECT ",
    secret_columns!(),
    " FROM wanted_keys CROSS JOIN json_each((SELECT json_group_array(id) FROM (
         SELECT id FROM secrets INDEXED BY secrets_by_key
         WHERE sealed_with = wanted_keys.id AND (scope, name) > ($1, $2) AND scope <= $3
         ORDER BY scope, name LIMIT $4))) AS wanted
     CROSS JOIN secrets AS s ON s.id = wanted.value
     WHERE wanted_keys.id <> $5 ORDER BY s.scope, s.name LIMIT $4"
);

pub(super) const SELECT_VERSIONS: &str = "SELECT version, is_sealed, put_at, ended_at FROM secret_versions
     WHERE scope = $1 AND name = $2 ORDER BY version DESC LIMIT $3";

pub(super) const SELECT_BY_KEY: &str = "SELECT sealed_with, count(*) FROM secrets INDEXED BY secrets_by_key
     WHERE sealed_with IS NOT NULL GROUP BY sealed_with";

impl SqliteStore {
    pub(super) async fn read_found(
        &self,
        scopes: &[SecretScope],
        names: &BTreeSet<SecretName>,
    ) -> Result<Vec<SecretRecord>> {
        let scopes: BTreeSet<String> = scopes.iter().map(SecretScope::to_string).collect();
        let rows = sqlx::query(SELECT_FOUND)
            .bind(codec::to_json(&scopes)?)
            .bind(codec::to_json(names)?)
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        rows.iter().map(|row| keep::check_newest(record(row)?)).collect()
    }

    pub(super) async fn read_secrets(&self, query: &SecretQuery) -> Result<Vec<SecretRecord>> {
        let (scope, name, through) = bounds(query);
        let text = if query.not_under.is_some() { SELECT_SECRETS_NOT_UNDER } else { SELECT_SECRETS };
        let mut select = sqlx::query(text)
            .bind(scope)
            .bind(name)
            .bind(through)
            .bind(i64::from(query.limit.min(SecretQuery::MAX_LIMIT).get()));
        if let Some(key) = query.not_under {
            select = select.bind(key.as_bytes().to_vec());
        }
        let rows = select.fetch_all(self.readers()).await.map_err(|error| self.fault(&error))?;
        rows.iter().map(record).collect()
    }

    pub(super) async fn read_versions(
        &self,
        scope: &SecretScope,
        name: &SecretName,
    ) -> Result<Vec<SecretVersion>> {
        let rows = sqlx::query(SELECT_VERSIONS)
            .bind(scope.to_string())
            .bind(name.as_str().to_owned())
            .bind(i64::from(SecretQuery::MAX_LIMIT.get()))
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        rows.iter().map(version).collect()
    }

    pub(super) async fn read_by_key(&self) -> Result<BTreeMap<MasterKeyId, u64>> {
        let rows = sqlx::query(SELECT_BY_KEY).fetch_all(self.readers()).await;
        let rows = rows.map_err(|error| self.fault(&error))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row);
                let id = columns.maybe_bytes()?.and_then(|id| id.try_into().ok());
                let id = id.ok_or_else(|| codec::corrupt("the id of a key of the wrong length"))?;
                Ok((MasterKeyId::from_bytes(id), columns.count()?))
            })
            .collect()
    }
}

/// What a page comes after, and its last scope. No name is empty, so all of a scope comes after its empty one.
fn bounds(query: &SecretQuery) -> (String, String, String) {
    let after = query.after.as_ref().map(|(scope, name)| (scope.to_string(), name.as_str().to_owned()));
    let scope = query.scope.as_ref().map(SecretScope::to_string);
    let begin = scope.clone().map(|scope| (scope, String::new()));
    let (after_scope, after_name) = after.max(begin).unwrap_or_default();
    (after_scope, after_name, scope.unwrap_or_else(|| BEHIND_ALL.to_owned()))
}

/// A value, in force or not.
fn record(row: &SqliteRow) -> Result<SecretRecord> {
    let mut columns = Columns::of(row);
    let scope: SecretScope = columns.text()?.parse()?;
    let name: SecretName = columns.text()?.parse()?;
    let version = number(&mut columns)?;
    let named = |error: Error| error.with("scope", &scope).with("name", &name).with("version", version);
    let content = match (columns.maybe_bytes()?, columns.maybe_text()?) {
        (Some(sealed), None) => SecretContent::Sealed(Envelope::from_bytes(sealed.to_vec()).map_err(named)?),
        (None, Some(plain)) => SecretContent::Parameter(plain.to_owned()),
        _ => return Err(named(codec::corrupt("a value that is both sealed and not, or neither"))),
    };
    let put_at = columns.instant()?;
    let last_use = columns.maybe_instant()?.zip(columns.maybe_run_id()?);
    let is_newest = columns.int()? == 1;
    let last_use = last_use.map(|(at, run)| SecretLastUse { at, run });
    Ok(SecretRecord { scope, name, version, content, put_at, last_use, is_newest })
}

fn version(row: &SqliteRow) -> Result<SecretVersion> {
    let mut columns = Columns::of(row);
    Ok(SecretVersion {
        version: number(&mut columns)?,
        is_sealed: columns.int()? == 1,
        put_at: columns.instant()?,
        ended_at: columns.maybe_instant()?,
    })
}

fn number(columns: &mut Columns<'_>) -> Result<NonZeroU32> {
    NonZeroU32::new(columns.count()?).ok_or_else(|| codec::corrupt("a version that is 0"))
}
