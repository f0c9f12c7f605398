//! Who comes next.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    World,
    world::{Row, is_open},
};
use crate::{
    PipelineName, Result, RunId, Timestamp,
    run::{Demand, Run, RunState, Usage},
    store::Claim,
};

/// The turns between pipelines: each due run takes the next free one of its pipeline, and a pipeline that was idle
/// begins where the others are, so that it gains nothing by having waited.
#[derive(Debug)]
pub(super) struct Queue {
    /// The largest turn that was claimed.
    now: u64,
    /// The last turn that each pipeline has given.
    last: BTreeMap<PipelineName, u64>,
    /// The latest instant that anybody named.
    seen: Timestamp,
}

impl Default for Queue {
    fn default() -> Self {
        Self { now: 0, last: BTreeMap::new(), seen: Timestamp::MIN }
    }
}

impl Queue {
    /// Time has come to `at`, as far as the store is told.
    pub(super) fn ripe_from(&mut self, at: Timestamp) {
        self.seen = self.seen.max(at);
    }
}

impl World {
    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Vec<Run>> {
        self.queue.ripe_from(claim.at);
        self.give_turns(claim.at);
        let mut usage = Usage::default();
        for row in self.runs.values().filter(|row| is_open(&row.record.run)) {
            usage.add(Demand::of(&row.record.run.spec), 1);
        }
        let mut claimed = Vec::new();
        for id in self.in_order(|row| is_due(row, claim.at)) {
            if claimed.len() >= usize::try_from(claim.limit.get()).unwrap_or(usize::MAX) {
                break;
            }
            let row = self.row(id)?;
            let spec = std::sync::Arc::clone(&row.record.run.spec);
            let demand = Demand::of(&spec);
            if claim.without.contains(&spec.executor) || usage.admits(&demand, &claim.capacity).is_err() {
                continue;
            }
            self.queue.now = self.queue.now.max(row.turn.unwrap_or(0));
            usage.add(demand, 1);
            claimed.push(self.take_on(id, claim.at)?);
        }
        Ok(claimed)
    }

    /// Gives each run that has become due its turn, by age.
    fn give_turns(&mut self, at: Timestamp) {
        let mut ripe: Vec<(Timestamp, RunId)> = Vec::new();
        for (id, row) in &self.runs {
            if let (RunState::Queued { not_before }, None) = (&row.record.run.state, row.turn)
                && *not_before <= at
            {
                ripe.push((*not_before, *id));
            }
        }
        ripe.sort_unstable();
        for (_, id) in ripe {
            let Some(row) = self.runs.get_mut(&id) else { continue };
            let last = self.queue.last.entry(row.record.run.pipeline().clone()).or_default();
            *last = self.queue.now.max(*last + 1);
            row.turn = Some(*last);
        }
    }

    /// Those of the queue that are wanted, as they come.
    fn in_order(&self, wanted: impl Fn(&Row) -> bool) -> Vec<RunId> {
        let of_queue = self.runs.iter().filter(|(_, row)| wanted(row));
        let mut order: Vec<_> =
            of_queue.map(|(id, row)| (Reverse(row.record.run.priority), row.turn, *id)).collect();
        order.sort_unstable();
        order.into_iter().map(|(.., id)| id).collect()
    }

    pub(super) fn next_due(&self, after: Timestamp) -> Option<Timestamp> {
        let due = self.runs.values().filter_map(|row| match row.record.run.state {
            RunState::Queued { not_before } if not_before > after => Some(not_before),
            _ => None,
        });
        due.min()
    }

    pub(super) fn queue_position(&mut self, run: RunId) -> Option<u64> {
        let seen = self.queue.seen;
        self.give_turns(seen);
        let order = self.in_order(|row| is_due(row, seen));
        order.iter().position(|id| *id == run).map(|position| position as u64)
    }
}

fn is_due(row: &Row, at: Timestamp) -> bool {
    matches!(row.record.run.state, RunState::Queued { not_before } if not_before <= at)
}
