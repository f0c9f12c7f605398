//! Which queued runs a claim takes.
//!
//! Runs that are due stand in the queue by priority and turn, and are read from its head. Where one of those must
//! wait, the queue is looked at by what its runs execute: what its own limit holds back is never walked over, however
//! many runs of it wait. Whoever waits for slots of a pool, or for a part of the budget, lets nobody past it
//! who wants of the same, so that a large run is not overtaken for ever.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    attempts::attempt_columns,
    batch::Batch,
    codec::{Columns, gate_code, hex},
    fault::Fault,
    line::{Candidate, From, Line, Source},
    runs::{SELECT_RECORDS, run_columns},
    specs::SpecId,
    writer::Writer,
};
use crate::{
    Result, RunId,
    run::{Demand, Gate, Held, RunSpec, Usage},
    store::Claim,
};

/// The most runs that one claim takes.
const CLAIM_MAX: u32 = 1024;
/// The most runs that one claim puts into the queue because their time has come.
const READY_MAX: i64 = 65_536;
/// How many more runs than it may take a claim reads from the head of the queue before it looks at what they execute.
const HEAD_MORE: u32 = 32;
/// How many runs of one content are read at a time, after its first one.
const CONTENT_CHUNK: u32 = 16;

/// Runs whose time has come, and that do not stand in the queue yet.
pub(super) const SELECT_DUE_LATER: &str = concat!(
    "SELECT ",
    run_columns!(),
    ", ",
    attempt_columns!(),
    " FROM runs AS r INDEXED BY runs_later LEFT JOIN attempts AS a ON a.run = r.id AND a.number = r.attempt
      WHERE r.state = 0 AND r.ready = 0 AND r.not_before <= $1 ORDER BY r.not_before, r.id LIMIT $2"
);

/// The head of the queue of one gate.
pub(super) const SELECT_HEAD: &str = "
SELECT r.id, r.priority, r.turn, r.spec FROM runs AS r INDEXED BY runs_ready
WHERE r.state = 0 AND r.ready = 1 AND r.gate = $1 ORDER BY r.priority DESC, r.turn, r.id LIMIT $2 OFFSET $3";

/// What the runs of one gate execute, each found by one step into the index.
pub(super) const SELECT_CONTENT: &str = "
WITH RECURSIVE content (spec) AS (
    SELECT min(spec) FROM runs INDEXED BY runs_ready_by_spec WHERE state = 0 AND ready = 1 AND gate = $1
    UNION ALL
    SELECT (SELECT min(q.spec) FROM runs AS q INDEXED BY runs_ready_by_spec
            WHERE q.state = 0 AND q.ready = 1 AND q.gate = $1 AND q.spec > content.spec)
    FROM content WHERE content.spec IS NOT NULL
) SELECT spec FROM content WHERE spec IS NOT NULL";

/// The first runs of each of some contents: those behind a priority and turn.
pub(super) const SELECT_HEADS: &str = "
SELECT r.id, r.priority, r.turn, r.spec FROM json_each($2) AS wanted CROSS JOIN runs AS r ON r.id IN (
    SELECT q.id FROM runs AS q INDEXED BY runs_ready_by_spec
    WHERE q.state = 0 AND q.ready = 1 AND q.gate = $1 AND q.spec = wanted.value->>0
          AND (q.priority < wanted.value->>1 OR (q.priority = wanted.value->>1 AND q.turn > wanted.value->>2))
    ORDER BY q.priority DESC, q.turn, q.id LIMIT $3)";

/// What is in flight, by what it executes.
pub(super) const SELECT_IN_FLIGHT: &str =
    "SELECT spec, count(*) FROM runs INDEXED BY runs_open WHERE state IN (1, 2, 3) GROUP BY spec";

type SpecMap = HashMap<SpecId, Arc<RunSpec>>;

/// What the claims of a batch have decided so far.
#[derive(Default)]
struct Chosen {
    specs: SpecMap,
    usage: Usage,
    taken: HashSet<RunId>,
}

impl Writer {
    /// Chooses the runs of each claim, and has them in the batch.
    pub(super) async fn choose(
        &mut self,
        batch: &mut Batch,
        claims: &[&Claim],
    ) -> Result<Vec<Vec<RunId>>, Fault> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let mut so_far = self.in_flight().await?;
        let mut chosen = Vec::with_capacity(claims.len());
        for claim in claims {
            chosen.push(self.choose_for(claim, batch, &mut so_far).await?);
        }
        let taken = so_far.taken.iter().filter(|id| !batch.runs.contains_key(id));
        let missing: Vec<String> = taken.map(|id| hex(id.as_bytes())).collect();
        if !missing.is_empty() {
            self.load_records(batch, SELECT_RECORDS, Some(missing)).await?;
        }
        Ok(chosen)
    }

    /// Goes along the queue until the claim has what it wants.
    async fn choose_for(
        &mut self,
        claim: &Claim,
        batch: &mut Batch,
        so_far: &mut Chosen,
    ) -> Result<Vec<RunId>, Fault> {
        let limit = claim.limit.get().min(CLAIM_MAX);
        let mut line = Line::default();
        line.add_all(self.make_ready(batch, claim, &mut so_far.specs).await?);
        for gate in [Gate::Open, Gate::Budget, Gate::Limited] {
            line.add(From::Head(gate));
        }
        let (mut held, mut mine) = (Held::default(), Vec::new());
        while mine.len() < limit as usize {
            let unread = line.unread();
            if !unread.is_empty() {
                self.read(unread, claim, (&mut line, so_far, &held)).await?;
                continue;
            }
            let Some((source, candidate)) = line.next() else { break };
            if so_far.taken.contains(&candidate.id) {
                line.went(source, false);
                continue;
            }
            let spec =
                so_far.specs.get(&candidate.spec).filter(|spec| !claim.without.contains(&spec.executor));
            let Some(spec) = spec.filter(|spec| !held.keeps(Demand::of(spec))) else {
                line.went(source, true);
                continue;
            };
            let admitted = so_far.usage.admits(&Demand::of(spec), &claim.capacity);
            line.went(source, admitted.is_err());
            match admitted {
                Ok(()) => {
                    so_far.usage.add(Demand::of(spec), 1);
                    so_far.taken.insert(candidate.id);
                    mine.push(candidate.id);
                }
                Err(obstacle) => held.by(&obstacle),
            }
        }
        Ok(mine)
    }

    async fn in_flight(&mut self) -> Result<Chosen, Fault> {
        let connection = self.connection().await?;
        let rows = sqlx::query(SELECT_IN_FLIGHT).fetch_all(connection).await;
        let rows = rows.map_err(|error| self.fault(&error))?;
        let counts = rows.iter().map(|row| {
            let mut columns = Columns::of(row);
            Ok((SpecId(columns.int()?), columns.count::<u32>()?))
        });
        let counts = counts.collect::<Result<Vec<_>>>().map_err(|error| self.damaged(&error))?;
        let mut so_far = Chosen::default();
        self.add_specs(&mut so_far.specs, counts.iter().map(|(spec, _)| *spec)).await?;
        for (spec, runs) in counts {
            if let Some(spec) = so_far.specs.get(&spec) {
                so_far.usage.add(Demand::of(spec), runs);
            }
        }
        Ok(so_far)
    }

    /// Puts the runs whose time has come into the queue. They do not stand there in the rows yet.
    async fn make_ready(
        &mut self,
        batch: &mut Batch,
        claim: &Claim,
        specs: &mut SpecMap,
    ) -> Result<Vec<Candidate>, Fault> {
        let connection = self.connection().await?;
        let due = sqlx::query(SELECT_DUE_LATER).bind(claim.at.as_microsecond()).bind(READY_MAX);
        let rows = due.fetch_all(connection).await.map_err(|error| self.fault(&error))?;
        let ids = self.decode(batch, &rows).await?;
        let mut candidates = Vec::with_capacity(ids.len());
        for id in ids {
            batch.make_ready(id);
            let Some(entry) = batch.runs.get(&id) else { continue };
            let run = &entry.record.run;
            specs.entry(entry.spec).or_insert_with(|| Arc::clone(&run.spec));
            candidates.push(Candidate { id, priority: run.priority, turn: entry.turn, spec: entry.spec });
        }
        Ok(candidates)
    }

    /// Reads on in sources that were read to their end. Those that the claim can take nothing from any more are gone.
    async fn read(
        &mut self,
        unread: Vec<Source>,
        claim: &Claim,
        (line, so_far, held): (&mut Line, &mut Chosen, &Held),
    ) -> Result<(), Fault> {
        let mut contents: HashMap<(i64, u32), Vec<Source>> = HashMap::new();
        for mut source in unread {
            match source.from {
                From::Later => {}
                // Somebody in it must wait, and perhaps many do: go by what they execute.
                From::Head(gate) if source.refused => {
                    for spec in self.contents(gate, &mut so_far.specs).await? {
                        line.add(From::Content(gate, spec));
                    }
                }
                From::Head(gate) => {
                    // Those that an earlier claim of the batch took still stand in the rows.
                    let taken = u32::try_from(so_far.taken.len()).unwrap_or(u32::MAX);
                    let wanted =
                        claim.limit.get().min(CLAIM_MAX).saturating_add(taken).saturating_add(HEAD_MORE);
                    let connection = self.connection().await?;
                    let query = sqlx::query(SELECT_HEAD).bind(gate_code(gate)).bind(wanted).bind(source.read);
                    let rows = query.fetch_all(connection).await.map_err(|error| self.fault(&error))?;
                    let rows = self.candidates(&rows, &mut so_far.specs).await?;
                    source.fill(rows, wanted);
                    line.put(source);
                }
                From::Content(gate, spec) => {
                    let spec = so_far.specs.get(&spec).filter(|spec| !claim.without.contains(&spec.executor));
                    let Some(spec) = spec.filter(|spec| !held.keeps(Demand::of(spec))) else { continue };
                    let admitted = so_far.usage.admits(&Demand::of(spec), &claim.capacity);
                    if admitted.err().is_none_or(|obstacle| Held::is_held_by(&obstacle)) {
                        let wanted = if source.read == 0 { 1 } else { CONTENT_CHUNK };
                        contents.entry((gate_code(gate), wanted)).or_default().push(source);
                    }
                }
            }
        }
        for ((gate, wanted), sources) in contents {
            self.read_contents(sources, (gate, wanted), line, so_far).await?;
        }
        Ok(())
    }

    /// Reads `wanted` more runs of each content.
    async fn read_contents(
        &mut self,
        sources: Vec<Source>,
        (gate, wanted): (i64, u32),
        line: &mut Line,
        so_far: &mut Chosen,
    ) -> Result<(), Fault> {
        let behind = sources.iter().filter_map(|source| {
            let From::Content(_, spec) = source.from else { return None };
            let (priority, turn) =
                source.last.map_or((i64::from(i16::MAX), i64::MIN), |last| (last.priority.into(), last.turn));
            Some(serde_json::json!([spec.0, priority, turn]))
        });
        let behind = serde_json::Value::Array(behind.collect()).to_string();
        let connection = self.connection().await?;
        let rows = sqlx::query(SELECT_HEADS).bind(gate).bind(behind).bind(wanted).fetch_all(connection).await;
        let rows = rows.map_err(|error| self.fault(&error))?;
        let mut by_content: HashMap<SpecId, Vec<Candidate>> = HashMap::new();
        for candidate in self.candidates(&rows, &mut so_far.specs).await? {
            by_content.entry(candidate.spec).or_default().push(candidate);
        }
        for mut source in sources {
            let From::Content(_, spec) = source.from else { continue };
            source.fill(by_content.remove(&spec).unwrap_or_default(), wanted);
            line.put(source);
        }
        Ok(())
    }

    /// What the runs in the queue of one gate execute.
    async fn contents(&mut self, gate: Gate, specs: &mut SpecMap) -> Result<Vec<SpecId>, Fault> {
        let connection = self.connection().await?;
        let rows = sqlx::query(SELECT_CONTENT).bind(gate_code(gate)).fetch_all(connection).await;
        let rows = rows.map_err(|error| self.fault(&error))?;
        let contents = rows.iter().map(|row| Columns::of(row).int().map(SpecId));
        let contents = contents.collect::<Result<Vec<_>>>().map_err(|error| self.damaged(&error))?;
        self.add_specs(specs, contents.iter().copied()).await?;
        Ok(contents)
    }

    async fn candidates(
        &mut self,
        rows: &[sqlx::sqlite::SqliteRow],
        specs: &mut SpecMap,
    ) -> Result<Vec<Candidate>, Fault> {
        let candidates = rows.iter().map(|row| {
            let mut columns = Columns::of(row);
            let (id, priority, turn) = (columns.run_id()?, columns.count()?, columns.int()?);
            Ok(Candidate { id, priority, turn, spec: SpecId(columns.int()?) })
        });
        let candidates = candidates.collect::<Result<Vec<_>>>().map_err(|error| self.damaged(&error))?;
        self.add_specs(specs, candidates.iter().map(|candidate| candidate.spec)).await?;
        Ok(candidates)
    }

    async fn add_specs(
        &mut self,
        specs: &mut SpecMap,
        wanted: impl Iterator<Item = SpecId>,
    ) -> Result<(), Fault> {
        let wanted: HashSet<SpecId> = wanted.filter(|id| !specs.contains_key(id)).collect();
        if !wanted.is_empty() {
            specs.extend(self.specs_of(&wanted.into_iter().collect::<Vec<_>>()).await?);
        }
        Ok(())
    }
}
