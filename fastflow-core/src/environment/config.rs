//! How environments are built.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize, path::PathBuf, time::Duration};

/// How [`UvEnvironments`](super::UvEnvironments) works.
///
/// ```
/// use std::time::Duration;
///
/// use fastflow_core::environment::UvConfig;
///
/// let mut config = UvConfig::new("/var/lib/fastflow/environments");
/// config.build_timeout = Duration::from_secs(120);
/// config.extra_env.insert("UV_OFFLINE".into(), "1".into());
/// ```
#[derive(Clone)]
pub struct UvConfig {
    /// Where environments are kept. One folder may serve several processes of one machine.
    pub environments_dir: PathBuf,
    /// The uv to use on this machine. Without it, the first of [`uv_candidates`](Self::uv_candidates) that exists,
    /// else the `uv` on the PATH. In other places it is always that on their PATH.
    pub uv: Option<PathBuf>,
    /// Where a uv may be on this machine.
    pub uv_candidates: Vec<PathBuf>,
    /// The Python for pipelines that do not say, such as `3.12`. Without it, what `uv python find` finds.
    pub default_python: Option<String>,
    /// Whether uv may download a Python into the environments' folder when none fits.
    pub python_downloads: bool,
    /// Whether packages without a wheel are refused, so that no package's code runs while building.
    pub wheels_only: bool,
    /// How long resolving and building one environment may take, together.
    pub build_timeout: Duration,
    /// How many environments are built at the same time.
    pub max_parallel_builds: NonZeroUsize,
    /// Variables for uv on top of those of the place, which on this machine are the host's own, such as
    /// `UV_DEFAULT_INDEX`.
    ///
    /// Who sees them, a password in the URL of an index included: uv in every place. In a container that is the `uv` of
    /// the image that the pipeline picked, so whoever made that image. So does the code of every package that is built,
    /// such as its `setup.py`, unless [`wheels_only`](Self::wheels_only) refuses it (the one that builds a project to
    /// resolve it is not refused). Programs of pipelines do not see them. A host with secrets here names the images that
    /// it trusts, with [`ImageChoice`](crate::executor::container::ImageChoice).
    pub extra_env: BTreeMap<String, String>,
}

impl UvConfig {
    /// The build timeout unless another is set.
    pub const DEFAULT_BUILD_TIMEOUT: Duration = Duration::from_mins(15);
    /// The number of parallel builds unless another is set.
    pub const DEFAULT_MAX_PARALLEL_BUILDS: NonZeroUsize = NonZeroUsize::new(4).expect("it is not zero");

    /// The defaults, for environments in `environments_dir`.
    pub fn new(environments_dir: impl Into<PathBuf>) -> Self {
        Self {
            environments_dir: environments_dir.into(),
            uv: None,
            uv_candidates: Vec::new(),
            default_python: None,
            python_downloads: true,
            wheels_only: false,
            build_timeout: Self::DEFAULT_BUILD_TIMEOUT,
            max_parallel_builds: Self::DEFAULT_MAX_PARALLEL_BUILDS,
            extra_env: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for UvConfig {
    /// Shows the names of variables only: an index's URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UvConfig")
            .field("environments_dir", &self.environments_dir)
            .field("uv", &self.uv)
            .field("uv_candidates", &self.uv_candidates)
            .field("default_python", &self.default_python)
            .field("python_downloads", &self.python_downloads)
            .field("wheels_only", &self.wheels_only)
            .field("build_timeout", &self.build_timeout)
            .field("max_parallel_builds", &self.max_parallel_builds)
            .field("extra_env", &self.extra_env.keys())
            .finish()
    }
}
