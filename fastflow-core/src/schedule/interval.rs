//! Instants at equal distances.

use std::num::NonZeroU32;

use crate::Timestamp;

/// Every so many seconds of real time, counted from an anchor: no transition of a zone and no late run moves them.
///
/// ```
/// use std::num::NonZeroU32;
/// use fastflow_core::{Timestamp, schedule::Interval};
///
/// let anchor: Timestamp = "2026-01-01T00:00:05Z".parse().unwrap();
/// let interval = Interval { anchor, every: NonZeroU32::new(60).unwrap(), first: 1 };
/// assert_eq!(interval.next_after(anchor).unwrap().to_string(), "2026-01-01T00:01:05Z");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Interval {
    /// Where counting begins.
    pub anchor: Timestamp,
    /// The distance in seconds.
    pub every: NonZeroU32,
    /// The number of distances from the anchor to the first instant.
    pub first: u32,
}

impl Interval {
    /// The first instant after `after`, and not at it. `None` where the calendar ends.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let every = i128::from(self.every.get()) * NANOS;
        let anchor = self.anchor.as_nanosecond();
        let passed = (after.as_nanosecond() - anchor).div_euclid(every);
        let count = (passed + 1).max(self.first.into());
        Timestamp::from_nanosecond(anchor + count * every).ok()
    }
}

const NANOS: i128 = 1_000_000_000;
