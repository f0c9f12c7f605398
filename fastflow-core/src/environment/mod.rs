//! Environments: immutable directories with a Python and its packages, built once and shared by all runs.
//!
//! An environment is known by its content: the lock (which packages, with hashes) and the interpreter. Two
//! pipelines that need the same packages share one directory, and a run that needs a known environment costs
//! a few `stat` calls. Nothing in a published environment is ever written again.
//!
//! [`UvEnvironments`] is the builder that ships: it drives [`uv`](https://docs.astral.sh/uv/) through a
//! [`Workbench`], which is this machine or a container. Everything else sees only [`EnvironmentBuilder`].

use std::{
    collections::BTreeSet,
    fmt,
    hash::{Hash, Hasher},
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Error, ErrorKind, Result,
    pipeline::{DependencySource, PythonRequest},
};

mod audit;
mod build;
mod classify;
mod collect;
mod config;
mod digest;
mod failure;
mod flight;
mod folder;
mod host;
mod input;
mod interpreter;
mod lock;
mod packages;
mod phase;
mod publish;
mod requirement;
mod stamp;
mod state;
mod tool;
mod turn;
mod uv;
mod workbench;

pub use audit::{
    AuditOutcome, Finding, PackageAuditor, PipAudit, PipAuditConfig, SkippedPackage, VulnerabilityService,
};
pub use collect::Collected;
pub use config::UvConfig;
pub use failure::{EnvironmentFailure, EnvironmentFailureKind};
pub use host::HostWorkbench;
pub use packages::{Package, PackageHash, PackageName, PackageOrigin, VersionRange};
pub use state::EnvironmentState;
pub use uv::UvEnvironments;
pub use workbench::{ToolCall, ToolEnd, ToolFailure, ToolStatus, Workbench};

/// Makes environments ready.
///
/// # Contract
///
/// - The same request, asked any number of times by any number of callers and processes, builds at most once.
/// - A returned environment is complete, read-only, and stays until a garbage collection that was not told to
///   keep it.
/// - The request's folder is only read.
#[async_trait]
pub trait EnvironmentBuilder: fmt::Debug + Send + Sync + 'static {
    /// Makes the environment ready, building it if it is not there yet. Progress goes to `log`, line by line.
    ///
    /// # Errors
    ///
    /// An [`EnvironmentFailure`] says by its kind what is wrong and holds the tool's own words. It is a value
    /// of the run, not broken machinery: the run ends as failed in its set-up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops waiting. The build goes on while any other caller waits for it, and is
    /// killed when none does. What it leaves is cleaned up by the next build.
    async fn prepare(
        &self,
        request: &EnvironmentRequest,
        log: &dyn SetupLog,
    ) -> Result<Environment, EnvironmentFailure>;

    /// The packages of an environment; none where nobody can say: it is not there, or the builder does not know what it
    /// made, as those that do not implement this.
    ///
    /// # Errors
    ///
    /// An [`EnvironmentFailure`] when it is there and cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops waiting.
    async fn packages(&self, id: &EnvironmentId) -> Result<Option<Vec<Package>>, EnvironmentFailure> {
        let _ = id;
        Ok(None)
    }

    /// The environment that [`prepare`](Self::prepare) would return at once; `None` where it would have to find an
    /// interpreter, resolve or build something first. It starts no tool and costs a few looks at files, so that it can
    /// be asked of all pipelines. Whoever asks uses the environment, as far as [`collect`](Self::collect) counts.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare), for what can be seen without building.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    async fn find(&self, request: &EnvironmentRequest) -> Result<Option<Environment>, EnvironmentFailure>;

    /// How many environments it builds at one time; `None` where it does not limit that. Those that are made ahead leave
    /// one of these places free.
    fn max_parallel_builds(&self) -> Option<NonZeroUsize> {
        None
    }

    /// Removes at most `limit` environments that were not asked for since `max_unused`, and what interrupted
    /// builds left. Never one of `keep`.
    ///
    /// # Errors
    ///
    /// An [`EnvironmentFailure`] when something cannot be read or removed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops waiting; what was begun goes on in the background.
    async fn collect(
        &self,
        keep: &BTreeSet<EnvironmentId>,
        max_unused: Duration,
        limit: usize,
    ) -> Result<Collected, EnvironmentFailure>;
}

/// What a pipeline needs to run.
///
/// ```
/// use std::sync::Arc;
///
/// use fastflow_core::{
///     SystemClock,
///     environment::{EnvironmentRequest, HostWorkbench},
///     pipeline::DependencySource,
/// };
///
/// let request = EnvironmentRequest {
///     place: Arc::new(HostWorkbench::new(Arc::new(SystemClock::new()))),
///     folder: "/srv/pipelines/etl".into(),
///     dependencies: DependencySource::Requirements { path: "requirements.txt".into() },
///     python: Some("3.12".parse().unwrap()),
///     requires_python: None,
/// };
/// assert_eq!(request.python.unwrap().as_str(), "3.12");
/// ```
#[derive(Clone, Debug)]
pub struct EnvironmentRequest {
    /// Where the environment is made and will be used.
    pub place: Arc<dyn Workbench>,
    /// The immutable snapshot of the pipeline. It is only read.
    pub folder: PathBuf,
    /// Where the dependencies are written down, relative to `folder`.
    pub dependencies: DependencySource,
    /// The Python version of `pipeline.json`, such as `3.12` or `3.12.4`. It goes before everything else.
    pub python: Option<PythonRequest>,
    /// The `requires-python` of the pipeline's project, script or lock, such as `>=3.10`.
    pub requires_python: Option<PythonRequest>,
}

impl EnvironmentRequest {
    /// Two places of one identity are one place.
    fn fields(&self) -> impl Eq + Hash + '_ {
        let place = (self.place.is_this_machine(), self.place.identity());
        (place, &self.folder, &self.dependencies, &self.python, &self.requires_python)
    }
}

impl PartialEq for EnvironmentRequest {
    fn eq(&self, other: &Self) -> bool {
        self.fields() == other.fields()
    }
}

impl Eq for EnvironmentRequest {}

impl Hash for EnvironmentRequest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fields().hash(state);
    }
}

/// An environment that is ready to run in.
///
/// ```
/// use fastflow_core::environment::Environment;
///
/// fn argv(environment: &Environment) -> Vec<String> {
///     vec![environment.python.display().to_string(), "main.py".into()]
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Environment {
    /// Its content, as a name.
    pub id: EnvironmentId,
    /// Its directory: absolute, read-only, ending in the id.
    pub directory: PathBuf,
    /// The interpreter to start: absolute, inside [`directory`](Self::directory).
    pub python: PathBuf,
    /// Everything of this machine that a sandbox must see, under the same paths, to run in it: its directory, and our
    /// folder of interpreters if it has its own from there.
    pub reads: Vec<PathBuf>,
    /// The full version of the interpreter, such as `3.12.4`.
    pub python_version: String,
    /// The lock it was built from.
    pub lock_hash: LockHash,
    /// The version of uv that built it, such as `0.13.8`.
    pub uv_version: String,
    /// Whether this very call built it. It did not when it was there, or when another call was building it.
    pub built: bool,
}

/// Takes what happens while an environment is prepared, one line at a time, as it happens.
///
/// ```
/// use fastflow_core::environment::SetupLog;
///
/// struct Lines(std::sync::Mutex<Vec<String>>);
///
/// impl SetupLog for Lines {
///     fn line(&self, text: &str) {
///         self.0.lock().unwrap().push(text.to_owned());
///     }
/// }
/// ```
pub trait SetupLog: Send + Sync {
    /// One line, without its end. Called on the runtime's threads: it must not block.
    fn line(&self, text: &str);
}

macro_rules! digest {
    ($(#[$meta:meta])* $type:ident, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// The length of the text, in characters.
            pub const CHARS: usize = 64;

            /// The digest as 64 lower-case hexadecimal digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if text.len() == Self::CHARS && text.bytes().all(is_hex) {
                    return Ok(Self(text.into()));
                }
                Err(Error::new(
                    ErrorKind::Invalid,
                    concat!("not ", $what, ": it has 64 lower-case hexadecimal digits"),
                )
                .with("found", text.escape_debug().take(200).collect::<String>()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(digest: $type) -> Self {
                digest.0.into()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

digest!(
    /// The SHA-256 of everything an environment is made of. It is the name of its directory.
    ///
    /// ```
    /// use fastflow_core::environment::EnvironmentId;
    ///
    /// assert!("../etc".parse::<EnvironmentId>().is_err());
    /// assert!("0".repeat(64).parse::<EnvironmentId>().is_ok());
    /// ```
    EnvironmentId,
    "an environment id"
);

digest!(
    /// The SHA-256 of a lock: the exact packages, in the form that is installed.
    ///
    /// ```
    /// assert!("f".repeat(64).parse::<fastflow_core::environment::LockHash>().is_ok());
    /// ```
    LockHash,
    "a lock hash"
);
