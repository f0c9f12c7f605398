//! From an attempt to its container: the one place where it is decided what a container gets.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use fastflow_shim::{LogLimits, Order, layout};

use super::{
    Access, ContainerConfig, ContainerNetwork, ContainerSpec, ContainerUser, ImageInfo, Mount, Tmpfs,
    host_paths::HostPaths,
};
use crate::{
    Error, ErrorKind, OwnerId, Result,
    environment::ToolCall,
    executor::{
        AttemptSpec, Limits, Network,
        order::{millis, order},
    },
};

/// Where a container finds its run directory.
pub(super) const RUN: &str = "/fastflow/run";
/// Where the shim finds its order.
pub(super) const ORDER: &str = "/fastflow/order";
/// Where the program finds those of its secrets that are files: in memory, for every container has a `/dev/shm` of its
/// own. The shim makes it, and removes it when the program has ended.
pub(super) const SECRETS: &str = "/dev/shm/fastflow-secrets";
/// Where the shim lies.
pub(super) const SHIM: &str = "/fastflow/shim";

/// Whose it is: two installations may share one engine.
pub(super) const OWNER_LABEL: &str = "fastflow.owner";
/// What it is for: one of [`Kind`].
pub(super) const KIND_LABEL: &str = "fastflow.kind";
/// Which attempt it is for, where that is known when it is made.
pub(super) const ATTEMPT_LABEL: &str = "fastflow.attempt";
/// The run of that attempt, for people.
const RUN_LABEL: &str = "fastflow.run";

/// The most that is kept of what a tool writes: its longest answer, and much beside it.
const MAX_TOOL_LOG_BYTES: u64 = 128 << 20;
/// How much longer the engine waits than the shim, when the engine itself stops a container.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// The least that a container needs besides its program: the shim is one process.
const OWN_PROCESSES: u32 = 1;

/// What a container is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// One attempt, which it is named after.
    Attempt,
    /// Whatever attempt comes.
    Warm,
    /// A tool that makes environments.
    Tool,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Warm => "warm",
            Self::Tool => "tool",
        }
    }
}

/// What a container is made from, whatever it is for.
#[derive(Clone, Debug)]
pub(super) struct Blueprint<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    pub(super) owner: &'a OwnerId,
    /// Further labels.
    pub(super) labels: &'a [(&'a str, String)],
    pub(super) image: &'a ImageInfo,
    /// Mounted as the run directory.
    pub(super) run_dir: &'a Path,
    pub(super) network: Network,
    pub(super) limits: &'a Limits,
    /// Folders under the paths they have here.
    pub(super) reads: &'a [PathBuf],
    pub(super) writes: &'a [PathBuf],
    /// How long the shim waits for its order.
    pub(super) order_wait: Option<Duration>,
}

/// What is the same for all containers of an executor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) config: &'a ContainerConfig,
    pub(super) user: ContainerUser,
    pub(super) host_paths: &'a HostPaths,
    /// Where the folders lie over which containers get their orders.
    pub(super) order_root: &'a Path,
    /// The shim on this machine.
    pub(super) shim: &'a Path,
}

impl Blueprint<'_> {
    /// The container.
    ///
    /// # Errors
    ///
    /// `Invalid` for a folder that no container may have; `Unsupported` for one that the engine cannot reach.
    pub(super) fn container(&self, facts: Facts<'_>) -> Result<ContainerSpec> {
        let mut spec = ContainerSpec::new(self.name, &*self.image.id, self.entrypoint(), facts.user);
        spec.labels = [(OWNER_LABEL, self.owner.to_string()), (KIND_LABEL, self.kind.as_str().to_owned())]
            .into_iter()
            .chain(self.labels.iter().cloned())
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let mount = |source: &Path, target: &Path, access| {
            Ok::<_, Error>(Mount::new(facts.host_paths.outside(source)?, target, access))
        };
        spec.mounts = vec![
            mount(facts.shim, Path::new(SHIM), Access::ReadOnly)?,
            mount(self.run_dir, Path::new(RUN), Access::ReadWrite)?,
            mount(&facts.order_root.join(self.name), Path::new(ORDER), Access::ReadOnly)?,
        ];
        for (folders, access) in [(self.reads, Access::ReadOnly), (self.writes, Access::ReadWrite)] {
            for folder in folders {
                check_folder(folder)?;
                spec.mounts.push(mount(folder, folder, access)?);
            }
        }
        // Engines mount in this order, and what lies inside another comes after it.
        spec.mounts.sort_by(|one, other| one.target.cmp(&other.target));
        spec.mounts.dedup_by(|one, other| one.target == other.target);
        let config = facts.config;
        // What an image declares as volumes would be folders on the disk, without a limit, that anybody can write to.
        let folders = [PathBuf::from("/tmp")].into_iter().chain(self.image.volumes.iter().cloned());
        spec.tmpfs = folders
            .map(|target| Tmpfs { target, size_bytes: config.tmp_bytes, allow_execution: false })
            .collect();
        spec.tmpfs.dedup_by(|one, other| one.target == other.target);
        if self.network == Network::Bridge {
            spec.network = ContainerNetwork::Named(config.network.clone());
        }
        spec.cpu_millis = self.limits.cpu_millis;
        spec.memory_bytes = self.limits.memory_bytes.or(config.default_memory_bytes);
        let processes = self.limits.max_processes.unwrap_or(config.default_max_processes);
        spec.max_processes = processes.saturating_add(OWN_PROCESSES);
        spec.max_open_files = config.max_open_files;
        spec.stop_timeout = self.limits.stop_grace.saturating_add(STOP_MARGIN);
        Ok(spec)
    }

    fn entrypoint(&self) -> Vec<String> {
        let order = format!("{ORDER}/{}", layout::ORDER);
        let reply = format!("{RUN}/{}", layout::REPLY);
        let mut argv =
            vec![SHIM.to_owned(), "--order-file".to_owned(), order, "--reply-file".to_owned(), reply];
        if let Some(wait) = self.order_wait {
            argv.extend(["--wait-ms".to_owned(), millis(wait).to_string()]);
        }
        argv
    }
}

/// The labels of an attempt's container.
pub(super) fn attempt_labels(attempt: crate::AttemptId) -> [(&'static str, String); 2] {
    [(ATTEMPT_LABEL, attempt.to_string()), (RUN_LABEL, attempt.run.to_string())]
}

/// A folder that would hide the container's own, or a whole machine, is none that anybody needs.
fn check_folder(folder: &Path) -> Result<()> {
    let is_plain = folder.is_absolute()
        && folder.components().count() > 2
        && !folder.components().any(|part| matches!(part, std::path::Component::ParentDir));
    let is_ours = ["/proc", "/sys", "/dev", "/fastflow"].iter().any(|own| folder.starts_with(own));
    if is_plain && !is_ours {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "this folder cannot be given to a container")
        .with("path", folder.display()))
}

/// Where a container finds what lies at `path`: the run directory has a fixed place, all else its own.
pub(super) fn path_inside(run_dir: &Path, path: &Path) -> PathBuf {
    match path.strip_prefix(run_dir) {
        Ok(rest) if rest.as_os_str().is_empty() => PathBuf::from(RUN),
        Ok(rest) => Path::new(RUN).join(rest),
        Err(_) => path.to_owned(),
    }
}

/// The order of a tool: what it writes is kept in full, and nobody measures it.
pub(super) fn tool_order(name: &str, call: &ToolCall, env: BTreeMap<String, String>) -> Result<Order> {
    let text = |part: &std::ffi::OsStr| {
        part.to_str().map(str::to_owned).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "an argument of a tool is not UTF-8")
                .with("argument", part.display())
        })
    };
    let mut argv = vec![text(call.program.as_os_str())?];
    for argument in &call.args {
        argv.push(text(argument)?);
    }
    let mut order = Order::new(name, argv, call.directory.clone(), RUN);
    order.env = env;
    order.timeout_ms = Some(millis(call.timeout));
    order.log = LogLimits { max_bytes: MAX_TOOL_LOG_BYTES, tail_bytes: MAX_TOOL_LOG_BYTES / 8 };
    Ok(order)
}

/// The order of an attempt, with the paths that its container has. The secrets move into it.
pub(super) fn attempt_order(spec: &mut AttemptSpec) -> Order {
    let mut order = order(spec, Path::new(SECRETS));
    for file in &mut order.mask.files {
        *file = path_inside(&spec.run_dir, file);
    }
    order.working_dir = path_inside(&spec.run_dir, &spec.working_dir);
    order.run_dir = PathBuf::from(RUN);
    order
}

#[cfg(test)]
mod tests;
