//! Who comes next.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{World, world::is_open};
use crate::{
    PipelineName, Result, RunId, Timestamp,
    run::{Demand, Held, Run, RunState, Usage},
    store::Claim,
};

/// The turns between pipelines, in each priority: each due run takes the next free one of its pipeline, and a pipeline
/// that was idle begins where the others are, so that it gains nothing by having waited.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The largest turn that was claimed.
    now: BTreeMap<i16, u64>,
    /// The last turn that each pipeline has given.
    last: BTreeMap<(PipelineName, i16), u64>,
}

impl World {
    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Vec<Run>> {
        self.make_ready(claim.at);
        let mut usage = Usage::default();
        for row in self.runs.values().filter(|row| is_open(&row.record.run)) {
            usage.add(Demand::of(&row.record.run.spec), 1);
        }
        let limit = usize::try_from(claim.limit.get()).unwrap_or(usize::MAX);
        let mut held = Held::default();
        let mut claimed = Vec::new();
        for id in self.in_order() {
            if claimed.len() >= limit {
                break;
            }
            let row = self.row(id)?;
            let run = &row.record.run;
            let (spec, priority, turn) = (Arc::clone(&run.spec), run.priority, row.turn);
            if claim.without.contains(&spec.executor) || held.keeps(Demand::of(&spec)) {
                continue;
            }
            match usage.admits(&Demand::of(&spec), &claim.capacity) {
                Ok(()) => {
                    usage.add(Demand::of(&spec), 1);
                    let now = self.queue.now.entry(priority).or_default();
                    *now = turn.map_or(*now, |turn| turn.max(*now));
                    claimed.push(self.take_on(id, claim.at)?);
                }
                Err(obstacle) => held.by(&obstacle),
            }
        }
        Ok(claimed)
    }

    /// Puts those whose time has come into the queue, by age.
    fn make_ready(&mut self, at: Timestamp) {
        let come = self.runs.iter().filter_map(|(id, row)| match row.record.run.state {
            RunState::Queued { not_before } if not_before <= at && row.turn.is_none() => {
                Some((not_before, *id))
            }
            _ => None,
        });
        let mut come: Vec<(Timestamp, RunId)> = come.collect();
        come.sort_unstable();
        for (_, id) in come {
            self.stand(id, at);
        }
    }

    /// Puts a run that is queued and due into the queue, behind those of its pipeline.
    pub(super) fn stand(&mut self, id: RunId, at: Timestamp) {
        let Some(row) = self.runs.get_mut(&id) else { return };
        row.turn = None;
        if matches!(row.record.run.state, RunState::Queued { not_before } if not_before <= at) {
            let priority = row.record.run.priority;
            let now = self.queue.now.get(&priority).copied().unwrap_or_default();
            let whose = (row.record.run.pipeline().clone(), priority);
            let turn = self.queue.last.get(&whose).map_or(now, |last| now.max(last + 1));
            self.queue.last.insert(whose, turn);
            row.turn = Some(turn);
        }
    }

    /// The queue, as it would be served without limits.
    fn in_order(&self) -> Vec<RunId> {
        let of_queue = self.runs.iter().filter_map(|(id, row)| Some((id, row.turn?, row)));
        let mut order: Vec<_> =
            of_queue.map(|(id, turn, row)| (Reverse(row.record.run.priority), turn, *id)).collect();
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

    pub(super) fn queue_ahead(&self, run: RunId, limit: usize) -> Vec<Run> {
        let order = self.in_order();
        let ahead = order.iter().take_while(|id| **id != run).take(limit);
        let known = order.contains(&run);
        ahead.filter(|_| known).filter_map(|id| self.runs.get(id)).map(|row| row.record.run.clone()).collect()
    }

    pub(super) fn queue_position(&self, run: RunId) -> Option<u64> {
        self.in_order().iter().position(|id| *id == run).map(|position| position as u64)
    }
}
