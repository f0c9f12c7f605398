//! New runs in a batch, with those they take the place of.

use serde_json::json;

use super::{Batch, Entry, PreparedSpec, SpecId};
use crate::{
    Error, ErrorKind, PipelineName, Result, RunId, Timestamp,
    run::{Decision, NewRun, Note, RunEvent, StopCause},
    store::{Created, EventId, Step, accept, record::RunRecord},
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
        accept::check_restart(&new, |run| Some(self.runs.get(&run)?.record.run.state.clone()))?;
        let unfinished = self.unfinished.get(&new.spec.pipeline.name).into_iter().flatten().copied();
        let mut replaced = new.replaces.clone();
        replaced.extend(accept::given_up(&new, unfinished)?);
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
