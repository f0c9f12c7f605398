//! How a schedule behaves beside its rule: in which zone, at odd hours, late, and when its earlier run still runs.

use std::{collections::BTreeSet, fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{ConfigName, Seconds};
use crate::{Error, ErrorKind, Result};

/// How a schedule behaves beside its rule.
///
/// ```
/// use fastflow_core::pipeline::{Overlap, SchedulePolicy};
///
/// let policy = SchedulePolicy::default();
/// assert_eq!(policy.timezone.as_str(), "UTC");
/// assert_eq!(policy.overlap, Overlap::Skip);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulePolicy {
    /// The zone in which its rule is read.
    pub timezone: TimeZoneName,
    /// What happens at hours that do not exist, or exist twice.
    pub daylight: DaylightPolicy,
    /// What happens when its earlier runs have not ended.
    pub overlap: Overlap,
    /// How many of its runs may be unfinished before `overlap` decides. None: one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_instances: Option<NonZeroU32>,
    /// What happens to instants at which no host was there.
    pub catch_up: CatchUp,
    /// How old an instant may be and still be caught up.
    pub catch_up_window: Seconds,
    /// The longest time by which its runs are later than its instants: always the same for one schedule, so that
    /// many schedules of one instant are spread.
    pub jitter: Seconds,
    /// The host's blackout calendars that it keeps, beside those that all schedules keep.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub blackouts: BTreeSet<ConfigName>,
}

impl SchedulePolicy {
    /// The window where nothing is said: one day.
    pub const DEFAULT_CATCH_UP_WINDOW: Seconds = Seconds(24 * 60 * 60);
    /// The most blackout calendars of one schedule.
    pub const MAX_BLACKOUTS: usize = 16;
}

impl Default for SchedulePolicy {
    fn default() -> Self {
        Self {
            timezone: TimeZoneName::default(),
            daylight: DaylightPolicy::default(),
            overlap: Overlap::default(),
            max_instances: None,
            catch_up: CatchUp::default(),
            catch_up_window: Self::DEFAULT_CATCH_UP_WINDOW,
            jitter: Seconds(0),
            blackouts: BTreeSet::new(),
        }
    }
}

/// The name of a time zone, as the IANA database has it. Whether this machine's database knows it is seen when it is
/// used.
///
/// ```
/// use fastflow_core::pipeline::TimeZoneName;
///
/// assert_eq!("Europe/Berlin".parse::<TimeZoneName>().unwrap().as_str(), "Europe/Berlin");
/// assert!("+02:00".parse::<TimeZoneName>().is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZoneName(Box<str>);

impl TimeZoneName {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 63;
    /// What [`FromStr`] accepts, in words.
    pub const EXPECTED: &'static str = "the name of an IANA time zone, such as \"Europe/Berlin\" or \"UTC\"";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TimeZoneName {
    fn default() -> Self {
        Self("UTC".into())
    }
}

impl FromStr for TimeZoneName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let good = text.len() <= Self::MAX_CHARS
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_-+".contains(c));
        if good {
            return Ok(Self(text.into()));
        }
        Err(Error::new(ErrorKind::Invalid, "not the name of a time zone")
            .with("found", text.escape_debug().take(80).collect::<String>())
            .with("expected", Self::EXPECTED))
    }
}

impl TryFrom<String> for TimeZoneName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<TimeZoneName> for String {
    fn from(name: TimeZoneName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What happens at local times that do not exist, or exist twice. What is left open follows cron(8): a pattern whose
/// minutes or hours begin with `*` runs in every real hour and in none that does not exist; any other runs once a
/// local time, at the first instant that exists.
///
/// ```
/// use fastflow_core::pipeline::{DaylightPolicy, FoldRule};
///
/// let policy = DaylightPolicy { fold: Some(FoldRule::Last), ..DaylightPolicy::default() };
/// assert_eq!(serde_json::to_string(&policy).unwrap(), r#"{"fold":"last"}"#);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaylightPolicy {
    /// For times that do not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapRule>,
    /// For times that exist twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<FoldRule>,
}

/// What happens at a local time that does not exist.
///
/// ```
/// use fastflow_core::pipeline::GapRule;
///
/// assert_eq!(serde_json::to_string(&GapRule::Shift).unwrap(), r#""shift""#);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapRule {
    /// It runs at the first instant that exists.
    Shift,
    /// It does not run.
    Skip,
}

/// What happens at a local time that exists twice.
///
/// ```
/// use fastflow_core::pipeline::FoldRule;
///
/// assert_eq!(serde_json::to_string(&FoldRule::Both).unwrap(), r#""both""#);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldRule {
    /// It runs the first time.
    First,
    /// It runs the last time.
    Last,
    /// It runs each time.
    Both,
}

/// What a schedule does at its instant while as many of its runs as may are unfinished.
///
/// ```
/// use fastflow_core::pipeline::Overlap;
///
/// assert_eq!(Overlap::default(), Overlap::Skip);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It runs beside them.
    Allow,
    /// It does not run, and the ledger says so.
    #[default]
    Skip,
    /// It waits in the queue until they have ended.
    Queue,
    /// It cancels the oldest of them, and runs when they have ended.
    Replace,
}

/// What happens to instants at which no host was there to see them.
///
/// ```
/// use fastflow_core::pipeline::CatchUp;
///
/// assert_eq!(CatchUp::default(), CatchUp::Latest);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are missed, and the ledger says so.
    None,
    /// The latest of them runs.
    #[default]
    Latest,
    /// The latest `max` of them run.
    All {
        /// The most that run.
        max: NonZeroU32,
    },
}

impl CatchUp {
    /// The most instants that a file may ask to have run.
    pub const MAX_ALL: u32 = 1000;
}
