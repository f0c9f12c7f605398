//! What was promised, held against what happens: after each transaction, and at each start of a program.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    num::NonZeroU32,
    time::Duration,
};

use super::{engine::Engine, plan::Plan};
use crate::{
    AttemptId, RunId, ScheduleId, Timestamp,
    run::{Decision, Exit, IdempotencyKey, Origin, Run, RunEvent, RunState, StopCause},
    schedule::Tick,
    store::Event,
    testing::memory::{World, is_open},
};

/// Every arrow that a run may take: from, by, to. Written down once more, so that a change of them is seen.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("", "submitted", &["queued"]),
    ("queued", "claimed", &["starting"]),
    ("queued", "stop_requested", &["cancelled"]),
    ("starting", "started", &["running"]),
    ("starting", "start_failed", &["queued", "failed"]),
    ("starting", "never_started", &["queued"]),
    ("starting", "stop_requested", &["stopping"]),
    ("starting", "exited", &["succeeded", "queued", "failed"]),
    ("starting", "lost", &["queued", "failed"]),
    ("running", "exited", &["succeeded", "queued", "failed"]),
    ("running", "stop_requested", &["stopping"]),
    ("running", "lost", &["queued", "failed"]),
    ("stopping", "started", &["stopping"]),
    ("stopping", "stop_requested", &["stopping"]),
    ("stopping", "never_started", &["cancelled", "queued", "failed"]),
    ("stopping", "start_failed", &["cancelled", "queued", "failed"]),
    ("stopping", "exited", &["cancelled", "queued", "failed"]),
    ("stopping", "lost", &["cancelled", "queued", "failed"]),
];

/// What was seen so far, and the first promise that was broken.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) violation: Option<String>,
    /// Events in words, for the trace.
    pub(super) news: Vec<String>,
    /// Runs whose submission was answered.
    pub(super) accepted: BTreeSet<RunId>,
    /// Attempts that the host itself ended because they ran out of time.
    pub(super) timed_out: BTreeSet<AttemptId>,
    shadows: BTreeMap<RunId, Shadow>,
    keys: BTreeMap<IdempotencyKey, RunId>,
    instants: BTreeSet<(ScheduleId, Timestamp)>,
    /// Generation and cursor of each schedule.
    cursors: BTreeMap<ScheduleId, (u64, Timestamp)>,
    seen: usize,
    wordy: bool,
}

/// What is looked at.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) world: &'a World,
    pub(super) engine: &'a Engine,
    pub(super) plan: &'a Plan,
    /// Whose transaction it was.
    pub(super) host: u32,
    pub(super) now: Duration,
}

/// What was seen of one run.
#[derive(Debug, Default)]
struct Shadow {
    state: String,
    attempt: u32,
    cancelled: bool,
    ended: bool,
    /// The host that claimed it or took it over last, and the epoch that it got.
    owner: Option<(u32, u64)>,
}

impl Ledger {
    pub(super) fn new(wordy: bool) -> Self {
        Self {
            violation: None,
            news: Vec::new(),
            accepted: BTreeSet::new(),
            timed_out: BTreeSet::new(),
            shadows: BTreeMap::new(),
            keys: BTreeMap::new(),
            instants: BTreeSet::new(),
            cursors: BTreeMap::new(),
            seen: 0,
            wordy,
        }
    }

    /// The first counts: what follows from it is of no interest.
    pub(super) fn violate(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    pub(super) fn is_cancelled(&self, run: RunId) -> bool {
        self.shadows.get(&run).is_some_and(|shadow| shadow.cancelled)
    }

    /// A host claimed runs, or took them over.
    pub(super) fn owned(&mut self, host: u32, runs: &[Run]) {
        for run in runs {
            self.shadows.entry(run.id).or_default().owner = Some((host, run.epoch));
        }
    }

    /// A step was accepted.
    pub(super) fn moved(&mut self, host: u32, run: RunId, epoch: Option<u64>, event: &RunEvent) {
        let shadow = self.shadows.entry(run).or_default();
        if *event == RunEvent::StopRequested(StopCause::Cancelled) {
            shadow.cancelled = true;
        }
        let owner = shadow.owner;
        if let Some(epoch) = epoch
            && owner != Some((host, epoch))
        {
            let event = event.name();
            self.violate(format!(
                "P9: host {host} wrote `{event}` of {run} in epoch {epoch}; its owner is {owner:?}"
            ));
        }
    }

    /// Looks at what one transaction wrote.
    pub(super) fn observe(&mut self, view: View<'_>, hash: &mut impl Hasher) {
        let View { world, now, .. } = view;
        self.check_schedules(world);
        let mut claimed = false;
        for event in &world.events[self.seen..] {
            (event.id, event.at, event.run, &event.name, &event.state).hash(hash);
            if self.wordy && self.violation.is_none() {
                let Event { run, attempt, name, state, .. } = event;
                self.news.push(format!("{:>10.3} s  {run}-{attempt} {name} -> {state}", now.as_secs_f64()));
            }
            claimed |= event.name == "claimed";
            self.check_move(world, event);
            self.check_attempt(view, event);
        }
        if world.events.len() > self.seen
            && world.events.last().map(|last| last.id.0) != Some(world.events.len() as u64)
        {
            self.violate("the event sequence has a gap".into());
        }
        self.seen = world.events.len();
        if claimed {
            self.check_limits(view);
        }
    }

    /// One event moves a run along one of the arrows, and a run that has ended not at all.
    fn check_move(&mut self, world: &World, event: &Event) {
        let run = event.run;
        let row = world.runs.get(&run).map(|row| &row.record.run);
        let Some(row) = row else {
            return self.violate(format!("P1: {run} is gone"));
        };
        if event.name == "submitted" {
            self.check_birth(world, row);
        }
        let being_cancelled = matches!(row.state, RunState::Cancelled)
            || matches!(row.state, RunState::Stopping { cause: StopCause::Cancelled, .. });
        let shadow = self.shadows.entry(run).or_default();
        let arrow = ARROWS.iter().find(|arrow| arrow.0 == shadow.state && arrow.1 == event.name);
        let known = arrow.is_some_and(|arrow| arrow.2.contains(&event.state.as_str()));
        let expected = shadow.attempt + u32::from(event.name == "claimed");
        let complaint = if shadow.ended {
            Some("P8: a final state changed")
        } else if !known {
            Some("no such arrow")
        } else if event.attempt != expected {
            Some("P3: an attempt was left out, or numbered twice")
        } else if shadow.cancelled && event.name == "claimed" {
            Some("P8: a cancelled run was started again")
        } else if shadow.cancelled && !matches!(event.state.as_str(), "stopping" | "cancelled") {
            Some("P8: a cancel was forgotten")
        } else {
            None
        };
        let complaint = complaint.map(|what| format!("{what}: from {:?} by {event:?}", shadow.state));
        shadow.cancelled |= being_cancelled;
        shadow.state.clone_from(&event.state);
        shadow.attempt = event.attempt;
        shadow.ended = event.status.is_terminal();
        if let Some(text) = complaint {
            self.violate(text);
        }
    }

    /// A new run has a key and an instant of its own, and follows no cancelled one.
    fn check_birth(&mut self, world: &World, run: &Run) {
        if let Origin::Schedule { schedule, nominal } = &run.origin
            && !self.instants.insert((schedule.clone(), *nominal))
        {
            self.violate(format!("P2: a second run for {schedule} at {nominal}"));
        }
        if let Some(key) = &run.key
            && let Some(earlier) = self.keys.insert(key.clone(), run.id)
        {
            self.violate(format!("P1: {} and {earlier} have one key", run.id));
        }
        let (Origin::Trigger { upstream: parent }
        | Origin::Join { last: parent }
        | Origin::Daemon { previous: parent, .. }) = run.origin
        else {
            return;
        };
        // A planned restart cancels the run whose place it takes.
        let replaced = world.runs.get(&parent).is_some_and(|row| {
            row.notes.iter().any(|note| note.decision == Decision::ReplacedBy { run: run.id })
        });
        if self.is_cancelled(parent) && !replaced {
            self.violate(format!("P8: {parent} was cancelled, and led to {}", run.id));
        }
    }

    /// What is written about an attempt is what the engine knows of it.
    fn check_attempt(&mut self, view: View<'_>, event: &Event) {
        let View { world, engine, plan, now, .. } = view;
        let Some(number) = NonZeroU32::new(event.attempt) else { return };
        let attempt = AttemptId { run: event.run, number };
        let program = engine.program(attempt);
        match event.name.as_str() {
            "exited" | "lost" | "never_started" | "start_failed" => {
                if program.is_some_and(|program| program.is_running(now)) {
                    self.violate(format!("P6: the program of {attempt} runs, but `{}` ended it", event.name));
                }
                if program.is_some() != matches!(event.name.as_str(), "exited" | "lost") {
                    self.violate(format!(
                        "P3: `{}` of {attempt}, of which the engine knows {program:?}",
                        event.name
                    ));
                }
            }
            "stop_requested" => {
                let run = world.runs.get(&event.run).map(|row| &row.record.run.state);
                if let Some(RunState::Stopping { cause: StopCause::TimedOut, .. }) = run {
                    let definition = plan.specs.get(&event.pipeline).map(|spec| &spec.pipeline.definition);
                    let limit = definition.and_then(|definition| {
                        Some(definition.limits.timeout?.duration()? + definition.stop_grace.duration())
                    });
                    self.timed_out.insert(attempt);
                    if program.zip(limit).is_none_or(|(program, limit)| now < program.began + limit) {
                        self.violate(format!("P4: {attempt} was stopped before its time limit: {program:?}"));
                    }
                }
            }
            _ => {}
        }
        if event.state == "succeeded" {
            let proof = program
                .is_some_and(|program| program.exit == Some(Exit::Code(0)) && program.stopped_by.is_none());
            if !proof {
                self.violate(format!("P5: {attempt} is a success without a proof: {program:?}"));
            }
        }
    }

    /// Wherever a cursor came, the ledger has what the calendar says of the way there.
    fn check_schedules(&mut self, world: &World) {
        for (id, record) in &world.schedules.known {
            let before = self.cursors.insert(id.clone(), (record.generation, record.cursor));
            let Some((generation, cursor)) =
                before.filter(|before| *before != (record.generation, record.cursor))
            else {
                continue;
            };
            if record.cursor < cursor {
                self.violate(format!("P2: the cursor of {id} went back to {} from {cursor}", record.cursor));
            } else if record.generation == generation {
                let calendar = record.schedule.calendar(record.anchor).unwrap();
                let expected = calendar.between(cursor, record.cursor, usize::MAX);
                let written =
                    world.schedules.ledger.range((id.clone(), cursor)..=(id.clone(), record.cursor));
                let written: Vec<&Tick> =
                    written.map(|(_, tick)| tick).filter(|tick| tick.nominal > cursor).collect();
                let instants: Vec<Timestamp> = written.iter().map(|tick| tick.nominal).collect();
                if instants != expected {
                    self.violate(format!("P2: {id} has rows for {instants:?}, and was due at {expected:?}"));
                }
                let missing = |tick: &&Tick| {
                    let origin = Origin::Schedule { schedule: id.clone(), nominal: tick.nominal };
                    tick.outcome.run().is_some_and(|run| {
                        world.runs.get(&run).is_none_or(|row| row.record.run.origin != origin)
                    })
                };
                if let Some(tick) = written.into_iter().find(missing) {
                    self.violate(format!("P2: the run of {id} is missing: {tick:?}"));
                }
            }
        }
    }

    fn check_limits(&mut self, view: View<'_>) {
        let View { world, plan, host, .. } = view;
        let open: Vec<&Run> =
            world.runs.values().map(|row| &row.record.run).filter(|run| is_open(run)).collect();
        let owner = |run: &Run| self.shadows.get(&run.id).and_then(|shadow| shadow.owner);
        let mine = open.iter().filter(|run| owner(run).is_some_and(|(owner, _)| owner == host)).count();
        if mine > usize::try_from(plan.slots.get()).unwrap_or(usize::MAX) {
            self.violate(format!("host {host} has {mine} runs in flight, with {} slots", plan.slots));
        }
        for (name, spec) in &plan.specs {
            let most = spec.pipeline.definition.instance_limit();
            let count = open.iter().filter(|run| run.pipeline() == name).count();
            if most.is_some_and(|max| count > usize::try_from(max.get()).unwrap_or(usize::MAX)) {
                self.violate(format!("{count} runs of {name} are in flight, of {most:?}"));
            }
        }
        for (pool, slots) in &plan.capacity.pools {
            let held: Vec<u32> = open
                .iter()
                .filter_map(|run| run.spec.pipeline.definition.queue.pools.get(pool))
                .map(|held| held.get())
                .collect();
            // One that alone wants more than there is has it alone.
            if held.len() > 1 && held.iter().sum::<u32>() > slots.get() {
                self.violate(format!("{held:?} slots of pool {pool:?} are held, of {slots}"));
            }
        }
    }
}
