//! How a pipeline's runs stand in the queue.

use std::{collections::BTreeMap, num::NonZeroU32};

use serde::{Deserialize, Serialize};

use super::ConfigName;

/// How a pipeline's runs stand in the queue, and what they take there.
///
/// ```
/// use fastflow_core::pipeline::{QueuePolicy, WhenFull};
///
/// assert_eq!(QueuePolicy::default().when_full, WhenFull::Queue);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueuePolicy {
    /// Higher runs first; 0 is usual. What a caller says wins over it.
    pub priority: i16,
    /// The most runs in flight at one time. None: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_instances: Option<NonZeroU32>,
    /// What becomes of a run that is submitted while as many as may are unfinished.
    pub when_full: WhenFull,
    /// The slots of the host's pools that each run holds while it is in flight.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<ConfigName, NonZeroU32>,
}

impl QueuePolicy {
    /// The most pools of one pipeline.
    pub const MAX_POOLS: usize = 16;
}

/// What becomes of a run that is submitted while as many of its pipeline as may are unfinished.
///
/// ```
/// use fastflow_core::pipeline::WhenFull;
///
/// assert_eq!(serde_json::to_string(&WhenFull::Replace).unwrap(), r#""replace""#);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It waits until one of them has ended.
    #[default]
    Queue,
    /// It is refused.
    Reject,
    /// The oldest of them are cancelled, and it runs when they have ended.
    Replace,
}
