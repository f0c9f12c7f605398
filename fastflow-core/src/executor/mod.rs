//! Executors start attempts in sandboxes, and find them again after a crash.
//!
//! An executor implements two small traits: [`Executor`] starts and finds, [`Execution`] is one attempt in
//! flight. The suite in `fastflow_core::testing` (feature `testing`) checks the contract against any
//! implementation.

mod aside;
mod capability;
pub mod container;
mod in_memory;
mod order;
mod outcome;
pub mod process;
mod refusal;
pub mod sandbox;
mod secrets;
mod settle;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::{
    capability::{Capabilities, Requirements},
    process::{ProcessConfig, ProcessExecutor},
    secrets::AttemptSecrets,
};
pub use crate::pipeline::{ImageName, Network};
use crate::{
    AttemptId, OwnerId, Result, Timestamp,
    environment::{SetupLog, Workbench},
    run::{ExitReport, LostCause, StartFailure, StopCause},
};

/// Starts attempts on one runtime, and finds them again after a crash.
///
/// # Contract
///
/// - The program of one attempt starts at most once, whoever asks and however often.
/// - [`start`](Self::start) leaves one execution under `spec.id`, or [`reattach`](Self::reattach) tells what
///   became of it.
/// - An execution outlives the process that started it, where [`Capabilities::reattach`] says so.
/// - The runtime is the truth: an executor keeps no table of what it started.
///
/// # Lifecycle
///
/// 1. The host prepares `spec.run_dir` and `spec.working_dir`, then calls `start` once.
/// 2. The sandbox writes `log.ndjson`, `usage.ndjson` and `exit.json` into `spec.run_dir`
///    (formats: crate `fastflow-shim`).
/// 3. The host waits, perhaps stops, and removes. After a crash it asks `list` and `reattach` first.
///
/// # Writing one
///
/// `examples/custom_executor` is a whole one, with the tests that `fastflow_core::executor_conformance!` (feature
/// `testing`) makes of this contract. [`ProcessExecutor`] is the one that ships.
#[async_trait]
pub trait Executor: fmt::Debug + Send + Sync + 'static {
    /// The runtime's name, as in `process`.
    fn kind(&self) -> &'static str;

    /// What this executor can do. Constant over its lifetime.
    fn capabilities(&self) -> Capabilities;

    /// Asks the runtime whether it can be used.
    ///
    /// # Errors
    ///
    /// `Unavailable` when it cannot be reached, `Unsupported` when it cannot do what it must.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: nothing is started, and asking again is safe.
    async fn probe(&self) -> Result<()>;

    /// How the runtime was when it was last asked. Known without asking it: while it is down, runs wait in the queue.
    /// Up, where nobody keeps count.
    fn health(&self) -> Health {
        Health::Up
    }

    /// Where the program of an attempt with this run directory finds what lies at `path` of this machine. Only what
    /// is in the run directory may lie elsewhere than here.
    fn path_inside(&self, run_dir: &Path, path: &Path) -> PathBuf {
        let _ = run_dir;
        path.to_owned()
    }

    /// Where environments for its sandboxes are made; `None` is this machine itself. What has to be fetched for that
    /// is fetched, and `log` hears of it.
    ///
    /// # Errors
    ///
    /// `NotFound` when the image cannot be had, `Denied` when it may not be chosen or the runtime refuses, `StorageFull`,
    /// `Unavailable` for what may work later.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops waiting; what is being fetched may go on for others.
    async fn workbench(
        &self,
        image: Option<&ImageName>,
        log: &dyn SetupLog,
    ) -> Result<Option<Arc<dyn Workbench>>> {
        let _ = (image, log);
        Ok(None)
    }

    /// The same place as [`workbench`](Self::workbench), where nothing has to be fetched for it. One that fetches must
    /// not do so here.
    ///
    /// # Errors
    ///
    /// `NotFound` when the image is not there yet, else as [`workbench`](Self::workbench).
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    async fn present_workbench(&self, image: Option<&ImageName>) -> Result<Option<Arc<dyn Workbench>>> {
        self.workbench(image, &Unheard).await
    }

    /// Makes sandboxes that wait for attempts like `like`, as many as `count` with those that wait already, and
    /// removes those above it. Each serves one attempt, which is any whose needs are the same; its id, argv,
    /// environment and folders come with [`start`](Self::start). Without [`Capabilities::warm`] it does nothing.
    ///
    /// # Errors
    ///
    /// As those of [`start`](Self::start); some may wait in spite of it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves some made; calling again makes the rest.
    async fn keep_warm(&self, like: &AttemptSpec, count: u32) -> Result<()> {
        let _ = (like, count);
        Ok(())
    }

    /// Starts one attempt, and returns once its program runs or has ended.
    ///
    /// # Errors
    ///
    /// A cause in the workload is a value ([`Start::Failed`]). `AlreadyExists` when the attempt was started
    /// before; any other error means that the outcome is unknown until [`reattach`](Self::reattach) settles it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is safe: `reattach` tells what became of the attempt.
    async fn start(&self, spec: AttemptSpec) -> Result<Start>;

    /// Every execution of `owner` that the runtime still knows, running or ended.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the runtime cannot be asked. A list is complete or an error.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: no execution is changed, and asking again is safe.
    async fn list(&self, owner: &OwnerId) -> Result<Vec<ExecutionHandle>>;

    /// Settles what became of an attempt: takes hold of it if it was started, and otherwise makes sure that
    /// it never will be, even if an earlier `start` is still on its way. It never starts anything.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the runtime cannot be asked; then nothing is known.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops nothing; the attempt may be settled already, and calling again tells how.
    async fn reattach(&self, attempt: &AttemptRef) -> Result<Reattached>;
}

/// Nobody listens.
struct Unheard;

impl SetupLog for Unheard {
    fn line(&self, _: &str) {}
}

/// One attempt in flight, or ended. Dropping it lets go of the workload and does not stop it.
///
/// The conformance suite of [`Executor`] checks this contract too, and `examples/custom_executor` keeps it.
#[async_trait]
pub trait Execution: fmt::Debug + Send + Sync + 'static {
    /// The plain data from which the execution can be found again.
    fn handle(&self) -> &ExecutionHandle;

    /// Waits for the end.
    ///
    /// [`Exit::Code(0)`](crate::run::Exit::Code) is a proof that the program ran and exited with 0, never an
    /// engine's default.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the runtime cannot be asked for now; waiting again is right.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, and repeatable with the same answer.
    async fn wait(&self) -> Result<Ended>;

    /// Asks the program to end (SIGTERM), and kills it and all its descendants after `grace`. Returns when the
    /// request is delivered or the execution has ended; [`wait`](Self::wait) tells the end. Fine on an ended one.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the runtime cannot be asked for now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the request back; calling again is safe.
    async fn stop(&self, grace: Duration, cause: StopCause) -> Result<()>;

    /// Frees everything the runtime holds for it, killing it first if it must. Files in the run directory stay.
    /// Fine to repeat.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the runtime cannot be asked for now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave some of it held; calling again frees the rest.
    async fn remove(&self) -> Result<()>;
}

/// How a runtime is.
///
/// ```
/// use fastflow_core::executor::Health;
///
/// assert!(!matches!(Health::Up, Health::Down { .. }));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Health {
    /// It answers, as far as is known.
    Up,
    /// It has not answered lately, and is not asked before `retry_at`.
    Down {
        /// Since when.
        since: Timestamp,
        /// When it is asked again.
        retry_at: Timestamp,
        /// What it said, or that it said nothing.
        reason: String,
    },
}

/// What [`Executor::start`] came to.
///
/// ```no_run
/// use fastflow_core::executor::{AttemptSpec, Ended, Executor, Start};
///
/// # async fn example(executor: &dyn Executor, spec: AttemptSpec) -> fastflow_core::Result<()> {
/// let ended = match executor.start(spec).await? {
///     Start::Started(execution) => execution.wait().await?,
///     Start::Failed(failure) => Ended::NotExecuted(failure),
/// };
/// # drop(ended);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub enum Start {
    /// The program runs, or has already ended.
    Started(Box<dyn Execution>),
    /// The program could not be started, and never ran.
    Failed(StartFailure),
}

/// What [`Executor::reattach`] found.
///
/// ```no_run
/// use fastflow_core::executor::{AttemptRef, Executor, Reattached};
///
/// # async fn example(executor: &dyn Executor, attempt: &AttemptRef) -> fastflow_core::Result<()> {
/// match executor.reattach(attempt).await? {
///     Reattached::Found(execution) => println!("{:?}", execution.wait().await?),
///     Reattached::NeverStarted => println!("safe to try again"),
///     Reattached::Lost(cause) => println!("nobody knows: {cause}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub enum Reattached {
    /// It was started: it runs, or it has ended and its end is known.
    Found(Box<dyn Execution>),
    /// Its program never started, and now never will.
    NeverStarted,
    /// It started, and nobody can know how it ended. Nothing of it runs any more.
    Lost(LostCause),
}

/// How an execution ended.
///
/// ```
/// use fastflow_core::{executor::Ended, run::Exit};
///
/// fn exit(ended: &Ended) -> Option<Exit> {
///     match ended {
///         Ended::Exited(report) => Some(report.exit),
///         Ended::NotExecuted(_) | Ended::Lost(_) => None,
///     }
/// }
/// # assert_eq!(exit(&Ended::Lost(fastflow_core::run::LostCause::Removed)), None);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The program ran and ended.
    Exited(ExitReport),
    /// The program could not be executed, and never ran.
    NotExecuted(StartFailure),
    /// Nobody can know how the program ended. Nothing of it runs any more.
    Lost(LostCause),
}

/// What names an attempt for [`Executor::reattach`].
///
/// ```
/// use fastflow_core::executor::{AttemptRef, AttemptSpec};
///
/// fn of(spec: &AttemptSpec) -> AttemptRef {
///     AttemptRef { id: spec.id, owner: spec.owner.clone(), run_dir: spec.run_dir.clone(), handle: None }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct AttemptRef {
    /// The attempt.
    pub id: AttemptId,
    /// The installation it belongs to.
    pub owner: OwnerId,
    /// The directory that was prepared for it.
    pub run_dir: PathBuf,
    /// Its handle, if its start was recorded. An attempt with a handle has started for sure.
    pub handle: Option<ExecutionHandle>,
}

/// Where an attempt runs. Plain data, stored with the run.
///
/// ```
/// use fastflow_core::executor::ExecutionHandle;
///
/// let handle = ExecutionHandle {
///     attempt: "019aa2f0-7c3c-7def-8000-000000000001-2".parse().unwrap(),
///     native_id: "4711".into(),
///     detail: serde_json::Value::Null,
/// };
/// let stored = serde_json::to_string(&handle).unwrap();
/// assert_eq!(serde_json::from_str::<ExecutionHandle>(&stored).unwrap(), handle);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ExecutionHandle {
    /// The attempt.
    pub attempt: AttemptId,
    /// The runtime's own name for it: a process id, a container id.
    pub native_id: Box<str>,
    /// The executor's private notes. Nobody else reads them, and they hold no secret.
    pub detail: serde_json::Value,
}

/// Everything an executor needs, resolved. An executor looks nothing up.
///
/// ```
/// use fastflow_core::executor::AttemptSpec;
///
/// let id = "019aa2f0-7c3c-7def-8000-000000000001-1".parse().unwrap();
/// let argv = vec!["/usr/bin/python3".into(), "main.py".into()];
/// let mut spec = AttemptSpec::new(id, "warehouse".parse().unwrap(), argv, "/data/runs/1".into());
/// spec.limits.max_processes = Some(64);
/// assert!(spec.requirements().process_limit);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct AttemptSpec {
    /// The attempt; also the name of its sandbox.
    pub id: AttemptId,
    /// The installation it belongs to.
    pub owner: OwnerId,
    /// The program and its arguments. The first is an absolute path, or a name that is looked for in the `PATH` of
    /// [`env`](Self::env).
    pub argv: Vec<String>,
    /// The whole environment of the program, but for [`secrets`](Self::secrets).
    pub env: BTreeMap<String, String>,
    /// What it gets that nobody else may see, and that is masked in its log and in [`masked_files`](Self::masked_files).
    pub secrets: AttemptSecrets,
    /// Files in [`working_dir`](Self::working_dir) that the program may leave, and in which secrets are masked when it has
    /// ended: others read them.
    pub masked_files: Vec<PathBuf>,
    /// The attempt's private, writable copy of the pipeline's folder; the program starts in it.
    pub working_dir: PathBuf,
    /// The attempt's directory, where the sandbox writes its files.
    pub run_dir: PathBuf,
    /// The image of its sandbox; `None` is the executor's own choice, or that it has none.
    pub image: Option<ImageName>,
    /// What it may reach.
    pub network: Network,
    /// Folders of this machine, absolute, that the program finds under the same paths and cannot write to where the
    /// executor isolates.
    pub read_only: Vec<PathBuf>,
    /// What it may use.
    pub limits: Limits,
}

impl AttemptSpec {
    /// A spec without limits but the defaults of [`Limits`].
    pub fn new(id: AttemptId, owner: OwnerId, argv: Vec<String>, run_dir: PathBuf) -> Self {
        Self {
            id,
            owner,
            argv,
            env: BTreeMap::new(),
            secrets: AttemptSecrets::default(),
            masked_files: Vec::new(),
            working_dir: run_dir.clone(),
            run_dir,
            image: None,
            network: Network::default(),
            read_only: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// What an executor must be able to do to run this.
    pub fn requirements(&self) -> Requirements {
        Requirements {
            images: self.image.is_some(),
            network: self.network == Network::None,
            secrets: !self.secrets.is_empty(),
            ..self.limits.requirements()
        }
    }
}

impl fmt::Debug for AttemptSpec {
    /// Shows neither arguments nor values of variables: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptSpec")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("program", &self.argv.first())
            .field("env", &self.env.keys())
            .field("secrets", &self.secrets)
            .field("masked_files", &self.masked_files)
            .field("working_dir", &self.working_dir)
            .field("run_dir", &self.run_dir)
            .field("image", &self.image)
            .field("network", &self.network)
            .field("read_only", &self.read_only)
            .field("limits", &self.limits)
            .finish()
    }
}

/// What one attempt may use.
///
/// ```
/// use fastflow_core::executor::Limits;
///
/// let limits = Limits::default();
/// assert_eq!((limits.timeout, limits.memory_bytes), (None, None));
/// assert_eq!(limits.log_max_bytes, 1 << 30);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// CPU, in thousandths of a core.
    pub cpu_millis: Option<u32>,
    /// Memory, in bytes; no swap beside it.
    pub memory_bytes: Option<u64>,
    /// Processes and threads at one time.
    pub max_processes: Option<u32>,
    /// CPU above which samples are marked, in thousandths of a core.
    pub soft_cpu_millis: Option<u32>,
    /// Memory above which samples are marked, in bytes.
    pub soft_memory_bytes: Option<u64>,
    /// How long the program may run.
    pub timeout: Option<Duration>,
    /// The time between asking the program to end and killing it.
    pub stop_grace: Duration,
    /// The most bytes of log that are kept.
    pub log_max_bytes: u64,
    /// How many of them are kept for the end of a longer log.
    pub log_tail_bytes: u64,
    /// The time between two samples of usage.
    pub usage_interval: Duration,
}

impl Limits {
    /// What an executor must be able to do to keep these.
    pub fn requirements(&self) -> Requirements {
        Requirements {
            cpu_limit: self.cpu_millis.is_some(),
            memory_limit: self.memory_bytes.is_some(),
            process_limit: self.max_processes.is_some(),
            soft_cpu: self.soft_cpu_millis.is_some(),
            soft_memory: self.soft_memory_bytes.is_some(),
            ..Requirements::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_millis: None,
            memory_bytes: None,
            max_processes: None,
            soft_cpu_millis: None,
            soft_memory_bytes: None,
            timeout: None,
            stop_grace: Duration::from_secs(10),
            log_max_bytes: 1 << 30,
            log_tail_bytes: 1 << 26,
            usage_interval: Duration::from_secs(1),
        }
    }
}
