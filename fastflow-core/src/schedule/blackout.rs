//! Times at which nothing is to start.

use std::collections::BTreeSet;

use jiff::{civil, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::zone::{find_zone, first_instant, last_instant};
use crate::{
    Error, ErrorKind, Result, Timestamp,
    pipeline::{ConfigName, Moment, TimeZoneName},
};

/// Times at which nothing is to start, under the name by which schedules keep them. Plain data, as a host has it.
///
/// ```
/// use fastflow_core::schedule::BlackoutCalendar;
///
/// let calendar: BlackoutCalendar = serde_json::from_str(
///     r#"{"name": "quiet", "timezone": "Europe/Berlin", "weekdays": ["sunday"],
///         "spans": [{"first": "2026-12-24", "last": "2026-12-26"}]}"#,
/// ).unwrap();
/// let quiet = calendar.resolve().unwrap();
/// assert!(quiet.contains("2026-12-23T23:30:00Z".parse().unwrap()), "the 24th has begun in Berlin");
/// assert!(quiet.contains("2026-11-29T12:00:00Z".parse().unwrap()), "a Sunday");
/// assert!(!quiet.contains("2026-12-28T12:00:00Z".parse().unwrap()));
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlackoutCalendar {
    /// What schedules call it.
    pub name: ConfigName,
    /// The zone whose days are meant.
    #[serde(default)]
    pub timezone: TimeZoneName,
    /// Single times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<BlackoutSpan>,
    /// Whole days, each week.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub weekdays: BTreeSet<Weekday>,
}

impl BlackoutCalendar {
    /// The most spans of one calendar.
    pub const MAX_SPANS: usize = 1000;

    /// The instants that it means, with its zone.
    ///
    /// # Errors
    ///
    /// `Invalid` when nobody knows the zone (see [`find_zone`]), when a span ends before it begins, or when there are
    /// more than [`MAX_SPANS`](Self::MAX_SPANS).
    pub fn resolve(&self) -> Result<Blackout> {
        self.resolve_in(find_zone(&self.timezone)?)
    }

    fn resolve_in(&self, zone: TimeZone) -> Result<Blackout> {
        let wrong = |message: &'static str| {
            Error::new(ErrorKind::Invalid, message).with("blackout", self.name.as_str())
        };
        if self.spans.len() > Self::MAX_SPANS {
            return Err(wrong("a blackout calendar with too many spans")
                .with("found", self.spans.len())
                .with("expected", format!("at most {}", Self::MAX_SPANS)));
        }
        let mut spans = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            let (first, last) = (first_instant(span.first, &zone), last_instant(span.last, &zone));
            // A day that its zone left out has no instant, and so ends before it begins.
            if first > last && span.first != span.last {
                return Err(wrong("a blackout that ends before it begins")
                    .with("first", span.first)
                    .with("last", span.last));
            }
            spans.push((first, last));
        }
        Ok(Blackout { zone, spans, weekdays: self.weekdays.clone() })
    }
}

/// One time at which nothing is to start, both ends included. A day is one of the calendar's zone.
///
/// ```
/// let span: fastflow_core::schedule::BlackoutSpan =
///     serde_json::from_str(r#"{"first": "2026-12-24", "last": "2026-12-26T12:00:00Z"}"#).unwrap();
/// assert_eq!(span.first.to_string(), "2026-12-24");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlackoutSpan {
    /// From the first instant of this.
    pub first: Moment,
    /// To the last instant of this.
    pub last: Moment,
}

/// A day of the week, Monday first.
///
/// ```
/// use fastflow_core::schedule::Weekday;
///
/// assert_eq!(serde_json::to_string(&Weekday::Saturday).unwrap(), r#""saturday""#);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl From<civil::Weekday> for Weekday {
    fn from(day: civil::Weekday) -> Self {
        match day {
            civil::Weekday::Monday => Self::Monday,
            civil::Weekday::Tuesday => Self::Tuesday,
            civil::Weekday::Wednesday => Self::Wednesday,
            civil::Weekday::Thursday => Self::Thursday,
            civil::Weekday::Friday => Self::Friday,
            civil::Weekday::Saturday => Self::Saturday,
            civil::Weekday::Sunday => Self::Sunday,
        }
    }
}

/// The instants at which nothing is to start: see [`BlackoutCalendar::resolve`].
///
/// ```
/// use fastflow_core::schedule::{Blackout, BlackoutCalendar};
///
/// let calendar: BlackoutCalendar = serde_json::from_str(r#"{"name": "never"}"#).unwrap();
/// let never: Blackout = calendar.resolve().unwrap();
/// assert!(!never.contains("2026-12-24T00:00:00Z".parse().unwrap()));
/// ```
#[derive(Clone, Debug)]
pub struct Blackout {
    zone: TimeZone,
    spans: Vec<(Timestamp, Timestamp)>,
    weekdays: BTreeSet<Weekday>,
}

impl Blackout {
    /// Whether nothing is to start at `instant`.
    pub fn contains(&self, instant: Timestamp) -> bool {
        let spanned = self.spans.iter().any(|(first, last)| (*first..=*last).contains(&instant));
        spanned || (!self.weekdays.is_empty() && self.weekdays.contains(&self.weekday(instant)))
    }

    fn weekday(&self, instant: Timestamp) -> Weekday {
        self.zone.to_datetime(instant).weekday().into()
    }
}
