//! The rows, and what a transaction does to them.

use std::collections::BTreeMap;

use super::{packages::Inventory, queue::Queue, schedules::Schedules, secrets::Vault, views::Books};
use crate::{
    Error, ErrorKind, PipelineName, Result, RunId, Timestamp,
    run::{Attempt, Decision, IdempotencyKey, NewRun, Note, Run, RunEvent, RunState, StopCause},
    store::{
        Advanced, Created, Event, EventId, Step, accept,
        follow::{Chain, Followed, follow},
        record::{RunRecord, whole_micros},
    },
};

/// Everything that a store keeps.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) runs: BTreeMap<RunId, Row>,
    pub(crate) events: Vec<Event>,
    pub(crate) schedules: Schedules,
    pub(super) queue: Queue,
    pub(super) books: Books,
    pub(super) inventory: Inventory,
    pub(super) vault: Vault,
    keys: BTreeMap<IdempotencyKey, RunId>,
    /// The runs of each chain, the first of them as well.
    chains: BTreeMap<RunId, Vec<RunId>>,
}

/// One run, with all that belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) record: RunRecord,
    pub(crate) notes: Vec<Note>,
    /// Its turn, while it is queued and its time has come.
    pub(super) turn: Option<u64>,
    /// The attempts before the newest.
    earlier: Vec<Attempt>,
}

impl Row {
    /// All its attempts, first to last.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.earlier.iter().chain(&self.record.newest).cloned().collect()
    }

    fn is_unfinished(&self) -> bool {
        !self.record.run.state.is_terminal()
    }
}

impl World {
    pub(super) fn row(&self, id: RunId) -> Result<&Row> {
        self.runs.get(&id).ok_or_else(|| no_such_run(id))
    }

    pub(super) fn create(&mut self, new: NewRun) -> Result<Created> {
        if let Some(id) = new.key.as_ref().and_then(|key| self.keys.get(key)) {
            return Ok(Created { id: *id, existing: true, cancelled: Vec::new(), event: self.last_event() });
        }
        if self.runs.contains_key(&new.id) {
            return Err(Error::new(ErrorKind::AlreadyExists, "a run with this id exists").with("run", new.id));
        }
        accept::check_restart(&new, |run| Some(self.runs.get(&run)?.record.run.state.clone()))?;
        let of_it = self.unfinished(|run| *run.pipeline() == new.spec.pipeline.name);
        let mut replaced = new.replaces.clone();
        replaced.extend(accept::given_up(&new, of_it)?);
        let (id, at) = (new.id, new.at);
        let cancelled: Vec<RunId> = replaced.into_iter().filter(|old| self.replace(*old, id, at)).collect();
        if let Some(key) = &new.key {
            self.keys.insert(key.clone(), id);
        }
        let record = RunRecord::new(new);
        self.chains.entry(record.run.chain).or_default().push(id);
        self.books.submitted(&record.run);
        if let Some(schedule) = record.run.schedule() {
            self.schedules.unfinished.entry(schedule.clone()).or_default().insert(id);
        }
        self.tell(&record.run, "submitted", at);
        self.runs.insert(id, Row { record, notes: Vec::new(), turn: None, earlier: Vec::new() });
        self.stand(id, at);
        for old in &cancelled {
            self.remember(id, at, Decision::Replaces { run: *old });
        }
        Ok(Created { id, existing: false, cancelled, event: self.last_event() })
    }

    /// Cancels a run for a later one. False when it has ended already, or is being cancelled.
    fn replace(&mut self, old: RunId, by: RunId, at: Timestamp) -> bool {
        let stop = Step::new(old, None, RunEvent::StopRequested(StopCause::Cancelled), at);
        let cancelled = self.advance(&stop).is_ok();
        if cancelled {
            self.remember(old, at, Decision::ReplacedBy { run: by });
        }
        cancelled
    }

    pub(super) fn take_on(&mut self, id: RunId, at: Timestamp) -> Result<Run> {
        let row = self.runs.get_mut(&id).ok_or_else(|| no_such_run(id))?;
        let earlier = row.record.newest.clone();
        row.record.claim(at)?;
        row.earlier.extend(earlier);
        row.turn = None;
        let run = row.record.run.clone();
        self.tell(&run, RunEvent::Claimed.name(), at);
        Ok(run)
    }

    pub(super) fn take_over(&mut self) -> Vec<Run> {
        let open = self.runs.values_mut().map(|row| &mut row.record.run).filter(|run| is_open(run));
        open.map(|run| {
            run.epoch += 1;
            run.clone()
        })
        .collect()
    }

    pub(super) fn advance(&mut self, step: &Step) -> Result<Advanced> {
        let row = self.runs.get_mut(&step.run).ok_or_else(|| no_such_run(step.run))?;
        let note = row.record.advance(step)?;
        row.notes.extend(note);
        let run = row.record.run.clone();
        let run_time = row.record.run_time;
        self.tell(&run, step.event.name(), step.at);
        self.stand(run.id, step.at);
        self.use_secrets(step);
        let mut created = Vec::new();
        if run.state.is_terminal() {
            self.books.ended(&run, run_time);
            if let Some(unfinished) = run.schedule().and_then(|of| self.schedules.unfinished.get_mut(of)) {
                unfinished.remove(&run.id);
            }
            created = self.follow(step, &run);
        }
        Ok(Advanced { state: run.state, attempt: run.attempt, event: self.last_event(), created })
    }

    /// Does what the end of `run` leads to.
    fn follow(&mut self, step: &Step, run: &Run) -> Vec<Created> {
        let mut chain = Chain::default();
        for member in self.chains.get(&run.chain).into_iter().flatten() {
            if let Some(row) = self.runs.get(member) {
                chain.add(&row.record.run);
            }
        }
        let mut all = Vec::new();
        for followed in follow(&step.follow_ups, run, &mut chain) {
            let decision = match followed {
                Followed::Note(decision) => decision,
                Followed::Start(new) => {
                    let pipeline = new.spec.pipeline.name.clone();
                    match self.create(*new) {
                        Ok(created) => {
                            let decision = Decision::Followed { pipeline, run: created.id };
                            all.push(created);
                            decision
                        }
                        Err(error) => Decision::NotFollowed { pipeline, reason: error.message().to_owned() },
                    }
                }
            };
            self.remember(run.id, step.at, decision);
        }
        all
    }

    fn remember(&mut self, id: RunId, at: Timestamp, decision: Decision) {
        if let Some(row) = self.runs.get_mut(&id) {
            let attempt = row.record.run.attempt;
            row.notes.push(Note { at: whole_micros(at), attempt, decision });
        }
    }

    pub(super) fn note(&mut self, id: RunId, epoch: u64, note: Note) -> Result<()> {
        let row = self.runs.get_mut(&id).ok_or_else(|| no_such_run(id))?;
        if row.record.run.epoch != epoch {
            return Err(Error::new(ErrorKind::Conflict, "another host took this run over").with("run", id));
        }
        row.notes.push(note);
        Ok(())
    }

    pub(super) fn notes(&self, id: RunId) -> Vec<Note> {
        self.runs.get(&id).map(|row| row.notes.clone()).unwrap_or_default()
    }

    pub(super) fn last_event(&self) -> EventId {
        EventId(self.events.len() as u64)
    }

    fn tell(&mut self, run: &Run, name: &str, at: Timestamp) {
        self.events.push(Event {
            id: EventId(self.events.len() as u64 + 1),
            at: whole_micros(at),
            run: run.id,
            pipeline: run.pipeline().clone(),
            attempt: run.attempt,
            name: name.to_owned(),
            state: run.state.name().to_owned(),
            status: run.status(),
        });
    }

    /// The unfinished runs of one schedule or pipeline, oldest first.
    pub(super) fn unfinished(&self, of: impl Fn(&Run) -> bool) -> impl Iterator<Item = RunId> {
        let wanted = move |row: &&Row| row.is_unfinished() && of(&row.record.run);
        self.runs.values().filter(wanted).map(|row| row.record.run.id)
    }
}

/// Whether a host has it: what counts against the limits, and what is taken over.
pub(crate) fn is_open(run: &Run) -> bool {
    matches!(run.state, RunState::Starting | RunState::Running { .. } | RunState::Stopping { .. })
}

pub(super) fn no_such_run(id: RunId) -> Error {
    Error::new(ErrorKind::NotFound, "no such run").with("run", id)
}

/// The order of names in which the catalog is listed.
pub(super) type ByName<T> = BTreeMap<PipelineName, T>;
