//! When runs are to happen: schedules, and the instants at which they are due.

mod blackout;
mod calendar;
mod cron;
mod id;
mod interval;
mod jitter;
mod walk;
mod zone;

pub(crate) use self::cron::check as check_cron;
pub use self::{
    blackout::{Blackout, BlackoutCalendar, BlackoutSpan, Weekday},
    calendar::{Calendar, Occasion},
    cron::Cron,
    id::{ScheduleId, ScheduleOwner},
    interval::Interval,
    jitter::jitter_offset,
    zone::find_zone,
};
