//! The auditor that ships: [`pip-audit`](https://pypi.org/project/pip-audit/).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    str::FromStr as _,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use pep440_rs::Version;
use tokio::{process::Command, sync::Mutex};

use super::{AuditOutcome, PackageAuditor, report::Report};
use crate::{
    Clock,
    environment::{
        EnvironmentFailure, Package, SetupLog, ToolEnd, ToolFailure, ToolStatus, folder::blocking,
        host::run_to_its_end,
    },
};

/// Nobody else needs to know what runs here.
const PRIVATE_DIR_MODE: u32 = 0o700;

/// Whom `pip-audit` asks. The names and versions of packages are sent there.
///
/// ```
/// use fastflow_core::environment::VulnerabilityService;
///
/// let mirror = VulnerabilityService::Osv { url: Some("https://osv.example/v1/query".into()) };
/// assert_ne!(mirror, VulnerabilityService::default());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum VulnerabilityService {
    /// The Python Package Index.
    #[default]
    Pypi,
    /// The database of open source vulnerabilities, or one that speaks its language.
    Osv {
        /// The URL to ask; the public one when `None`.
        url: Option<String>,
    },
}

/// How [`PipAudit`] works.
///
/// ```
/// use std::time::Duration;
/// use fastflow_core::environment::PipAuditConfig;
///
/// let mut config = PipAuditConfig::new("/var/lib/fastflow/audit");
/// config.timeout = Duration::from_secs(60);
/// assert_eq!(config.program.to_str(), Some("pip-audit"));
/// ```
#[derive(Clone, Debug)]
pub struct PipAuditConfig {
    /// A folder of its own: for what it is given to read, and its cache.
    pub directory: PathBuf,
    /// The program: a path, or a name that is looked for in the `PATH` of [`env`](Self::env).
    pub program: PathBuf,
    /// Whom it asks.
    pub service: VulnerabilityService,
    /// How long one audit may take.
    pub timeout: Duration,
    /// All variables that it gets; none of this process unless they stand here, so that it sees no secret of the host.
    pub env: BTreeMap<String, String>,
}

impl PipAuditConfig {
    /// The time limit unless another is set.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(5);

    /// The defaults, with files in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            program: "pip-audit".into(),
            service: VulnerabilityService::default(),
            timeout: Self::DEFAULT_TIMEOUT,
            env: BTreeMap::new(),
        }
    }
}

/// Audits with the program `pip-audit`, one environment at a time. It is given names and versions, and installs nothing.
///
/// ```
/// use std::sync::Arc;
/// use fastflow_core::{SystemClock, environment::{PipAudit, PipAuditConfig}};
///
/// let auditor = PipAudit::new(PipAuditConfig::new("/var/lib/fastflow/audit"), Arc::new(SystemClock::new()));
/// ```
#[derive(Debug)]
pub struct PipAudit {
    config: PipAuditConfig,
    clock: Arc<dyn Clock>,
    /// Held while it works: there is one file to read from. A lock on a file keeps other processes out.
    turn: Mutex<()>,
}

impl PipAudit {
    /// An auditor. Nothing is touched before it is used.
    pub fn new(config: PipAuditConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock, turn: Mutex::new(()) }
    }

    /// Which program will run; none if there is none.
    fn program(&self) -> Option<PathBuf> {
        let given = &self.config.program;
        if given.components().count() > 1 {
            return given.is_file().then(|| given.clone());
        }
        let path = self.config.env.get("PATH")?;
        path.split(':').map(|folder| Path::new(folder).join(given)).find(|program| program.is_file())
    }

    fn command(&self, program: &Path, requirements: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]);
        command.arg("--cache-dir").arg(self.config.directory.join("cache"));
        match &self.config.service {
            VulnerabilityService::Pypi => command.args(["--vulnerability-service", "pypi"]),
            VulnerabilityService::Osv { url } => {
                command.args(["--vulnerability-service", "osv"]);
                command.args(url.iter().flat_map(|url| ["--osv-url", url]))
            }
        };
        command.arg("--requirement").arg(requirements);
        command.env_clear().envs(&self.config.env).current_dir(&self.config.directory).stdin(Stdio::null());
        command
    }

    async fn ask(&self, program: &Path, packages: &[Package]) -> AuditOutcome {
        let requirements = self.config.directory.join("requirements.txt");
        let (path, text) = (requirements.clone(), requirements_of(packages));
        let written = blocking(move || {
            write(&path, &text).map_err(|error| EnvironmentFailure::io("write", &path, &error))
        });
        let _alone = match written.await {
            Ok(alone) => alone,
            Err(failure) => return AuditOutcome::failed(&failure.to_string()),
        };
        let command = self.command(program, &requirements);
        match run_to_its_end(command, self.config.timeout, &*self.clock, &Quiet).await {
            Ok(end) => judge(&end, packages),
            Err(ToolFailure::NotStarted(error)) if error.kind() == io::ErrorKind::NotFound => self.missing(),
            Err(ToolFailure::NotStarted(error)) => {
                AuditOutcome::failed(&format!("it could not be started: {error}"))
            }
            Err(ToolFailure::TimedOut) => {
                AuditOutcome::failed(&format!("it took more than {:?} and was ended", self.config.timeout))
            }
            Err(ToolFailure::Endless(limit)) => {
                AuditOutcome::failed(&format!("it answered with more than {limit} bytes"))
            }
            Err(ToolFailure::Place(error)) => AuditOutcome::failed(&error.chain()),
        }
    }

    fn missing(&self) -> AuditOutcome {
        AuditOutcome::ToolMissing { program: self.config.program.display().to_string() }
    }
}

#[async_trait]
impl PackageAuditor for PipAudit {
    async fn audit(&self, packages: &[Package]) -> AuditOutcome {
        let Some(program) = self.program() else { return self.missing() };
        if packages.is_empty() {
            return AuditOutcome::Clean { audited: 0, skipped: Vec::new() };
        }
        let _turn = self.turn.lock().await;
        self.ask(&program, packages).await
    }
}

/// It exits with 1 both when it found something and when it failed; only an answer tells.
fn judge(end: &ToolEnd, packages: &[Package]) -> AuditOutcome {
    let report = matches!(end.status, ToolStatus::Code(0 | 1))
        .then(|| serde_json::from_slice::<Report>(&end.answer).ok());
    match report.flatten() {
        Some(report) => report.outcome(packages),
        None if end.words.is_empty() => AuditOutcome::failed(&format!("it gave no answer: {:?}", end.status)),
        None => AuditOutcome::failed(&end.words.join("\n")),
    }
}

/// What it is given to read. One version that Python does not know would end the whole audit.
fn requirements_of(packages: &[Package]) -> String {
    let known = packages.iter().filter(|package| Version::from_str(&package.version).is_ok());
    let lines: Vec<String> = known.map(|package| format!("{}=={}", package.name, package.version)).collect();
    lines.join("\n")
}

/// Writes it, and keeps others from doing so as long as what this returns lives.
fn write(path: &Path, text: &str) -> io::Result<File> {
    use std::os::unix::fs::DirBuilderExt as _;

    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR_MODE).create(folder)?;
    }
    let alone = File::create(path.with_extension("lock"))?;
    alone.lock()?;
    fs::write(path, text)?;
    Ok(alone)
}

/// Its words are kept with its answer.
struct Quiet;

impl SetupLog for Quiet {
    fn line(&self, _text: &str) {}
}
