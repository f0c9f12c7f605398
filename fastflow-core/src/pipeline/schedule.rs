//! When a pipeline is to start by itself: checked and kept; acting on it is the scheduler's.

use std::{collections::BTreeMap, fmt, num::NonZeroU32, str::FromStr};

use jiff::civil;
use serde::{Deserialize, Serialize};

use super::{ConfigName, EnvName, Limits, RetryStrategy, SchedulePolicy, WebhookKey};
use crate::{Error, ErrorKind, Result, Timestamp, schedule::check_cron};

/// A cron expression as text: 5 or 6 fields, or a nickname such as `@daily`. It can be read, and it matches some time:
/// [`Cron`](crate::schedule::Cron) says when.
///
/// ```
/// use fastflow_core::pipeline::CronText;
///
/// assert!("*/5 * * * *".parse::<CronText>().is_ok());
/// assert!("every day".parse::<CronText>().is_err());
/// assert!("0 0 30 2 *".parse::<CronText>().is_err(), "there is no 30 February");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CronText(Box<str>);

impl CronText {
    /// The longest expression, in bytes.
    pub const MAX_BYTES: usize = 256;
    /// What [`FromStr`] accepts, in words.
    pub const EXPECTED: &'static str =
        "a cron expression of 5 or 6 fields such as \"0 4 * * *\", or a nickname such as \"@daily\"";

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CronText {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let nickname = text
            .strip_prefix('@')
            .is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()));
        let field = |field: &str| field.bytes().all(|b| b.is_ascii_alphanumeric() || b"*/,-?#".contains(&b));
        let fields = matches!(text.split_whitespace().count(), 5 | 6) && text.split_whitespace().all(field);
        if text.len() <= Self::MAX_BYTES && (nickname || fields) {
            return check_cron(text).map(|()| Self(text.into()));
        }
        Err(Error::new(ErrorKind::Invalid, "not a cron expression")
            .with("found", text.escape_debug().take(80).collect::<String>())
            .with("expected", Self::EXPECTED))
    }
}

impl TryFrom<String> for CronText {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<CronText> for String {
    fn from(cron: CronText) -> Self {
        cron.0.into()
    }
}

/// A day or an instant, as ISO 8601 writes them. A time without an offset is UTC. A day alone is one in UTC, but for
/// the days of a schedule, which are those of its own zone: see [`Calendar`](crate::schedule::Calendar).
///
/// ```
/// use fastflow_core::pipeline::Moment;
///
/// let day: Moment = "2026-01-31".parse().unwrap();
/// assert_eq!(day.first_instant().to_string(), "2026-01-31T00:00:00Z");
/// assert_eq!("2026-01-31T10:00:00+02:00".parse::<Moment>().unwrap().to_string(), "2026-01-31T08:00:00Z");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    /// A whole day, in UTC where nothing else is said.
    Day(civil::Date),
    /// One instant.
    Instant(Timestamp),
}

impl Moment {
    /// What [`FromStr`] accepts, in words.
    pub const EXPECTED: &'static str =
        "an ISO 8601 date or time such as \"2026-01-31\" or \"2026-01-31T08:00:00Z\" (UTC without an offset)";

    /// The same in whole microseconds.
    #[must_use]
    pub fn whole_micros(self) -> Self {
        match self {
            Self::Day(_) => self,
            Self::Instant(instant) => {
                Self::Instant(Timestamp::from_microsecond(instant.as_microsecond()).unwrap_or(instant))
            }
        }
    }

    /// Where it begins.
    pub fn first_instant(self) -> Timestamp {
        match self {
            Self::Day(day) => utc(day.at(0, 0, 0, 0)),
            Self::Instant(instant) => instant,
        }
    }

    /// Where it ends: the last nanosecond of a day.
    pub fn last_instant(self) -> Timestamp {
        match self {
            Self::Day(day) => utc(day.at(23, 59, 59, 999_999_999)),
            Self::Instant(instant) => instant,
        }
    }
}

/// Dates at the very ends of the calendar have no instant in UTC for every time of day; the nearest one serves.
fn utc(time: civil::DateTime) -> Timestamp {
    jiff::tz::Offset::UTC.to_timestamp(time).unwrap_or(if time.year() < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

impl FromStr for Moment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // jiff reads a date out of longer texts, too, so the shape decides first.
        let is_day = text.len() == "2026-01-31".len();
        let read = || {
            if is_day {
                return text.parse::<civil::Date>().ok().map(Self::Day);
            }
            if let Ok(instant) = text.parse::<Timestamp>() {
                return Some(Self::Instant(instant));
            }
            text.parse::<civil::DateTime>().ok().map(|time| Self::Instant(utc(time)))
        };
        read().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "not a date or time")
                .with("found", text.escape_debug().take(80).collect::<String>())
                .with("expected", Self::EXPECTED)
        })
    }
}

impl TryFrom<String> for Moment {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => day.fmt(f),
            Self::Instant(instant) => instant.fmt(f),
        }
    }
}

/// The rule of a schedule.
///
/// ```
/// use fastflow_core::pipeline::ScheduleRule;
///
/// let rule = ScheduleRule::Cron("@daily".parse().unwrap());
/// assert_eq!(serde_json::to_string(&rule).unwrap(), r#"{"cron":"@daily"}"#);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScheduleRule {
    /// At the instants of a cron expression.
    Cron(CronText),
    /// Every so many seconds.
    IntervalSeconds(NonZeroU32),
}

/// When a schedule is in force. An open end is `None`.
///
/// ```
/// assert!(fastflow_core::pipeline::ScheduleWindow::default().start.is_none());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScheduleWindow {
    /// From the first instant of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Moment>,
    /// To the last instant of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Moment>,
}

/// The schedule that a pipeline names at the top of its file.
///
/// ```
/// assert!(fastflow_core::pipeline::TopSchedule::default().rule.is_none());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopSchedule {
    /// The recurring rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<ScheduleRule>,
    /// When the rule is in force.
    pub window: ScheduleWindow,
    /// One single instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_once_at: Option<Moment>,
    /// How it behaves beside its rule.
    pub policy: SchedulePolicy,
}

/// One of several run configurations of a pipeline. What it leaves open, the pipeline's own fields say.
///
/// ```
/// use fastflow_core::pipeline::{ScheduleEntry, ScheduleRule};
///
/// let rule = ScheduleRule::Cron("0 4 * * *".parse().unwrap());
/// assert!(ScheduleEntry::new("nightly".parse().unwrap(), rule).enabled);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleEntry {
    /// Unique within the pipeline.
    pub id: ConfigName,
    /// When it fires.
    pub rule: ScheduleRule,
    /// When the rule is in force.
    #[serde(default)]
    pub window: ScheduleWindow,
    /// How it behaves beside its rule.
    #[serde(default)]
    pub policy: SchedulePolicy,
    /// Whether it fires at all.
    pub enabled: bool,
    /// Added to the pipeline's own, and winning over them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub default_env: BTreeMap<EnvName, String>,
    /// Sealed values, added to the pipeline's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encrypted_env: BTreeMap<EnvName, String>,
    /// Limits that replace the pipeline's own.
    #[serde(default)]
    pub limits: Limits,
    /// Replaces the pipeline's number of further attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_attempts: Option<u32>,
    /// Replaces the pipeline's waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_strategy: Option<RetryStrategy>,
    /// The key of its own webhook.
    #[serde(skip)]
    pub webhook_key: Option<WebhookKey>,
}

impl ScheduleEntry {
    /// An entry that leaves everything but its rule to the pipeline.
    pub fn new(id: ConfigName, rule: ScheduleRule) -> Self {
        Self {
            id,
            rule,
            window: ScheduleWindow::default(),
            policy: SchedulePolicy::default(),
            enabled: true,
            default_env: BTreeMap::new(),
            encrypted_env: BTreeMap::new(),
            limits: Limits::default(),
            retry_attempts: None,
            retry_strategy: None,
            webhook_key: None,
        }
    }
}
