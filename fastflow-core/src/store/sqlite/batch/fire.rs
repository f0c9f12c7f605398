//! Instants of schedules in a batch, with the runs they make.

use std::collections::HashMap;

use super::{Batch, MovedSchedule, PreparedSpec};
use crate::{
    ErrorKind, RunId,
    schedule::TickOutcome,
    store::{Created, Fire, Fired, record::whole_micros},
};

impl Batch {
    /// Writes what becomes of a schedule's instants, unless somebody was here first. `specs` are those of its runs.
    pub(crate) fn fire(&mut self, fire: Fire, specs: &[PreparedSpec]) -> Fired {
        let Some(row) = self.schedules.get_mut(&fire.schedule) else { return Fired::Stale };
        let (from, to) = (whole_micros(fire.from), whole_micros(fire.to));
        if row.generation != fire.generation || row.cursor != from || to < from {
            return Fired::Stale;
        }
        row.cursor = to;
        let (id, generation) = (row.id, row.generation);
        let moved =
            self.moved_schedules.entry(id).or_insert(MovedSchedule { generation, from, to, next: None });
        moved.to = to;
        moved.next = fire.next;

        let mut created: Vec<Created> = Vec::new();
        let mut refused: HashMap<RunId, TickOutcome> = HashMap::new();
        for (new, spec) in fire.runs.into_iter().zip(specs) {
            let run = new.id;
            match self.create(new, spec) {
                // Two instants never share a run, so one whose key is known makes none.
                Ok(made) if made.existing => {
                    let reason = format!("run {} has its key", made.id);
                    refused.insert(run, TickOutcome::Refused { reason });
                }
                Ok(made) => created.push(made),
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    refused.insert(run, TickOutcome::SkippedFull);
                }
                Err(error) => {
                    refused.insert(run, TickOutcome::Refused { reason: error.to_string() });
                }
            }
        }
        for mut tick in fire.ticks {
            let of = match &tick.outcome {
                TickOutcome::Run(run) | TickOutcome::SkippedOverlap { unfinished: run } => Some(*run),
                _ => None,
            };
            // A run that is not there holds up no later instant either: what refused it refuses that, too.
            if let Some(outcome) = of.and_then(|run| refused.get(&run)) {
                tick.outcome = outcome.clone();
            }
            self.ticks.push((id, tick));
        }
        Fired::Done(created)
    }
}
