//! Makes the runs of schedules: sleeps until an instant is due, plans what becomes of it, and writes that in one
//! transaction.
//!
//! It keeps nothing in memory that matters: whatever a host did before it died is in the ledger, and the next one goes on from the
//! cursor. Two hosts that plan the same instant meet in the store, which lets one of them through.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use super::{Ports, backoff::Backoff, intake::Asked};
use crate::{
    ErrorKind, Result, RunId, ScheduleId, Timestamp,
    pipeline::{CatchUp, Overlap, Seconds},
    run::{NewRun, Origin, RunSpec, ScheduleLimit},
    schedule::{Agenda, Calendar, Plan, Planned, Schedule, TickOutcome},
    source::RevisedPipeline,
    store::{DueSchedule, Fire, Fired, ScheduleRecord},
};

/// The most schedules that share one transaction.
const BATCH: NonZeroU32 = NonZeroU32::new(256).expect("it is not 0");
/// The longest sleep without a look at the store, in case the wall clock jumps.
const LONGEST_SLEEP: Duration = Duration::from_secs(15);

/// The most calendars that are kept ready.
const MAX_CALENDARS: usize = 16_384;

/// Works until it is dropped.
pub(crate) async fn run(ports: Arc<Ports>) {
    let mut backoff = Backoff::new();
    let mut calendars = Calendars::default();
    loop {
        match fire_due(&ports, &mut calendars).await {
            Ok(next) => {
                backoff = Backoff::new();
                let left = next.map(|next| next.duration_since(ports.clock.now()));
                let left = left.map_or(LONGEST_SLEEP, |left| Duration::try_from(left).unwrap_or_default());
                tokio::select! {
                    () = ports.signals.rescheduled() => {}
                    () = ports.clock.sleep(left.min(LONGEST_SLEEP)) => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "schedules cannot be acted upon now");
                backoff.wait(&*ports.clock).await;
            }
        }
    }
}

/// The calendars of schedules, which cost more to make than to use.
#[derive(Debug, Default)]
struct Calendars(HashMap<ScheduleId, (u64, Arc<Calendar>)>);

impl Calendars {
    fn of(&mut self, record: &ScheduleRecord) -> Result<Arc<Calendar>> {
        let id = &record.schedule.id;
        if let Some((_, calendar)) = self.0.get(id).filter(|(known, _)| *known == record.generation) {
            return Ok(Arc::clone(calendar));
        }
        let calendar = Arc::new(record.schedule.calendar(record.anchor)?);
        if self.0.len() >= MAX_CALENDARS {
            self.0.clear();
        }
        self.0.insert(id.clone(), (record.generation, Arc::clone(&calendar)));
        Ok(calendar)
    }
}

/// Acts upon everything that is due, and says when the next is.
async fn fire_due(ports: &Ports, calendars: &mut Calendars) -> Result<Option<Timestamp>> {
    loop {
        let now = ports.clock.now();
        let due = ports.store.due_schedules(now, BATCH).await?;
        if due.is_empty() {
            return ports.store.next_tick().await;
        }
        let mut fires = Vec::with_capacity(due.len());
        for due in &due {
            fires.extend(plan(ports, calendars, due, now).await?);
        }
        carry_out(ports, fires).await?;
    }
}

async fn carry_out(ports: &Ports, fires: Vec<Fire>) -> Result<()> {
    for fired in ports.store.fire(fires).await? {
        // A stale one is planned anew, if it is still due.
        let Fired::Done(created) = fired else { continue };
        for created in created {
            ports.signals.created(&created, false);
        }
    }
    Ok(())
}

/// Acts upon the instants up to now of schedules whose rule is about to end. None of them would have a row otherwise.
/// Those that nobody saw in time are missed: what a rule that is no more has missed is not caught up.
pub(super) async fn settle(ports: &Ports, ending: &[&ScheduleRecord], now: Timestamp) -> Result<()> {
    let ids: BTreeSet<_> = ending.iter().map(|record| &record.schedule.id).collect();
    // With those that their jitter still holds back.
    let until = ending.iter().filter_map(|record| record.next).map(|next| next.due).fold(now, Timestamp::max);
    let (mut fires, mut calendars) = (Vec::new(), Calendars::default());
    for mut due in ports.store.due_schedules(until, NonZeroU32::MAX).await? {
        let schedule = &mut due.record.schedule;
        if ids.contains(&schedule.id) && schedule.calendar(due.record.anchor).is_ok() {
            schedule.policy.catch_up = CatchUp::None;
            schedule.policy.jitter = Seconds(0);
            fires.extend(plan(ports, &mut calendars, &due, now).await?);
        }
    }
    carry_out(ports, fires).await
}

/// What becomes of the instants of one schedule.
async fn plan(
    ports: &Ports,
    calendars: &mut Calendars,
    due: &DueSchedule,
    now: Timestamp,
) -> Result<Option<Fire>> {
    let record = &due.record;
    let schedule = &record.schedule;
    let calendar = match calendars.of(record) {
        Ok(calendar) => calendar,
        Err(error) => {
            // Its instants cannot be known: it stands still, visibly, until somebody mends it.
            super::reconcile::halt(ports, record, &error).await?;
            return Ok(None);
        }
    };
    let pipeline = pipeline(ports, schedule).await?;
    let enabled = !matches!(pipeline, Pipeline::Disabled);
    let blackouts = ports.settings.blackouts.of(schedule);
    let agenda = Agenda {
        schedule,
        calendar: &calendar,
        blackouts: &blackouts,
        enabled,
        unfinished: &due.unfinished,
        cursor: record.cursor,
        now,
    };
    let mut plan = agenda.plan(|| RunId::new(&*ports.clock, &*ports.entropy));
    let runs = match spec(ports, schedule, pipeline) {
        Ok(spec) => plan.starts.iter().filter_map(|start| new_run(schedule, &spec, start, now)).collect(),
        Err(reason) => {
            refuse(&mut plan, &reason);
            Vec::new()
        }
    };
    Ok(Some(Fire {
        schedule: schedule.id.clone(),
        generation: record.generation,
        from: record.cursor,
        to: plan.cursor.unwrap_or(record.cursor),
        ticks: plan.ticks,
        runs,
        next: plan.next,
    }))
}

/// What the source says of a schedule's pipeline.
enum Pipeline {
    Runnable(Box<RevisedPipeline>),
    Disabled,
    Refused(String),
}

/// Errors that may pass are errors; what a pipeline is, is an answer.
async fn pipeline(ports: &Ports, schedule: &Schedule) -> Result<Pipeline> {
    match ports.runnable(schedule.id.pipeline.as_str()).await {
        Ok(found) => Ok(Pipeline::Runnable(Box::new(found))),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(Pipeline::Disabled),
        Err(error) if error.is_transient() => Err(error),
        Err(error) => Ok(Pipeline::Refused(error.to_string())),
    }
}

/// What the schedule's runs execute, or why they cannot.
fn spec(ports: &Ports, schedule: &Schedule, pipeline: Pipeline) -> Result<Arc<RunSpec>, String> {
    let found = match pipeline {
        Pipeline::Runnable(found) => found,
        Pipeline::Disabled => return Err("the pipeline is disabled".into()),
        Pipeline::Refused(reason) => return Err(reason),
    };
    if let Some(name) = ports.settings.blackouts.missing(schedule) {
        return Err(format!("the host has no blackout `{}`; give its builder `.blackout(…)`", name.as_str()));
    }
    let policy = &schedule.policy;
    let waits = matches!(policy.overlap, Overlap::Queue | Overlap::Replace);
    let max = policy.max_instances.unwrap_or(NonZeroU32::MIN);
    let schedule_limit = waits.then(|| ScheduleLimit { schedule: schedule.id.clone(), max });
    let asked = Asked { executor: None, config: schedule.config.clone(), schedule_limit };
    let spec = ports.spec(&found, &asked).map_err(|error| error.to_string())?;
    Ports::parameters(&spec, schedule.parameters.clone()).map_err(|error| error.to_string())?;
    Ok(spec)
}

fn new_run(schedule: &Schedule, spec: &Arc<RunSpec>, start: &Planned, now: Timestamp) -> Option<NewRun> {
    let origin = Origin::Schedule { schedule: schedule.id.clone(), nominal: start.nominal };
    let new = NewRun::new(start.run, Arc::clone(spec), origin, now);
    Some(NewRun {
        // They were checked with the spec.
        parameters: Ports::parameters(spec, schedule.parameters.clone()).ok()?,
        priority: schedule.priority.unwrap_or(new.priority),
        replaces: start.replaces.clone(),
        ..new
    })
}

/// Writes into the ledger why nothing is started.
fn refuse(plan: &mut Plan, reason: &str) {
    let never: BTreeSet<RunId> = plan.starts.drain(..).map(|start| start.run).collect();
    for tick in &mut plan.ticks {
        let run = match &tick.outcome {
            TickOutcome::Run(run) => run,
            // Over a run that there will not be, nothing is skipped.
            TickOutcome::SkippedOverlap { unfinished } => unfinished,
            _ => continue,
        };
        if never.contains(run) {
            tick.outcome = TickOutcome::Refused { reason: reason.to_owned() };
        }
    }
}

#[cfg(test)]
mod tests;
