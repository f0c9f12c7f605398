//! The view of schedules.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use super::Orchestrator;
use crate::{
    Error, ErrorKind, PipelineName, Result, ScheduleId, Timestamp,
    host::{Ports, reconcile},
    pipeline::ConfigName,
    schedule::{Blackout, Calendar, EndReason, Schedule, ScheduleOwner, Tick},
    store::{RemoveSchedule, ScheduleChange, ScheduleRecord, TickQuery},
};

/// The most instants that a preview gives.
const MAX_PREVIEW: usize = 10_000;
/// How often a change is tried again because the schedule came further meanwhile.
const MAX_TRIES: u32 = 10;

/// The schedules of an [`Orchestrator`].
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// for record in flow.schedules().list().await? {
///     let next = record.next.map(|next| next.nominal.to_string());
///     println!("{} next at {}", record.schedule.id, next.as_deref().unwrap_or("no instant"));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Schedules<'a> {
    flow: &'a Orchestrator,
}

/// An instant that is to come.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// use std::time::Duration;
///
/// for upcoming in flow.schedules().upcoming(Duration::from_secs(7 * 24 * 3600), 100).await? {
///     println!("{} {}", upcoming.at, upcoming.schedule);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Upcoming {
    /// The instant.
    pub at: Timestamp,
    /// The schedule.
    pub schedule: ScheduleId,
}

impl<'a> Schedules<'a> {
    pub(super) fn new(flow: &'a Orchestrator) -> Self {
        Self { flow }
    }

    fn ports(self) -> &'a Ports {
        &self.flow.inner.ports
    }

    /// All schedules, by id: those that files declare, and those that were made here.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn list(&self) -> Result<Vec<ScheduleRecord>> {
        self.ports().store.schedules(None).await
    }

    /// One schedule.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn get(&self, id: &ScheduleId) -> Result<ScheduleRecord> {
        self.ports().store.schedule(id).await
    }

    /// Makes a schedule, or changes the one with its id. Once this has returned, every instant of it from now on gets
    /// its row in the ledger. A change keeps what an interval counts from, and starts nothing of the past.
    ///
    /// # Errors
    ///
    /// `Invalid` for an id that belongs to files (`<pipeline>/<name>`), an unknown time zone, an unknown blackout, or
    /// parameters that do not fit; `NotFound` for an unknown pipeline or run configuration; else as
    /// [`Orchestrator::submit`].
    ///
    /// # Cancel safety
    ///
    /// Whether a dropped call was carried out is unknown; calling again is safe.
    pub async fn put(&self, schedule: Schedule) -> Result<ScheduleRecord> {
        owned_by_api(&schedule.id)?;
        self.check(&schedule).await?;
        let id = schedule.id.clone();
        let change = |earlier, now| {
            let put = reconcile::put(schedule.clone(), earlier, now);
            Ok(put.map(|put| ScheduleChange { put: vec![put], remove: Vec::new() }))
        };
        self.change(&id, change).await?;
        // Looked at once more: one that came back has a cursor of its own, and may not be whole yet.
        self.change(&id, change).await?;
        self.get(&id).await
    }

    /// Switches a schedule on or off. While it is off, its ledger says so at each instant.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` for one that files declare: its file says whether it is enabled.
    ///
    /// # Cancel safety
    ///
    /// Whether a dropped call was carried out is unknown; calling again is safe.
    pub async fn set_enabled(&self, id: &ScheduleId, enabled: bool) -> Result<ScheduleRecord> {
        owned_by_api(id)?;
        self.change(id, |earlier, now| {
            let earlier = earlier.ok_or_else(|| no_such(id))?;
            let schedule = Schedule { enabled, ..earlier.schedule.clone() };
            let put = reconcile::put(schedule, Some(earlier), now);
            Ok(put.map(|put| ScheduleChange { put: vec![put], remove: Vec::new() }))
        })
        .await?;
        self.get(id).await
    }

    /// Removes a schedule. Its ledger stays, and its runs go on.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` for one that files declare: remove it there.
    ///
    /// # Cancel safety
    ///
    /// Whether a dropped call was carried out is unknown; calling again is safe.
    pub async fn remove(&self, id: &ScheduleId) -> Result<()> {
        owned_by_api(id)?;
        self.change(id, |earlier, now| {
            let earlier = earlier.ok_or_else(|| no_such(id))?;
            let (generation, reason) = (earlier.generation, EndReason::Removed);
            let remove = vec![RemoveSchedule { id: id.clone(), generation, at: now, reason }];
            Ok(Some(ScheduleChange { put: Vec::new(), remove }))
        })
        .await
    }

    /// The next instants of a schedule, at most `limit` and never more than 10,000.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` when its instants cannot be known.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn next(&self, id: &ScheduleId, limit: usize) -> Result<Vec<Timestamp>> {
        let record = self.get(id).await?;
        let calendar = record.schedule.calendar(record.anchor)?;
        let from = record.cursor.max(self.ports().clock.now());
        Ok(calendar.between(from, Timestamp::MAX, limit.min(MAX_PREVIEW)))
    }

    /// What will run within this time, over all schedules, in order; at most `limit` and never more than 10,000. Left
    /// out are schedules and pipelines that are disabled, pipelines that cannot run, and what falls into a blackout.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn upcoming(&self, within: Duration, limit: usize) -> Result<Vec<Upcoming>> {
        let ports = self.ports();
        let now = ports.clock.now();
        let until = now.saturating_add(within).unwrap_or(Timestamp::MAX);
        let catalog = ports.source.catalog().await?;
        let runnable = |name: &PipelineName| {
            let found = catalog.get(name).and_then(|entry| entry.runnable().ok());
            found.is_some_and(|found| found.pipeline.definition.enabled)
        };
        let mut records = self.list().await?;
        records.retain(|record| record.schedule.enabled && runnable(&record.schedule.id.pipeline));
        let blackouts = records.iter().map(|record| ports.settings.blackouts.of(&record.schedule)).collect();
        // Thousands of calendars take a while.
        let merged = tokio::task::spawn_blocking(move || {
            let limit = limit.min(MAX_PREVIEW);
            merge(&records, blackouts, now, until).take(limit).collect::<Vec<_>>()
        });
        merged.await.map_err(|panic| Error::new(ErrorKind::Internal, "looking ahead panicked").because(panic))
    }

    /// Rows of the ledger with the schedules they are of, newest first.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn ticks(&self, query: &TickQuery) -> Result<Vec<(ScheduleId, Tick)>> {
        self.ports().store.ticks(query).await
    }

    async fn check(&self, schedule: &Schedule) -> Result<()> {
        let ports = self.ports();
        if let Some(name) = ports.settings.blackouts.missing(schedule) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the host has no such blackout; give its builder `.blackout(…)`",
            )
            .with("blackout", name.as_str()));
        }
        schedule.calendar(ports.clock.now())?;
        let found = ports.runnable(schedule.id.pipeline.as_str()).await?;
        let asked = crate::host::intake::Asked { config: schedule.config.clone(), ..Default::default() };
        let spec = ports.spec(&found, &asked)?;
        Ports::parameters(&spec, schedule.parameters.clone()).map(drop)
    }

    /// Changes one schedule by what it is now, again when it came further meanwhile.
    async fn change(
        &self,
        id: &ScheduleId,
        change: impl Fn(Option<ScheduleRecord>, Timestamp) -> Result<Option<ScheduleChange>>,
    ) -> Result<()> {
        let ports = self.ports();
        let mut tries = 0;
        loop {
            let earlier = match self.get(id).await {
                Ok(record) => Some(record),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let now = ports.clock.now();
            let known: Vec<ScheduleRecord> = earlier.iter().cloned().collect();
            let Some(change) = change(earlier, now)? else { return Ok(()) };
            tries += 1;
            if tries < MAX_TRIES && reconcile::settle(ports, &known, &change, now).await? {
                continue;
            }
            match ports.store.put_schedules(change).await {
                Ok(()) => {
                    ports.signals.reschedule();
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Conflict && tries < MAX_TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The instants of all schedules after `now` and up to `until`, in order, each found when it is asked for.
fn merge(
    records: &[ScheduleRecord],
    blackouts: Vec<BTreeMap<ConfigName, Blackout>>,
    now: Timestamp,
    until: Timestamp,
) -> impl Iterator<Item = Upcoming> {
    let calendars: Vec<_> =
        records.iter().map(|record| record.schedule.calendar(record.anchor).ok()).collect();
    let next = move |index: usize, after: Timestamp| {
        let calendar: &Calendar = calendars.get(index)?.as_ref()?;
        let quiet = blackouts.get(index)?;
        let mut ahead = calendar.after(after).take_while(|at| *at <= until).take(MAX_PREVIEW);
        ahead.find(|at| !quiet.values().any(|blackout| blackout.contains(*at)))
    };
    let first = |(index, record): (usize, &ScheduleRecord)| {
        Some(Reverse((next(index, record.cursor.max(now))?, index)))
    };
    let mut ahead: BinaryHeap<Reverse<(Timestamp, usize)>> =
        records.iter().enumerate().filter_map(first).collect();
    std::iter::from_fn(move || {
        let Reverse((at, index)) = ahead.pop()?;
        ahead.extend(next(index, at).map(|later| Reverse((later, index))));
        Some(Upcoming { at, schedule: records[index].schedule.id.clone() })
    })
}

fn no_such(id: &ScheduleId) -> Error {
    Error::new(ErrorKind::NotFound, "no such schedule").with("schedule", id)
}

/// What files declare is changed in the files: the next sync would undo anything else.
fn owned_by_api(id: &ScheduleId) -> Result<()> {
    match id.owner {
        ScheduleOwner::Api => Ok(()),
        ScheduleOwner::Files => Err(Error::new(
            ErrorKind::Invalid,
            "this schedule is declared by the pipeline's files, and is changed there; the id of one that is made \
             here is `<pipeline>@<name>`",
        )
        .with("schedule", id)),
    }
}
