//! Schedules and their ledger, as rows.

use std::{collections::HashMap, num::NonZeroU32};

use serde_json::json;
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    SqliteStore,
    codec::{self, Columns},
    fault::result_code,
};
use crate::{
    Error, ErrorKind, PipelineName, Result, RunId, ScheduleId, Timestamp,
    schedule::{NextTick, Tick, TickOutcome},
    store::{DueSchedule, PutSchedule, RemoveSchedule, ScheduleChange, ScheduleRecord, TickQuery},
};

/// What [`put`] writes, as JSON: new schedules, changed ones, removed ones.
#[derive(Debug)]
pub(super) struct ScheduleRows {
    new: String,
    changed: String,
    removed: String,
}

/// The statements of a change, within a transaction, with the parameters `$1` to `$3`. The fence fails, and with it
/// everything, when a schedule is not what it must be. What ends gets a row behind its last instant, and a cursor there:
/// one that comes back goes on from it.
macro_rules! schedule_changes {
    () => {
        "
INSERT INTO schedules (name, pipeline, body, generation, anchor, cursor, next_nominal, next_due, problem)
SELECT value->>0, value->>1, value->>2, 1, value->>3, value->>4, value->>5, value->>6, value->>7
FROM jsonb_each($1) WHERE true
ON CONFLICT (name) DO UPDATE SET body = excluded.body, generation = schedules.generation + 1,
   anchor = excluded.anchor, cursor = max(schedules.cursor, excluded.cursor),
   next_nominal = iif(excluded.next_nominal > schedules.cursor, excluded.next_nominal, NULL),
   next_due = iif(excluded.next_nominal > schedules.cursor, excluded.next_due, NULL),
   problem = excluded.problem, removed = 0
   WHERE schedules.removed = 1;
INSERT OR REPLACE INTO temp.fence (id, matched) SELECT 1, changes() = json_array_length($1);
UPDATE schedules SET body = c.body, generation = schedules.generation + 1, anchor = c.anchor,
   cursor = max(schedules.cursor, c.cursor),
   next_nominal = iif(c.next_nominal > schedules.cursor, c.next_nominal, NULL),
   next_due = iif(c.next_nominal > schedules.cursor, c.next_due, NULL), problem = c.problem
FROM (SELECT value->>0 AS name, value->>2 AS body, value->>3 AS anchor, value->>4 AS cursor,
             value->>5 AS next_nominal, value->>6 AS next_due, value->>7 AS problem, value->>8 AS generation
      FROM jsonb_each($2)) AS c
WHERE schedules.name = c.name AND schedules.generation = c.generation AND schedules.removed = 0;
INSERT OR REPLACE INTO temp.fence (id, matched) SELECT 1, changes() = json_array_length($2);
INSERT INTO ticks (schedule, nominal, through, count, outcome, fired_at, run)
SELECT s.id, max(c.at, s.cursor + 1), max(c.at, s.cursor + 1), 1, c.outcome, c.at, NULL
FROM (SELECT value->>0 AS name, value->>1 AS generation, value->>2 AS at, value->>3 AS outcome
      FROM jsonb_each($3)) AS c
CROSS JOIN schedules AS s ON s.name = c.name AND s.generation = c.generation AND s.removed = 0;
UPDATE schedules SET removed = 1, generation = schedules.generation + 1, next_nominal = NULL, next_due = NULL,
   cursor = max(c.at, schedules.cursor + 1)
FROM (SELECT value->>0 AS name, value->>1 AS generation, value->>2 AS at FROM jsonb_each($3)) AS c
WHERE schedules.name = c.name AND schedules.generation = c.generation AND schedules.removed = 0;
INSERT OR REPLACE INTO temp.fence (id, matched) SELECT 1, changes() = json_array_length($3);
"
    };
}
pub(super) use schedule_changes;

/// A change in a transaction of its own.
pub(super) const PUT_SCHEDULES: &str = concat!("BEGIN IMMEDIATE;", schedule_changes!(), "COMMIT;");

macro_rules! schedule_columns {
    () => {
        "s.body, s.generation, s.anchor, s.cursor, s.next_nominal, s.next_due, s.problem"
    };
}

pub(super) const SELECT_SCHEDULES: &str =
    concat!("SELECT ", schedule_columns!(), " FROM schedules AS s WHERE s.removed = 0 ORDER BY s.name");
pub(super) const SELECT_SCHEDULES_OF: &str = concat!(
    "SELECT ",
    schedule_columns!(),
    " FROM schedules AS s WHERE s.pipeline = $1 AND s.removed = 0 ORDER BY s.name"
);
pub(super) const SELECT_SCHEDULE: &str =
    concat!("SELECT ", schedule_columns!(), " FROM schedules AS s WHERE s.name = $1 AND s.removed = 0");
/// Schedules that are due, the longest due first, with their rows.
pub(super) const SELECT_DUE_SCHEDULES: &str = concat!(
    "SELECT ",
    schedule_columns!(),
    ", s.id FROM schedules AS s WHERE s.next_due <= $1 ORDER BY s.next_due, s.id LIMIT $2"
);
/// The unfinished runs of some schedules.
pub(super) const SELECT_UNFINISHED_OF: &str = "
SELECT wanted.value, r.id FROM json_each($1) AS wanted CROSS JOIN runs AS r ON r.id IN (
    SELECT q.id FROM runs AS q INDEXED BY runs_of_schedule
    WHERE q.schedule = wanted.value AND q.schedule IS NOT NULL AND q.state < 4 ORDER BY q.id LIMIT $2)
ORDER BY r.id";
const SELECT_NEXT_TICK: &str = "SELECT min(next_due) FROM schedules WHERE next_due IS NOT NULL";

pub(super) const SELECT_TICKS: &str = "
SELECT s.name, t.nominal, t.through, t.count, t.outcome, t.fired_at
FROM ticks AS t INDEXED BY ticks_by_time CROSS JOIN schedules AS s ON s.id = t.schedule
WHERE t.nominal >= $1 AND t.nominal < $2
      AND (t.nominal, t.schedule) < ($4, coalesce((SELECT id FROM schedules WHERE name = $5), -1))
ORDER BY t.nominal DESC, t.schedule DESC LIMIT $3";
pub(super) const SELECT_TICKS_OF: &str = "
SELECT s.name, t.nominal, t.through, t.count, t.outcome, t.fired_at
FROM schedules AS s CROSS JOIN ticks AS t ON t.schedule = s.id
WHERE s.name = $6 AND t.nominal >= $1 AND t.nominal < $2 AND t.nominal <= $4
      AND (t.nominal, t.schedule) < ($4, coalesce((SELECT id FROM schedules WHERE name = $5), -1))
ORDER BY t.nominal DESC LIMIT $3";

/// A change of schedules, as the parameters of [`put`].
pub(super) fn rows(change: &ScheduleChange) -> Result<ScheduleRows> {
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for PutSchedule { replaces, record } in &change.put {
        let next =
            |pick: fn(&NextTick) -> Timestamp| record.next.as_ref().map(|next| pick(next).as_microsecond());
        let row = json!([
            record.schedule.id.to_string(),
            record.schedule.id.pipeline.as_str(),
            codec::to_json(&record.schedule)?,
            record.anchor.as_microsecond(),
            record.cursor.as_microsecond(),
            next(|next| next.nominal),
            next(|next| next.due),
            record.problem,
            replaces,
        ]);
        if replaces.is_some() { changed.push(row) } else { new.push(row) }
    }
    let removed: Vec<_> = change.remove.iter().map(removed_row).collect::<Result<_>>()?;
    Ok(ScheduleRows {
        new: codec::to_json(&new)?,
        changed: codec::to_json(&changed)?,
        removed: codec::to_json(&removed)?,
    })
}

fn removed_row(removed: &RemoveSchedule) -> Result<serde_json::Value> {
    let outcome = codec::to_json(&TickOutcome::Ended { reason: removed.reason })?;
    Ok(json!([removed.id.to_string(), removed.generation, removed.at.as_microsecond(), outcome]))
}

/// Binds a change to its parameters.
pub(super) fn bind<'q>(
    query: sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    rows: &ScheduleRows,
) -> sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    query.bind(rows.new.clone()).bind(rows.changed.clone()).bind(rows.removed.clone())
}

pub(super) async fn put(
    connection: &mut SqliteConnection,
    rows: &ScheduleRows,
) -> std::result::Result<(), sqlx::Error> {
    bind(sqlx::query(PUT_SCHEDULES), rows).execute(connection).await.map(drop)
}

/// Whether a change failed because a schedule was not what it must be.
pub(super) fn is_stale(error: &sqlx::Error) -> bool {
    const CONSTRAINT: i32 = 19;
    result_code(error).is_some_and(|code| code & 0xff == CONSTRAINT)
}

pub(super) fn stale() -> Error {
    Error::new(ErrorKind::Conflict, "somebody changed the schedule meanwhile; read it again")
}

fn record(columns: &mut Columns<'_>) -> Result<ScheduleRecord> {
    let schedule = codec::from_json(columns.text()?)?;
    let generation = columns.count()?;
    let (anchor, cursor) = (columns.instant()?, columns.instant()?);
    let next = columns.maybe_instant()?.zip(columns.maybe_instant()?);
    Ok(ScheduleRecord {
        schedule,
        generation,
        anchor,
        cursor,
        next: next.map(|(nominal, due)| NextTick { nominal, due }),
        problem: columns.maybe_text()?.map(str::to_owned),
    })
}

fn tick(row: &SqliteRow) -> Result<(ScheduleId, Tick)> {
    let mut columns = Columns::of(row);
    let schedule = columns.text()?.parse()?;
    let (nominal, through, count) = (columns.instant()?, columns.instant()?, columns.count()?);
    let outcome = codec::from_json(columns.text()?)?;
    Ok((schedule, Tick { nominal, through, count, outcome, fired_at: columns.instant()? }))
}

impl SqliteStore {
    pub(super) async fn read_schedules(
        &self,
        pipeline: Option<&PipelineName>,
    ) -> Result<Vec<ScheduleRecord>> {
        let query = match pipeline {
            Some(pipeline) => sqlx::query(SELECT_SCHEDULES_OF).bind(pipeline.as_str().to_owned()),
            None => sqlx::query(SELECT_SCHEDULES),
        };
        let rows = query.fetch_all(self.readers()).await.map_err(|error| self.fault(&error))?;
        let mut records = rows.iter().map(|row| record(&mut Columns::of(row))).collect::<Result<Vec<_>>>()?;
        records.sort_by(|a, b| a.schedule.id.cmp(&b.schedule.id));
        Ok(records)
    }

    pub(super) async fn read_schedule(&self, id: &ScheduleId) -> Result<ScheduleRecord> {
        let row = sqlx::query(SELECT_SCHEDULE)
            .bind(id.to_string())
            .fetch_optional(self.readers())
            .await
            .map_err(|error| self.fault(&error))?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such schedule").with("schedule", id))?;
        record(&mut Columns::of(&row))
    }

    pub(super) async fn read_due_schedules(
        &self,
        at: Timestamp,
        limit: NonZeroU32,
    ) -> Result<Vec<DueSchedule>> {
        let rows = sqlx::query(SELECT_DUE_SCHEDULES)
            .bind(at.as_microsecond())
            .bind(i64::from(limit.get()))
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::of(row);
            let record = record(&mut columns)?;
            due.push((columns.int()?, DueSchedule { record, unfinished: Vec::new() }));
        }
        let ids: Vec<i64> = due.iter().map(|(id, _)| *id).collect();
        let unfinished = sqlx::query(SELECT_UNFINISHED_OF)
            .bind(serde_json::Value::from(ids).to_string())
            .bind(i64::from(DueSchedule::MAX_UNFINISHED))
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        let mut by_schedule: HashMap<i64, Vec<RunId>> = HashMap::new();
        for row in &unfinished {
            let mut columns = Columns::of(row);
            by_schedule.entry(columns.int()?).or_default().push(columns.run_id()?);
        }
        let add = |(id, due): (i64, DueSchedule)| DueSchedule {
            unfinished: by_schedule.remove(&id).unwrap_or_default(),
            ..due
        };
        Ok(due.into_iter().map(add).collect())
    }

    pub(super) async fn read_next_tick(&self) -> Result<Option<Timestamp>> {
        let row = sqlx::query(SELECT_NEXT_TICK)
            .fetch_one(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        Columns::of(&row).maybe_instant()
    }

    pub(super) async fn read_ticks(&self, query: &TickQuery) -> Result<Vec<(ScheduleId, Tick)>> {
        let limit = query.limit.map_or(TickQuery::DEFAULT_LIMIT, NonZeroU32::get).min(TickQuery::MAX_LIMIT);
        let text = if query.schedule.is_some() { SELECT_TICKS_OF } else { SELECT_TICKS };
        let mut wanted = sqlx::query(text)
            .bind(query.since.map_or(i64::MIN, Timestamp::as_microsecond))
            .bind(query.before.map_or(i64::MAX, Timestamp::as_microsecond))
            .bind(i64::from(limit))
            .bind(query.behind.as_ref().map_or(i64::MAX, |(nominal, _)| nominal.as_microsecond()))
            .bind(query.behind.as_ref().map(|(_, schedule)| schedule.to_string()));
        if let Some(schedule) = &query.schedule {
            wanted = wanted.bind(schedule.to_string());
        }
        let rows = wanted.fetch_all(self.readers()).await.map_err(|error| self.fault(&error))?;
        rows.iter().map(tick).collect()
    }
}
