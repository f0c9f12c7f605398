//! Attempts as rows.

use std::num::NonZeroU32;

use super::{
    SqliteStore,
    codec::{self, Columns},
};
use crate::{AttemptId, Result, RunId, run::Attempt};

/// The columns of [`decode_joined`], in its order.
macro_rules! attempt_columns {
    () => {
        "a.number, a.claimed_at, a.started_at, a.finished_at, a.setup, a.handle, a.ending, a.report"
    };
}
pub(super) use attempt_columns;

/// The attempts of one run. A run without one gives one row of nulls, no run gives none.
const SELECT_ATTEMPTS: &str = concat!(
    "SELECT ",
    attempt_columns!(),
    " FROM runs AS r LEFT JOIN attempts AS a ON a.run = r.id WHERE r.id = $1 ORDER BY a.number"
);

/// Reads `attempt_columns!()`; none where they are null.
pub(super) fn decode_joined(columns: &mut Columns<'_>, run: RunId) -> Result<Option<Attempt>> {
    let Some(number) = columns.maybe_int()? else { return Ok(None) };
    let number = u32::try_from(number).ok().and_then(NonZeroU32::new);
    let number = number.ok_or_else(|| codec::corrupt("an attempt's number out of range"))?;
    Ok(Some(Attempt {
        id: AttemptId { run, number },
        claimed_at: columns.instant()?,
        started_at: columns.maybe_instant()?,
        finished_at: columns.maybe_instant()?,
        setup: columns.maybe_json()?,
        handle: columns.maybe_json()?,
        end: columns.maybe_json()?,
        report: columns.maybe_json()?,
    }))
}

impl SqliteStore {
    pub(super) async fn read_attempts(&self, id: RunId) -> Result<Vec<Attempt>> {
        let rows = sqlx::query(SELECT_ATTEMPTS)
            .bind(id.as_bytes().to_vec())
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        if rows.is_empty() {
            return Err(super::no_such_run(id));
        }
        rows.iter().filter_map(|row| decode_joined(&mut Columns::of(row), id).transpose()).collect()
    }
}
