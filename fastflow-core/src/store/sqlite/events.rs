//! The event sequence as rows.

use std::num::NonZeroU32;

use super::{
    SqliteStore,
    codec::{self, Columns},
};
use crate::{
    Result,
    store::{Event, EventId},
};

/// The most events that one read returns.
const MAX_EVENTS: u32 = 10_000;

const SELECT_EVENTS: &str = "SELECT e.id, e.at, e.run, p.name, e.attempt, e.name, e.state
     FROM events AS e JOIN pipelines AS p ON p.id = e.pipeline WHERE e.id > $1 ORDER BY e.id LIMIT $2";

impl SqliteStore {
    /// Read from the rows, so that it is never behind what a follower has already seen.
    pub(super) async fn read_last_event(&self) -> Result<EventId> {
        let row = sqlx::query("SELECT coalesce(max(id), 0) FROM events")
            .fetch_one(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        Ok(EventId(Columns::of(&row).count()?))
    }

    pub(super) async fn read_events(&self, after: EventId, limit: NonZeroU32) -> Result<Vec<Event>> {
        // Ids are written from a signed number; nothing is behind its end.
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let rows = sqlx::query(SELECT_EVENTS)
            .bind(after)
            .bind(i64::from(limit.get().min(MAX_EVENTS)))
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row);
                let id = EventId(columns.count()?);
                let at = columns.instant()?;
                let run = columns.run_id()?;
                let pipeline = columns.text()?.parse()?;
                let attempt = columns.count()?;
                let name = codec::event_name(columns.int()?)?.to_owned();
                let code = columns.int()?;
                let state = codec::state_name(code)?.to_owned();
                Ok(Event {
                    id,
                    at,
                    run,
                    pipeline,
                    attempt,
                    name,
                    state,
                    status: codec::status_of_state(code)?,
                })
            })
            .collect()
    }
}
