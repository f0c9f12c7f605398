//! What is shown of the source, and the log of its syncs, as rows.

use std::num::NonZeroU32;

use sqlx::SqliteConnection;

use super::{
    SqliteStore,
    catalog::{self, catalog_changes},
    codec::{self, Columns},
    schedules::{self, ScheduleRows, schedule_changes},
};
use crate::{
    Result,
    source::{Commit, SyncId, SyncRecord},
    store::Publication,
};

/// A line of the log, as parameters.
#[derive(Debug)]
pub(super) struct SyncRow {
    id: i64,
    started_at: i64,
    body: String,
}

/// Everything that changes together, as parameters.
#[derive(Debug)]
pub(super) struct PublicationRows {
    schedules: ScheduleRows,
    catalog: String,
    commit: Option<String>,
    sync: SyncRow,
}

/// One transaction. The line of the log comes last, for its id to be the last one that was given.
pub(super) const PUBLISH: &str = concat!(
    "BEGIN IMMEDIATE;",
    schedule_changes!(),
    catalog_changes!(),
    "INSERT INTO source (id, published, published_at) VALUES (1, $6, $5)
     ON CONFLICT (id) DO UPDATE SET published = excluded.published, published_at = excluded.published_at;
     INSERT INTO syncs (started_at, body) VALUES ($5, $7);
     DELETE FROM syncs WHERE id <= last_insert_rowid() - $8;
     COMMIT;"
);
const RECORD_SYNC: &str = "
BEGIN IMMEDIATE;
INSERT INTO syncs (id, started_at, body) VALUES (nullif($4, 0), $1, $2)
ON CONFLICT (id) DO UPDATE SET started_at = excluded.started_at, body = excluded.body;
DELETE FROM syncs WHERE id <= (SELECT max(id) FROM syncs) - $3;
COMMIT;";
pub(super) const SELECT_SYNCS: &str = "SELECT id, body FROM syncs WHERE id < $1 ORDER BY id DESC LIMIT $2";
const SELECT_PUBLISHED: &str = "SELECT published FROM source WHERE id = 1";

pub(super) fn row(sync: &SyncRecord) -> Result<SyncRow> {
    let id = i64::try_from(sync.id.0).unwrap_or_default();
    Ok(SyncRow { id, started_at: sync.started_at.as_microsecond(), body: codec::to_json(sync)? })
}

pub(super) fn publication_rows(publication: &Publication) -> Result<PublicationRows> {
    Ok(PublicationRows {
        schedules: schedules::rows(&publication.schedules)?,
        catalog: catalog::rows(&publication.pipelines)?,
        commit: publication.sync.commit.as_ref().map(codec::to_json).transpose()?,
        sync: row(&publication.sync)?,
    })
}

pub(super) async fn publish(
    connection: &mut SqliteConnection,
    rows: &PublicationRows,
) -> std::result::Result<SyncId, sqlx::Error> {
    let written = schedules::bind(sqlx::query(PUBLISH), &rows.schedules)
        .bind(rows.catalog.clone())
        .bind(rows.sync.started_at)
        .bind(rows.commit.clone())
        .bind(rows.sync.body.clone())
        .bind(i64::from(SyncRecord::MAX_KEPT))
        .execute(connection)
        .await?;
    Ok(sync_id(written.last_insert_rowid()))
}

pub(super) async fn record(
    connection: &mut SqliteConnection,
    row: &SyncRow,
) -> std::result::Result<SyncId, sqlx::Error> {
    let written = sqlx::query(RECORD_SYNC)
        .bind(row.started_at)
        .bind(row.body.clone())
        .bind(i64::from(SyncRecord::MAX_KEPT))
        .bind(row.id)
        .execute(connection)
        .await?;
    Ok(sync_id(if row.id > 0 { row.id } else { written.last_insert_rowid() }))
}

fn sync_id(row: i64) -> SyncId {
    SyncId(row.unsigned_abs())
}

impl SqliteStore {
    pub(super) async fn read_syncs(
        &self,
        before: Option<SyncId>,
        limit: NonZeroU32,
    ) -> Result<Vec<SyncRecord>> {
        let before = before.map_or(i64::MAX, |id| i64::try_from(id.0).unwrap_or(i64::MAX));
        let rows = sqlx::query(SELECT_SYNCS)
            .bind(before)
            .bind(i64::from(limit.get()))
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row);
                let id = sync_id(columns.int()?);
                Ok(SyncRecord { id, ..codec::from_json(columns.text()?)? })
            })
            .collect()
    }

    pub(super) async fn read_published(&self) -> Result<Option<Commit>> {
        let row = sqlx::query(SELECT_PUBLISHED)
            .fetch_optional(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        row.map_or(Ok(None), |row| Columns::of(&row).maybe_json())
    }
}
