//! The host: what runs between `start` and `shutdown`.
//!
//! Five kinds of tasks, each with one job, talking through the store and through positions. The
//! [dispatcher](dispatcher) claims runs up to the limit and owns their supervisors; a
//! [supervisor](supervisor) brings one attempt from its claim to its end; the [janitor](janitor) removes what
//! nobody needs; the [pre-heater](preheat) makes environments ready before runs need them; the [warmer](warmer) keeps
//! sandboxes ready where pipelines ask for it. No task reads another's memory, so a host that dies at any instruction
//! loses nothing: the next one joins what the store says is open with what the executors find.

pub(crate) mod backoff;
mod daemon;
pub(crate) mod dispatcher;
pub(crate) mod elsewhere;
pub(crate) mod environments;
pub(crate) mod follow_up;
mod health;
pub(crate) mod intake;
mod interrupted;
pub(crate) mod janitor;
mod more_memory;
mod notes;
pub(crate) mod packages;
pub(crate) mod preheat;
pub(crate) mod program;
pub(crate) mod reconcile;
mod retention;
pub(crate) mod scheduler;
mod secrets;
pub(crate) mod signal;
mod soft_limits;
pub(crate) mod source_events;
mod supervisor;
pub(crate) mod sync;
mod trace;
pub(crate) mod warmer;
mod workspace;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use self::signal::Signals;
pub use self::{packages::AuditPolicy, preheat::Preheat, retention::Retention};
use crate::{
    Clock, Entropy, Error, ErrorKind, ExecutorName, Hosting, OwnerId, Result,
    code::CodeShelf,
    environment::{EnvironmentBuilder, EnvironmentId, PackageAuditor},
    executor::Executor,
    layout::DataDir,
    pipeline::ConfigName,
    run::Capacity,
    schedule::{Blackout, Schedule},
    secret::{SealedSecrets, SecretStore, SecretVariables},
    source::PipelineSource,
    store::Store,
};

/// What the host works through: every effect it has is a call of one of these.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) source: Arc<dyn PipelineSource>,
    /// What is run and in no source.
    pub(crate) code: CodeShelf,
    pub(crate) executors: Executors,
    pub(crate) environments: Arc<dyn EnvironmentBuilder>,
    pub(crate) auditor: Arc<dyn PackageAuditor>,
    /// Everybody who has secrets, in the order in which they are asked.
    pub(crate) secrets: Arc<dyn SecretStore>,
    /// Those of them that the store keeps.
    pub(crate) sealed: SealedSecrets,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) data: DataDir,
    pub(crate) owner: OwnerId,
    pub(crate) settings: Settings,
    pub(crate) signals: Signals,
    pub(crate) specs: intake::Specs,
    pub(crate) joins: follow_up::Joins,
    pub(crate) syncs: sync::Syncs,
    pub(crate) source_events: source_events::SourceEvents,
    pub(crate) environment_work: environments::EnvironmentWork,
}

/// What the builder fixed.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) hosting: Hosting,
    pub(crate) max_concurrent_runs: NonZeroU32,
    /// What all runs in flight share.
    pub(crate) capacity: Capacity,
    /// The times at which nothing starts, by name, and those that all schedules keep.
    pub(crate) blackouts: Blackouts,
    pub(crate) retention: Retention,
    pub(crate) audits: AuditPolicy,
    /// How often the source is synced without anybody asking.
    pub(crate) sync_interval: Option<Duration>,
    /// Whether environments are made ready ahead of runs.
    pub(crate) preheat: Preheat,
    /// Variables of the embedding program that every program gets.
    pub(crate) inherited_env: BTreeMap<String, String>,
    /// Variables of the embedding program that those who build packages must not find.
    pub(crate) secret_variables: SecretVariables,
}

/// The host's blackouts.
#[derive(Debug, Default)]
pub(crate) struct Blackouts {
    pub(crate) by_name: BTreeMap<ConfigName, Blackout>,
    /// Those that every schedule keeps.
    pub(crate) everywhere: BTreeSet<ConfigName>,
}

impl Blackouts {
    /// The first name of a calendar that a schedule wants to keep and the host does not have.
    pub(crate) fn missing<'a>(&self, schedule: &'a Schedule) -> Option<&'a ConfigName> {
        schedule.policy.blackouts.iter().find(|name| !self.by_name.contains_key(name))
    }

    /// Those that a schedule keeps.
    pub(crate) fn of(&self, schedule: &Schedule) -> BTreeMap<ConfigName, Blackout> {
        let kept =
            |name: &ConfigName| self.everywhere.contains(name) || schedule.policy.blackouts.contains(name);
        let kept = self.by_name.iter().filter(|(name, _)| kept(name));
        kept.map(|(name, blackout)| (name.clone(), blackout.clone())).collect()
    }
}

/// The registered executors; the default one is there by construction.
#[derive(Debug)]
pub(crate) struct Executors {
    pub(crate) default: ExecutorName,
    pub(crate) by_name: BTreeMap<ExecutorName, Arc<dyn Executor>>,
}

impl Executors {
    pub(crate) fn get(&self, name: &ExecutorName) -> Result<&Arc<dyn Executor>> {
        self.by_name.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(ExecutorName::as_str).collect();
            Error::new(ErrorKind::Invalid, "no executor is registered under this name")
                .with("executor", name)
                .with("registered", known.join(", "))
        })
    }
}

/// Nobody could say what an environment holds when it was recorded.
pub(crate) fn unknown_packages(id: &EnvironmentId) -> Error {
    Error::new(ErrorKind::NotFound, "the packages of this environment are not known").with("environment", id)
}
