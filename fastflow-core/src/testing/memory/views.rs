//! The catalog, the counters, and lists.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    time::Duration,
};

use jiff::{civil::Date, tz::TimeZone};

use super::{
    World,
    world::{ByName, is_open},
};
use crate::{
    PipelineName, Result, RunId, Timestamp,
    run::{Origin, Run, Status},
    source::{Commit, SyncId, SyncRecord},
    store::{
        Counters, DailyStatistics, Event, EventId, Page, PipelineRecord, PipelineState, Publication,
        RunQuery, record::whole_micros,
    },
};

/// What is known of pipelines.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Those that were ever in the catalog.
    catalog: ByName<(PipelineState, bool)>,
    counters: ByName<Counters>,
    submitted: ByName<Timestamp>,
    days: BTreeMap<(PipelineName, Date), DailyStatistics>,
    published: Option<Commit>,
    syncs: VecDeque<SyncRecord>,
    last_sync: SyncId,
}

impl Books {
    pub(super) fn submitted(&mut self, run: &Run) {
        let newest = self.submitted.entry(run.pipeline().clone()).or_insert(run.created_at);
        *newest = run.created_at.max(*newest);
    }

    pub(super) fn ended(&mut self, run: &Run, run_time: Duration) {
        let Some(at) = run.finished_at else { return };
        let (name, day) = (run.pipeline().clone(), at.to_zoned(TimeZone::UTC).date());
        let empty = DailyStatistics { day, counters: Counters::default(), run_micros: 0 };
        let today = self.days.entry((name.clone(), day)).or_insert(empty);
        today.run_micros += u64::try_from(run_time.as_micros()).unwrap_or(u64::MAX);
        for counters in [&mut today.counters, self.counters.entry(name).or_default()] {
            match run.status() {
                Status::Success => counters.succeeded += 1,
                Status::Failed => counters.failed += 1,
                Status::Cancelled => counters.cancelled += 1,
                Status::Pending | Status::Running => {}
            }
        }
    }
}

impl World {
    pub(super) fn publish(&mut self, publication: Publication) -> Result<SyncId> {
        self.put_schedules(publication.schedules)?;
        let catalog = &mut self.books.catalog;
        for (_, present) in catalog.values_mut() {
            *present = false;
        }
        let pipelines = publication.pipelines.into_iter();
        catalog.extend(pipelines.map(|state| (state.name.clone(), (state, true))));
        self.books.published.clone_from(&publication.sync.commit);
        Ok(self.record_sync(SyncRecord { id: SyncId::default(), ..publication.sync }))
    }

    pub(super) fn record_sync(&mut self, sync: SyncRecord) -> SyncId {
        let books = &mut self.books;
        if let Some(line) = books.syncs.iter_mut().find(|line| line.id == sync.id) {
            *line = sync;
            return line.id;
        }
        books.last_sync.0 += 1;
        books.syncs.push_back(SyncRecord { id: books.last_sync, ..sync });
        let surplus = books.syncs.len().saturating_sub(SyncRecord::MAX_KEPT as usize);
        books.syncs.drain(..surplus);
        books.last_sync
    }

    pub(super) fn syncs(&self, before: Option<SyncId>, limit: NonZeroU32) -> Vec<SyncRecord> {
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let older = self.books.syncs.iter().rev().filter(|sync| before.is_none_or(|before| sync.id < before));
        older.take(limit).cloned().collect()
    }

    pub(super) fn published(&self) -> Option<Commit> {
        self.books.published.clone()
    }

    pub(super) fn catalog(&self) -> Vec<PipelineRecord> {
        let books = &self.books;
        let record = |(state, present): &(PipelineState, bool)| PipelineRecord {
            state: state.clone(),
            present: *present,
            counters: books.counters.get(&state.name).copied().unwrap_or_default(),
            last_submitted_at: books.submitted.get(&state.name).copied().map(whole_micros),
        };
        books.catalog.values().map(record).collect()
    }

    pub(super) fn days_of(&self, pipeline: &PipelineName, days: u32) -> Vec<DailyStatistics> {
        let of_it = self.books.days.iter().rev().filter(|((name, _), _)| name == pipeline);
        let days = usize::try_from(days).unwrap_or(usize::MAX);
        of_it.take(days).map(|(_, day)| day.clone()).collect()
    }

    pub(super) fn page(&self, query: &RunQuery) -> Page<Run> {
        let limit = query.limit.map_or(RunQuery::DEFAULT_LIMIT, NonZeroU32::get).min(RunQuery::MAX_LIMIT);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let wanted = |run: &&Run| {
            query.before.is_none_or(|before| run.id < before)
                && query.pipeline.as_ref().is_none_or(|name| name == run.pipeline())
                && (query.statuses.is_empty() || query.statuses.contains(&run.status()))
        };
        page_of(self.runs.values().rev().map(|row| &row.record.run).filter(wanted), limit)
    }

    pub(super) fn in_flight(&self) -> Vec<Run> {
        self.runs.values().map(|row| &row.record.run).filter(|run| is_open(run)).cloned().collect()
    }

    pub(super) fn dead_letters(&self, before: Option<RunId>, limit: NonZeroU32) -> Page<Run> {
        let runs = || self.runs.values().map(|row| &row.record.run);
        let again = |run: &Run| match run.origin {
            Origin::Rerun { of, .. } => Some(of),
            Origin::Daemon { previous, .. } => Some(previous),
            _ => None,
        };
        let repeated = |of: RunId| runs().any(|run| again(run) == Some(of));
        let wanted = |run: &&Run| {
            run.status() == Status::Failed && before.is_none_or(|before| run.id < before) && !repeated(run.id)
        };
        let limit = usize::try_from(limit.get().min(RunQuery::MAX_LIMIT)).unwrap_or(usize::MAX);
        page_of(self.runs.values().rev().map(|row| &row.record.run).filter(wanted), limit)
    }

    pub(super) fn events_after(&self, after: EventId, limit: NonZeroU32) -> Vec<Event> {
        let after = usize::try_from(after.0).unwrap_or(usize::MAX);
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        self.events.iter().skip(after).take(limit).cloned().collect()
    }
}

/// The first of some runs, as a page.
fn page_of<'a>(runs: impl Iterator<Item = &'a Run>, limit: usize) -> Page<Run> {
    // One more than asked for tells whether there is a next page.
    let mut items: Vec<Run> = runs.take(limit + 1).cloned().collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|run| run.id);
    Page { items, next }
}
