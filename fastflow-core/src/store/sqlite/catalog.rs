//! Pipelines, their counters and their days, as rows.

use serde_json::json;

use super::{
    SqliteStore,
    codec::{self, Columns},
};
use crate::{
    PipelineName, Result,
    source::Revision,
    store::{Counters, DailyStatistics, PipelineRecord, PipelineState},
};

/// The most days that one read returns: a hundred years.
const MAX_DAYS: u32 = 36_525;

/// The statements that replace the catalog, within a transaction, with the parameters `$4` and `$5`.
macro_rules! catalog_changes {
    () => {
        "
UPDATE pipelines SET present = 0 WHERE present = 1;
INSERT INTO pipelines (name, cataloged_at, present, revision, diagnostics)
SELECT value->>0, $5, 1, value->>1, value->>2 FROM json_each($4) WHERE true
ON CONFLICT (name) DO UPDATE SET cataloged_at = excluded.cataloged_at, present = 1, revision = excluded.revision,
   diagnostics = excluded.diagnostics;
"
    };
}
pub(super) use catalog_changes;

const SELECT_PIPELINES: &str = "SELECT name, revision, diagnostics, present, succeeded, failed, cancelled,
     last_submitted_at FROM pipelines WHERE cataloged_at IS NOT NULL ORDER BY name";

const SELECT_DAYS: &str = "SELECT d.day, d.succeeded, d.failed, d.cancelled, d.run_micros
     FROM pipelines AS p CROSS JOIN daily_statistics AS d ON d.pipeline = p.id
     WHERE p.name = $1 ORDER BY d.day DESC LIMIT $2";

/// The rows of a catalog, as a parameter.
pub(super) fn rows(pipelines: &[PipelineState]) -> Result<String> {
    let rows = pipelines
        .iter()
        .map(|pipeline| {
            let revision = pipeline.revision.as_ref().map(codec::to_json).transpose()?;
            Ok(json!([pipeline.name.as_str(), revision, codec::to_json(&pipeline.diagnostics)?]))
        })
        .collect::<Result<Vec<_>>>()?;
    codec::to_json(&rows)
}

fn counters(columns: &mut Columns<'_>) -> Result<Counters> {
    Ok(Counters { succeeded: columns.count()?, failed: columns.count()?, cancelled: columns.count()? })
}

impl SqliteStore {
    pub(super) async fn read_pipelines(&self) -> Result<Vec<PipelineRecord>> {
        let rows = sqlx::query(SELECT_PIPELINES)
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row);
                let state = PipelineState {
                    name: columns.text()?.parse()?,
                    revision: columns.maybe_json::<Revision>()?,
                    diagnostics: codec::from_json(columns.text()?)?,
                };
                Ok(PipelineRecord {
                    state,
                    present: columns.int()? == 1,
                    counters: counters(&mut columns)?,
                    last_submitted_at: columns.maybe_instant()?,
                })
            })
            .collect()
    }

    pub(super) async fn read_days(&self, pipeline: &PipelineName, days: u32) -> Result<Vec<DailyStatistics>> {
        let rows = sqlx::query(SELECT_DAYS)
            .bind(pipeline.as_str().to_owned())
            .bind(i64::from(days.min(MAX_DAYS)))
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row);
                let midnight = codec::instant(columns.int()?.saturating_mul(24 * 60 * 60 * 1_000_000))?;
                Ok(DailyStatistics {
                    day: midnight.to_zoned(jiff::tz::TimeZone::UTC).date(),
                    counters: counters(&mut columns)?,
                    run_micros: columns.count()?,
                })
            })
            .collect()
    }
}
