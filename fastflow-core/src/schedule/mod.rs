//! When runs are to happen: schedules, and the instants at which they are due.

mod blackout;
mod calendar;
mod cron;
mod explain;
mod id;
mod interval;
mod jitter;
mod lint;
mod plan;
mod tick;
mod walk;
mod zone;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use self::cron::check as check_cron;
pub use self::{
    blackout::{Blackout, BlackoutCalendar, BlackoutSpan, Weekday},
    calendar::{Calendar, Occasion},
    cron::Cron,
    explain::{OddTime, Oddity},
    id::{ScheduleId, ScheduleOwner},
    interval::Interval,
    jitter::jitter_offset,
    lint::CronWarning,
    plan::{Agenda, Plan, Planned},
    tick::{EndReason, NextTick, Tick, TickOutcome},
    zone::find_zone,
};
use crate::{
    Result, Timestamp,
    pipeline::{ConfigName, EnvName, Moment, SchedulePolicy, ScheduleRule, ScheduleWindow},
};

/// A schedule: when a pipeline is to start, and with what. Plain data.
///
/// ```
/// use fastflow_core::schedule::Schedule;
///
/// let nightly = Schedule::cron("etl@nightly".parse().unwrap(), "30 2 * * *").unwrap();
/// assert!(nightly.enabled && nightly.parameters.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its id, which says what it starts.
    pub id: ScheduleId,
    /// What it follows.
    pub occasion: Occasion,
    /// When it is in force.
    #[serde(default)]
    pub window: ScheduleWindow,
    /// How it behaves beside that.
    #[serde(default)]
    pub policy: SchedulePolicy,
    /// Whether it starts anything. While it does not, the ledger says so at each instant.
    pub enabled: bool,
    /// The entry of the pipeline's `schedules` that its runs are made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigName>,
    /// Parameters of its runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<EnvName, String>,
    /// The priority of its runs. None: the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
}

impl Schedule {
    /// An enabled one in UTC that leaves everything but its instants as it is.
    pub fn new(id: ScheduleId, occasion: impl Into<Occasion>) -> Self {
        Self {
            id,
            occasion: occasion.into(),
            window: ScheduleWindow::default(),
            policy: SchedulePolicy::default(),
            enabled: true,
            config: None,
            parameters: BTreeMap::new(),
            priority: None,
        }
    }

    /// The same at the instants of a cron expression.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when it is none.
    pub fn cron(id: ScheduleId, text: &str) -> Result<Self> {
        Ok(Self::new(id, ScheduleRule::Cron(text.parse()?)))
    }

    /// Its instants, when its interval counts from `anchor`.
    ///
    /// # Errors
    ///
    /// As [`Calendar::new`].
    pub fn calendar(&self, anchor: Timestamp) -> Result<Calendar> {
        Calendar::new(&self.occasion, &self.window, &self.policy, anchor)
    }

    /// The same in whole microseconds, which is how finely stores keep instants.
    #[must_use]
    pub(crate) fn whole_micros(mut self) -> Self {
        if let Occasion::Once(moment) = &mut self.occasion {
            *moment = moment.whole_micros();
        }
        self.window.start = self.window.start.map(Moment::whole_micros);
        self.window.end = self.window.end.map(Moment::whole_micros);
        self
    }

    /// Where its interval counts from because its window says so.
    pub(crate) fn opening(&self) -> Option<Timestamp> {
        let zone = find_zone(&self.policy.timezone).ok()?;
        let start = self.window.start.filter(|_| matches!(self.occasion, Occasion::Repeat(_)))?;
        Some(zone::first_instant(start, &zone))
    }

    /// Its first instant after `after`, and when it is acted upon.
    pub fn next(&self, calendar: &Calendar, after: Timestamp) -> Option<NextTick> {
        let nominal = calendar.next_after(after)?;
        let due = nominal.saturating_add(jitter_offset(&self.id, self.policy.jitter)).ok()?;
        Some(NextTick { nominal, due })
    }
}
