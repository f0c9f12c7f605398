//! Attempts as processes of this machine, with nothing between them and the kernel.
//!
//! Each attempt runs under the shim, in a session of its own and, where the kernel lets this process make
//! some, in control groups of its own. It belongs to nobody: it outlives the host, and any later host finds
//! it by its files.
//!
//! ```text
//! <state_dir>/live/<owner>/<attempt>     one small file for each attempt that is not removed yet
//! <cgroup>/fastflow/<owner>.<attempt>    its processes and their limits
//! <run_dir>/guard.json                   who watches over it: process id, start time, boot
//! <run_dir>/stop.json                    why it was asked to stop
//! <secrets_dir>/fastflow-<…>/<attempt>   those of its secrets that are files, in memory, until it has ended
//! ```

mod cgroup;
mod execution;
mod live;
mod monitor;
mod reattach;
mod secrets;
mod start;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

use self::{
    cgroup::{Cgroups, Controller},
    execution::{Attempt, ProcessExecution},
    live::{Entry, LiveDir},
    secrets::SecretsDir,
    start::Started,
};
use super::{AttemptRef, AttemptSpec, Capabilities, ExecutionHandle, Executor, Reattached, Start};
use crate::{AttemptId, Clock, Error, ErrorKind, OwnerId, Result, shim::ShimBinary};

/// How a [`ProcessExecutor`] is set up.
///
/// ```
/// use fastflow_core::executor::process::{CgroupMode, ProcessConfig};
///
/// let mut config = ProcessConfig::new("/var/lib/app/executor");
/// config.cgroups = CgroupMode::Off;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessConfig {
    /// Where the shim is installed and the live attempts are listed. All hosts that are to find each other's
    /// attempts use the same.
    pub state_dir: PathBuf,
    /// Whether control groups are used.
    pub cgroups: CgroupMode,
    /// A folder in memory (tmpfs) below which attempts get those of their secrets that are files, each in a folder that
    /// only this user can read. `None` is `/dev/shm`, `/run/user/<uid>` or `/run`, the first that can be used.
    pub secrets_dir: Option<PathBuf>,
}

impl ProcessConfig {
    /// The usual set-up.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into(), cgroups: CgroupMode::default(), secrets_dir: None }
    }
}

/// Whether a [`ProcessExecutor`] uses the kernel's control groups.
///
/// ```
/// use fastflow_core::executor::process::CgroupMode;
///
/// assert_eq!(CgroupMode::default(), CgroupMode::Auto);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum CgroupMode {
    /// As far as they can be had. Which limits can be kept then is in the capabilities.
    #[default]
    Auto,
    /// Not at all: no limits. Should a shim be killed from outside, a process that has left its session as
    /// well as its parent is not found.
    Off,
}

/// Runs attempts as local processes.
///
/// ```no_run
/// use std::sync::Arc;
/// use fastflow_core::{SystemClock, executor::{Executor, process::{ProcessConfig, ProcessExecutor}}};
///
/// let config = ProcessConfig::new("/var/lib/app/executor");
/// let executor = ProcessExecutor::new(&config, Arc::new(SystemClock::new()))?;
/// println!("limits memory: {}", executor.capabilities().memory_limit);
/// # Ok::<(), fastflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ProcessExecutor {
    place: Arc<Place>,
}

/// What all attempts on this machine have in common.
#[derive(Debug)]
struct Place {
    shim: PathBuf,
    live: LiveDir,
    cgroups: Cgroups,
    /// `None` where there is no folder in memory.
    secrets: Option<SecretsDir>,
    clock: Arc<dyn Clock>,
}

impl ProcessExecutor {
    /// Installs the shim and finds out, by trying, what this machine lets it do. Blocks for some milliseconds.
    ///
    /// # Errors
    ///
    /// `Denied`, `StorageFull` when the state directory cannot be written; `Unsupported` for a
    /// [`secrets_dir`](ProcessConfig::secrets_dir) that is not in memory, or not to be written to.
    pub fn new(config: &ProcessConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let state_dir = std::path::absolute(&config.state_dir)?;
        let secrets = SecretsDir::find(config.secrets_dir.as_deref(), &state_dir)?;
        let live = LiveDir::create(&state_dir)?;
        let cgroups = match config.cgroups {
            CgroupMode::Auto => Cgroups::find(),
            CgroupMode::Off => Cgroups::default(),
        };
        let shim = ShimBinary::install(&state_dir)?;
        Ok(Self { place: Arc::new(Place { shim, live, cgroups, secrets, clock }) })
    }
}

impl Place {
    /// What can be known of an attempt that has no entry.
    fn entry_without_file(&self, attempt: AttemptId) -> Entry {
        Entry { secrets: self.secrets.as_ref().map(|dir| dir.of(attempt)), ..Entry::default() }
    }
}

#[async_trait]
impl Executor for ProcessExecutor {
    fn kind(&self) -> &'static str {
        "process"
    }

    fn capabilities(&self) -> Capabilities {
        let cgroups = &self.place.cgroups;
        Capabilities {
            environments: true,
            cpu_limit: cgroups.can(Controller::Cpu),
            memory_limit: cgroups.can(Controller::Memory),
            process_limit: cgroups.can(Controller::Pids),
            output: true,
            secrets: self.place.secrets.is_some(),
            reattach: true,
            ..Capabilities::default()
        }
    }

    async fn probe(&self) -> Result<()> {
        let place = Arc::clone(&self.place);
        blocking(move || start::probe(&place)).await
    }

    async fn start(&self, spec: AttemptSpec) -> Result<Start> {
        self.capabilities().check(spec.requirements())?;
        let (id, owner) = (spec.id, spec.owner.clone());
        let place = Arc::clone(&self.place);
        Ok(match blocking(move || start::start(&place, spec)).await? {
            Started::Failed(failure) => Start::Failed(failure),
            Started::Running { monitor, entry } => {
                let place = Arc::clone(&self.place);
                let attempt = Attempt::of(place, (owner, id), entry, Some(monitor.clone()));
                Start::Started(Box::new(ProcessExecution::new(attempt, &monitor)))
            }
        })
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<ExecutionHandle>> {
        let (place, owner) = (Arc::clone(&self.place), owner.clone());
        blocking(move || reattach::list(&place, &owner)).await
    }

    async fn reattach(&self, attempt: &AttemptRef) -> Result<Reattached> {
        reattach::reattach(&self.place, attempt).await
    }
}

/// Runs `work` where it may block. It runs to its end, even when nobody waits for it any more.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "the executor's own work failed").because(error))?
}
