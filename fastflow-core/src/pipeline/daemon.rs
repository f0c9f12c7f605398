//! A pipeline that is meant to run always.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{CronText, Seconds};

/// When a pipeline that is meant to run always is started again.
///
/// ```
/// use fastflow_core::pipeline::{DaemonPolicy, Seconds};
///
/// assert_eq!(DaemonPolicy::default().restart_cooldown, Seconds(60));
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonPolicy {
    /// Whether a failed run is followed by a new one.
    pub restart_on_crash: bool,
    /// The pause before it; it doubles with each restart of one burst.
    pub restart_cooldown: Seconds,
    /// The longest such pause.
    pub restart_max_cooldown: Seconds,
    /// After how many restarts in one burst it is given up; 0 for never.
    pub restart_limit: u32,
    /// How long a run must have gone well for a burst to be over.
    pub restart_healthy_after: Seconds,
    /// When a healthy run is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_interval: Option<RestartInterval>,
}

impl Default for DaemonPolicy {
    fn default() -> Self {
        Self {
            restart_on_crash: false,
            restart_cooldown: Seconds(60),
            restart_max_cooldown: Seconds(3600),
            restart_limit: 10,
            restart_healthy_after: Seconds(600),
            restart_interval: None,
        }
    }
}

/// When a healthy daemon is replaced by a new run.
///
/// ```
/// use fastflow_core::pipeline::RestartInterval;
///
/// let interval = RestartInterval::Cron("0 4 * * *".parse().unwrap());
/// assert_eq!(serde_json::to_string(&interval).unwrap(), r#"{"cron":"0 4 * * *"}"#);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartInterval {
    /// Every so many seconds.
    Seconds(NonZeroU32),
    /// At the instants of a cron expression.
    Cron(CronText),
}
