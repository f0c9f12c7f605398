//! When runs are to happen: schedules, and the instants at which they are due.

mod id;
mod tick;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::{
    id::{ScheduleId, ScheduleOwner},
    tick::{NextTick, Tick, TickOutcome},
};
use crate::pipeline::{ConfigName, EnvName, Moment, SchedulePolicy, ScheduleRule, ScheduleWindow};

/// A schedule: when a pipeline is to start, and with what. Plain data.
///
/// ```
/// use fastflow_core::schedule::{Schedule, Timing};
///
/// let nightly = Schedule::new("etl@nightly".parse().unwrap(), Timing::cron("30 2 * * *").unwrap());
/// assert!(nightly.enabled && nightly.parameters.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its id, which says what it starts.
    pub id: ScheduleId,
    /// Its instants.
    pub timing: Timing,
    /// When it is in force.
    #[serde(default)]
    pub window: ScheduleWindow,
    /// How it behaves beside that.
    #[serde(default)]
    pub policy: SchedulePolicy,
    /// Whether it starts anything. While it does not, the ledger says so at each instant.
    pub enabled: bool,
    /// The entry of the pipeline's `schedules` that its runs are made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigName>,
    /// Parameters of its runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<EnvName, String>,
    /// The priority of its runs. None: the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
}

impl Schedule {
    /// An enabled one in UTC that leaves everything but its instants as it is.
    pub fn new(id: ScheduleId, timing: Timing) -> Self {
        Self {
            id,
            timing,
            window: ScheduleWindow::default(),
            policy: SchedulePolicy::default(),
            enabled: true,
            config: None,
            parameters: BTreeMap::new(),
            priority: None,
        }
    }
}

/// The instants of a schedule.
///
/// ```
/// use fastflow_core::schedule::Timing;
///
/// assert_eq!(serde_json::to_string(&Timing::cron("@daily").unwrap()).unwrap(), r#"{"rule":{"cron":"@daily"}}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// Again and again.
    Rule(ScheduleRule),
    /// Once, at the first instant of this.
    Once(Moment),
}

impl Timing {
    /// At the instants of a cron expression.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when it is none.
    pub fn cron(text: &str) -> crate::Result<Self> {
        Ok(Self::Rule(ScheduleRule::Cron(text.parse()?)))
    }
}
