//! Which queued runs a claim takes.
//!
//! Runs that are due stand in the queue by priority and turn. Those that no limit can hold back are read from its
//! head. Those that one can are looked at by what they execute: what its own limit holds back is never walked over,
//! however many runs of it wait. Whoever waits for slots of a pool, or for a part of the budget, lets nobody past it
//! who wants of the same, so that a large run is not overtaken for ever.

use std::collections::{HashMap, HashSet};

use super::{
    attempts::attempt_columns,
    batch::Batch,
    codec::{Columns, gate_code, hex},
    fault::Fault,
    runs::{SELECT_RECORDS, run_columns},
    specs::SpecId,
    writer::Writer,
};
use crate::{
    Result, RunId,
    pipeline::ConfigName,
    run::{Demand, Gate, Obstacle, RunSpec, Usage},
    store::Claim,
};

/// The most runs that one claim takes.
const CLAIM_MAX: u32 = 1024;
/// The most runs that one claim puts into the queue because their time has come.
const READY_MAX: i64 = 65_536;

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
WHERE r.state = 0 AND r.ready = 1 AND r.gate = $1 ORDER BY r.priority DESC, r.turn, r.id LIMIT $2";

/// What the runs of one gate execute, each found by one step into the index.
pub(super) const SELECT_CONTENT: &str = "
WITH RECURSIVE content (spec) AS (
    SELECT min(spec) FROM runs INDEXED BY runs_ready_by_spec WHERE state = 0 AND ready = 1 AND gate = $1
    UNION ALL
    SELECT (SELECT min(q.spec) FROM runs AS q INDEXED BY runs_ready_by_spec
            WHERE q.state = 0 AND q.ready = 1 AND q.gate = $1 AND q.spec > content.spec)
    FROM content WHERE content.spec IS NOT NULL
) SELECT spec FROM content WHERE spec IS NOT NULL";

/// The first runs of each of some contents.
pub(super) const SELECT_HEADS: &str = "
SELECT r.id, r.priority, r.turn, r.spec FROM json_each($2) AS wanted CROSS JOIN runs AS r ON r.id IN (
    SELECT q.id FROM runs AS q INDEXED BY runs_ready_by_spec
    WHERE q.state = 0 AND q.ready = 1 AND q.gate = $1 AND q.spec = wanted.value
    ORDER BY q.priority DESC, q.turn, q.id LIMIT $3)";

/// What is in flight, by what it executes.
pub(super) const SELECT_IN_FLIGHT: &str =
    "SELECT spec, count(*) FROM runs INDEXED BY runs_open WHERE state IN (1, 2, 3) GROUP BY spec";

/// One queued run that may be taken.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: RunId,
    priority: i16,
    turn: i64,
    spec: SpecId,
}

type SpecMap = HashMap<SpecId, std::sync::Arc<RunSpec>>;

impl Writer {
    /// Chooses the runs of each claim, and has them in the batch.
    pub(super) async fn choose(
        &mut self,
        batch: &mut Batch,
        claims: &[&Claim],
    ) -> Result<Vec<Vec<RunId>>, Fault> {
        let mut chosen = Vec::with_capacity(claims.len());
        if claims.is_empty() {
            return Ok(chosen);
        }
        let mut taken = HashSet::new();
        let mut specs = SpecMap::new();
        let mut usage = self.in_flight(&mut specs).await?;
        for claim in claims {
            let ready = self.make_ready(batch, claim).await?;
            let limit = claim.limit.get().min(CLAIM_MAX);
            // Those that an earlier claim of the batch took still stand in the rows.
            let wanted = i64::from(limit) + i64::try_from(taken.len()).unwrap_or(i64::MAX);
            let mut candidates = self.candidates(&mut specs, &usage, claim, wanted).await?;
            candidates.extend(ready.iter().filter_map(|id| {
                let entry = batch.runs.get(id)?;
                specs.insert(entry.spec, std::sync::Arc::clone(&entry.record.run.spec));
                let priority = entry.record.run.priority;
                Some(Candidate { id: *id, priority, turn: entry.turn, spec: entry.spec })
            }));
            candidates.retain(|candidate| !taken.contains(&candidate.id));
            candidates.sort_unstable_by_key(|c| (std::cmp::Reverse(c.priority), c.turn, c.id));
            let mine = admit(&candidates, &specs, &mut usage, claim, limit);
            taken.extend(mine.iter().copied());
            chosen.push(mine);
        }
        let missing: Vec<String> =
            taken.iter().filter(|id| !batch.runs.contains_key(id)).map(|id| hex(id.as_bytes())).collect();
        if !missing.is_empty() {
            self.load_records(batch, SELECT_RECORDS, Some(missing)).await?;
        }
        Ok(chosen)
    }

    async fn in_flight(&mut self, specs: &mut SpecMap) -> Result<Usage, Fault> {
        let connection = self.connection().await?;
        let rows = sqlx::query(SELECT_IN_FLIGHT).fetch_all(connection).await;
        let rows = rows.map_err(|error| self.fault(&error))?;
        let counts = rows.iter().map(|row| {
            let mut columns = Columns::of(row);
            Ok((SpecId(columns.int()?), columns.count::<u32>()?))
        });
        let counts = counts.collect::<Result<Vec<_>>>().map_err(|error| self.damaged(&error))?;
        self.add_specs(specs, counts.iter().map(|(spec, _)| *spec)).await?;
        let mut usage = Usage::default();
        for (spec, runs) in counts {
            if let Some(spec) = specs.get(&spec) {
                usage.add(Demand::of(spec), runs);
            }
        }
        Ok(usage)
    }

    /// Puts the runs whose time has come into the queue, and says which they are.
    async fn make_ready(&mut self, batch: &mut Batch, claim: &Claim) -> Result<Vec<RunId>, Fault> {
        let connection = self.connection().await?;
        let due = sqlx::query(SELECT_DUE_LATER).bind(claim.at.as_microsecond()).bind(READY_MAX);
        let rows = due.fetch_all(connection).await.map_err(|error| self.fault(&error))?;
        let ids = self.decode(batch, &rows).await?;
        for id in &ids {
            batch.make_ready(*id);
        }
        Ok(ids)
    }

    /// Queued runs among which the claim's best are.
    async fn candidates(
        &mut self,
        specs: &mut SpecMap,
        usage: &Usage,
        claim: &Claim,
        wanted: i64,
    ) -> Result<Vec<Candidate>, Fault> {
        let mut candidates = Vec::new();
        for gate in [Gate::Open, Gate::Budget, Gate::Limited] {
            let limited = match gate {
                Gate::Open => false,
                Gate::Budget => claim.capacity.has_budget(),
                Gate::Limited => true,
            };
            if limited || !claim.without.is_empty() {
                self.heads_by_content(specs, usage, claim, (gate, wanted), &mut candidates).await?;
            } else {
                let connection = self.connection().await?;
                let head = sqlx::query(SELECT_HEAD).bind(gate_code(gate)).bind(wanted);
                let rows = head.fetch_all(connection).await.map_err(|error| self.fault(&error))?;
                self.decode_candidates(&rows, &mut candidates)?;
            }
        }
        self.add_specs(specs, candidates.iter().map(|candidate| candidate.spec)).await?;
        Ok(candidates)
    }

    async fn heads_by_content(
        &mut self,
        specs: &mut SpecMap,
        usage: &Usage,
        claim: &Claim,
        (gate, wanted): (Gate, i64),
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), Fault> {
        let connection = self.connection().await?;
        let rows = sqlx::query(SELECT_CONTENT).bind(gate_code(gate)).fetch_all(connection).await;
        let rows = rows.map_err(|error| self.fault(&error))?;
        let content = rows.iter().map(|row| Columns::of(row).int().map(SpecId));
        let content = content.collect::<Result<Vec<_>>>().map_err(|error| self.damaged(&error))?;
        self.add_specs(specs, content.iter().copied()).await?;
        // One run of it is enough where it only holds a place, or only one may start.
        let (mut one, mut many) = (Vec::new(), Vec::new());
        for id in content {
            let Some(spec) = specs.get(&id).filter(|spec| !claim.without.contains(&spec.executor)) else {
                continue;
            };
            match usage.admits(&Demand::of(spec), &claim.capacity) {
                Err(Obstacle::Instances { .. } | Obstacle::Schedule { .. } | Obstacle::NoSuchPool { .. }) => {
                }
                Err(_) => one.push(id.0),
                Ok(()) if spec.pipeline.definition.instance_limit().is_some_and(|max| max.get() == 1) => {
                    one.push(id.0);
                }
                Ok(()) => many.push(id.0),
            }
        }
        for (wanted, of) in [(1, one), (wanted, many)] {
            if of.is_empty() {
                continue;
            }
            let connection = self.connection().await?;
            let heads = sqlx::query(SELECT_HEADS)
                .bind(gate_code(gate))
                .bind(serde_json::Value::from(of).to_string())
                .bind(wanted);
            let rows = heads.fetch_all(connection).await.map_err(|error| self.fault(&error))?;
            self.decode_candidates(&rows, candidates)?;
        }
        Ok(())
    }

    fn decode_candidates(
        &self,
        rows: &[sqlx::sqlite::SqliteRow],
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), Fault> {
        for row in rows {
            let mut columns = Columns::of(row);
            let candidate = (|| {
                Ok(Candidate {
                    id: columns.run_id()?,
                    priority: columns.count()?,
                    turn: columns.int()?,
                    spec: SpecId(columns.int()?),
                })
            })();
            candidates.push(candidate.map_err(|error: crate::Error| self.damaged(&error))?);
        }
        Ok(())
    }

    async fn add_specs(
        &mut self,
        specs: &mut SpecMap,
        wanted: impl Iterator<Item = SpecId>,
    ) -> Result<(), Fault> {
        let wanted: Vec<SpecId> = wanted.filter(|id| !specs.contains_key(id)).collect();
        if !wanted.is_empty() {
            specs.extend(self.specs_of(&wanted).await?);
        }
        Ok(())
    }
}

/// The first candidates that may start, up to `limit`.
fn admit(
    candidates: &[Candidate],
    specs: &SpecMap,
    usage: &mut Usage,
    claim: &Claim,
    limit: u32,
) -> Vec<RunId> {
    let mut held = Held::default();
    let mut mine = Vec::new();
    for candidate in candidates {
        if mine.len() >= limit as usize {
            break;
        }
        let Some(spec) = specs.get(&candidate.spec) else { continue };
        if claim.without.contains(&spec.executor) || held.keeps(spec) {
            continue;
        }
        match usage.admits(&Demand::of(spec), &claim.capacity) {
            Ok(()) => {
                usage.add(Demand::of(spec), 1);
                mine.push(candidate.id);
            }
            Err(obstacle) => held.by(obstacle),
        }
    }
    mine
}

/// What somebody waits for, so that nobody behind it may take it.
#[derive(Debug, Default)]
struct Held {
    pools: HashSet<ConfigName>,
    memory: bool,
    cpu: bool,
}

impl Held {
    fn by(&mut self, obstacle: Obstacle) {
        match obstacle {
            Obstacle::Pool { pool, .. } => drop(self.pools.insert(pool)),
            Obstacle::Memory { .. } => self.memory = true,
            Obstacle::Cpu { .. } => self.cpu = true,
            Obstacle::Instances { .. } | Obstacle::Schedule { .. } | Obstacle::NoSuchPool { .. } => {}
        }
    }

    fn keeps(&self, spec: &RunSpec) -> bool {
        let definition = &spec.pipeline.definition;
        definition.queue.pools.keys().any(|pool| self.pools.contains(pool))
            || (self.memory && definition.limits.memory.is_some())
            || (self.cpu && definition.limits.cpu.is_some())
    }
}
