//! What becomes of the instants that are due. Pure: the scheduler brings the facts and carries out the answer.

use std::{collections::BTreeMap, time::Duration};

use super::{Blackout, Calendar, NextTick, Schedule, Tick, TickOutcome, jitter_offset};
use crate::{
    RunId, Timestamp,
    pipeline::{CatchUp, ConfigName, Overlap},
};

/// How late an instant may be acted upon and still count as seen in time: a host that is started again within this
/// misses nothing.
const GRACE: Duration = Duration::from_mins(1);
/// The most instants that one plan looks at; the next plan goes on from there.
const MAX_INSTANTS: usize = 100_000;
/// The most instants that are caught up at one time, whatever the schedule says.
const MAX_CAUGHT_UP: usize = 10_000;
/// So many instants in a row with the same outcome get a row each; more share one.
const MAX_SINGLE_ROWS: usize = 1000;

/// The facts about one schedule at one moment.
///
/// ```
/// use std::collections::BTreeMap;
/// use fastflow_core::{RunId, Timestamp, schedule::{Agenda, Schedule, TickOutcome}};
///
/// let schedule = Schedule::cron("etl/hourly".parse().unwrap(), "0 * * * *").unwrap();
/// let (cursor, now) = (Timestamp::UNIX_EPOCH, "1970-01-01T01:00:01Z".parse().unwrap());
/// let calendar = schedule.calendar(cursor).unwrap();
/// let blackouts = BTreeMap::new();
/// let agenda = Agenda {
///     schedule: &schedule,
///     calendar: &calendar,
///     blackouts: &blackouts,
///     enabled: true,
///     unfinished: &[],
///     cursor,
///     now,
/// };
/// let plan = agenda.plan(|| RunId::from_bytes([1; 16]));
/// assert_eq!(plan.starts.len(), 1);
/// assert_eq!(plan.ticks[0].outcome, TickOutcome::Run(RunId::from_bytes([1; 16])));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Agenda<'a> {
    /// The schedule.
    pub schedule: &'a Schedule,
    /// Its instants.
    pub calendar: &'a Calendar,
    /// The host's blackouts that it keeps, by name.
    pub blackouts: &'a BTreeMap<ConfigName, Blackout>,
    /// Whether its pipeline may start.
    pub enabled: bool,
    /// Its runs that have not ended, oldest first.
    pub unfinished: &'a [RunId],
    /// The ledger has every instant up to this one.
    pub cursor: Timestamp,
    /// The time.
    pub now: Timestamp,
}

/// What becomes of instants.
///
/// ```
/// assert!(fastflow_core::schedule::Plan::default().ticks.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The rows of the ledger, in order.
    pub ticks: Vec<Tick>,
    /// The runs that the rows name, in order.
    pub starts: Vec<Planned>,
    /// The cursor after them; none when nothing is due.
    pub cursor: Option<Timestamp>,
    /// The next instant.
    pub next: Option<NextTick>,
}

/// A run that a plan starts.
///
/// ```
/// use fastflow_core::{RunId, Timestamp, schedule::Planned};
///
/// let planned = Planned { run: RunId::from_bytes([1; 16]), nominal: Timestamp::UNIX_EPOCH, replaces: Vec::new() };
/// assert!(planned.replaces.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Its id.
    pub run: RunId,
    /// The instant it is for.
    pub nominal: Timestamp,
    /// The runs that it takes the place of.
    pub replaces: Vec<RunId>,
}

impl Agenda<'_> {
    /// What becomes of the instants that are due now. `run_id` makes the ids of the runs.
    ///
    /// - While the schedule or its pipeline is disabled, and in a blackout, nothing starts.
    /// - Instants that are later than a minute are caught up as the schedule says: none of them, the latest unless a
    ///   newer one is in time, or the latest so many; never one that is older than the window.
    ///   Where overlaps are skipped, no more are caught up than can run beside each other.
    /// - Then the overlap policy decides.
    pub fn plan(&self, mut run_id: impl FnMut() -> RunId) -> Plan {
        let jitter = jitter_offset(&self.schedule.id, self.schedule.policy.jitter);
        let horizon = self.now.saturating_sub(jitter).unwrap_or(self.now);
        let instants = self.calendar.between(self.cursor, horizon, MAX_INSTANTS + 1);
        let (instants, more) = match instants.get(..MAX_INSTANTS) {
            Some(first) if instants.len() > MAX_INSTANTS => (first, true),
            _ => (&instants[..], false),
        };
        // What is to be caught up of many stays for the next plan, which sees where they end.
        let kept = if more { self.caught_up_most() } else { 0 };
        let instants = &instants[..instants.len() - kept.min(instants.len())];
        let late = instants.partition_point(|instant| self.lateness(*instant, jitter) > GRACE);
        let in_time = instants.len() - late;
        let caught_up = match self.schedule.policy.catch_up {
            _ if more => 0,
            CatchUp::Latest if in_time > 0 => 0,
            // More would only overlap each other, and those that are in time; so the latest run.
            _ if self.schedule.policy.overlap == Overlap::Skip => {
                self.caught_up_most().min(self.max_instances().saturating_sub(in_time))
            }
            _ => self.caught_up_most(),
        };
        let window = self.schedule.policy.catch_up_window.duration();
        let mut plan = Plan { cursor: instants.last().copied(), ..Plan::default() };
        let mut running = self.unfinished.to_vec();
        for (index, instant) in instants.iter().enumerate() {
            let in_window = self.lateness(*instant, jitter) <= window.max(GRACE);
            let missed = index < late && !(in_window && late - index <= caught_up);
            let outcome = self.outcome((*instant, missed), &mut running, &mut run_id, &mut plan.starts);
            plan.ticks.push(Tick::new(*instant, outcome, self.now));
        }
        plan.ticks = merged(&plan.ticks);
        plan.next = self.schedule.next(self.calendar, plan.cursor.unwrap_or(self.cursor));
        plan
    }

    /// What becomes of an instant, which may be one that is missed.
    fn outcome(
        &self,
        (instant, missed): (Timestamp, bool),
        running: &mut Vec<RunId>,
        run_id: &mut impl FnMut() -> RunId,
        starts: &mut Vec<Planned>,
    ) -> TickOutcome {
        if !(self.schedule.enabled && self.enabled) {
            return TickOutcome::SkippedDisabled;
        }
        if let Some((calendar, _)) = self.blackouts.iter().find(|(_, blackout)| blackout.contains(instant)) {
            return TickOutcome::SkippedBlackout { calendar: calendar.clone() };
        }
        if missed {
            return TickOutcome::Missed;
        }
        let policy = &self.schedule.policy;
        let max = self.max_instances();
        let mut replaces = Vec::new();
        if running.len() >= max {
            match policy.overlap {
                Overlap::Allow | Overlap::Queue => {}
                Overlap::Skip => return TickOutcome::SkippedOverlap { unfinished: running[0] },
                Overlap::Replace => replaces = running.drain(..=running.len() - max).collect(),
            }
        }
        let run = run_id();
        running.push(run);
        starts.push(Planned { run, nominal: instant, replaces });
        TickOutcome::Run(run)
    }

    /// How many of its runs may be unfinished before the overlap policy decides.
    fn max_instances(&self) -> usize {
        let max = self.schedule.policy.max_instances;
        max.map_or(1, |max| usize::try_from(max.get()).unwrap_or(usize::MAX))
    }

    /// The most instants that the policy catches up.
    fn caught_up_most(&self) -> usize {
        match self.schedule.policy.catch_up {
            CatchUp::None => 0,
            CatchUp::Latest => 1,
            CatchUp::All { max } => usize::try_from(max.get()).unwrap_or(MAX_CAUGHT_UP).min(MAX_CAUGHT_UP),
        }
    }

    fn lateness(&self, instant: Timestamp, jitter: Duration) -> Duration {
        let since = Duration::try_from(self.now.duration_since(instant)).unwrap_or_default();
        since.saturating_sub(jitter)
    }
}

/// The same rows, but for long sequences in which the same became of each: they share one.
fn merged(ticks: &[Tick]) -> Vec<Tick> {
    let mut rows: Vec<Tick> = Vec::with_capacity(ticks.len().min(MAX_SINGLE_ROWS));
    for group in ticks.chunk_by(|one, other| one.outcome == other.outcome) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        if group.len() > MAX_SINGLE_ROWS {
            let count = u64::try_from(group.len()).unwrap_or(u64::MAX);
            rows.push(Tick { through: last.nominal, count, ..first.clone() });
        } else {
            rows.extend_from_slice(group);
        }
    }
    rows
}

#[cfg(test)]
mod tests;
