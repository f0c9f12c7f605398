//! Every knob of an orchestrator, checked once.

mod secrets;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::secrets::GivenSecrets;
use crate::{
    AuditPolicy, Clock, Entropy, Error, ErrorKind, ExecutorName, Hosting, Orchestrator, OsEntropy, Preheat,
    Result, Retention, SystemClock,
    code::CodeShelf,
    environment::{EnvironmentBuilder, PackageAuditor, PipAudit, PipAuditConfig, UvConfig, UvEnvironments},
    executor::{Executor, ProcessConfig, ProcessExecutor},
    host::{
        Blackouts, Executors, Ports, Settings, environments::EnvironmentWork, follow_up::Joins,
        intake::Specs, signal::Signals, source_events::SourceEvents, sync::Syncs,
    },
    layout::DataDir,
    pipeline::{ByteSize, ConfigName, CpuMillis, PythonRequest},
    run::Capacity,
    schedule::BlackoutCalendar,
    source::{Commit, DirectorySource, PipelineSource},
    store::Store,
};

/// Variables of the embedding program that programs of pipelines get, and no others.
const INHERITED: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"];
/// The name of the executor that is there unless others are given.
const PROCESS: &str = "process";

#[cfg(feature = "git")]
use crate::source::{GitConfig, GitSource};

/// Configures an [`Orchestrator`]. Nothing is touched until [`build`](Self::build).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> fastflow_core::Result<()> {
/// use std::num::NonZeroU32;
/// use fastflow_core::Orchestrator;
///
/// let data = tempfile::tempdir()?;
/// let flow = Orchestrator::builder(data.path().join("var"))
///     .pipelines(data.path())
///     .max_concurrent_runs(NonZeroU32::new(4).unwrap())
///     .build()
///     .await?;
/// assert!(flow.pipelines().list().await?.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct OrchestratorBuilder {
    data_dir: PathBuf,
    sources: Vec<Given>,
    store: Option<Arc<dyn Store>>,
    executors: Vec<(String, Arc<dyn Executor>)>,
    environments: Option<Arc<dyn EnvironmentBuilder>>,
    auditor: Option<Arc<dyn PackageAuditor>>,
    audits: AuditPolicy,
    uv: Option<PathBuf>,
    default_python: Option<String>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    max_concurrent_runs: NonZeroU32,
    hosting: Hosting,
    capacity: Capacity,
    blackouts: Vec<(BlackoutCalendar, BlackoutScope)>,
    retention: Retention,
    sync_interval: Option<Duration>,
    preheat: Preheat,
    inherited: Vec<String>,
    secrets: GivenSecrets,
}

impl OrchestratorBuilder {
    /// How many runs are in flight at one time when nothing is said.
    pub const DEFAULT_MAX_CONCURRENT_RUNS: NonZeroU32 = NonZeroU32::new(16).expect("16 is not 0");

    /// The shortest interval between syncs that nobody asks for.
    pub const MIN_SYNC_INTERVAL: Duration = Duration::from_mins(1);

    pub(crate) fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            sources: Vec::new(),
            store: None,
            executors: Vec::new(),
            environments: None,
            auditor: None,
            audits: AuditPolicy::default(),
            uv: None,
            default_python: None,
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(OsEntropy),
            max_concurrent_runs: Self::DEFAULT_MAX_CONCURRENT_RUNS,
            hosting: Hosting::default(),
            capacity: Capacity::default(),
            blackouts: Vec::new(),
            retention: Retention::default(),
            sync_interval: None,
            preheat: Preheat::default(),
            inherited: INHERITED.map(str::to_owned).to_vec(),
            secrets: GivenSecrets::default(),
        }
    }

    /// The folder of pipelines.
    pub fn pipelines(mut self, folder: impl Into<PathBuf>) -> Self {
        self.sources.push(Given::Folder(folder.into()));
        self
    }

    /// A git repository of pipelines. It is synced at the start, when somebody calls for it, and at each
    /// [`sync_interval`](Self::sync_interval).
    #[cfg(feature = "git")]
    pub fn git(mut self, config: GitConfig) -> Self {
        self.sources.push(Given::Git(Box::new(config)));
        self
    }

    /// Another source of pipelines than a folder or a git repository.
    pub fn source(mut self, source: impl PipelineSource) -> Self {
        self.sources.push(Given::Other(Arc::new(source)));
        self
    }

    /// Another store than the `SQLite` file in the data directory.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Registers an executor under a name that pipelines can ask for. The first is the default. Without any,
    /// there is one that runs local processes, under the name `process`.
    pub fn executor(mut self, name: impl Into<String>, executor: impl Executor) -> Self {
        self.executors.push((name.into(), Arc::new(executor)));
        self
    }

    /// Another maker of environments than `uv`.
    pub fn environments(mut self, environments: impl EnvironmentBuilder) -> Self {
        self.environments = Some(Arc::new(environments));
        self
    }

    /// Another auditor of packages than the `pip-audit` on the `PATH`. A [`PipAudit`] with a configuration of its own is
    /// one, too.
    pub fn package_auditor(mut self, auditor: impl PackageAuditor) -> Self {
        self.auditor = Some(Arc::new(auditor));
        self
    }

    /// When packages are audited; only when the application asks for it when nothing is said.
    pub fn audits(mut self, policy: AuditPolicy) -> Self {
        self.audits = policy;
        self
    }

    /// Where the `uv` executable is. Without it, `uv` is looked for in `PATH`.
    pub fn uv(mut self, path: impl Into<PathBuf>) -> Self {
        self.uv = Some(path.into());
        self
    }

    /// The Python for pipelines that ask for none: what a pipeline may ask for, such as `3.12`, or the path of an
    /// interpreter of this machine.
    pub fn default_python(mut self, request: impl Into<String>) -> Self {
        self.default_python = Some(request.into());
        self
    }

    /// Another clock than the machine's, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Another source of randomness than the machine's, for tests.
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// How many runs are in flight at one time; the others wait in the queue. 16 when nothing is said.
    pub fn max_concurrent_runs(mut self, limit: NonZeroU32) -> Self {
        self.max_concurrent_runs = limit;
        self
    }

    /// Whether it hosts, where several processes have the data directory open; it must, when nothing is said.
    pub fn hosting(mut self, hosting: Hosting) -> Self {
        self.hosting = hosting;
        self
    }

    /// A pool with so many slots. Runs of pipelines that name it in `pools` hold slots of it while they are in flight.
    pub fn pool(mut self, name: ConfigName, slots: NonZeroU32) -> Self {
        self.capacity.pools.insert(name, slots);
        self
    }

    /// Times at which no schedule starts anything, or none of those that name the calendar in `blackouts`. The ledger
    /// says of each instant that it fell into one.
    pub fn blackout(mut self, calendar: BlackoutCalendar, scope: BlackoutScope) -> Self {
        self.blackouts.push((calendar, scope));
        self
    }

    /// The most memory that runs in flight may have declared by their `mem_hard_limit` together; others wait. Runs
    /// that declare none count nothing, and one that declares more than this runs alone.
    pub fn memory_budget(mut self, memory: ByteSize) -> Self {
        self.capacity.memory = Some(memory);
        self
    }

    /// The same for processor time, by `cpu_hard_limit`.
    pub fn cpu_budget(mut self, cpu: CpuMillis) -> Self {
        self.capacity.cpu = Some(cpu);
        self
    }

    /// How often the source is synced without anybody asking: every minute or less often. Never, when nothing is said;
    /// folders are watched all the same.
    pub fn sync_interval(mut self, interval: Duration) -> Self {
        self.sync_interval = Some(interval);
        self
    }

    /// Whether environments are made ready after a start and after each sync, before runs need them. Two at one time,
    /// when nothing is said.
    pub fn preheat(mut self, preheat: Preheat) -> Self {
        self.preheat = preheat;
        self
    }

    /// How long the directories of ended runs are kept.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Gives programs further variables of this process, by name. A few harmless ones (`PATH`, `HOME`, `LANG`,
    /// `TZ` and the like) are given always, and nothing else: what is secret here stays here.
    pub fn inherit_env<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.inherited.extend(names.into_iter().map(Into::into));
        self
    }

    /// Checks the whole configuration, makes the data directory and opens the store.
    ///
    /// # Errors
    ///
    /// `Invalid` naming what is missing or wrong, a master key for example; `Conflict` when another process hosts the data directory and this one must, with
    /// its process id, or when another one has it open and its schema must be moved forward; `Denied`, `StorageFull` by the file system's word; `Corrupt` for a damaged store;
    /// `Unsupported` for one that a newer version wrote.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a data directory that is made in part; building again goes on from there, once
    /// the store is let go of, which may take a moment.
    pub async fn build(mut self) -> Result<Orchestrator> {
        self.check()?;
        let secret_variables = self.secrets.variables();
        let keyring = self.secrets.keyring(&*self.clock).await?;
        let blackouts = blackouts(&self.blackouts)?;
        let data = DataDir::new(&self.data_dir);
        let data = tokio::task::spawn_blocking(move || data.create()).await.map_err(|panic| {
            Error::new(ErrorKind::Internal, "making the data directory panicked").because(panic)
        })??;
        // The store comes first: whoever must host, and cannot, touches nothing else.
        let store = match self.store {
            Some(store) => store,
            None => default_store(&data, &self.clock).await?,
        };
        let source = source(self.sources, &data, &self.clock)?;
        if self.hosting == Hosting::Required {
            store.host(source.origin().as_deref()).await?;
        }
        let owner = data.owner(&*self.entropy)?;
        let environments = match self.environments {
            Some(environments) => environments,
            None => uv_environments(&data, self.uv, self.default_python, &self.clock)?,
        };
        let auditor = self.auditor.unwrap_or_else(|| pip_audit(&data, &self.clock));
        let executors = executors(self.executors, &data, &self.clock)?;
        let signals = Signals::new(store.last_event().await?);
        let settings = Settings {
            hosting: self.hosting,
            max_concurrent_runs: self.max_concurrent_runs,
            capacity: self.capacity,
            blackouts,
            retention: self.retention,
            sync_interval: self.sync_interval,
            audits: self.audits,
            preheat: self.preheat,
            inherited_env: inherited(&self.inherited),
            secret_variables,
        };
        let sealed = secrets::sealed(&store, keyring, &owner, (&self.clock, &self.entropy));
        let ports = Ports {
            store,
            source,
            code: CodeShelf::new(data.code_dir()),
            executors,
            environments,
            auditor,
            secrets: self.secrets.chain(sealed.clone()),
            sealed,
            clock: self.clock,
            entropy: self.entropy,
            data,
            owner,
            settings,
            signals,
            specs: Specs::default(),
            joins: Joins::default(),
            syncs: Syncs::default(),
            source_events: SourceEvents::default(),
            environment_work: EnvironmentWork::default(),
        };
        if let Some(commit) = ports.store.published().await? {
            restore(&ports, &commit).await?;
        }
        Ok(Orchestrator::new(ports))
    }
}

impl OrchestratorBuilder {
    /// What can be seen to be wrong before anything is touched.
    fn check(&self) -> Result<()> {
        let invalid = |message: &'static str| Err(Error::new(ErrorKind::Invalid, message));
        match self.sources.len() {
            0 => {
                return invalid(
                    "an orchestrator needs pipelines: give the builder `.pipelines(folder)`, `.git(config)` or \
                     `.source(…)`",
                );
            }
            1 => {}
            _ => {
                return invalid(
                    "give the builder one source of pipelines: a folder, a git repository or another",
                );
            }
        }
        if self.sync_interval.is_some_and(|interval| interval < Self::MIN_SYNC_INTERVAL) {
            return invalid("a sync interval is one minute or longer");
        }
        if self.environments.is_some() && (self.uv.is_some() || self.default_python.is_some()) {
            return invalid("`.uv(…)` and `.default_python(…)` have no effect beside `.environments(…)`");
        }
        self.check_environments()?;
        self.secrets.check()?;
        let mut names = BTreeSet::new();
        for (name, _) in &self.executors {
            if !names.insert(name.parse::<ExecutorName>()?) {
                return Err(
                    Error::new(ErrorKind::Invalid, "two executors have one name").with("executor", name)
                );
            }
        }
        Ok(())
    }

    /// What no environment can be made with, and no variable can be called.
    fn check_environments(&self) -> Result<()> {
        if let Some(python) = &self.default_python
            && !Path::new(python).is_file()
        {
            python.parse::<PythonRequest>().map_err(|wrong| wrong.with("option", "default_python"))?;
        }
        let is_name = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
        match self.inherited.iter().find(|name| !is_name(name)) {
            Some(name) => {
                let message = "no variable that programs could inherit has such a name";
                let error = Error::new(ErrorKind::Invalid, message).with("option", "inherit_env");
                Err(error.with("found", name.escape_debug()))
            }
            None => Ok(()),
        }
    }
}

/// Which schedules keep a blackout.
///
/// ```
/// assert_ne!(fastflow_core::builder::BlackoutScope::All, fastflow_core::builder::BlackoutScope::Named);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BlackoutScope {
    /// All of them.
    All,
    /// Those that name it.
    Named,
}

fn blackouts(given: &[(BlackoutCalendar, BlackoutScope)]) -> Result<Blackouts> {
    let mut blackouts = Blackouts::default();
    for (calendar, scope) in given {
        if blackouts.by_name.insert(calendar.name.clone(), calendar.resolve()?).is_some() {
            return Err(Error::new(ErrorKind::Invalid, "two blackouts have one name")
                .with("blackout", calendar.name.as_str()));
        }
        if *scope == BlackoutScope::All {
            blackouts.everywhere.insert(calendar.name.clone());
        }
    }
    Ok(blackouts)
}

/// Where pipelines come from.
#[derive(Debug)]
enum Given {
    Folder(PathBuf),
    #[cfg(feature = "git")]
    Git(Box<GitConfig>),
    Other(Arc<dyn PipelineSource>),
}

/// The one source that was given.
#[cfg_attr(
    not(feature = "git"),
    expect(unused_variables, reason = "only a repository is watched by the host's clock")
)]
fn source(given: Vec<Given>, data: &DataDir, clock: &Arc<dyn Clock>) -> Result<Arc<dyn PipelineSource>> {
    let snapshots = data.snapshots_dir();
    match given.into_iter().next() {
        Some(Given::Folder(folder)) => {
            check_apart(&folder, data)?;
            // By the clock of the machine, whatever that of the host is: it is held against the times of files.
            Ok(Arc::new(DirectorySource::new(folder, snapshots)))
        }
        #[cfg(feature = "git")]
        Some(Given::Git(config)) => {
            Ok(Arc::new(GitSource::new(*config, data.git_dir(), snapshots, Arc::clone(clock))?))
        }
        Some(Given::Other(source)) => Ok(source),
        None => Err(Error::new(ErrorKind::Internal, "no source of pipelines was given")),
    }
}

/// Shows what an earlier host has published, so that a source that cannot be reached stops nothing.
async fn restore(ports: &Ports, commit: &Commit) -> Result<()> {
    match ports.source.restore(commit).await {
        Ok(()) => {
            if let Ok(catalog) = ports.source.catalog().await {
                ports.joins.learn(&catalog);
            }
        }
        // The next sync shows what there is then.
        Err(error) => tracing::warn!(commit = %commit.id, %error, "what was published cannot be shown again"),
    }
    Ok(())
}

/// A data directory inside a pipeline would be part of that pipeline, and change it with every run.
fn check_apart(folder: &Path, data: &DataDir) -> Result<()> {
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    let Ok(inside) = data.root().strip_prefix(&folder) else { return Ok(()) };
    let Some(first) = inside.components().next() else { return Ok(()) };
    let pipeline = folder.join(first);
    if pipeline.join("main.py").exists() || pipeline.join("main.ipynb").exists() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "the data directory lies inside a pipeline; choose another",
        )
        .with("data_directory", data.root().display())
        .with("pipeline", pipeline.display()));
    }
    Ok(())
}

fn uv_environments(
    data: &DataDir,
    uv: Option<PathBuf>,
    default_python: Option<String>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn EnvironmentBuilder>> {
    let mut config = UvConfig::new(data.environments_dir());
    config.uv = uv.map(named_program);
    config.default_python = default_python.map(named_interpreter);
    Ok(Arc::new(UvEnvironments::new(config, Arc::clone(clock))?))
}

/// The program as it is found from any directory. A name alone is looked for on the `PATH`.
fn named_program(program: PathBuf) -> PathBuf {
    match program.components().nth(1) {
        Some(_) => std::path::absolute(&program).unwrap_or(program),
        None => program,
    }
}

/// The path of an interpreter likewise. What is no file is a version.
fn named_interpreter(python: String) -> String {
    let path = Path::new(&python);
    let absolute = path.is_file().then(|| std::path::absolute(path).ok()).flatten();
    absolute.and_then(|path| path.into_os_string().into_string().ok()).unwrap_or(python)
}

/// The one on the `PATH`, with the few variables that every program gets, and none that are given to programs besides.
fn pip_audit(data: &DataDir, clock: &Arc<dyn Clock>) -> Arc<dyn PackageAuditor> {
    let mut config = PipAuditConfig::new(data.audit_dir());
    config.env = inherited(&INHERITED.map(str::to_owned));
    Arc::new(PipAudit::new(config, Arc::clone(clock)))
}

#[cfg(feature = "sqlite")]
async fn default_store(data: &DataDir, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    use crate::store::{SqliteOptions, SqliteStore};

    Ok(Arc::new(SqliteStore::open(data.store_file(), SqliteOptions::default(), Arc::clone(clock)).await?))
}

#[cfg(not(feature = "sqlite"))]
#[expect(clippy::unused_async, reason = "with the feature it waits for the store to open")]
async fn default_store(_data: &DataDir, _clock: &Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    Err(Error::new(ErrorKind::Invalid, "without the feature `sqlite` the builder needs `.store(…)`"))
}

fn executors(
    given: Vec<(String, Arc<dyn Executor>)>,
    data: &DataDir,
    clock: &Arc<dyn Clock>,
) -> Result<Executors> {
    let mut by_name = BTreeMap::new();
    let mut default = None;
    for (name, executor) in given {
        let name: ExecutorName = name.parse()?;
        default.get_or_insert_with(|| name.clone());
        by_name.insert(name, executor);
    }
    let default = if let Some(default) = default {
        default
    } else {
        let name: ExecutorName = PROCESS.parse()?;
        let config = ProcessConfig::new(data.executor_dir());
        by_name.insert(name.clone(), Arc::new(ProcessExecutor::new(&config, Arc::clone(clock))?) as _);
        name
    };
    Ok(Executors { default, by_name })
}

/// The one place that reads the environment of the embedding program.
#[expect(clippy::disallowed_methods, reason = "read once, from a list of names, into a value")]
fn inherited(names: &[String]) -> BTreeMap<String, String> {
    let value = |name: &String| Some((name.clone(), std::env::var(name).ok()?));
    names.iter().filter_map(value).collect()
}
