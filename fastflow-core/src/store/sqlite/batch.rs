//! The commands of one commit: read first, decide in memory, write once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{
    codec::{self, hex},
    runs::submission_json,
    specs::{PreparedSpec, SpecId},
};
use crate::{
    Error, ErrorKind, PipelineName, Result, RunId, Timestamp,
    run::{IdempotencyKey, Run, RunEvent, RunState, Status},
    store::{Advanced, Counters, Created, EventId, Step, record::RunRecord},
};

/// A run in the hands of the writer.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: RunRecord,
    pub(super) pipeline: i64,
    pub(super) spec: SpecId,
    /// State and epoch of its row; none while it has no row.
    pub(super) row: Option<(i64, u64)>,
}

/// Rows that no command was answered from yet, and that are not in the database yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Every run the batch speaks of, as it is after the commands so far.
    pub(super) runs: HashMap<RunId, Entry>,
    /// Runs by their idempotency key: those of the database that matter here, and new ones.
    pub(super) keys: HashMap<String, RunId>,
    changed: BTreeSet<RunId>,
    pub(super) pipelines: HashMap<PipelineName, i64>,
    pub(super) specs: HashMap<[u8; 32], SpecId>,
    pub(super) new_specs: Vec<(SpecId, PreparedSpec)>,
    new_pipelines: Vec<Value>,
    events: Vec<Value>,
    submitted: BTreeMap<i64, i64>,
    days: BTreeMap<(i64, i64), Day>,
    pub(super) next: Next,
}

/// The next free ids.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Next {
    pub(super) pipeline: i64,
    pub(super) spec: i64,
    pub(super) event: u64,
}

#[derive(Debug, Default)]
struct Day {
    counters: Counters,
    run_micros: u64,
}

/// The parameters of [`WRITE`], in its order, as JSON.
pub(super) type Rows = [Value; 8];

/// One transaction in one call: the connection works in a thread of its own, and each call costs two hops.
///
/// Between the statements stands a fence: a row of a private table whose `CHECK` fails, and with it everything,
/// when not exactly the expected rows were changed. `jsonb_each` gives rows that need not be parsed again for each column.
pub(super) const WRITE: &str = "
BEGIN IMMEDIATE;
INSERT INTO pipelines (id, name) SELECT value->>0, value->>1 FROM jsonb_each($1);
INSERT INTO specs (id, hash, body) SELECT value->>0, unhex(value->>1), value->>2 FROM jsonb_each($2);
INSERT INTO runs (id, pipeline, spec, submission, key, priority, created_at, state, status, not_before, detail,
                  epoch, attempt, failed_attempts, start_retries, run_micros, started_at, finished_at)
SELECT unhex(value->>0), value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8,
       value->>9, value->>10, value->>11, value->>12, value->>13, value->>14, value->>15, value->>16, value->>17
FROM jsonb_each($3);
UPDATE runs SET state = c.state, status = c.status, not_before = c.not_before, detail = c.detail, epoch = c.epoch,
       attempt = c.attempt, failed_attempts = c.failed_attempts, start_retries = c.start_retries,
       run_micros = c.run_micros, started_at = c.started_at, finished_at = c.finished_at
FROM (SELECT unhex(value->>0) AS id, value->>1 AS old_state, value->>2 AS old_epoch, value->>3 AS state,
             value->>4 AS status, value->>5 AS not_before, value->>6 AS detail, value->>7 AS epoch,
             value->>8 AS attempt, value->>9 AS failed_attempts, value->>10 AS start_retries,
             value->>11 AS run_micros, value->>12 AS started_at, value->>13 AS finished_at
      FROM jsonb_each($4)) AS c
WHERE runs.id = c.id AND runs.state = c.old_state AND runs.epoch = c.old_epoch AND runs.state < 4;
INSERT OR REPLACE INTO temp.fence (id, matched) SELECT 1, changes() = json_array_length($4);
INSERT INTO attempts (run, number, claimed_at, started_at, finished_at, setup, handle, ending, report)
SELECT unhex(value->>0), value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8
FROM jsonb_each($5) WHERE true
ON CONFLICT (run, number) DO UPDATE SET started_at = excluded.started_at, finished_at = excluded.finished_at,
   setup = excluded.setup, handle = excluded.handle, ending = excluded.ending, report = excluded.report;
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
COMMIT;
";

/// The private table of the fence, made with the writer's connection.
pub(super) const FENCE: &str =
    "CREATE TEMP TABLE fence (id INTEGER PRIMARY KEY, matched INTEGER NOT NULL CHECK (matched = 1)) STRICT";

impl Batch {
    /// An empty one, whose rows get the ids from `next` on.
    pub(super) fn after(next: Next) -> Self {
        Self { next, ..Self::default() }
    }

    /// The newest event so far.
    pub(super) fn last_event(&self) -> EventId {
        EventId(self.next.event - 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    pub(super) fn create(&mut self, record: RunRecord, spec: &PreparedSpec) -> Result<Created> {
        let key = record.run.key.as_ref().map(|key| key.as_str().to_owned());
        if let Some(id) = key.as_ref().and_then(|key| self.keys.get(key)) {
            return Ok(Created { id: *id, existing: true, cancelled: Vec::new(), event: self.last_event() });
        }
        let id = record.run.id;
        if self.runs.contains_key(&id) {
            return Err(Error::new(ErrorKind::AlreadyExists, "a run with this id exists").with("run", id));
        }
        let pipeline = self.pipeline(record.run.pipeline());
        let spec = self.spec(spec);
        let at = record.run.created_at;
        let newest = self.submitted.entry(pipeline).or_insert(i64::MIN);
        *newest = (*newest).max(at.as_microsecond());
        if let Some(key) = key {
            self.keys.insert(key, id);
        }
        let entry = Entry { record, pipeline, spec, row: None };
        let event = self.event(&entry, None, at);
        self.runs.insert(id, entry);
        self.changed.insert(id);
        Ok(Created { id, existing: false, cancelled: Vec::new(), event })
    }

    pub(super) fn claim(&mut self, id: RunId, at: Timestamp) -> Result<Run> {
        let mut entry = self.entry(id)?;
        let claimed = entry.record.claim(at).inspect(|()| {
            self.changed.insert(id);
        });
        if claimed.is_ok() {
            self.event(&entry, Some(&RunEvent::Claimed), at);
        }
        let run = entry.record.run.clone();
        self.runs.insert(id, entry);
        claimed.map(|()| run)
    }

    pub(super) fn advance(&mut self, step: &Step) -> Result<Advanced> {
        let mut entry = self.entry(step.run)?;
        let moved = entry.record.advance(step);
        let advanced = moved.map(|_| {
            let event = self.event(&entry, Some(&step.event), step.at);
            self.changed.insert(step.run);
            self.count(&entry);
            let run = &entry.record.run;
            Advanced { state: run.state.clone(), attempt: run.attempt, event, created: Vec::new() }
        });
        self.runs.insert(step.run, entry);
        advanced
    }

    /// Gives every open run a new epoch. All of them are in the batch.
    pub(super) fn take_over(&mut self) -> Vec<Run> {
        let mut open = Vec::new();
        for (id, entry) in &mut self.runs {
            let run = &mut entry.record.run;
            if matches!(run.state, RunState::Starting | RunState::Running { .. } | RunState::Stopping { .. })
            {
                run.epoch += 1;
                self.changed.insert(*id);
                open.push(run.clone());
            }
        }
        open.sort_unstable_by_key(|run| run.id);
        open
    }

    /// Takes an entry out, to be put back.
    fn entry(&mut self, id: RunId) -> Result<Entry> {
        self.runs.remove(&id).ok_or_else(|| super::no_such_run(id))
    }

    fn pipeline(&mut self, name: &PipelineName) -> i64 {
        if let Some(id) = self.pipelines.get(name) {
            return *id;
        }
        let id = self.next.pipeline;
        self.next.pipeline += 1;
        self.pipelines.insert(name.clone(), id);
        self.new_pipelines.push(json!([id, name.as_str()]));
        id
    }

    fn spec(&mut self, prepared: &PreparedSpec) -> SpecId {
        if let Some(id) = self.specs.get(&prepared.hash) {
            return *id;
        }
        let id = SpecId(self.next.spec);
        self.next.spec += 1;
        self.specs.insert(prepared.hash, id);
        self.new_specs.push((id, prepared.clone()));
        id
    }

    fn event(&mut self, entry: &Entry, event: Option<&RunEvent>, at: Timestamp) -> EventId {
        let id = self.next.event;
        self.next.event += 1;
        let run = &entry.record.run;
        self.events.push(json!([
            id,
            at.as_microsecond(),
            hex(run.id.as_bytes()),
            entry.pipeline,
            run.attempt,
            event.map_or(0, codec::event_code),
            codec::state_code(&run.state),
        ]));
        EventId(id)
    }

    fn count(&mut self, entry: &Entry) {
        let Some(at) = entry.record.run.finished_at else { return };
        let day = at.as_second().div_euclid(24 * 60 * 60);
        let day = self.days.entry((entry.pipeline, day)).or_default();
        match entry.record.run.status() {
            Status::Success => day.counters.succeeded += 1,
            Status::Failed => day.counters.failed += 1,
            Status::Cancelled => day.counters.cancelled += 1,
            Status::Pending | Status::Running => return,
        }
        day.run_micros += micros(&entry.record);
    }

    /// Everything to be written.
    pub(super) fn rows(&mut self) -> Result<Rows> {
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
        Ok([
            Value::Array(std::mem::take(&mut self.new_pipelines)),
            Value::Array(specs),
            Value::Array(inserts),
            Value::Array(updates),
            Value::Array(attempts),
            Value::Array(std::mem::take(&mut self.events)),
            Value::Array(submitted),
            Value::Array(days.collect()),
        ])
    }

    /// All runs of the batch, marked as what their rows are after the commit.
    pub(super) fn into_committed(self) -> impl Iterator<Item = Entry> {
        self.runs.into_values().map(|mut entry| {
            entry.row = Some(row_mark(&entry.record.run));
            entry
        })
    }
}

/// What the guard of an update compares.
pub(super) fn row_mark(run: &Run) -> (i64, u64) {
    (codec::state_code(&run.state), run.epoch)
}

fn micros(record: &RunRecord) -> u64 {
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
    ]))
}

fn attempt_row(record: &RunRecord) -> Result<Option<Value>> {
    let Some(attempt) = &record.newest else { return Ok(None) };
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
    ])))
}
