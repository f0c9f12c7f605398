//! Environments with their packages, who used them, and audits, as rows.

use std::{collections::HashMap, num::NonZeroU32};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    SqliteStore,
    codec::{self, Columns},
};
use crate::{
    Error, ErrorKind, Result, RunId,
    environment::{EnvironmentId, Package},
    run::{Setup, SetupEnvironment},
    store::{Audit, EnvironmentPackages, PackageInEnvironment, PackageQuery, PackageUse, Page},
};

/// Whether an environment is recorded, and whether its packages are known.
const SELECT_KNOWN: &str = "SELECT known FROM environments WHERE digest = $1";

/// Records an environment that is not recorded, or of which nobody could say the packages.
const PUT_ENVIRONMENT: &str = "
INSERT INTO environments (digest, lock_hash, python_version, uv_version, recorded_at, known)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (digest) DO UPDATE SET recorded_at = excluded.recorded_at, known = excluded.known;
INSERT INTO packages (hash, name, body) SELECT unhex(value->>0), value->>1, value->>2 FROM json_each($7) WHERE true
ON CONFLICT (hash) DO NOTHING;
INSERT INTO environment_packages (environment, package)
SELECT DISTINCT e.id, p.id FROM environments AS e CROSS JOIN json_each($7) AS v
CROSS JOIN packages AS p ON p.hash = unhex(v.value->>0) WHERE e.digest = $1;
";

pub(super) const SELECT_ENVIRONMENT: &str =
    "SELECT lock_hash, python_version, uv_version, recorded_at, known FROM environments
     WHERE digest = $1";

pub(super) const SELECT_PACKAGES: &str = "SELECT p.body FROM environments AS e
     CROSS JOIN environment_packages AS ep ON ep.environment = e.id CROSS JOIN packages AS p ON p.id = ep.package
     WHERE e.digest = $1";

/// Environments that attempts name and that are not recorded, each with what one of those attempts keeps.
const SELECT_UNRECORDED: &str = "
SELECT (SELECT a.setup FROM attempts AS a WHERE a.environment = u.environment LIMIT 1)
FROM (SELECT DISTINCT environment FROM environment_uses) AS u
WHERE NOT EXISTS (SELECT 1 FROM environments AS e WHERE e.digest = u.environment) ORDER BY u.environment LIMIT $1";

pub(super) const SELECT_NAMED: &str = "SELECT id, body FROM packages WHERE name = $1";

/// The environments that have one of some packages.
macro_rules! having {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM json_each($1) AS wanted
              CROSS JOIN environment_packages AS ep INDEXED BY environments_of_package ON ep.package = wanted.value
              CROSS JOIN environments AS e ON e.id = ep.environment",
            $rest
        )
    };
}

pub(super) const SELECT_ENVIRONMENTS: &str = having!("e.digest, ep.package", " ORDER BY e.id DESC LIMIT $2");

pub(super) const SELECT_PIPELINES: &str = having!(
    "DISTINCT p.name",
    " CROSS JOIN environment_uses AS u ON u.environment = e.digest CROSS JOIN pipelines AS p ON p.id = u.pipeline
      ORDER BY p.name"
);

/// The newest runs of each environment, and of these the newest: what is older is not looked at.
pub(super) const SELECT_RUNS: &str = concat!(
    "SELECT DISTINCT unhex(wanted_runs.value) FROM (",
    having!("DISTINCT e.digest AS digest", ""),
    ") AS wanted_environments CROSS JOIN json_each((SELECT json_group_array(hex(run)) FROM (
         SELECT DISTINCT a.run AS run FROM attempts AS a
         WHERE a.environment = wanted_environments.digest AND a.run < $2 ORDER BY a.run DESC LIMIT $3))) AS wanted_runs
     ORDER BY 1 DESC LIMIT $3"
);

const SELECT_UNKNOWN: &str = "
SELECT count(*) FROM (SELECT DISTINCT environment FROM environment_uses) AS u
WHERE NOT EXISTS (SELECT 1 FROM environments AS e WHERE e.digest = u.environment AND e.known = 1)";

/// Environments that could be audited and have no answer.
const SELECT_UNAUDITED: &str = "
SELECT e.digest FROM environments AS e WHERE e.known = 1 AND NOT EXISTS (
    SELECT 1 FROM audits AS a WHERE a.environment = e.digest
    AND (a.body->'$.outcome.clean' IS NOT NULL OR a.body->'$.outcome.vulnerable' IS NOT NULL))
ORDER BY e.id DESC LIMIT $1";

/// Keeps an audit, and of each environment the newest.
const PUT_AUDIT: &str = "
INSERT INTO audits (environment, body) VALUES ($1, $2);
DELETE FROM audits WHERE environment = $1 AND id NOT IN (
    SELECT id FROM audits WHERE environment = $1 ORDER BY id DESC LIMIT $3);
";

const SELECT_AUDITS: &str = "SELECT body FROM audits ORDER BY id DESC LIMIT $1";
pub(super) const SELECT_AUDITS_OF: &str =
    "SELECT body FROM audits WHERE environment = $2 ORDER BY id DESC LIMIT $1";

/// An environment as the parameters of [`put_environment`].
#[derive(Debug)]
pub(super) struct EnvironmentRows {
    environment: EnvironmentPackages,
    packages: String,
}

/// An audit as the parameters of [`put_audit`].
#[derive(Debug)]
pub(super) struct AuditRow {
    environment: String,
    body: String,
}

impl EnvironmentRows {
    pub(super) fn new(environment: EnvironmentPackages) -> Result<Self> {
        let row = |package: &Package| {
            let body = codec::to_json(package)?;
            Ok(json!([codec::hex(&Sha256::digest(body.as_bytes())), package.name.as_str(), body]))
        };
        let packages = environment.packages.iter().flatten().map(row).collect::<Result<Vec<_>>>()?;
        Ok(Self { packages: codec::to_json(&packages)?, environment })
    }
}

impl AuditRow {
    pub(super) fn new(audit: &Audit) -> Result<Self> {
        Ok(Self { environment: audit.environment.to_string(), body: codec::to_json(audit)? })
    }
}

pub(super) async fn put_environment(
    connection: &mut SqliteConnection,
    rows: &EnvironmentRows,
) -> std::result::Result<(), sqlx::Error> {
    let EnvironmentRows { environment, packages } = rows;
    let known: Option<i64> = sqlx::query_scalar(SELECT_KNOWN)
        .bind(environment.environment.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    let is_news = known.is_none() || known == Some(0) && environment.packages.is_some();
    if !is_news {
        return Ok(());
    }
    sqlx::query(PUT_ENVIRONMENT)
        .bind(environment.environment.to_string())
        .bind(environment.lock_hash.clone())
        .bind(environment.python_version.clone())
        .bind(environment.uv_version.clone())
        .bind(environment.recorded_at.as_microsecond())
        .bind(i64::from(environment.packages.is_some()))
        .bind(packages.clone())
        .execute(connection)
        .await
        .map(drop)
}

pub(super) async fn put_audit(
    connection: &mut SqliteConnection,
    row: &AuditRow,
) -> std::result::Result<(), sqlx::Error> {
    sqlx::query(PUT_AUDIT)
        .bind(row.environment.clone())
        .bind(row.body.clone())
        .bind(i64::from(Audit::KEPT_MAX))
        .execute(connection)
        .await
        .map(drop)
}

impl SqliteStore {
    pub(super) async fn read_environment(&self, id: &EnvironmentId) -> Result<EnvironmentPackages> {
        let fault = |error: sqlx::Error| self.fault(&error);
        // In one view of the database, like every other answer.
        let mut view = self.readers().begin().await.map_err(fault)?;
        let row = sqlx::query(SELECT_ENVIRONMENT).bind(id.to_string()).fetch_optional(&mut *view);
        let row = row.await.map_err(fault)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "this environment is not recorded").with("environment", id)
        })?;
        let packages = sqlx::query(SELECT_PACKAGES).bind(id.to_string()).fetch_all(&mut *view);
        let packages = packages.await.map_err(fault)?;
        let mut columns = Columns::of(&row);
        let mut environment = EnvironmentPackages {
            environment: id.clone(),
            lock_hash: columns.text()?.to_owned(),
            python_version: columns.text()?.to_owned(),
            uv_version: columns.text()?.to_owned(),
            recorded_at: columns.instant()?,
            packages: None,
        };
        if columns.int()? == 1 {
            let mut packages: Vec<Package> = packages.iter().map(body).collect::<Result<_>>()?;
            packages.sort();
            environment.packages = Some(packages);
        }
        Ok(environment)
    }

    pub(super) async fn read_unrecorded(&self, limit: NonZeroU32) -> Result<Vec<SetupEnvironment>> {
        let rows = sqlx::query(SELECT_UNRECORDED)
            .bind(i64::from(limit.get()))
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        let setups = rows.iter().map(body::<Setup>).collect::<Result<Vec<_>>>()?;
        Ok(setups.into_iter().filter_map(|setup| setup.environment).collect())
    }

    pub(super) async fn read_package_use(&self, query: &PackageQuery) -> Result<PackageUse> {
        let fault = |error: sqlx::Error| self.fault(&error);
        let mut view = self.readers().begin().await.map_err(fault)?;
        let named = sqlx::query(SELECT_NAMED).bind(query.name.as_str().to_owned());
        let mut packages = HashMap::new();
        for row in named.fetch_all(&mut *view).await.map_err(fault)? {
            let mut columns = Columns::of(&row);
            let id = columns.int()?;
            let package: Package = codec::from_json(columns.text()?)?;
            if query.matches(&package) {
                packages.insert(id, package);
            }
        }
        let wanted = codec::to_json(&packages.keys().collect::<Vec<_>>())?;
        let limit = i64::from(PackageUse::ENVIRONMENTS_MAX) + 1;
        let environments = sqlx::query(SELECT_ENVIRONMENTS).bind(wanted.clone()).bind(limit);
        let environments = environments.fetch_all(&mut *view).await.map_err(fault)?;
        let pipelines = sqlx::query(SELECT_PIPELINES).bind(wanted.clone());
        let pipelines = pipelines.fetch_all(&mut *view).await.map_err(fault)?;
        let runs = sqlx::query(SELECT_RUNS)
            .bind(wanted)
            .bind(super::runs::before_bytes(query.before))
            .bind(i64::from(query.runs_max()) + 1);
        let runs = runs.fetch_all(&mut *view).await.map_err(fault)?;
        let unknown = sqlx::query(SELECT_UNKNOWN).fetch_one(&mut *view).await.map_err(fault)?;
        let found = |row: &SqliteRow| {
            let mut columns = Columns::of(row);
            let environment = columns.text()?.parse()?;
            let package = packages.get(&columns.int()?).cloned();
            Ok(PackageInEnvironment {
                environment,
                package: package.ok_or_else(|| codec::corrupt("a package that was not asked for"))?,
            })
        };
        let listed = PackageUse::ENVIRONMENTS_MAX as usize;
        Ok(PackageUse {
            more_environments: environments.len() > listed,
            environments: environments.iter().take(listed).map(found).collect::<Result<_>>()?,
            pipelines: pipelines.iter().map(|row| Columns::of(row).text()?.parse()).collect::<Result<_>>()?,
            runs: page(&runs, query.runs_max())?,
            unknown_environments: Columns::of(&unknown).count()?,
        })
    }

    pub(super) async fn read_unaudited(&self, limit: NonZeroU32) -> Result<Vec<EnvironmentId>> {
        let rows = sqlx::query(SELECT_UNAUDITED)
            .bind(i64::from(limit.get()))
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        rows.iter().map(|row| Columns::of(row).text()?.parse()).collect()
    }

    pub(super) async fn read_audits(
        &self,
        environment: Option<&EnvironmentId>,
        limit: NonZeroU32,
    ) -> Result<Vec<Audit>> {
        let text = if environment.is_some() { SELECT_AUDITS_OF } else { SELECT_AUDITS };
        let mut query = sqlx::query(text).bind(i64::from(limit.get().min(Audit::READ_MAX)));
        if let Some(environment) = environment {
            query = query.bind(environment.to_string());
        }
        let rows = query.fetch_all(self.readers()).await.map_err(|error| self.fault(&error))?;
        rows.iter().map(body).collect()
    }
}

/// A row of one column that holds JSON.
fn body<T: serde::de::DeserializeOwned>(row: &SqliteRow) -> Result<T> {
    codec::from_json(Columns::of(row).text()?)
}

/// A page from its rows, of which there is one more where there is a next page.
fn page(rows: &[SqliteRow], limit: u32) -> Result<Page<RunId>> {
    let more = rows.len() > limit as usize;
    let items: Vec<RunId> =
        rows.iter().take(limit as usize).map(|row| Columns::of(row).run_id()).collect::<Result<_>>()?;
    let next = items.last().copied().filter(|_| more);
    Ok(Page { items, next })
}
