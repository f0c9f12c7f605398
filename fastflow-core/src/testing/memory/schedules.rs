//! Schedules and their ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use super::World;
use crate::{
    Error, ErrorKind, PipelineName, Result, RunId, ScheduleId, Timestamp,
    schedule::{Tick, TickOutcome},
    store::{
        DueSchedule, Fire, Fired, RemoveSchedule, ScheduleChange, ScheduleRecord, TickQuery, accept::Refused,
        whole_micros,
    },
};

/// What the store keeps of schedules.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    pub(crate) known: BTreeMap<ScheduleId, ScheduleRecord>,
    /// The last generation and cursor of those that are no more: one that comes back goes on from there.
    gone: BTreeMap<ScheduleId, (u64, Timestamp)>,
    pub(crate) ledger: BTreeMap<(ScheduleId, Timestamp), Tick>,
    /// The unfinished runs of each.
    pub(super) unfinished: BTreeMap<ScheduleId, BTreeSet<RunId>>,
}

impl World {
    pub(super) fn put_schedules(&mut self, change: ScheduleChange) -> Result<()> {
        let has = |id: &ScheduleId| self.schedules.known.get(id).map(|record| record.generation);
        let put = change.put.iter().map(|put| (&put.record.schedule.id, put.replaces));
        let remove = change.remove.iter().map(|removed| (&removed.id, Some(removed.generation)));
        if let Some((id, _)) = put.chain(remove).find(|(id, expected)| has(id) != *expected) {
            return Err(
                Error::new(ErrorKind::Conflict, "somebody changed this schedule").with("schedule", id)
            );
        }
        let Schedules { known, gone, ledger, .. } = &mut self.schedules;
        for RemoveSchedule { id, generation, at, reason } in change.remove {
            let Some(record) = known.remove(&id) else { continue };
            let at = whole_micros(at);
            let end = at.max(record.cursor + Duration::from_micros(1));
            let tick = Tick::new(end, TickOutcome::Ended { reason }, at);
            ledger.insert((id.clone(), end), tick);
            gone.insert(id, (generation, end));
        }
        for put in change.put {
            let mut record = put.record;
            let id = record.schedule.id.clone();
            let now = known.get(&id).map(|record| (record.generation, record.cursor));
            let (generation, cursor) = now.or(gone.remove(&id)).unwrap_or((0, record.cursor));
            record.generation = generation + 1;
            record.cursor = record.cursor.max(cursor);
            record.next = record.next.filter(|next| next.nominal > record.cursor);
            known.insert(id, record);
        }
        Ok(())
    }

    pub(super) fn schedules_of(&self, pipeline: Option<&PipelineName>) -> Vec<ScheduleRecord> {
        let of_it =
            |record: &&ScheduleRecord| pipeline.is_none_or(|name| *name == record.schedule.id.pipeline);
        self.schedules.known.values().filter(of_it).cloned().collect()
    }

    pub(super) fn schedule(&self, id: &ScheduleId) -> Result<ScheduleRecord> {
        let found = self.schedules.known.get(id).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such schedule").with("schedule", id))
    }

    pub(crate) fn due_schedules(&self, at: Timestamp, limit: NonZeroU32) -> Vec<DueSchedule> {
        let due =
            |record: &ScheduleRecord| record.next.as_ref().map(|next| next.due).filter(|due| *due <= at);
        let mut records: Vec<_> =
            self.schedules.known.values().filter_map(|record| Some((due(record)?, record))).collect();
        records.sort_by_key(|(due, _)| *due);
        records.truncate(usize::try_from(limit.get()).unwrap_or(usize::MAX));
        let most = usize::try_from(DueSchedule::MAX_UNFINISHED).unwrap_or(usize::MAX);
        let with_runs = |record: &ScheduleRecord| DueSchedule {
            record: record.clone(),
            unfinished: self
                .schedules
                .unfinished
                .get(&record.schedule.id)
                .into_iter()
                .flatten()
                .take(most)
                .copied()
                .collect(),
        };
        records.into_iter().map(|(_, record)| with_runs(record)).collect()
    }

    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        self.schedules.known.values().filter_map(|record| Some(record.next.as_ref()?.due)).min()
    }

    pub(super) fn fire(&mut self, fire: Fire) -> Fired {
        let expected =
            |record: &ScheduleRecord| record.generation == fire.generation && record.cursor == fire.from;
        // A row that is there already was written by somebody who was here first.
        let row = |tick: &Tick| self.schedules.ledger.contains_key(&(fire.schedule.clone(), tick.nominal));
        let stale = fire.to < fire.from
            || !self.schedules.known.get(&fire.schedule).is_some_and(expected)
            || fire.ticks.iter().any(row);
        if stale {
            return Fired::Stale;
        }
        let (mut refused, mut created) = (Refused::default(), Vec::new());
        for new in fire.runs {
            let run = new.id;
            let made = self.create(new);
            created.extend(refused.take(run, made));
        }
        for tick in fire.ticks {
            let tick = refused.row(tick);
            self.schedules.ledger.insert((fire.schedule.clone(), tick.nominal), tick);
        }
        if let Some(record) = self.schedules.known.get_mut(&fire.schedule) {
            record.cursor = fire.to;
            record.next = fire.next;
        }
        Fired::Done(created)
    }

    pub(super) fn ticks_of(&self, query: &TickQuery) -> Vec<(ScheduleId, Tick)> {
        let wanted = |(id, nominal): &(ScheduleId, Timestamp)| {
            query.schedule.as_ref().is_none_or(|of| of == id)
                && query.since.is_none_or(|since| since <= *nominal)
                && query.before.is_none_or(|before| *nominal < before)
                && query
                    .behind
                    .as_ref()
                    .is_none_or(|(last, of)| nominal < last || (nominal == last && id > of))
        };
        let ledger = &self.schedules.ledger;
        let rows = match &query.schedule {
            Some(id) => ledger.range((id.clone(), Timestamp::MIN)..=(id.clone(), Timestamp::MAX)),
            None => ledger.range(..),
        };
        let rows = rows.filter(|(row, _)| wanted(row));
        let mut rows: Vec<_> = rows.map(|((id, _), tick)| (id.clone(), tick.clone())).collect();
        rows.sort_by_key(|(_, tick)| std::cmp::Reverse(tick.nominal));
        let limit = query.limit.map_or(TickQuery::DEFAULT_LIMIT, NonZeroU32::get).min(TickQuery::MAX_LIMIT);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        rows
    }
}
