//! The instants at which one schedule is due.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{
    Cron, Interval,
    zone::{find_zone, first_instant, last_instant},
};
use crate::{
    Result, Timestamp,
    pipeline::{DaylightPolicy, Moment, SchedulePolicy, ScheduleRule, ScheduleWindow},
};

/// What a schedule follows.
///
/// ```
/// use fastflow_core::{pipeline::ScheduleRule, schedule::Occasion};
///
/// let rule = ScheduleRule::Cron("@daily".parse().unwrap());
/// assert_eq!(Occasion::from(rule.clone()), Occasion::Repeat(rule));
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// A rule, as long as its window is open.
    Repeat(ScheduleRule),
    /// The first instant of this, once. No window closes it.
    Once(Moment),
}

impl From<ScheduleRule> for Occasion {
    fn from(rule: ScheduleRule) -> Self {
        Self::Repeat(rule)
    }
}

impl From<Moment> for Occasion {
    fn from(moment: Moment) -> Self {
        Self::Once(moment)
    }
}

/// The instants at which a schedule is due: what its occasion, window and policy come to.
///
/// Both ends of a window belong to it. A moment that is only a day is a day of the schedule's own zone, not of UTC.
///
/// ```
/// use fastflow_core::{
///     Timestamp,
///     pipeline::{ScheduleRule, SchedulePolicy, ScheduleWindow},
///     schedule::{Calendar, Occasion},
/// };
///
/// let rule = ScheduleRule::Cron("0 9 * * *".parse().unwrap());
/// let policy = SchedulePolicy { timezone: "Europe/Berlin".parse().unwrap(), ..SchedulePolicy::default() };
/// let window = ScheduleWindow { end: Some("2026-07-02".parse().unwrap()), ..ScheduleWindow::default() };
/// let anchor: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
/// let calendar = Calendar::new(&rule.into(), &window, &policy, anchor).unwrap();
/// let due: Vec<_> = calendar.after(anchor).map(|instant| instant.to_string()).collect();
/// assert_eq!(due, ["2026-07-01T07:00:00Z", "2026-07-02T07:00:00Z"]);
/// ```
#[derive(Clone, Debug)]
pub struct Calendar {
    rule: Rule,
    zone: TimeZone,
    daylight: DaylightPolicy,
    start: Timestamp,
    end: Timestamp,
}

#[derive(Clone, Debug)]
enum Rule {
    Cron(Box<Cron>),
    Interval(Interval),
    Once(Timestamp),
}

impl Calendar {
    /// The calendar of an occasion, with the zone that `policy` names.
    ///
    /// Where an interval counts from is `anchor`: its first instant is one interval later, or the anchor itself when
    /// that is where the window begins.
    ///
    /// # Errors
    ///
    /// `Invalid` when nobody knows the zone: see [`find_zone`].
    pub fn new(
        occasion: &Occasion,
        window: &ScheduleWindow,
        policy: &SchedulePolicy,
        anchor: Timestamp,
    ) -> Result<Self> {
        let zone = find_zone(&policy.timezone)?;
        Self::in_zone(occasion, window, policy.daylight, anchor, zone)
    }

    /// The same with a zone that the caller has.
    ///
    /// # Errors
    ///
    /// `Invalid` when the expression never matches, which no `CronText` does.
    pub fn in_zone(
        occasion: &Occasion,
        window: &ScheduleWindow,
        daylight: DaylightPolicy,
        anchor: Timestamp,
        zone: TimeZone,
    ) -> Result<Self> {
        let (mut start, mut end) = (Timestamp::MIN, Timestamp::MAX);
        let opens = window.start.map(|moment| first_instant(moment, &zone));
        if let Occasion::Repeat(_) = occasion {
            start = opens.unwrap_or(start);
            end = window.end.map_or(end, |moment| last_instant(moment, &zone));
        }
        let rule = match occasion {
            Occasion::Repeat(ScheduleRule::Cron(text)) => Rule::Cron(Box::new(Cron::new(text)?)),
            Occasion::Repeat(ScheduleRule::IntervalSeconds(every)) => {
                let first = u32::from(opens != Some(anchor));
                Rule::Interval(Interval { anchor, every: *every, first })
            }
            Occasion::Once(moment) => Rule::Once(first_instant(*moment, &zone)),
        };
        Ok(Self { rule, zone, daylight, start, end })
    }

    /// The first instant after `after`, and not at it.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        // The start belongs to the window, so the search begins a nanosecond before it.
        let nanosecond = jiff::Span::new().nanoseconds(1);
        let before_start = self.start.checked_sub(nanosecond).unwrap_or(Timestamp::MIN);
        let after = after.max(before_start);
        let next = match &self.rule {
            Rule::Cron(cron) => cron.next_after(after, &self.zone, self.daylight),
            Rule::Interval(interval) => interval.next_after(after),
            Rule::Once(instant) => Some(*instant).filter(|instant| *instant > after),
        };
        next.filter(|next| *next <= self.end)
    }

    /// All instants after `after`, in order. There may be no end to them.
    pub fn after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
    }

    /// The instants after `after` and up to and including `until`, in order, and no more than `limit` of them.
    pub fn between(&self, after: Timestamp, until: Timestamp, limit: usize) -> Vec<Timestamp> {
        self.after(after).take_while(|instant| *instant <= until).take(limit).collect()
    }

    /// The zone in which it reads its rule.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Its expression, when it follows one.
    pub fn cron(&self) -> Option<&Cron> {
        match &self.rule {
            Rule::Cron(cron) => Some(cron),
            Rule::Interval(_) | Rule::Once(_) => None,
        }
    }

    /// What was asked for at local times that do not exist, or exist twice.
    pub fn daylight(&self) -> DaylightPolicy {
        self.daylight
    }
}
