//! The commands of one commit: read first, decide in memory, write once.

mod create;
mod fire;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use serde_json::{Value, json};

use self::write::micros;
pub(super) use self::write::{FENCE, WRITE, row_mark};
use super::{
    codec::{self, hex},
    specs::{PreparedSpec, SpecId},
    turns::Turns,
};
use crate::{
    Error, ErrorKind, PipelineName, Result, RunId, ScheduleId, Timestamp,
    run::{Decision, Demand, Gate, Note, Run, RunEvent, RunState, Status},
    schedule::{NextTick, Tick},
    secret::{SecretName, SecretScope},
    store::{
        Advanced, Counters, EventId, SecretLastUse, Step,
        follow::{self, Chain, Followed},
        keep,
        record::RunRecord,
        whole_micros,
    },
};

/// A run in the hands of the writer.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: RunRecord,
    pub(super) pipeline: i64,
    pub(super) spec: SpecId,
    /// Whether it stands in the queue, by its turn.
    pub(super) ready: bool,
    pub(super) turn: i64,
    /// The row of its schedule, known while it is new.
    pub(super) schedule: Option<i64>,
    /// State and epoch of its row; none while it has no row.
    pub(super) row: Option<(i64, u64)>,
}

impl Entry {
    /// Which limits can keep it in the queue.
    pub(super) fn gate(&self) -> Gate {
        Demand::of(&self.record.run.spec).gate()
    }
}

/// A schedule's row, as far as its instants go.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScheduleRow {
    pub(super) id: i64,
    pub(super) generation: u64,
    pub(super) cursor: Timestamp,
}

/// A schedule that has come further.
#[derive(Clone, Copy, Debug)]
struct MovedSchedule {
    generation: u64,
    from: Timestamp,
    to: Timestamp,
    next: Option<NextTick>,
}

/// Rows that no command was answered from yet, and that are not in the database yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Every run the batch speaks of, as it is after the commands so far.
    pub(super) runs: HashMap<RunId, Entry>,
    /// Runs by their idempotency key: those of the database that matter here, and new ones.
    pub(super) keys: HashMap<String, RunId>,
    /// The unfinished runs of pipelines that take no more than so many, oldest first.
    pub(super) unfinished: HashMap<PipelineName, Vec<RunId>>,
    /// What is known of chains that have joins.
    pub(super) chains: HashMap<RunId, Chain>,
    pub(super) schedules: HashMap<ScheduleId, ScheduleRow>,
    changed: BTreeSet<RunId>,
    pub(super) pipelines: HashMap<PipelineName, i64>,
    pub(super) specs: HashMap<[u8; 32], SpecId>,
    pub(super) new_specs: Vec<(SpecId, PreparedSpec)>,
    new_pipelines: Vec<Value>,
    events: Vec<Value>,
    notes: Vec<(RunId, Note)>,
    ticks: Vec<(i64, Tick)>,
    moved_schedules: BTreeMap<i64, MovedSchedule>,
    submitted: BTreeMap<i64, i64>,
    days: BTreeMap<(i64, i64), Day>,
    /// The values that attempts got, by scope, name and version.
    used_secrets: BTreeMap<(SecretScope, SecretName, NonZeroU32), SecretLastUse>,
    pub(super) next: Next,
    pub(super) turns: Turns,
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

impl Batch {
    /// An empty one, whose rows get the ids from `next` on.
    pub(super) fn after(next: Next, turns: Turns) -> Self {
        Self { next, turns, ..Self::default() }
    }

    /// The newest event so far.
    pub(super) fn last_event(&self) -> EventId {
        EventId(self.next.event - 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.notes.is_empty() && self.moved_schedules.is_empty()
    }

    /// Puts a run whose time has come into the queue, unless it stands there already.
    pub(super) fn make_ready(&mut self, id: RunId) {
        if let Some(entry) = self.runs.get_mut(&id).filter(|entry| !entry.ready) {
            entry.ready = true;
            entry.turn = self.turns.take(entry.pipeline, entry.record.run.priority);
            self.changed.insert(id);
        }
    }

    pub(super) fn claim(&mut self, id: RunId, at: Timestamp) -> Result<Run> {
        let mut entry = self.entry(id)?;
        let claimed = entry.record.claim(at).inspect(|()| {
            self.changed.insert(id);
        });
        if claimed.is_ok() {
            self.turns.claimed(entry.record.run.priority, entry.turn);
            entry.ready = false;
            self.event(&entry, Some(&RunEvent::Claimed), at);
        }
        let run = entry.record.run.clone();
        self.runs.insert(id, entry);
        claimed.map(|()| run)
    }

    /// Moves a run, and creates what its end leads to. `specs` are those of the runs among `step.follow_ups`.
    pub(super) fn advance(&mut self, step: &Step, specs: &[PreparedSpec]) -> Result<Advanced> {
        let mut event = self.step(step)?;
        let mut created = Vec::new();
        let Some(run) = self.runs.get(&step.run).map(|entry| entry.record.run.clone()) else {
            return Err(super::no_such_run(step.run));
        };
        if !step.follow_ups.is_empty() && run.state.is_terminal() {
            let mut chain = self.chains.remove(&run.chain).unwrap_or_default();
            let followed = follow::follow(&step.follow_ups, &run, &mut chain);
            self.chains.insert(run.chain, chain);
            for followed in followed {
                let decision = match followed {
                    Followed::Note(decision) => decision,
                    Followed::Start(new) => {
                        let pipeline = new.spec.pipeline.name.clone();
                        let spec = specs.iter().find(|spec| Arc::ptr_eq(&spec.spec, &new.spec));
                        let made = spec
                            .ok_or_else(|| Error::new(ErrorKind::Internal, "a follow-up without its spec"))
                            .and_then(|spec| self.create(*new, spec));
                        match made {
                            Ok(made) => {
                                event = event.max(made.event);
                                let run = made.id;
                                created.push(made);
                                Decision::Followed { pipeline, run }
                            }
                            Err(error) => Decision::NotFollowed { pipeline, reason: error.to_string() },
                        }
                    }
                };
                self.note(run.id, Note { at: step.at, attempt: run.attempt, decision });
            }
        } else if let Some(chain) = self.chains.get_mut(&run.chain) {
            chain.add(&run);
        }
        Ok(Advanced { state: run.state, attempt: run.attempt, event, created })
    }

    /// Moves a run by one event, and nothing else.
    fn step(&mut self, step: &Step) -> Result<EventId> {
        let mut entry = self.entry(step.run)?;
        let moved = entry.record.advance(step);
        let event = moved.map(|note| {
            self.changed.insert(step.run);
            self.stand(&mut entry, step.at);
            let event = self.event(&entry, Some(&step.event), step.at);
            self.count(&entry);
            self.use_secrets(step);
            self.notes.extend(note.map(|note| (step.run, note)));
            event
        });
        self.runs.insert(step.run, entry);
        event
    }

    /// Notes the last use of what an attempt gets whose start is recorded.
    fn use_secrets(&mut self, step: &Step) {
        let new = SecretLastUse { at: whole_micros(step.at), run: step.run };
        for (scope, name, version) in keep::given(step) {
            let last = self.used_secrets.entry((scope.clone(), name.clone(), version)).or_insert(new);
            if last.at <= new.at {
                *last = new;
            }
        }
    }

    /// Where a run that is queued stands: in the queue when it is due, else beside it.
    fn stand(&mut self, entry: &mut Entry, at: Timestamp) {
        let RunState::Queued { not_before } = entry.record.run.state else {
            entry.ready = false;
            return;
        };
        entry.ready = not_before <= at;
        if entry.ready {
            entry.turn = self.turns.take(entry.pipeline, entry.record.run.priority);
        }
    }

    /// Keeps a note of whoever holds this epoch.
    pub(super) fn note_by(&mut self, run: RunId, epoch: u64, note: Note) -> Result<()> {
        let entry = self.runs.get(&run).ok_or_else(|| super::no_such_run(run))?;
        if entry.record.run.epoch != epoch {
            return Err(Error::new(ErrorKind::Conflict, "another host took this run over").with("run", run));
        }
        self.note(run, note);
        Ok(())
    }

    fn note(&mut self, run: RunId, note: Note) {
        self.notes.push((run, note));
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
        let run = &entry.record.run;
        let Some(at) = run.finished_at else { return };
        if let Some(unfinished) = self.unfinished.get_mut(run.pipeline()) {
            unfinished.retain(|id| *id != run.id);
        }
        let day = at.as_second().div_euclid(24 * 60 * 60);
        let day = self.days.entry((entry.pipeline, day)).or_default();
        match run.status() {
            Status::Success => day.counters.succeeded += 1,
            Status::Failed => day.counters.failed += 1,
            Status::Cancelled => day.counters.cancelled += 1,
            Status::Pending | Status::Running => return,
        }
        day.run_micros += micros(&entry.record);
    }

    /// All runs of the batch, marked as what their rows are after the commit.
    pub(super) fn into_committed(self) -> impl Iterator<Item = Entry> {
        self.runs.into_values().map(|mut entry| {
            entry.row = Some(row_mark(&entry.record.run));
            entry
        })
    }
}
