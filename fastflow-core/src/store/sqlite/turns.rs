//! Whose turn it is, in memory.

use std::collections::HashMap;

use super::{codec::Columns, fault::Fault, writer::Writer};
use crate::Error;

/// Turns are looked through for those that say nothing any more when there are so many.
const KEPT_MIN: usize = 1024;

/// For each content and priority in the queue: its pipeline, its latest and its first turn. Each is found by one step
/// into the index, however many runs stand there.
pub(super) const SELECT_TURNS: &str = "
WITH RECURSIVE content (gate, spec) AS (
    SELECT gates.value, (SELECT min(q.spec) FROM runs AS q INDEXED BY runs_ready_by_spec
                         WHERE q.state = 0 AND q.ready = 1 AND q.gate = gates.value)
    FROM json_each('[0, 1, 2]') AS gates
    UNION ALL
    SELECT content.gate, (SELECT min(q.spec) FROM runs AS q INDEXED BY runs_ready_by_spec
                          WHERE q.state = 0 AND q.ready = 1 AND q.gate = content.gate AND q.spec > content.spec)
    FROM content WHERE content.spec IS NOT NULL
), level (gate, spec, priority) AS (
    SELECT content.gate, content.spec, (SELECT max(q.priority) FROM runs AS q INDEXED BY runs_ready_by_spec
        WHERE q.state = 0 AND q.ready = 1 AND q.gate = content.gate AND q.spec = content.spec)
    FROM content WHERE content.spec IS NOT NULL
    UNION ALL
    SELECT level.gate, level.spec, (SELECT max(q.priority) FROM runs AS q INDEXED BY runs_ready_by_spec
        WHERE q.state = 0 AND q.ready = 1 AND q.gate = level.gate AND q.spec = level.spec
              AND q.priority < level.priority)
    FROM level WHERE level.priority IS NOT NULL
)
SELECT (SELECT q.pipeline FROM runs AS q INDEXED BY runs_ready_by_spec WHERE q.state = 0 AND q.ready = 1
            AND q.gate = level.gate AND q.spec = level.spec AND q.priority = level.priority LIMIT 1),
       level.priority,
       (SELECT max(q.turn) FROM runs AS q INDEXED BY runs_ready_by_spec WHERE q.state = 0 AND q.ready = 1
            AND q.gate = level.gate AND q.spec = level.spec AND q.priority = level.priority),
       (SELECT min(q.turn) FROM runs AS q INDEXED BY runs_ready_by_spec WHERE q.state = 0 AND q.ready = 1
            AND q.gate = level.gate AND q.spec = level.spec AND q.priority = level.priority)
FROM level WHERE level.priority IS NOT NULL";

/// Whose turn it is: within a priority, pipelines that wait take turns, by start-time fair queueing. (Goyal, Vin,
/// Cheng: Start-time Fair Queueing, 1996; all runs cost the same here.)
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The turn of the latest run that was claimed, by priority.
    now: HashMap<i16, i64>,
    /// The latest turn of each pipeline, by its row, and priority.
    last: HashMap<(i64, i16), i64>,
    /// How many of them said something when that was looked at last.
    kept: usize,
}

impl Turns {
    /// The next turn of a pipeline.
    pub(super) fn take(&mut self, pipeline: i64, priority: i16) -> i64 {
        let now = self.now.get(&priority).copied().unwrap_or_default();
        let turn = self.last.get(&(pipeline, priority)).map_or(now, |last| now.max(last.saturating_add(1)));
        if self.last.len() >= self.kept.saturating_mul(2).max(KEPT_MIN) {
            let Self { now, last, .. } = self;
            last.retain(|(_, priority), turn| now.get(priority).is_none_or(|now| *turn >= *now));
            self.kept = self.last.len();
        }
        self.last.insert((pipeline, priority), turn);
        turn
    }

    /// A run that had this turn was claimed.
    pub(super) fn claimed(&mut self, priority: i16, turn: i64) {
        let now = self.now.entry(priority).or_default();
        *now = turn.max(*now);
    }

    /// Turns of the queue as it is found.
    fn found(&mut self, (pipeline, priority): (i64, i16), last: i64, first: i64) {
        let latest = self.last.entry((pipeline, priority)).or_insert(last);
        *latest = last.max(*latest);
        let now = self.now.entry(priority).or_insert(first);
        *now = first.min(*now);
    }
}

impl Writer {
    /// Reads whose turn it is.
    pub(super) async fn load_turns(&mut self) -> Result<Turns, Fault> {
        let connection = self.connection().await?;
        let rows = sqlx::query(SELECT_TURNS).fetch_all(connection).await;
        let rows = rows.map_err(|error| self.fault(&error))?;
        let mut turns = Turns::default();
        for row in &rows {
            let mut columns = Columns::of(row);
            let read = (|| Ok((columns.int()?, columns.count()?, columns.int()?, columns.int()?)))();
            let (pipeline, priority, last, first) = read.map_err(|error: Error| self.damaged(&error))?;
            turns.found((pipeline, priority), last, first);
        }
        Ok(turns)
    }
}
