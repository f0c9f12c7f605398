//! What all containers of an executor have in common, and where their folders lie.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fastflow_shim::{Order, layout};
use tokio::sync::OnceCell;

use super::{
    ContainerConfig, ContainerEngine, ContainerUser, EngineInfo, compose::Facts, host_paths::HostPaths,
    images::Images, watch::FolderWatch,
};
use crate::{
    Clock, Error, ErrorKind, Result,
    executor::in_memory::{folder_name, make_private},
    shim::ShimBinary,
};

/// Only the owner may see what is there.
const PRIVATE: u32 = 0o700;
/// Whoever gets there may read: that is this user and the container, for it lies below a folder that is private.
const READABLE: u32 = 0o755;
/// How long a network that was seen is taken to be there.
const NETWORK_SEEN_FOR: Duration = Duration::from_secs(5);
/// Where there may be such a file system.
const ORDER_ROOTS: [&str; 2] = ["/dev/shm", "/run"];

/// What all containers have in common.
pub(super) struct Place {
    pub(super) engine: Arc<dyn ContainerEngine>,
    pub(super) config: ContainerConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) watch: FolderWatch,
    pub(super) images: Images,
    /// The shim on this machine.
    shim: PathBuf,
    known: OnceCell<Known>,
    /// When the network was seen, by the clock's time that never jumps.
    network: Mutex<Option<Duration>>,
}

/// What only the engine can tell.
pub(super) struct Known {
    pub(super) info: EngineInfo,
    pub(super) user: ContainerUser,
    host_paths: HostPaths,
    order_root: PathBuf,
}

impl Place {
    pub(super) fn new(
        engine: Arc<dyn ContainerEngine>,
        mut config: ContainerConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        config.state_dir = std::path::absolute(&config.state_dir)?;
        if config.user.is_some_and(|(uid, _)| uid == 0) {
            return Err(Error::new(ErrorKind::Invalid, "programs in containers never run as root")
                .with("user", 0)
                .with("help", "set another user, or none for the usual one"));
        }
        fs::create_dir_all(&config.state_dir)
            .map_err(|error| Error::from(error).with("state_dir", config.state_dir.display()))?;
        let shim = ShimBinary::install(&config.state_dir)?;
        let images = Images::new(Arc::clone(&engine), config.clone(), Arc::clone(&clock));
        let watch = FolderWatch::new(Arc::clone(&clock));
        let (known, network) = (OnceCell::new(), Mutex::default());
        Ok(Self { engine, config, clock, watch, images, shim, known, network })
    }

    /// What only the engine can tell, asked for once.
    pub(super) async fn known(&self) -> Result<&Known> {
        self.known.get_or_try_init(|| self.ask()).await
    }

    pub(super) fn is_known(&self) -> bool {
        self.known.initialized()
    }

    async fn ask(&self) -> Result<Known> {
        let info = self.engine.info().await?;
        if info.remaps_users {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the engine maps users of containers to others (userns-remap), who cannot reach the files of attempts",
            )
            .with("help", "run the engine rootless instead, or without userns-remap"));
        }
        if !info.seccomp {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the engine does not filter system calls (seccomp)",
            )
            .with(
                "help",
                "programs are confined by it: switch it on in the engine, or use a kernel that has it",
            ));
        }
        let host_paths = HostPaths::find(&*self.engine, &self.config.host_paths).await?;
        host_paths.outside(&self.config.state_dir)?;
        let order_root = order_root(&self.config, &host_paths)?;
        let user = self.user(&info);
        let lacks_default =
            !info.process_limit || (!info.memory_limit && self.config.default_memory_bytes.is_some());
        if lacks_default {
            let engine = self.engine.kind();
            tracing::warn!(
                engine,
                "this engine has no control groups to keep default limits with; a pipeline that asks for one is refused"
            );
        }
        Ok(Known { info, user, host_paths, order_root })
    }

    fn user(&self, info: &EngineInfo) -> ContainerUser {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (uid, gid) = match (self.config.user, own) {
            (Some(user), _) => user,
            // Outside it is the engine's own user, who is not root; nobody else could reach this user's files.
            (None, _) if info.rootless && !info.keeps_user => (0, 0),
            (None, (0, _)) => ContainerConfig::NOBODY,
            (None, own) => own,
        };
        ContainerUser { uid, gid, keep_id: info.rootless && info.keeps_user && own == (uid, gid) }
    }

    /// Makes sure of the network, unless it was there a moment ago: somebody may remove it while nobody is on it.
    pub(super) async fn ensure_network(&self) -> Result<()> {
        let now = self.clock.elapsed();
        let seen = *self.network.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|seen| now.saturating_sub(seen) < NETWORK_SEEN_FOR) {
            return Ok(());
        }
        self.engine.ensure_network(&self.config.network).await?;
        *self.network.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }

    /// Makes the network again if it is not there any more, whenever it was seen. Whether it was not.
    pub(super) async fn renew_network(&self) -> Result<bool> {
        self.engine.ensure_network(&self.config.network).await
    }

    /// What is the same for all containers.
    pub(super) async fn facts(&self) -> Result<Facts<'_>> {
        let Known { user, host_paths, order_root, .. } = self.known().await?;
        Ok(Facts { config: &self.config, user: *user, host_paths, order_root, shim: &self.shim })
    }

    /// The folder in memory over which the container `name` gets its order.
    pub(super) async fn order_dir(&self, name: &str) -> Result<PathBuf> {
        Ok(self.known().await?.order_root.join(name))
    }

    /// Gives what lies at `path`, with all that is in it, to the user of containers.
    pub(super) async fn give(&self, path: &Path) -> Result<()> {
        let user = self.known().await?.user;
        if user.uid == rustix::process::geteuid().as_raw() || user.uid == 0 {
            return Ok(());
        }
        let of = path.to_owned();
        super::blocking(move || {
            give(&of, user).map_err(|error| Error::from(error).with("path", of.display()))
        })
        .await
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("engine", &self.engine)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Changes the owner of links themselves, never of what they lead to.
fn give(path: &Path, user: ContainerUser) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.uid(), metadata.gid()) != (user.uid, user.gid) {
        std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

/// Makes the folder over which a container gets its order; that it is there already means that somebody else is at it.
pub(super) fn create_order_dir(dir: &Path) -> Result<()> {
    let describe = |error: io::Error| Error::from(error).with("order_dir", dir.display());
    let create = || fs::DirBuilder::new().mode(READABLE).create(dir);
    match create() {
        // The folder for all of them is in memory, and somebody may have cleaned up there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let root = dir.parent().unwrap_or(dir);
            fs::DirBuilder::new().mode(PRIVATE).create(root).and_then(|()| create()).map_err(|error| {
                Error::new(ErrorKind::Unavailable, "the folder for orders is gone")
                    .with("path", root.display())
                    .because(error)
            })
        }
        created => created.map_err(describe),
    }
}

/// Lets the order appear in one step.
pub(super) fn write_order(dir: &Path, order: &Order, user: ContainerUser) -> Result<()> {
    let describe = |error: io::Error| Error::from(error).with("order_dir", dir.display());
    let bytes = order.to_vec().map_err(crate::executor::refusal::invalid_order)?;
    let (aside, mut file) = crate::executor::aside::create_aside(dir).map_err(describe)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(&bytes))
        .and_then(|()| if user.uid == 0 { Ok(()) } else { give(&aside, user) })
        .and_then(|()| fs::rename(&aside, dir.join(layout::ORDER)))
        .map_err(|error| {
            let _ = fs::remove_file(&aside);
            describe(error)
        })
}

/// Takes the order away once it has been read: a program must not be able to write where it lies, and neither can the
/// shim then.
pub(super) fn remove_order(dir: &Path) {
    if let Err(error) = fs::remove_file(dir.join(layout::ORDER))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %dir.display(), %error, "an order that was read could not be removed");
    }
}

pub(super) fn remove_order_dir(dir: &Path) {
    if let Err(error) = fs::remove_dir_all(dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %dir.display(), %error, "the folder of an order could not be removed");
    }
}

/// The folder for all orders: in memory, private to this user, and where the engine can mount it from.
fn order_root(config: &ContainerConfig, host_paths: &HostPaths) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = if let Some(chosen) = &config.order_dir {
        vec![chosen.clone()]
    } else {
        let name = folder_name(&config.state_dir);
        ORDER_ROOTS.iter().map(|root| Path::new(root).join(&name)).collect()
    };
    let mut last = None;
    for candidate in candidates {
        match host_paths.outside(&candidate).and_then(|_| make_private(&candidate)) {
            Ok(()) => return Ok(candidate),
            Err(error) => last = Some(error),
        }
    }
    let error = Error::new(
        ErrorKind::Unsupported,
        "there is no folder in memory over which attempts can get their orders, which hold secrets",
    )
    .with(
        "help",
        "set `order_dir` to a folder on a tmpfs that only this user can read, and that the engine can mount",
    );
    Err(match last {
        Some(last) => error.because(last),
        None => error,
    })
}
