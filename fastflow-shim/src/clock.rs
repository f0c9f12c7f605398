//! The shim's one clock.

use std::time::Instant;

use jiff::Timestamp;

/// The wall clock in whole microseconds, for stamps that people read. Files carry no more, so a stamp that was
/// written and read again is equal to itself.
#[expect(clippy::disallowed_methods, reason = "this is the one place of this package that asks for the time")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// The monotonic clock, for everything that is measured or awaited.
#[expect(clippy::disallowed_methods, reason = "this is the one place of this package that asks for the time")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Stamps as the files carry them: RFC 3339 in UTC with exactly six digits of a second.
pub(crate) mod micros {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{at:.6}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}
