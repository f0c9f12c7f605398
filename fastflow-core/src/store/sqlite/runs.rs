//! Runs as rows.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;

use super::{
    SqliteStore,
    attempts::{self, attempt_columns},
    codec::{self, Columns},
    specs::SpecId,
};
use crate::{
    Result, RunId, Timestamp,
    pipeline::EnvName,
    run::{IdempotencyKey, Origin, Run, RunSpec, RunState, Status},
    store::{Page, RunQuery, record::RunRecord},
};

/// The columns of [`RunRow::decode`], in its order.
macro_rules! run_columns {
    () => {
        "r.id, r.pipeline, r.spec, r.submission, r.key, r.priority, r.created_at, r.state, r.not_before, \
         r.detail, r.epoch, r.attempt, r.failed_attempts, r.start_retries, r.run_micros, r.started_at, \
         r.finished_at, r.chain, r.ready, r.turn"
    };
}

pub(super) use run_columns;

/// A run with its newest attempt, by ids in hexadecimal.
pub(super) const SELECT_RECORDS: &str = concat!(
    "SELECT ",
    run_columns!(),
    ", ",
    attempt_columns!(),
    " FROM json_each($1) AS wanted CROSS JOIN runs AS r ON r.id = unhex(wanted.value)
      LEFT JOIN attempts AS a ON a.run = r.id AND a.number = r.attempt"
);

/// Every open run with its newest attempt.
pub(super) const SELECT_OPEN: &str =
    concat!(
    "SELECT ", run_columns!(), ", ", attempt_columns!(),
    " FROM runs AS r INDEXED BY runs_open LEFT JOIN attempts AS a ON a.run = r.id AND a.number = r.attempt
      WHERE r.state IN (1, 2, 3) ORDER BY r.id"
);

/// When the next run that is not due after `$1` becomes due.
const SELECT_NEXT_DUE: &str = "SELECT min(not_before) FROM runs INDEXED BY runs_later WHERE state = 0 AND ready = 0 AND not_before > $1";

/// The runs that stand before one in the queue, in order.
const SELECT_AHEAD: &str = concat!(
    "SELECT ",
    run_columns!(),
    " FROM runs AS o CROSS JOIN runs AS r ON r.state = 0 AND r.ready = 1 AND (r.priority > o.priority
         OR (r.priority = o.priority AND (r.turn, r.id) < (o.turn, o.id)))
      WHERE o.id = $1 AND o.state = 0 AND o.ready = 1 ORDER BY r.priority DESC, r.turn, r.id LIMIT $2"
);

/// How many runs stand before one in the queue; no row where it does not stand there. Only those are counted, in the index.
pub(super) const SELECT_POSITION: &str = "
SELECT (SELECT count(*) FROM json_each('[0, 1, 2]') AS gates CROSS JOIN runs AS q INDEXED BY runs_ready
        ON q.state = 0 AND q.ready = 1 AND q.gate = gates.value AND q.priority > r.priority)
     + (SELECT count(*) FROM json_each('[0, 1, 2]') AS gates CROSS JOIN runs AS q INDEXED BY runs_ready
        ON q.state = 0 AND q.ready = 1 AND q.gate = gates.value AND q.priority = r.priority
           AND (q.turn, q.id) < (r.turn, r.id))
FROM runs AS r WHERE r.id = $1 AND r.state = 0 AND r.ready = 1";

const SELECT_RUN: &str = concat!("SELECT ", run_columns!(), " FROM runs AS r WHERE r.id = $1");

/// A page of all runs.
pub(super) const SELECT_PAGE: &str =
    concat!("SELECT ", run_columns!(), " FROM runs AS r WHERE r.id < $1 ORDER BY r.id DESC LIMIT $2");

/// Failed runs that were not run again.
pub(super) const SELECT_DEAD_LETTERS: &str = concat!(
    "SELECT ",
    run_columns!(),
    " FROM runs AS r INDEXED BY runs_status WHERE r.status = 3 AND r.id < $1 AND NOT EXISTS (
         SELECT 1 FROM runs AS n INDEXED BY runs_again
         WHERE coalesce(n.submission->>'$.origin.rerun.of', n.submission->>'$.origin.daemon.previous') IS NOT NULL
             AND coalesce(n.submission->>'$.origin.rerun.of', n.submission->>'$.origin.daemon.previous') =
             lower(substr(hex(r.id), 1, 8) || '-' || substr(hex(r.id), 9, 4) || '-' || substr(hex(r.id), 13, 4)
                   || '-' || substr(hex(r.id), 17, 4) || '-' || substr(hex(r.id), 21)))
      ORDER BY r.id DESC LIMIT $2"
);

/// One branch of a page: the newest of one status. A branch that is switched off costs nothing.
macro_rules! branch {
    ($status:literal, $switch:literal, $pipeline:literal) => {
        concat!(
            "SELECT * FROM (SELECT ",
            run_columns!(),
            " FROM runs AS r WHERE ",
            $switch,
            " AND ",
            $pipeline,
            "r.status = ",
            $status,
            " AND r.id < $1 ORDER BY r.id DESC LIMIT $2)"
        )
    };
}
macro_rules! page_by_status {
    ($pipeline:literal) => {
        concat!(
            branch!("0", "$3", $pipeline),
            " UNION ALL ",
            branch!("1", "$4", $pipeline),
            " UNION ALL ",
            branch!("2", "$5", $pipeline),
            " UNION ALL ",
            branch!("3", "$6", $pipeline),
            " UNION ALL ",
            branch!("4", "$7", $pipeline),
            " ORDER BY 1 DESC LIMIT $2"
        )
    };
}
/// A page of the runs with some statuses.
pub(super) const SELECT_PAGE_BY_STATUS: &str = page_by_status!("");
/// A page of one pipeline's runs with some statuses.
pub(super) const SELECT_PAGE_BY_PIPELINE: &str =
    page_by_status!("r.pipeline = (SELECT id FROM pipelines WHERE name = $8) AND ");

/// What is stored of a submission beside the spec.
#[derive(Serialize, Deserialize)]
struct Submission {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<EnvName, String>,
    origin: Origin,
}

/// One row, still without its spec.
#[derive(Debug)]
pub(super) struct RunRow {
    pub(super) pipeline: i64,
    pub(super) spec: SpecId,
    pub(super) ready: bool,
    pub(super) turn: i64,
    record: Unspecified,
}

#[derive(Debug)]
struct Unspecified {
    id: RunId,
    submission: Option<String>,
    key: Option<String>,
    priority: i16,
    created_at: Timestamp,
    state: RunState,
    epoch: u64,
    attempt: u32,
    failed_attempts: u32,
    start_retries: u32,
    run_micros: u64,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    chain: Option<RunId>,
    newest: Option<crate::run::Attempt>,
}

impl RunRow {
    /// Reads `run_columns!()`.
    fn decode(columns: &mut Columns<'_>) -> Result<Self> {
        let id = columns.run_id()?;
        let pipeline = columns.int()?;
        let spec = SpecId(columns.int()?);
        let submission = columns.maybe_text()?.map(str::to_owned);
        let key = columns.maybe_text()?.map(str::to_owned);
        let priority = columns.count()?;
        let created_at = columns.instant()?;
        let (code, not_before, detail) = (columns.int()?, columns.int()?, columns.maybe_text()?);
        let record = Unspecified {
            id,
            submission,
            key,
            priority,
            created_at,
            state: codec::state(code, not_before, detail)?,
            epoch: columns.count()?,
            attempt: columns.count()?,
            failed_attempts: columns.count()?,
            start_retries: columns.count()?,
            run_micros: columns.count()?,
            started_at: columns.maybe_instant()?,
            finished_at: columns.maybe_instant()?,
            chain: columns.maybe_run_id()?,
            newest: None,
        };
        let ready = columns.int()? == 1;
        Ok(Self { pipeline, spec, ready, turn: columns.int()?, record })
    }

    /// Reads `run_columns!()` and nothing behind it.
    pub(super) fn of(row: &SqliteRow) -> Result<Self> {
        Self::decode(&mut Columns::of(row))
    }

    /// Reads `run_columns!()` and behind it `attempt_columns!()`.
    pub(super) fn with_attempt(row: &SqliteRow) -> Result<Self> {
        let mut columns = Columns::of(row);
        let mut run = Self::decode(&mut columns)?;
        run.record.newest = attempts::decode_joined(&mut columns, run.record.id)?;
        Ok(run)
    }

    pub(super) fn into_record(self, specs: &HashMap<SpecId, Arc<RunSpec>>) -> Result<RunRecord> {
        let spec = specs.get(&self.spec).ok_or_else(|| codec::corrupt("a run without its spec"))?;
        let row = self.record;
        let submission = match &row.submission {
            Some(text) => codec::from_json(text)?,
            None => Submission { parameters: BTreeMap::new(), origin: Origin::Manual },
        };
        let run = Run {
            id: row.id,
            spec: Arc::clone(spec),
            parameters: submission.parameters,
            origin: submission.origin,
            chain: row.chain.unwrap_or(row.id),
            priority: row.priority,
            key: row.key.map(IdempotencyKey::new).transpose()?,
            state: row.state,
            epoch: row.epoch,
            attempt: row.attempt,
            failed_attempts: row.failed_attempts,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        };
        Ok(RunRecord {
            run,
            newest: row.newest,
            start_retries: row.start_retries,
            run_time: Duration::from_micros(row.run_micros),
        })
    }
}

/// The bytes before which a page begins.
pub(super) fn before_bytes(before: Option<RunId>) -> Vec<u8> {
    before.map_or_else(|| vec![0xff; 17], |id| id.as_bytes().to_vec())
}

/// The `submission` column.
pub(super) fn submission_json(run: &Run) -> Result<Option<String>> {
    if run.parameters.is_empty() && run.origin == Origin::Manual {
        return Ok(None);
    }
    codec::to_json(&Submission { parameters: run.parameters.clone(), origin: run.origin.clone() }).map(Some)
}

impl SqliteStore {
    pub(super) async fn read_run(&self, id: RunId) -> Result<Run> {
        let row = sqlx::query(SELECT_RUN)
            .bind(id.as_bytes().to_vec())
            .fetch_optional(self.readers())
            .await
            .map_err(|error| self.fault(&error))?
            .ok_or_else(|| super::no_such_run(id))?;
        self.complete(vec![RunRow::of(&row)?]).await?.pop().ok_or_else(|| super::no_such_run(id))
    }

    pub(super) async fn read_runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        let limit = query.limit.map_or(RunQuery::DEFAULT_LIMIT, NonZeroU32::get).min(RunQuery::MAX_LIMIT);
        // One more than asked for tells whether there is a next page.
        let before = before_bytes(query.before);
        let wanted = |status: Status| query.statuses.is_empty() || query.statuses.contains(&status);
        let text = match (&query.pipeline, query.statuses.is_empty()) {
            (Some(_), _) => SELECT_PAGE_BY_PIPELINE,
            (None, false) => SELECT_PAGE_BY_STATUS,
            (None, true) => SELECT_PAGE,
        };
        let mut page = sqlx::query(text).bind(before).bind(i64::from(limit) + 1);
        if text != SELECT_PAGE {
            for status in
                [Status::Pending, Status::Running, Status::Success, Status::Failed, Status::Cancelled]
            {
                page = page.bind(wanted(status));
            }
        }
        if let Some(pipeline) = &query.pipeline {
            page = page.bind(pipeline.as_str().to_owned());
        }
        let rows = page.fetch_all(self.readers()).await.map_err(|error| self.fault(&error))?;
        self.page(&rows, limit).await
    }

    /// A page from its rows, of which there is one more where there is a next page.
    async fn page(&self, rows: &[SqliteRow], limit: u32) -> Result<Page<Run>> {
        let more = rows.len() > limit as usize;
        let rows = rows.iter().take(limit as usize).map(RunRow::of).collect::<Result<Vec<_>>>()?;
        let items = self.complete(rows).await?;
        let next = items.last().filter(|_| more).map(|run| run.id);
        Ok(Page { items, next })
    }

    pub(super) async fn read_in_flight(&self) -> Result<Vec<Run>> {
        let rows =
            sqlx::query(SELECT_OPEN).fetch_all(self.readers()).await.map_err(|error| self.fault(&error))?;
        let rows = rows.iter().map(RunRow::of).collect::<Result<Vec<_>>>()?;
        self.complete(rows).await
    }

    pub(super) async fn read_dead_letters(
        &self,
        before: Option<RunId>,
        limit: NonZeroU32,
    ) -> Result<Page<Run>> {
        let limit = limit.get().min(RunQuery::MAX_LIMIT);
        let rows = sqlx::query(SELECT_DEAD_LETTERS)
            .bind(before_bytes(before))
            .bind(i64::from(limit) + 1)
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        self.page(&rows, limit).await
    }

    pub(super) async fn read_ahead(&self, id: RunId, limit: NonZeroU32) -> Result<Vec<Run>> {
        let rows = sqlx::query(SELECT_AHEAD)
            .bind(id.as_bytes().to_vec())
            .bind(i64::from(limit.get().min(RunQuery::MAX_LIMIT)))
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        let rows = rows.iter().map(RunRow::of).collect::<Result<Vec<_>>>()?;
        self.complete(rows).await
    }

    pub(super) async fn read_position(&self, id: RunId) -> Result<Option<u64>> {
        let row = sqlx::query(SELECT_POSITION)
            .bind(id.as_bytes().to_vec())
            .fetch_optional(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        row.map(|row| Columns::of(&row).count()).transpose()
    }

    pub(super) async fn read_next_due(&self, after: Timestamp) -> Result<Option<Timestamp>> {
        let row = sqlx::query(SELECT_NEXT_DUE)
            .bind(after.as_microsecond())
            .fetch_one(self.readers())
            .await
            .map_err(|error| self.fault(&error))?;
        Columns::of(&row).maybe_instant()
    }

    /// Gives rows their specs.
    async fn complete(&self, rows: Vec<RunRow>) -> Result<Vec<Run>> {
        let wanted: Vec<SpecId> = rows.iter().map(|row| row.spec).collect();
        let (mut specs, missing) = self.specs().known(&wanted);
        if !missing.is_empty() {
            let mut connection = self.readers().acquire().await.map_err(|error| self.fault(&error))?;
            specs.extend(
                self.specs().load(&mut connection, &missing).await.map_err(|error| self.fault(&error))??,
            );
        }
        rows.into_iter().map(|row| Ok(row.into_record(&specs)?.run)).collect()
    }
}
