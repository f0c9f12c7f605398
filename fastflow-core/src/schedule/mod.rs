//! When runs are to happen: schedules, and the instants at which they are due.

mod id;

pub use self::id::{ScheduleId, ScheduleOwner};
