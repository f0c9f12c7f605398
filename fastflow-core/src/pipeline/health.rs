//! When a running program counts as healthy.

use serde::{Deserialize, Serialize};

use super::Seconds;

/// When a running program counts as unhealthy, and is ended for it.
///
/// ```
/// use fastflow_core::pipeline::{HealthPolicy, SoftLimitAction};
///
/// let policy = HealthPolicy::default();
/// assert!(policy.no_output_timeout.is_none());
/// assert_eq!(policy.soft_limit, SoftLimitAction::Record);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthPolicy {
    /// How long a program may write nothing before it is ended. None: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_output_timeout: Option<Seconds>,
    /// How long the file named by `FASTFLOW_HEARTBEAT_FILE` may stay untouched before the program is ended. None: there
    /// is no such file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout: Option<Seconds>,
    /// What happens when a soft limit is crossed.
    pub soft_limit: SoftLimitAction,
}

/// What happens when a program crosses one of its soft limits.
///
/// ```
/// use fastflow_core::pipeline::SoftLimitAction;
///
/// assert_eq!(SoftLimitAction::default(), SoftLimitAction::Record);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftLimitAction {
    /// It is recorded, once a crossing.
    #[default]
    Record,
    /// It is recorded, and the program is ended.
    Stop,
}
