//! Notes about runs, as rows.

use super::{SqliteStore, codec, codec::Columns};
use crate::{Result, RunId, run::Note};

/// The most notes that are read of one run.
const NOTES_MAX: i64 = 10_000;

pub(super) const SELECT_NOTES: &str =
    "SELECT at, attempt, body FROM notes WHERE run = $1 ORDER BY id LIMIT $2";

impl SqliteStore {
    pub(super) async fn read_notes(&self, run: RunId) -> Result<Vec<Note>> {
        let rows = sqlx::query(SELECT_NOTES)
            .bind(run.as_bytes().to_vec())
            .bind(NOTES_MAX)
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row);
                Ok(Note {
                    at: columns.instant()?,
                    attempt: columns.count()?,
                    decision: codec::from_json(columns.text()?)?,
                })
            })
            .collect()
    }
}
