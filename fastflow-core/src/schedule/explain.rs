//! The odd nights: what happens to a schedule when its zone's clock is changed.

use std::fmt;

use jiff::{civil, tz::Offset};

use super::{
    Calendar, Cron,
    walk::{Stretch, whole_second},
};
use crate::{
    Timestamp,
    pipeline::{FoldRule, GapRule},
};

/// Local times of an expression that a change of the clock left out, or showed twice, and what becomes of them.
///
/// ```
/// use fastflow_core::{
///     pipeline::{SchedulePolicy, ScheduleRule, ScheduleWindow},
///     schedule::Calendar,
/// };
///
/// let rule = ScheduleRule::Cron("30 2 * * *".parse().unwrap());
/// let policy = SchedulePolicy { timezone: "Europe/Berlin".parse().unwrap(), ..SchedulePolicy::default() };
/// let year = "2026-01-01T00:00:00Z".parse().unwrap();
/// let calendar = Calendar::new(&rule.into(), &ScheduleWindow::default(), &policy, year).unwrap();
/// let odd = calendar.odd_times(year, "2027-01-01T00:00:00Z".parse().unwrap());
/// let words: Vec<_> = odd.iter().map(ToString::to_string).collect();
/// assert_eq!(words, [
///     "2026-03-29 02:30 does not exist: runs at 03:00",
///     "2026-10-25 02:30 exists twice: runs the first time",
/// ]);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OddTime {
    /// The instant at which the clock is changed.
    pub at: Timestamp,
    /// The first of the local times.
    pub first: civil::DateTime,
    /// The last of them, which may be the first.
    pub last: civil::DateTime,
    /// What becomes of them.
    pub what: Oddity,
}

/// What becomes of local times that do not exist, or exist twice.
///
/// ```
/// use fastflow_core::schedule::Oddity;
///
/// assert_eq!(Oddity::Twice.to_string(), "runs each time");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Oddity {
    /// They do not exist, and it runs once for all of them at this local time, the first that exists.
    Shifted(civil::DateTime),
    /// They do not exist, and it does not run.
    Skipped,
    /// They exist twice, and it runs the first time.
    First,
    /// They exist twice, and it runs the last time.
    Last,
    /// They exist twice, and it runs each time.
    Twice,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shifted(to) => write!(f, "runs at {}", clock(*to)),
            Self::Skipped => f.write_str("does not run"),
            Self::First => f.write_str("runs the first time"),
            Self::Last => f.write_str("runs the last time"),
            Self::Twice => f.write_str("runs each time"),
        }
    }
}

impl fmt::Display for OddTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.first.date(), clock(self.first))?;
        let one = self.first == self.last;
        if !one {
            write!(f, " to ")?;
            if self.first.date() != self.last.date() {
                write!(f, "{} ", self.last.date())?;
            }
            write!(f, "{}", clock(self.last))?;
        }
        f.write_str(match (self.what, one) {
            (Oddity::Shifted(_) | Oddity::Skipped, true) => " does not exist: ",
            (Oddity::Shifted(_) | Oddity::Skipped, false) => " do not exist: ",
            (_, true) => " exists twice: ",
            (_, false) => " exist twice: ",
        })?;
        match self.what {
            Oddity::Shifted(to) if to.date() != self.first.date() => {
                write!(f, "runs at {} on {}", clock(to), to.date())
            }
            what => what.fmt(f),
        }
    }
}

/// A time of day, with seconds where there are any.
fn clock(time: civil::DateTime) -> String {
    time.strftime(if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string()
}

impl Calendar {
    /// What its policy does about each change of the clock after `after` and up to `until`, where its expression names
    /// a time that is concerned. At most [`MAX_ODD_TIMES`](Self::MAX_ODD_TIMES); a calendar without an expression has
    /// none.
    pub fn odd_times(&self, after: Timestamp, until: Timestamp) -> Vec<OddTime> {
        let Some(cron) = self.cron() else { return Vec::new() };
        let mut odd = Vec::new();
        let mut before = Stretch::at(self.zone(), whole_second(after));
        while let Some(stretch) = before.following(self.zone()) {
            let Some(at) = Timestamp::from_second(stretch.start).ok().filter(|at| *at <= until) else {
                break;
            };
            odd.extend(self.odd_time(cron, before, stretch).map(|(first, last, what)| OddTime {
                at,
                first,
                last,
                what,
            }));
            if odd.len() >= Self::MAX_ODD_TIMES {
                break;
            }
            before = stretch;
        }
        odd
    }

    /// The most that [`odd_times`](Self::odd_times) tells.
    pub const MAX_ODD_TIMES: usize = 1000;

    fn odd_time(
        &self,
        cron: &Cron,
        before: Stretch,
        stretch: Stretch,
    ) -> Option<(civil::DateTime, civil::DateTime, Oddity)> {
        let (end, start) = (before.local_end(), stretch.local_start());
        let (low, high) = (end.min(start), end.max(start));
        let first = cron.next_local(low).filter(|first| *first < high)?;
        let last = cron.last_local(high).filter(|last| *last >= first)?;
        let (gap, fold) = cron.daylight(self.daylight());
        let what = if start > end {
            match gap {
                GapRule::Shift => Oddity::Shifted(civil_time(start)?),
                GapRule::Skip => Oddity::Skipped,
            }
        } else {
            match fold {
                FoldRule::First => Oddity::First,
                FoldRule::Last => Oddity::Last,
                FoldRule::Both => Oddity::Twice,
            }
        };
        Some((civil_time(first)?, civil_time(last)?, what))
    }
}

fn civil_time(local: i64) -> Option<civil::DateTime> {
    Timestamp::from_second(local).ok().map(|instant| Offset::UTC.to_datetime(instant))
}
