//! Makes the runs of schedules: sleeps until an instant is due, plans what becomes of it, and writes that in one
//! transaction.
//!
//! It keeps nothing in memory that matters: whatever a host did before it died is in the ledger, and the next one goes
//! on from the cursor. Two hosts that plan the same instant meet in the store, which lets one of them through.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesOrdered};

use super::{Ports, backoff::Backoff, intake::Asked};
use crate::{
    Error, ErrorKind, PipelineName, Result, RunId, ScheduleId, Timestamp,
    pipeline::{CatchUp, Overlap},
    run::{NewRun, Origin, RunSpec, ScheduleLimit},
    schedule::{Agenda, Calendar, Plan, Planned, Schedule, TickOutcome},
    source::RevisedPipeline,
    store::{DueSchedule, Fire, Fired, ScheduleRecord},
};

/// The most schedules that share one transaction.
const BATCH: NonZeroU32 = NonZeroU32::new(256).expect("it is not 0");
/// The longest sleep without a look at the store, in case the wall clock jumps.
const LONGEST_SLEEP: Duration = Duration::from_secs(15);
/// The pause before schedules are looked at again that could not be acted upon.
const HELD_PAUSE: Duration = Duration::from_millis(500);
/// The most pipelines that are read at one time.
const LOOKS: usize = 16;

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
                    // In this order, so that the same events lead to the same steps.
                    biased;
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
    let mut held: BTreeSet<ScheduleId> = BTreeSet::new();
    loop {
        let now = ports.clock.now();
        let mut due = ports.store.due_schedules(now, BATCH).await?;
        due.retain(|due| !held.contains(&due.record.schedule.id));
        if due.is_empty() {
            let next = ports.store.next_tick().await?;
            return Ok(if held.is_empty() { next } else { now.saturating_add(HELD_PAUSE).ok() });
        }
        let found = Found::of(ports, &due).await;
        let mut fires = Vec::with_capacity(due.len());
        for due in &due {
            match plan(ports, calendars, &found, due, now).await {
                Ok(fire) => fires.extend(fire),
                // One that cannot be read now keeps nothing else from being started.
                Err(error) => {
                    let id = &due.record.schedule.id;
                    tracing::warn!(schedule = %id, %error, "a schedule cannot be acted upon now");
                    held.insert(id.clone());
                }
            }
        }
        carry_out(ports, fires).await?;
    }
}

/// The pipelines of schedules that are due, as the source has them now.
#[derive(Debug, Default)]
struct Found(HashMap<PipelineName, Result<Pipeline>>);

impl Found {
    async fn of(ports: &Ports, due: &[DueSchedule]) -> Self {
        let names: BTreeSet<_> = due.iter().map(|due| due.record.schedule.id.pipeline.clone()).collect();
        let (mut names, mut looks, mut found) = (names.into_iter(), FuturesOrdered::new(), HashMap::new());
        looks.extend(names.by_ref().take(LOOKS).map(|name| look(ports, name)));
        while let Some((name, answer)) = looks.next().await {
            found.insert(name, answer);
            looks.extend(names.next().map(|name| look(ports, name)));
        }
        Self(found)
    }

    /// The same, where there is no time to ask again: who does not answer has refused.
    fn or_refused(mut self) -> Self {
        for found in self.0.values_mut() {
            if let Err(error) = found {
                *found = Ok(Pipeline::Refused(error.to_string()));
            }
        }
        self
    }

    fn get(&self, name: &PipelineName) -> Result<Pipeline> {
        match self.0.get(name) {
            Some(Ok(found)) => Ok(found.clone()),
            Some(Err(error)) => Err(Error::new(error.kind(), error.to_string())),
            None => Err(Error::new(ErrorKind::Internal, "a pipeline that was not looked for")),
        }
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
            // What only its jitter has held back was seen in time.
            let most = NonZeroU32::new(CatchUp::MAX_ALL).unwrap_or(NonZeroU32::MIN);
            schedule.policy.catch_up = CatchUp::All { max: most };
            schedule.policy.catch_up_window = std::mem::take(&mut schedule.policy.jitter);
            let found = Found::of(ports, std::slice::from_ref(&due)).await.or_refused();
            fires.extend(plan(ports, &mut calendars, &found, &due, now).await?);
        }
    }
    carry_out(ports, fires).await
}

/// What becomes of the instants of one schedule.
async fn plan(
    ports: &Ports,
    calendars: &mut Calendars,
    found: &Found,
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
    let pipeline = found.get(&schedule.id.pipeline)?;
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
#[derive(Clone, Debug)]
enum Pipeline {
    Runnable(Box<RevisedPipeline>),
    Disabled,
    Refused(String),
}

async fn look(ports: &Ports, name: PipelineName) -> (PipelineName, Result<Pipeline>) {
    let found = pipeline(ports, &name).await;
    (name, found)
}

/// Errors that may pass are errors; what a pipeline is, is an answer.
async fn pipeline(ports: &Ports, name: &PipelineName) -> Result<Pipeline> {
    match ports.runnable(name.as_str()).await {
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
