//! A pipeline that follows another's end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ConfigName, EnvName};
use crate::PipelineName;

/// A rule that one run's end submits another.
///
/// ```
/// use fastflow_core::pipeline::DownstreamTrigger;
///
/// let trigger = DownstreamTrigger::on_success_of("report".parse().unwrap());
/// assert!(trigger.on_success && !trigger.on_failure);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DownstreamTrigger {
    /// What is started.
    pub pipeline: PipelineName,
    /// Whether success starts it.
    pub on_success: bool,
    /// Whether failure starts it.
    pub on_failure: bool,
    /// The route that the finished run must have named, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_route: Option<String>,
    /// The entry of the other pipeline's `schedules` to start it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_config_id: Option<ConfigName>,
    /// Parameters of the run that is started, each by the field of the finished run's output document that has its
    /// value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<EnvName, String>,
}

impl DownstreamTrigger {
    /// The longest route name, in characters.
    pub const MAX_ROUTE_CHARS: usize = 63;
    /// The longest name of a field of an output document, in characters.
    pub const MAX_FIELD_CHARS: usize = 255;

    /// Starts `pipeline` when the run succeeded.
    pub fn on_success_of(pipeline: PipelineName) -> Self {
        Self {
            pipeline,
            on_success: true,
            on_failure: false,
            on_route: None,
            run_config_id: None,
            parameters: BTreeMap::new(),
        }
    }
}
