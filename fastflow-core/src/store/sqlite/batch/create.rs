//! New runs in a batch, with those they take the place of.

use serde_json::json;

use super::{Batch, Entry, PreparedSpec, SpecId};
use crate::{
    Error, ErrorKind, PipelineName, Result, RunId, Timestamp,
    pipeline::WhenFull,
    run::{Decision, NewRun, Note, Origin, RunEvent, RunState, StopCause},
    store::{Created, EventId, Step, record::RunRecord},
};

impl Batch {
    /// Creates a run, or finds the earlier one with its key.
    pub(crate) fn create(&mut self, new: NewRun, spec: &PreparedSpec) -> Result<Created> {
        let key = new.key.as_ref().map(|key| key.as_str().to_owned());
        if let Some(id) = key.as_ref().and_then(|key| self.keys.get(key)) {
            let event = self.last_event();
            return Ok(Created { id: *id, existing: true, cancelled: Vec::new(), event });
        }
        let id = new.id;
        if self.runs.contains_key(&id) {
            return Err(Error::new(ErrorKind::AlreadyExists, "a run with this id exists").with("run", id));
        }
        self.check_restart(&new)?;
        let mut replaced = new.replaces.clone();
        replaced.extend(self.given_up(&new)?);
        let at = new.at;
        let cancelled = self.replace(&replaced, id, at);

        let record = RunRecord::new(new);
        let pipeline = self.pipeline(record.run.pipeline());
        let schedule =
            record.run.schedule().and_then(|schedule| self.schedules.get(schedule)).map(|row| row.id);
        let newest = self.submitted.entry(pipeline).or_insert(i64::MIN);
        *newest = (*newest).max(record.run.created_at.as_microsecond());
        if let Some(key) = key {
            self.keys.insert(key, id);
        }
        if let Some(unfinished) = self.unfinished.get_mut(record.run.pipeline()) {
            unfinished.push(id);
        }
        let spec = self.spec(spec);
        let mut entry = Entry { record, pipeline, spec, ready: false, turn: 0, schedule, row: None };
        self.stand(&mut entry, at);
        let event: EventId = self.event(&entry, None, entry.record.run.created_at);
        self.runs.insert(id, entry);
        self.changed.insert(id);
        for run in &cancelled {
            self.note(id, Note { at, attempt: 0, decision: Decision::Replaces { run: *run } });
        }
        Ok(Created { id, existing: false, cancelled, event })
    }

    /// A planned restart takes the place of a run that goes on; one that has ended has been followed already.
    fn check_restart(&self, new: &NewRun) -> Result<()> {
        let Origin::Daemon { previous, restarts: 0 } = new.origin else { return Ok(()) };
        let goes_on = self.runs.get(&previous).is_some_and(|entry| {
            let state = &entry.record.run.state;
            !state.is_terminal() && !matches!(state, RunState::Stopping { cause: StopCause::Cancelled, .. })
        });
        if goes_on {
            return Ok(());
        }
        let message = "the run whose place it was to take has ended, or is about to";
        Err(Error::new(ErrorKind::Conflict, message).with("run", previous))
    }

    /// The unfinished runs that the pipeline gives up for a new one.
    fn given_up(&self, new: &NewRun) -> Result<Vec<RunId>> {
        let queue = &new.spec.pipeline.definition.queue;
        let Some(max) = queue.max_instances else { return Ok(Vec::new()) };
        let max = usize::try_from(max.get()).unwrap_or(usize::MAX);
        let unfinished = self.unfinished.get(&new.spec.pipeline.name).map_or(&[][..], Vec::as_slice);
        let left: Vec<RunId> = unfinished.iter().filter(|run| !new.replaces.contains(run)).copied().collect();
        if left.len() < max {
            return Ok(Vec::new());
        }
        match queue.when_full {
            WhenFull::Queue => Ok(Vec::new()),
            WhenFull::Reject => Err(Error::new(
                ErrorKind::Unavailable,
                "as many runs of this pipeline as may are unfinished, and its `when_full` is \"reject\"",
            )
            .with("pipeline", &new.spec.pipeline.name)
            .with("max_instances", max)),
            WhenFull::Replace => Ok(left[..=left.len() - max].to_vec()),
        }
    }

    /// Cancels runs because `by` takes their place, and says which it did cancel.
    fn replace(&mut self, runs: &[RunId], by: RunId, at: Timestamp) -> Vec<RunId> {
        let mut cancelled = Vec::new();
        for run in runs {
            let Some(entry) = self.runs.get(run) else { continue };
            let attempt = entry.record.run.attempt;
            let event = RunEvent::StopRequested(StopCause::Cancelled);
            // One that has ended, or is being cancelled, refuses it.
            if self.step(&Step::new(*run, None, event, at)).is_err() {
                continue;
            }
            self.note(*run, Note { at, attempt, decision: Decision::ReplacedBy { run: by } });
            cancelled.push(*run);
        }
        cancelled
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
}
