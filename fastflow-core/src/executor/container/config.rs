//! How a [`ContainerExecutor`](super::ContainerExecutor) is set up.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::ContainerSpec;
use crate::executor::ImageName;

/// How a [`ContainerExecutor`](super::ContainerExecutor) is set up. The same for every engine.
///
/// ```
/// use fastflow_core::executor::container::{ContainerConfig, ImageChoice};
///
/// let mut config = ContainerConfig::new("/var/lib/app/docker");
/// config.image = "python:3.12-slim".parse().unwrap();
/// config.images = ImageChoice::Default;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContainerConfig {
    /// Where the shim is installed, and warm and building sandboxes have their folders: one folder for each engine. It
    /// lies on the file system of
    /// the run directories; otherwise there are no warm sandboxes. All hosts that are to find each other's attempts
    /// use the same.
    pub state_dir: PathBuf,
    /// The image of pipelines that do not choose one.
    pub image: ImageName,
    /// Which images pipelines may choose.
    pub images: ImageChoice,
    /// When images are fetched.
    pub pull: PullPolicy,
    /// Whom programs run as, by number; never root. `None` is this process' user, or [`Self::NOBODY`] where this
    /// process is root.
    pub user: Option<(u32, u32)>,
    /// A folder in memory (tmpfs) in which the orders of attempts, which hold secrets, are handed over; no other executor
    /// uses it. `None` is one below `/dev/shm` or `/run`.
    pub order_dir: Option<PathBuf>,
    /// Memory of attempts that say nothing, in bytes. `None` is no limit.
    pub default_memory_bytes: Option<u64>,
    /// Processes and threads of attempts that say nothing.
    pub default_max_processes: u32,
    /// Open files of one process.
    pub max_open_files: u64,
    /// How much `/tmp` holds, in bytes; it is memory of the attempt.
    pub tmp_bytes: u64,
    /// The name of the network that programs share, as far as they reach outwards.
    pub network: String,
    /// How many warm sandboxes may wait at one time, of all pipelines together.
    pub max_warm: u32,
    /// How long a warm sandbox waits before it ends.
    pub warm_lifetime: Duration,
    /// Where folders of this process lie on the engine's machine, where this process itself runs in a container:
    /// pairs of a path here and the path there. Empty finds out by asking the engine about this very container.
    pub host_paths: Vec<(PathBuf, PathBuf)>,
}

impl ContainerConfig {
    /// The image unless another is set: Debian with Python and `uv`, by the makers of `uv`.
    pub const DEFAULT_IMAGE: &str = "ghcr.io/astral-sh/uv:python3.11-bookworm-slim";
    /// The user and group that programs of a root process run as: the numbers that images call `nonroot`.
    pub const NOBODY: (u32, u32) = (65_532, 65_532);
    /// Memory of attempts that say nothing: 1 GiB.
    pub const DEFAULT_MEMORY_BYTES: u64 = 1 << 30;
    /// What `/tmp` holds: 64 MiB.
    pub const DEFAULT_TMP_BYTES: u64 = 64 << 20;
    /// How long a warm sandbox waits: 10 minutes.
    pub const DEFAULT_WARM_LIFETIME: Duration = Duration::from_mins(10);
    /// How many warm sandboxes may wait.
    pub const DEFAULT_MAX_WARM: u32 = 16;

    /// The usual set-up.
    ///
    /// # Panics
    ///
    /// Never: the default image has a name.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            image: Self::DEFAULT_IMAGE.parse().expect("the default image has a name"),
            images: ImageChoice::Any,
            pull: PullPolicy::Missing,
            user: None,
            order_dir: None,
            default_memory_bytes: Some(Self::DEFAULT_MEMORY_BYTES),
            default_max_processes: ContainerSpec::DEFAULT_MAX_PROCESSES,
            max_open_files: ContainerSpec::DEFAULT_MAX_OPEN_FILES,
            tmp_bytes: Self::DEFAULT_TMP_BYTES,
            network: "fastflow".to_owned(),
            max_warm: Self::DEFAULT_MAX_WARM,
            warm_lifetime: Self::DEFAULT_WARM_LIFETIME,
            host_paths: Vec::new(),
        }
    }
}

/// Which images pipelines may choose.
///
/// ```
/// use fastflow_core::executor::container::ImageChoice;
///
/// let only = ImageChoice::Listed(["python:3.12-slim".parse().unwrap()].into());
/// assert!(!only.allows(&"evil:latest".parse().unwrap()));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum ImageChoice {
    /// Any.
    #[default]
    Any,
    /// None but the default.
    Default,
    /// These, and the default.
    Listed(BTreeSet<ImageName>),
}

impl ImageChoice {
    /// Whether a pipeline may choose `image`.
    pub fn allows(&self, image: &ImageName) -> bool {
        match self {
            Self::Any => true,
            Self::Default => false,
            Self::Listed(images) => images.contains(image),
        }
    }
}

/// When images are fetched.
///
/// ```
/// use fastflow_core::executor::container::PullPolicy;
///
/// assert_eq!(PullPolicy::default(), PullPolicy::Missing);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Where they are not there.
    #[default]
    Missing,
    /// Before each run. One that is there serves when its registry cannot be reached.
    Always,
    /// Never: they are brought there by other means.
    Never,
}
