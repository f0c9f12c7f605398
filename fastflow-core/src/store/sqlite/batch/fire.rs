//! Instants of schedules in a batch, with the runs they make.

use super::{Batch, MovedSchedule, PreparedSpec};
use crate::store::{Created, Fire, Fired, accept::Refused, record::whole_micros};

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
        let mut refused = Refused::default();
        for (new, spec) in fire.runs.into_iter().zip(specs) {
            let run = new.id;
            let made = self.create(new, spec);
            created.extend(refused.take(run, made));
        }
        self.ticks.extend(fire.ticks.into_iter().map(|tick| (id, refused.row(tick))));
        Fired::Done(created)
    }
}
