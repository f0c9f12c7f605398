//! Makes the catalog and the schedules in the store what the files of pipelines say. Only what changed is touched: what an interval
//! counts from never moves, and nothing of the past starts because somebody edited a rule.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ports, scheduler};
use crate::{
    Error, ErrorKind, PipelineName, Result, Timestamp,
    pipeline::{Definition, Pipeline},
    schedule::{EndReason, Schedule, ScheduleId, ScheduleOwner},
    source::{Catalog, CatalogEntry, SyncId, SyncRecord},
    store::{PipelineState, Publication, PutSchedule, RemoveSchedule, ScheduleChange, ScheduleRecord},
};

/// How often a change is tried again because a schedule came further meanwhile.
const MAX_TRIES: u32 = 10;
/// The name of the schedule at the top of a pipeline's file.
const TOP: &str = "schedule";
/// The name of the one instant at the top of a pipeline's file.
const ONCE: &str = "once";

/// What became of a catalog that was to be shown.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    /// It was written, as this line of the log.
    Now(SyncId),
    /// All of it is shown already.
    Already,
}

/// Makes what is shown what the catalog says, in one transaction: the pipelines, their schedules, and `sync` as the
/// line in the log. Pipelines that are broken keep the schedules they had; those that are gone lose them.
pub(crate) async fn publish(
    ports: &Ports,
    catalog: &Catalog,
    pipelines: Option<Vec<PipelineState>>,
    sync: &SyncRecord,
) -> Result<Shown> {
    let mut tries = 1;
    loop {
        let (change, now, due) = changes(ports, catalog).await?;
        if change.is_empty() && pipelines.is_none() {
            return Ok(Shown::Already);
        }
        if tries < MAX_TRIES && settle(ports, &due, &change, now).await? {
            tries += 1;
            continue;
        }
        let again = pipelines.clone().unwrap_or_else(|| states(catalog));
        let publication = Publication { pipelines: again, schedules: change, sync: sync.clone() };
        match ports.store.publish(publication).await {
            Ok(id) => return Ok(Shown::Now(id)),
            Err(error) if error.kind() == ErrorKind::Conflict && tries < MAX_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Makes whole what [`publish`] has written: a schedule that came back has a cursor of its own, and what is ahead of it
/// is known only now.
pub(crate) async fn look_again(ports: &Ports, catalog: &Catalog) -> Result<()> {
    for _ in 0..MAX_TRIES {
        let (change, now, due) = changes(ports, catalog).await?;
        if change.is_empty() {
            return Ok(());
        }
        if settle(ports, &due, &change, now).await? {
            continue;
        }
        match ports.store.put_schedules(change).await {
            Ok(()) => ports.signals.reschedule(),
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the schedules are what the catalog says.
pub(crate) fn is_settled(catalog: &Catalog, known: Vec<ScheduleRecord>, now: Timestamp) -> Result<bool> {
    Ok(change(catalog, known, now)?.is_empty())
}

/// What must change of the schedules, and which of them are due now.
async fn changes(
    ports: &Ports,
    catalog: &Catalog,
) -> Result<(ScheduleChange, Timestamp, Vec<ScheduleRecord>)> {
    let now = ports.clock.now();
    let known = ports.store.schedules(None).await?;
    let due = known.iter().filter(|record| is_due(record, now)).cloned().collect();
    Ok((change(catalog, known, now)?, now, due))
}

/// The catalog as the store keeps it.
pub(crate) fn states(catalog: &Catalog) -> Vec<PipelineState> {
    let state = |entry: &CatalogEntry| {
        let (revision, diagnostics) = match &entry.pipeline {
            Ok(found) => (Some(found.revision.clone()), found.pipeline.warnings.clone()),
            Err(diagnostics) => (None, diagnostics.clone()),
        };
        PipelineState { name: entry.name.clone(), revision, diagnostics }
    };
    catalog.entries.iter().map(state).collect()
}

/// Acts upon what is due of the rules that end with this change, if there is any: then they came further meanwhile, and
/// the change is to be made anew.
pub(crate) async fn settle(
    ports: &Ports,
    known: &[ScheduleRecord],
    change: &ScheduleChange,
    now: Timestamp,
) -> Result<bool> {
    let removed: BTreeSet<&ScheduleId> = change.remove.iter().map(|removed| &removed.id).collect();
    let put: BTreeMap<&ScheduleId, &Schedule> =
        change.put.iter().map(|put| (&put.record.schedule.id, &put.record.schedule)).collect();
    let ends = |record: &&ScheduleRecord| {
        let (earlier, id) = (&record.schedule, &record.schedule.id);
        let edited = put.get(id).is_some_and(|later| !same_instants(earlier, later));
        is_due(record, now) && (edited || removed.contains(id))
    };
    let ending: Vec<&ScheduleRecord> = known.iter().filter(ends).collect();
    if ending.is_empty() {
        return Ok(false);
    }
    scheduler::settle(ports, &ending, now).await?;
    Ok(true)
}

/// Whether an instant of it has come, even if its jitter still holds it back.
fn is_due(record: &ScheduleRecord, now: Timestamp) -> bool {
    record.next.is_some_and(|next| next.nominal <= now)
}

/// What must change.
fn change(catalog: &Catalog, known: Vec<ScheduleRecord>, now: Timestamp) -> Result<ScheduleChange> {
    let mut known: BTreeMap<ScheduleId, ScheduleRecord> = known
        .into_iter()
        .filter(|record| record.schedule.id.owner == ScheduleOwner::Files)
        .map(|record| (record.schedule.id.clone(), record))
        .collect();
    let mut change = ScheduleChange::default();
    let mut broken: BTreeSet<&PipelineName> = BTreeSet::new();
    for entry in &catalog.entries {
        let Ok(found) = &entry.pipeline else {
            broken.insert(&entry.name);
            continue;
        };
        for schedule in declared(&found.pipeline)? {
            let earlier = known.remove(&schedule.id);
            change.put.extend(put(schedule, earlier, now));
        }
    }
    let gone = known.into_values().filter(|record| !broken.contains(&record.schedule.id.pipeline));
    let removed = |record: ScheduleRecord| {
        let id = record.schedule.id;
        let reason = match catalog.get(&id.pipeline) {
            Some(_) => EndReason::DeclarationRemoved,
            None => EndReason::PipelineRemoved,
        };
        RemoveSchedule { id, generation: record.generation, at: now, reason }
    };
    change.remove = gone.map(removed).collect();
    Ok(change)
}

/// The schedules that a pipeline's files declare.
pub(crate) fn declared(pipeline: &Pipeline) -> Result<Vec<Schedule>> {
    let definition: &Definition = &pipeline.definition;
    let id = |name: &str| -> Result<ScheduleId> {
        Ok(ScheduleId { pipeline: pipeline.name.clone(), owner: ScheduleOwner::Files, name: name.parse()? })
    };
    let mut schedules = Vec::new();
    let top = &definition.schedule;
    for entry in &definition.schedules {
        let mut schedule = Schedule::new(id(entry.id.as_str())?, entry.rule.clone());
        schedule.window = entry.window.clone();
        schedule.policy = entry.policy.clone();
        schedule.enabled = entry.enabled;
        schedule.config = Some(entry.id.clone());
        schedules.push(schedule);
    }
    if let Some(rule) = top.rule.as_ref().filter(|_| definition.schedules.is_empty()) {
        let mut schedule = Schedule::new(id(TOP)?, rule.clone());
        schedule.window = top.window.clone();
        schedule.policy = top.policy.clone();
        schedules.push(schedule);
    }
    if let Some(moment) = top.run_once_at {
        let mut schedule = Schedule::new(id(&free_name(&schedules))?, moment);
        schedule.policy = top.policy.clone();
        schedules.push(schedule);
    }
    Ok(schedules)
}

/// A name for the one instant at the top of the file that no entry has taken.
fn free_name(schedules: &[Schedule]) -> String {
    let taken = |name: &str| schedules.iter().any(|schedule| schedule.id.name.as_str() == name);
    let further = (2..).map(|number| format!("{ONCE}.{number}"));
    std::iter::once(ONCE.to_owned()).chain(further).find(|name| !taken(name)).unwrap_or_default()
}

/// How a schedule is written, if anything of it is new.
///
/// What it is due at changes only with its occasion, window, zone and daylight rule; then the past is over: the
/// instants from now on are those of the new rule.
pub(crate) fn put(
    schedule: Schedule,
    earlier: Option<ScheduleRecord>,
    now: Timestamp,
) -> Option<PutSchedule> {
    let (schedule, now) = (schedule.whole_micros(), crate::store::whole_micros(now));
    let replaces = earlier.as_ref().map(|earlier| earlier.generation);
    if earlier.as_ref().is_some_and(|earlier| earlier.schedule == schedule && is_whole(earlier)) {
        return None;
    }
    let anchor = schedule.opening().or(earlier.as_ref().map(|earlier| earlier.anchor)).unwrap_or(now);
    let cursor = match &earlier {
        Some(earlier) if same_instants(&earlier.schedule, &schedule) => earlier.cursor,
        Some(earlier) => earlier.cursor.max(now),
        None => now,
    };
    let mut record = ScheduleRecord { schedule, generation: 0, anchor, cursor, next: None, problem: None };
    look_ahead(&mut record);
    let still_broken = record.problem.is_some()
        && earlier
            .is_some_and(|earlier| earlier.problem == record.problem && earlier.schedule == record.schedule);
    (!still_broken).then_some(PutSchedule { replaces, record })
}

/// Whether a record says what there is to know: a schedule that came back has a cursor of its own, which may lie behind
/// the instant that was found for it.
fn is_whole(record: &ScheduleRecord) -> bool {
    let mut ahead = record.clone();
    record.problem.is_none()
        && (record.next.is_some() || {
            look_ahead(&mut ahead);
            ahead.next.is_none()
        })
}

/// Finds the next instant, or what keeps it from being known.
pub(crate) fn look_ahead(record: &mut ScheduleRecord) {
    match record.schedule.calendar(record.anchor) {
        Ok(calendar) => {
            record.next = record.schedule.next(&calendar, record.cursor);
            record.problem = None;
        }
        Err(error) => {
            record.next = None;
            record.problem = Some(error.to_string());
        }
    }
}

/// Whether what was due by the one is due by the other, and counts alike.
fn same_instants(one: &Schedule, other: &Schedule) -> bool {
    one.enabled == other.enabled
        && one.occasion == other.occasion
        && one.window == other.window
        && one.policy.timezone == other.policy.timezone
        && one.policy.daylight == other.policy.daylight
}

/// Stops a schedule whose instants cannot be known any more, and keeps why.
pub(crate) async fn halt(ports: &Ports, record: &ScheduleRecord, error: &Error) -> Result<()> {
    tracing::error!(schedule = %record.schedule.id, %error, "a schedule stands still");
    let mut halted = record.clone();
    halted.next = None;
    halted.problem = Some(error.to_string());
    let put = vec![PutSchedule { replaces: Some(record.generation), record: halted }];
    match ports.store.put_schedules(ScheduleChange { put, remove: Vec::new() }).await {
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        other => other,
    }
}
