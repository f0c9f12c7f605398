//! Everything that `pipeline.json` says.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use serde::{Deserialize, Serialize};

use super::{
    ByteSize, DaemonPolicy, DownstreamTrigger, EnvName, HealthPolicy, ImageName, Limits, Network, Parameters,
    PipelineKind, PythonRequest, QueuePolicy, RetryPolicy, ScheduleEntry, Seconds, SecretDelivery,
    TopSchedule, WebhookKey,
};
use crate::{ExecutorName, PipelineName, secret::SecretName};

/// Everything that `pipeline.json` and `[tool.fastflow]` say about one pipeline. Its default is an empty file.
///
/// Serialized, it is what is stored with each run; keys and secrets that a file may hold in clear are left out.
///
/// ```
/// use fastflow_core::pipeline::Definition;
///
/// let definition = Definition::default();
/// assert!(definition.enabled);
/// assert_eq!(definition.stop_grace.0, 10);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Definition {
    /// Shown to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For filters and groups, in the file's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether it may start at all.
    pub enabled: bool,
    /// A script or a notebook.
    pub kind: PipelineKind,
    /// The Python it wants. None: what its folder says, else the host's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python_version: Option<PythonRequest>,
    /// Which of the host's executors runs it. None: the host's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorName>,
    /// The container image it runs in. None: the executor's own choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageName>,
    /// What its program reaches.
    pub network: Network,
    /// How many sandboxes are kept ready for its next attempts.
    pub warm: u32,
    /// What an attempt may use.
    pub limits: Limits,
    /// The most processes and threads at one time. None: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_processes: Option<NonZeroU32>,
    /// The most log that is kept of one attempt.
    pub log_max_size: ByteSize,
    /// The time between asking a run to end and killing it.
    pub stop_grace: Seconds,
    /// Further attempts after a failure.
    pub retry: RetryPolicy,
    /// Environment variables; the caller's win over them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub default_env: BTreeMap<EnvName, String>,
    /// Environment variables with sealed values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub encrypted_env: BTreeMap<EnvName, String>,
    /// The stored secrets that it may see. It gets no others, and does not start without one of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// How it gets those.
    pub secrets_as: SecretDelivery,
    /// The key of its webhook.
    #[serde(skip)]
    pub webhook_key: Option<WebhookKey>,
    /// The schedule at the top of the file; without meaning when `schedules` is not empty.
    pub schedule: TopSchedule,
    /// Several run configurations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<ScheduleEntry>,
    /// Whether and how it is kept running.
    pub daemon: DaemonPolicy,
    /// How its runs stand in the queue.
    pub queue: QueuePolicy,
    /// The parameters it declares.
    pub parameters: Parameters,
    /// When a running program counts as unhealthy.
    pub health: HealthPolicy,
    /// What its end starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub downstream_triggers: Vec<DownstreamTrigger>,
    /// The pipelines that must all have succeeded in one chain; then it starts by itself, once a chain.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<PipelineName>,
    /// Retries of a notebook's code cells, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellPolicy>,
}

impl Definition {
    /// The longest description, in characters.
    pub const MAX_DESCRIPTION_CHARS: usize = 10_000;
    /// The most tags.
    pub const MAX_TAGS: usize = 64;
    /// The longest tag, in characters.
    pub const MAX_TAG_CHARS: usize = 63;
    /// The most entries of one environment or of `secrets`.
    pub const MAX_ENV_ENTRIES: usize = 1000;
    /// The most entries of `schedules`, `downstream_triggers` or `cells`.
    pub const MAX_LIST_ENTRIES: usize = 1000;
    /// The default of `log_max_size`: 1 GiB.
    pub const DEFAULT_LOG_MAX_SIZE: ByteSize = ByteSize(1 << 30);
    /// The least `log_max_size`: 64 KiB, so that a beginning and an end always fit.
    pub const MIN_LOG_MAX_SIZE: ByteSize = ByteSize(64 << 10);
    /// The default of `stop_grace`: 10 s.
    pub const DEFAULT_STOP_GRACE: Seconds = Seconds(10);
    /// The most sandboxes that are kept ready for one pipeline.
    pub const MAX_WARM: u32 = 64;
    /// The longest `stop_grace`: 1 h.
    pub const MAX_STOP_GRACE: Seconds = Seconds(3600);
}

impl Definition {
    /// The most runs in flight at one time: what the file says, and one where a pipeline is meant to run always.
    pub fn instance_limit(&self) -> Option<NonZeroU32> {
        let is_daemon = self.daemon.restart_on_crash || self.daemon.restart_interval.is_some();
        self.queue.max_instances.or(is_daemon.then_some(NonZeroU32::MIN))
    }
}

impl Default for Definition {
    fn default() -> Self {
        Self {
            description: None,
            tags: Vec::new(),
            enabled: true,
            kind: PipelineKind::Script,
            python_version: None,
            executor: None,
            image: None,
            network: Network::default(),
            warm: 0,
            limits: Limits::default(),
            max_processes: None,
            log_max_size: Self::DEFAULT_LOG_MAX_SIZE,
            stop_grace: Self::DEFAULT_STOP_GRACE,
            retry: RetryPolicy::default(),
            default_env: BTreeMap::new(),
            encrypted_env: BTreeMap::new(),
            secrets: BTreeSet::new(),
            secrets_as: SecretDelivery::default(),
            webhook_key: None,
            schedule: TopSchedule::default(),
            schedules: Vec::new(),
            daemon: DaemonPolicy::default(),
            queue: QueuePolicy::default(),
            parameters: Parameters::default(),
            health: HealthPolicy::default(),
            downstream_triggers: Vec::new(),
            after: BTreeSet::new(),
            cells: Vec::new(),
        }
    }
}

/// How often one code cell of a notebook is tried again, and when.
///
/// ```
/// use fastflow_core::pipeline::CellPolicy;
///
/// assert_eq!(CellPolicy::default().delay.0, 1);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CellPolicy {
    /// Further tries of the cell.
    pub retries: u32,
    /// The wait before each.
    pub delay: Seconds,
}

impl Default for CellPolicy {
    fn default() -> Self {
        Self { retries: 0, delay: Seconds(1) }
    }
}
