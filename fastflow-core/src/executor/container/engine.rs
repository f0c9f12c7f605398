//! What a container engine has to do for [`ContainerExecutor`](super::ContainerExecutor), and in which words.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Result, Timestamp, environment::SetupLog, executor::ImageName};

/// A container engine, such as Docker or Podman: requests and answers, without any decision.
///
/// # Contract
///
/// - Every call has a time limit of its own and ends with `Unavailable` after it, but for [`wait`](Self::wait), which
///   lasts as long as the container, and [`pull`](Self::pull), which lasts as long as there is progress.
/// - An engine that cannot be reached, or that does not answer, is `Unavailable`: never `NotFound`, never an empty list.
/// - All that a container gets is in its [`ContainerSpec`], and beyond that the fixed settings of
///   [`ContainerSpec`]'s description. Nothing else of an engine's request is ever set.
#[async_trait]
pub trait ContainerEngine: fmt::Debug + Send + Sync + 'static {
    /// The engine's name, as in `docker`.
    fn kind(&self) -> &'static str;

    /// Asks the engine who it is.
    ///
    /// # Errors
    ///
    /// `Unavailable` when it cannot be reached, `Denied` when this user may not talk to it.
    async fn info(&self) -> Result<EngineInfo>;

    /// Looks up an image that is there. `None` when it is not.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    async fn image(&self, image: &ImageName) -> Result<Option<ImageInfo>>;

    /// Gets an image from its registry, with the credentials that are configured for it. Progress goes to `log` as
    /// lines for a person, at most a few a second.
    ///
    /// # Errors
    ///
    /// `NotFound` when the registry has no such image, `Denied` when it wants other credentials, `StorageFull`, and
    /// `Unavailable` for whatever may work later.
    async fn pull(&self, image: &ImageName, log: &dyn SetupLog) -> Result<()>;

    /// Makes sure that there is a network of this name on which containers reach outwards but not each other, as far
    /// as the engine can do that. Whether it was not there.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Unsupported` when the engine has no such networks here.
    async fn ensure_network(&self, name: &str) -> Result<bool>;

    /// Makes a container and does not start it.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when there is one of this name, `NotFound` when the image is not there, `Invalid` when the engine
    /// refuses the request as it stands (a mount whose source is not there, for example).
    async fn create(&self, container: &ContainerSpec) -> Result<ContainerId>;

    /// Starts a container that was made. Fine when it runs.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such container, `Internal` when the engine cannot start it, with its words.
    async fn start(&self, container: &ContainerId) -> Result<()>;

    /// Looks at a container, by its id or its name. `None` when there is none.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    async fn inspect(&self, container: &str) -> Result<Option<ContainerState>>;

    /// Waits until the container does not run. Its answer is only a hint: [`inspect`](Self::inspect) tells. Returns at
    /// once for one that never ran or is not there.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    async fn wait(&self, container: &ContainerId) -> Result<()>;

    /// Sends a signal to the first process of a container. `false` when it does not run, or is paused.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    async fn signal(&self, container: &ContainerId, signal: ContainerSignal) -> Result<bool>;

    /// Lets a paused container go on. Fine when it is not paused.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    async fn unpause(&self, container: &ContainerId) -> Result<()>;

    /// Removes a container, with its anonymous volumes, killing it first if it runs. Fine when there is none, and
    /// when somebody else is removing it.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    async fn remove(&self, container: &str) -> Result<()>;

    /// All containers, in every state, that carry all of these labels with these values.
    ///
    /// # Errors
    ///
    /// `Unavailable`. A list is complete or an error.
    async fn list(&self, labels: &BTreeMap<String, String>) -> Result<Vec<ContainerState>>;
}

/// An engine's own name for a container.
///
/// ```
/// let id = fastflow_core::executor::container::ContainerId::new("4f2a");
/// assert_eq!(id.as_str(), "4f2a");
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct ContainerId(Box<str>);

impl ContainerId {
    /// The id that an engine gave.
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Who an engine is, and what it can do.
///
/// ```
/// let info = fastflow_core::executor::container::EngineInfo::default();
/// assert!(!info.rootless);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent facts, read by name")]
pub struct EngineInfo {
    /// The engine's own id of its installation; another one has none of the same containers.
    pub id: String,
    /// Its version, for people.
    pub version: String,
    /// Whether it runs without root; then root in a container is the user of the engine.
    pub rootless: bool,
    /// Whether a user of this machine can keep its number in a container of a rootless engine (`keep-id`).
    pub keeps_user: bool,
    /// Whether it maps users of containers to others of this machine although it runs as root. Not supported.
    pub remaps_users: bool,
    /// Whether it can limit CPU.
    pub cpu_limit: bool,
    /// Whether it can limit memory.
    pub memory_limit: bool,
    /// Whether it can limit processes.
    pub process_limit: bool,
    /// Whether it filters system calls (seccomp).
    pub seccomp: bool,
}

/// An image that is there.
///
/// ```
/// let info = fastflow_core::executor::container::ImageInfo::default();
/// assert!(info.env.is_empty());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ImageInfo {
    /// Its content, as `sha256:…`: the same wherever it is, and however it is called.
    pub id: String,
    /// The digest under which a registry has it, if it came from one.
    pub repo_digest: Option<String>,
    /// The variables that it sets.
    pub env: BTreeMap<String, String>,
    /// The folders that it declares as volumes, where the engine would make one of each by itself.
    pub volumes: Vec<PathBuf>,
}

/// Everything that distinguishes one container from another. This is the whole of what can be asked of an engine:
/// what must never be set (privileges, devices, namespaces of the host, sockets, restart policies) has no field.
///
/// An engine sets beyond these, for every container and always: all capabilities dropped, `no-new-privileges`, the
/// root file system read-only, all namespaces private, no restart policy, no removal at its end, no health check, no
/// log (the shim writes it), no standard input, memory without swap beside it, core dumps off, the engine's own
/// seccomp and `AppArmor` profiles, and [`Self::entrypoint`] in place of the image's entry point and command.
///
/// ```
/// use fastflow_core::executor::container::{ContainerNetwork, ContainerSpec, ContainerUser};
///
/// let user = ContainerUser { uid: 1000, gid: 1000, keep_id: false };
/// let spec = ContainerSpec::new("ff-1", "sha256:0000", vec!["/shim".into()], user);
/// assert_eq!(spec.network, ContainerNetwork::None);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ContainerSpec {
    /// Its name, unique in the engine.
    pub name: String,
    /// The image, by its id.
    pub image: String,
    /// By which it is found.
    pub labels: BTreeMap<String, String>,
    /// Its first process: an absolute path in the container, and arguments. It has no environment of its own but the
    /// image's.
    pub entrypoint: Vec<String>,
    /// Where its first process starts, absolute.
    pub working_dir: PathBuf,
    /// Whom it runs as.
    pub user: ContainerUser,
    /// Folders and files of this machine.
    pub mounts: Vec<Mount>,
    /// Folders in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// What it reaches.
    pub network: ContainerNetwork,
    /// CPU, in thousandths of a core.
    pub cpu_millis: Option<u32>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub max_processes: u32,
    /// Open files of one process.
    pub max_open_files: u64,
    /// How long the engine gives it between SIGTERM and SIGKILL when the engine itself stops it.
    pub stop_timeout: Duration,
}

impl ContainerSpec {
    /// Processes where nothing else is said.
    pub const DEFAULT_MAX_PROCESSES: u32 = 256;
    /// Open files where nothing else is said.
    pub const DEFAULT_MAX_OPEN_FILES: u64 = 4096;

    /// A container without mounts, network and limits of its own.
    pub fn new(
        name: impl Into<String>,
        image: impl Into<String>,
        entrypoint: Vec<String>,
        user: ContainerUser,
    ) -> Self {
        Self {
            name: name.into(),
            image: image.into(),
            labels: BTreeMap::new(),
            entrypoint,
            working_dir: PathBuf::from("/"),
            user,
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            network: ContainerNetwork::None,
            cpu_millis: None,
            memory_bytes: None,
            max_processes: Self::DEFAULT_MAX_PROCESSES,
            max_open_files: Self::DEFAULT_MAX_OPEN_FILES,
            stop_timeout: Duration::from_secs(15),
        }
    }
}

/// Whom a container runs as.
///
/// ```
/// use fastflow_core::executor::container::ContainerUser;
///
/// let user = ContainerUser { uid: 1000, gid: 1000, keep_id: false };
/// assert_eq!(user.to_string(), "1000:1000");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ContainerUser {
    /// The user's number in the container.
    pub uid: u32,
    /// The group's number in the container.
    pub gid: u32,
    /// Whether these are the numbers of the engine's own user, who keeps them (rootless Podman's `keep-id`).
    pub keep_id: bool,
}

impl fmt::Display for ContainerUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A folder or file of the engine's machine in a container. Never with `suid`, `dev`, or propagation.
///
/// ```
/// use fastflow_core::executor::container::{Access, Mount};
///
/// let mount = Mount::new("/srv/environments/1", "/srv/environments/1", Access::ReadOnly);
/// assert_eq!(mount.access, Access::ReadOnly);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    /// The path on the engine's machine.
    pub source: PathBuf,
    /// The path in the container.
    pub target: PathBuf,
    /// What the container may do there.
    pub access: Access,
}

impl Mount {
    /// A mount.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>, access: Access) -> Self {
        Self { source: source.into(), target: target.into(), access }
    }
}

/// What a container may do in a mount.
///
/// ```
/// use fastflow_core::executor::container::Access;
///
/// assert_ne!(Access::ReadOnly, Access::ReadWrite);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Read, and execute.
    ReadOnly,
    /// Write as well.
    ReadWrite,
}

/// A folder in memory, counted into the container's memory, always with `nosuid` and `nodev`.
///
/// ```
/// use fastflow_core::executor::container::Tmpfs;
///
/// let tmp = Tmpfs { target: "/tmp".into(), size_bytes: 64 << 20, allow_execution: false };
/// assert!(!tmp.allow_execution);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tmpfs {
    /// The path in the container.
    pub target: PathBuf,
    /// How much it may hold.
    pub size_bytes: u64,
    /// Whether programs in it may be executed.
    pub allow_execution: bool,
}

/// What a container reaches.
///
/// ```
/// use fastflow_core::executor::container::ContainerNetwork;
///
/// assert_ne!(ContainerNetwork::None, ContainerNetwork::Named("fastflow".into()));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ContainerNetwork {
    /// Nothing but itself.
    None,
    /// What the network of this name reaches; see [`ContainerEngine::ensure_network`].
    Named(String),
}

/// A signal for the first process of a container, which is the shim.
///
/// ```
/// use fastflow_core::executor::container::ContainerSignal;
///
/// assert_eq!(ContainerSignal::Terminate.name(), "SIGTERM");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ContainerSignal {
    /// Stop the program, with grace.
    Terminate,
    /// Kill everything in the container, and leave a record.
    Quit,
    /// The kernel's own kill.
    Kill,
}

impl ContainerSignal {
    /// The signal's name, as engines take it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Quit => "SIGQUIT",
            Self::Kill => "SIGKILL",
        }
    }
}

/// A container as its engine sees it.
///
/// ```
/// use fastflow_core::executor::container::{ContainerId, ContainerState, ContainerStatus};
///
/// let state = ContainerState::new(ContainerId::new("4f2a"), "ff-1", ContainerStatus::Created);
/// assert!(!state.status.is_alive());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ContainerState {
    /// The engine's name for it.
    pub id: ContainerId,
    /// Its name, without a leading slash.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it does.
    pub status: ContainerStatus,
    /// The number of its first process on the engine's machine, while it runs. Not in lists.
    pub pid: Option<u32>,
    /// When it was started; `None` for one that never ran. Not in lists.
    pub started_at: Option<Timestamp>,
    /// When it ended. Not in lists.
    pub ended_at: Option<Timestamp>,
    /// What its first process returned, where it has ended. Not in lists. Never a proof that anything ran.
    pub exit_code: Option<i64>,
    /// Whether the engine saw the kernel kill for want of memory. Not in lists, and not reliable on its own.
    pub out_of_memory: bool,
    /// Where the engine put folders and files of its machine: needed to find out how this very container is made.
    /// Not in lists.
    pub mounts: Vec<Mount>,
}

impl ContainerState {
    /// A container of which no more is known.
    pub fn new(id: ContainerId, name: impl Into<String>, status: ContainerStatus) -> Self {
        Self {
            id,
            name: name.into(),
            labels: BTreeMap::new(),
            status,
            pid: None,
            started_at: None,
            ended_at: None,
            exit_code: None,
            out_of_memory: false,
            mounts: Vec::new(),
        }
    }
}

/// What a container does.
///
/// ```
/// use fastflow_core::executor::container::ContainerStatus;
///
/// assert!(ContainerStatus::Paused.is_alive());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ContainerStatus {
    /// It was made, and never started.
    Created,
    /// It runs, or is about to begin or to end.
    Running,
    /// It is held.
    Paused,
    /// It has ended.
    Exited,
    /// It is being taken away, or could not be.
    Removing,
    /// Something that this version does not know.
    Other,
}

impl ContainerStatus {
    /// Whether processes may be in it.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Other)
    }
}
