//! When runs are to happen: schedules, and the instants at which they are due.

mod blackout;
mod calendar;
mod cron;
mod explain;
mod id;
mod interval;
mod jitter;
mod lint;
mod walk;
mod zone;

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
    zone::find_zone,
};
