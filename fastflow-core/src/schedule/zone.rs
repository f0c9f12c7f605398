//! Time zones by name, and what a day is in one.

use jiff::{
    civil::Date,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};

use crate::{
    Error, ErrorKind, Result, Timestamp,
    pipeline::{Moment, TimeZoneName},
};

/// The zone of a name: from this machine's database, and from the one that is built in where that has none.
///
/// ```
/// use fastflow_core::schedule::find_zone;
///
/// assert!(find_zone(&"Pacific/Apia".parse().unwrap()).is_ok());
/// let error = find_zone(&"Europe/Berln".parse().unwrap()).unwrap_err();
/// assert_eq!(error.to_string(), "no such time zone (zone: Europe/Berln, did you mean: Europe/Berlin)");
/// ```
///
/// # Errors
///
/// `Invalid` when neither has it. No other zone takes its place.
pub fn find_zone(name: &TimeZoneName) -> Result<TimeZone> {
    let bundled = TimeZoneDatabase::bundled();
    if let Ok(zone) = jiff::tz::db().get(name.as_str()).or_else(|_| bundled.get(name.as_str())) {
        // jiff has a stand-in for a zone that nobody knows, which behaves as UTC.
        if !zone.is_unknown() {
            return Ok(zone);
        }
    }
    let error = Error::new(ErrorKind::Invalid, "no such time zone").with("zone", name);
    let known = bundled.available().map(|known| known.to_string());
    let wanted = name.as_str().to_ascii_lowercase();
    let nearest = known
        .map(|known| (strsim::jaro_winkler(&wanted, &known.to_ascii_lowercase()), known))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    Err(match nearest {
        Some((_, nearest)) => error.with("did you mean", nearest),
        None => error.with("expected", TimeZoneName::EXPECTED),
    })
}

const LEAST_LIKENESS: f64 = 0.8;

/// The first instant of a moment whose days are those of `zone`.
///
/// A day that the zone left out begins, and ends, where it would have been.
pub(super) fn first_instant(moment: Moment, zone: &TimeZone) -> Timestamp {
    match moment {
        Moment::Instant(instant) => instant,
        Moment::Day(day) => midnight(day, zone, false),
    }
}

/// The last instant of a moment whose days are those of `zone`: the last nanosecond of a day.
pub(super) fn last_instant(moment: Moment, zone: &TimeZone) -> Timestamp {
    match moment {
        Moment::Instant(instant) => instant,
        Moment::Day(day) => match day.tomorrow() {
            Ok(next) => midnight(next, zone, true)
                .checked_sub(jiff::Span::new().nanoseconds(1))
                .unwrap_or(Timestamp::MIN),
            Err(_) => Timestamp::MAX,
        },
    }
}

/// The instant at which a day begins: of two, the first or the last; of none, that at which the clock left it out.
fn midnight(day: Date, zone: &TimeZone, last: bool) -> Timestamp {
    let ambiguous = zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0));
    let nearest = if day.year() < 0 { Timestamp::MIN } else { Timestamp::MAX };
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => ambiguous.compatible().unwrap_or(nearest),
        AmbiguousOffset::Fold { .. } => {
            if last { ambiguous.later() } else { ambiguous.earlier() }.unwrap_or(nearest)
        }
        AmbiguousOffset::Gap { .. } => {
            // In a gap, jiff's earlier instant lies before the transition and its later one at or after it.
            let before = ambiguous.earlier().unwrap_or(nearest);
            zone.following(before).next().map_or(nearest, |transition| transition.timestamp())
        }
    }
}
