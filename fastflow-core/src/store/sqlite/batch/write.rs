//! What a batch writes: one transaction, its statements and its rows.

use serde_json::{Value, json};

use super::{Batch, Entry, Tick};
use crate::{
    Result, Timestamp,
    run::{IdempotencyKey, Run, RunState},
    store::{
        Counters,
        record::RunRecord,
        sqlite::{
            codec::{self, hex},
            runs::submission_json,
        },
    },
};

/// The parameters of [`WRITE`], in its order, as JSON.
pub(crate) type Rows = [Value; 12];

/// The rest of a transaction that the [writer](super::super::writer) has begun, in one call: the connection works in a
/// thread of its own, and each call costs two hops.
///
/// Between the statements stands a fence: a row of a private table whose `CHECK` fails, and with it everything,
/// when not exactly the expected rows were changed. `jsonb_each` gives rows that need not be parsed again for each column.
pub(crate) const WRITE: &str = "
INSERT INTO pipelines (id, name) SELECT value->>0, value->>1 FROM jsonb_each($1);
INSERT INTO specs (id, hash, body) SELECT value->>0, unhex(value->>1), value->>2 FROM jsonb_each($2);
INSERT INTO runs (id, pipeline, spec, submission, key, priority, created_at, state, status, not_before, detail,
                  epoch, attempt, failed_attempts, start_retries, run_micros, started_at, finished_at,
                  ready, turn, gate, schedule, chain)
SELECT unhex(value->>0), value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8,
       value->>9, value->>10, value->>11, value->>12, value->>13, value->>14, value->>15, value->>16, value->>17,
       value->>18, value->>19, value->>20, value->>21, unhex(value->>22)
FROM jsonb_each($3);
UPDATE runs SET state = c.state, status = c.status, not_before = c.not_before, detail = c.detail, epoch = c.epoch,
       attempt = c.attempt, failed_attempts = c.failed_attempts, start_retries = c.start_retries,
       run_micros = c.run_micros, started_at = c.started_at, finished_at = c.finished_at,
       ready = c.ready, turn = c.turn, gate = c.gate
FROM (SELECT unhex(value->>0) AS id, value->>1 AS old_state, value->>2 AS old_epoch, value->>3 AS state,
             value->>4 AS status, value->>5 AS not_before, value->>6 AS detail, value->>7 AS epoch,
             value->>8 AS attempt, value->>9 AS failed_attempts, value->>10 AS start_retries,
             value->>11 AS run_micros, value->>12 AS started_at, value->>13 AS finished_at,
             value->>14 AS ready, value->>15 AS turn, value->>16 AS gate
      FROM jsonb_each($4)) AS c
WHERE runs.id = c.id AND runs.state = c.old_state AND runs.epoch = c.old_epoch AND runs.state < 4;
INSERT OR REPLACE INTO temp.fence (id, matched) SELECT 1, changes() = json_array_length($4);
INSERT INTO attempts (run, number, claimed_at, started_at, finished_at, setup, handle, ending, report,
                      environment)
SELECT unhex(value->>0), value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8,
       value->>9
FROM jsonb_each($5) WHERE true
ON CONFLICT (run, number) DO UPDATE SET started_at = excluded.started_at, finished_at = excluded.finished_at,
   setup = excluded.setup, handle = excluded.handle, ending = excluded.ending, report = excluded.report,
   environment = excluded.environment;
INSERT INTO events (id, at, run, pipeline, attempt, name, state)
SELECT value->>0, value->>1, unhex(value->>2), value->>3, value->>4, value->>5, value->>6 FROM jsonb_each($6);
UPDATE pipelines SET last_submitted_at = max(coalesce(last_submitted_at, c.at), c.at)
FROM (SELECT value->>0 AS id, value->>1 AS at FROM jsonb_each($7)) AS c WHERE pipelines.id = c.id;
INSERT INTO daily_statistics (pipeline, day, succeeded, failed, cancelled, run_micros)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM jsonb_each($8) WHERE true
ON CONFLICT (pipeline, day) DO UPDATE SET succeeded = succeeded + excluded.succeeded,
   failed = failed + excluded.failed, cancelled = cancelled + excluded.cancelled,
   run_micros = run_micros + excluded.run_micros;
UPDATE pipelines SET succeeded = pipelines.succeeded + c.succeeded, failed = pipelines.failed + c.failed,
       cancelled = pipelines.cancelled + c.cancelled
FROM (SELECT value->>0 AS id, sum(value->>2) AS succeeded, sum(value->>3) AS failed, sum(value->>4) AS cancelled
      FROM jsonb_each($8) GROUP BY 1) AS c WHERE pipelines.id = c.id;
INSERT INTO notes (run, at, attempt, body)
SELECT unhex(value->>0), value->>1, value->>2, value->>3 FROM jsonb_each($9);
INSERT INTO ticks (schedule, nominal, through, count, outcome, fired_at, run)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, unhex(value->>6) FROM jsonb_each($10);
UPDATE schedules SET cursor = c.cursor, next_nominal = c.next_nominal, next_due = c.next_due
FROM (SELECT value->>0 AS id, value->>1 AS generation, value->>2 AS old_cursor, value->>3 AS cursor,
             value->>4 AS next_nominal, value->>5 AS next_due FROM jsonb_each($11)) AS c
WHERE schedules.id = c.id AND schedules.generation = c.generation AND schedules.cursor = c.old_cursor
      AND schedules.removed = 0;
INSERT OR REPLACE INTO temp.fence (id, matched) SELECT 1, changes() = json_array_length($11);
UPDATE secrets SET used_at = c.at, used_by = c.run
FROM (SELECT value->>0 AS scope, value->>1 AS name, value->>2 AS version, value->>3 AS at, unhex(value->>4) AS run
      FROM jsonb_each($12)) AS c
WHERE secrets.scope = c.scope AND secrets.name = c.name AND secrets.version = c.version
      AND (secrets.used_at IS NULL OR secrets.used_at <= c.at);
COMMIT;
";

/// The private table of the fence, made with the writer's connection.
pub(crate) const FENCE: &str =
    "CREATE TEMP TABLE fence (id INTEGER PRIMARY KEY, matched INTEGER NOT NULL CHECK (matched = 1)) STRICT";

impl Batch {
    /// Everything to be written.
    pub(crate) fn rows(&mut self) -> Result<Rows> {
        let (mut inserts, mut updates, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
        for id in &self.changed {
            let Some(entry) = self.runs.get(id) else { continue };
            match entry.row {
                None => inserts.push(insert_row(entry)?),
                Some(row) => updates.push(update_row(entry, row)?),
            }
            if let Some(attempt) = attempt_row(&entry.record)? {
                attempts.push(attempt);
            }
        }
        let specs =
            self.new_specs.iter().map(|(id, spec)| json!([id.0, hex(&spec.hash), &*spec.body])).collect();
        let submitted = self.submitted.iter().map(|(pipeline, at)| json!([pipeline, at])).collect();
        let days = self.days.iter().map(|((pipeline, day), sum)| {
            let Counters { succeeded, failed, cancelled } = sum.counters;
            json!([pipeline, day, succeeded, failed, cancelled, sum.run_micros])
        });
        let notes = self.notes.iter().map(|(run, note)| {
            let body = codec::to_json(&note.decision)?;
            Ok(json!([hex(run.as_bytes()), note.at.as_microsecond(), note.attempt, body]))
        });
        let notes = notes.collect::<Result<Vec<_>>>()?;
        let ticks = self.ticks.iter().map(|(schedule, tick)| tick_row(*schedule, tick));
        let ticks = ticks.collect::<Result<Vec<_>>>()?;
        let moved = self.moved_schedules.iter().map(|(id, moved)| {
            json!([
                id,
                moved.generation,
                moved.from.as_microsecond(),
                moved.to.as_microsecond(),
                moved.next.map(|next| next.nominal.as_microsecond()),
                moved.next.map(|next| next.due.as_microsecond()),
            ])
        });
        let used = self.used_secrets.iter().map(|((scope, name, version), last)| {
            json!([scope, name, version, last.at.as_microsecond(), hex(last.run.as_bytes())])
        });
        Ok([
            Value::Array(std::mem::take(&mut self.new_pipelines)),
            Value::Array(specs),
            Value::Array(inserts),
            Value::Array(updates),
            Value::Array(attempts),
            Value::Array(std::mem::take(&mut self.events)),
            Value::Array(submitted),
            Value::Array(days.collect()),
            Value::Array(notes),
            Value::Array(ticks),
            Value::Array(moved.collect()),
            Value::Array(used.collect()),
        ])
    }
}

/// What the guard of an update compares.
pub(crate) fn row_mark(run: &Run) -> (i64, u64) {
    (codec::state_code(&run.state), run.epoch)
}

pub(super) fn micros(record: &RunRecord) -> u64 {
    u64::try_from(record.run_time.as_micros()).unwrap_or(i64::MAX.unsigned_abs())
}

fn not_before(run: &Run) -> i64 {
    match run.state {
        RunState::Queued { not_before } => not_before.as_microsecond(),
        _ => 0,
    }
}

fn optional(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_microsecond)
}

fn insert_row(entry: &Entry) -> Result<Value> {
    let RunRecord { run, start_retries, .. } = &entry.record;
    Ok(json!([
        hex(run.id.as_bytes()),
        entry.pipeline,
        entry.spec.0,
        submission_json(run)?,
        run.key.as_ref().map(IdempotencyKey::as_str),
        run.priority,
        run.created_at.as_microsecond(),
        codec::state_code(&run.state),
        codec::status_code(run.status()),
        not_before(run),
        codec::state_detail(&run.state)?,
        run.epoch,
        run.attempt,
        run.failed_attempts,
        start_retries,
        micros(&entry.record),
        optional(run.started_at),
        optional(run.finished_at),
        i64::from(entry.ready),
        entry.turn,
        codec::gate_code(entry.gate()),
        entry.schedule,
        (run.chain != run.id).then(|| hex(run.chain.as_bytes())),
    ]))
}

fn update_row(entry: &Entry, (old_state, old_epoch): (i64, u64)) -> Result<Value> {
    let RunRecord { run, start_retries, .. } = &entry.record;
    Ok(json!([
        hex(run.id.as_bytes()),
        old_state,
        old_epoch,
        codec::state_code(&run.state),
        codec::status_code(run.status()),
        not_before(run),
        codec::state_detail(&run.state)?,
        run.epoch,
        run.attempt,
        run.failed_attempts,
        start_retries,
        micros(&entry.record),
        optional(run.started_at),
        optional(run.finished_at),
        i64::from(entry.ready),
        entry.turn,
        codec::gate_code(entry.gate()),
    ]))
}

fn attempt_row(record: &RunRecord) -> Result<Option<Value>> {
    let Some(attempt) = &record.newest else { return Ok(None) };
    let environment = attempt.setup.as_ref().and_then(|setup| setup.environment.as_ref());
    Ok(Some(json!([
        hex(attempt.id.run.as_bytes()),
        attempt.id.number,
        attempt.claimed_at.as_microsecond(),
        optional(attempt.started_at),
        optional(attempt.finished_at),
        attempt.setup.as_ref().map(codec::to_json).transpose()?,
        attempt.handle.as_ref().map(codec::to_json).transpose()?,
        attempt.end.as_ref().map(codec::to_json).transpose()?,
        attempt.report.as_ref().map(codec::to_json).transpose()?,
        environment.map(|environment| environment.id.as_str()),
    ])))
}

fn tick_row(schedule: i64, tick: &Tick) -> Result<Value> {
    Ok(json!([
        schedule,
        tick.nominal.as_microsecond(),
        tick.through.as_microsecond(),
        tick.count,
        codec::to_json(&tick.outcome)?,
        tick.fired_at.as_microsecond(),
        tick.outcome.run().map(|run| hex(run.as_bytes())),
    ]))
}
