//! From a container's specification to Podman's request, and from Podman's answers to the words of the port. Pure.

use std::{collections::BTreeMap, path::Path};

use fastflow_core::{
    Error, ErrorKind, Result, Timestamp,
    executor::container::{
        Access, ContainerId, ContainerNetwork, ContainerSpec, ContainerState, ContainerStatus, EngineInfo,
        ImageInfo, Mount, Tmpfs,
    },
};
use podman_api::models;
use serde::{Deserialize, Serialize};

use crate::network::Outward;

/// The limit of processes per user where a container's own limit is not higher. The kernel counts all containers of
/// one user against it, so that it must be far above the limit of one; without any, Podman 4.3 sets one so high that
/// the kernel refuses to start the container.
const MIN_USER_PROCESSES: u64 = 4096;
/// The period over which CPU is measured, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;
/// SIGTERM. Podman 4 takes the number only.
const STOP_SIGNAL: u8 = 15;

/// The whole request that makes a container. It has no field for privileges, devices, environment or volumes.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "these are Podman's words")]
pub(crate) struct CreateRequest<'a> {
    name: &'a str,
    image: &'a str,
    labels: &'a BTreeMap<String, String>,
    entrypoint: &'a [String],
    command: [&'a str; 0],
    work_dir: &'a str,
    user: String,
    mounts: Vec<MountRequest<'a>>,
    r_limits: [ResourceLimit; 3],
    resource_limits: Resources,
    stop_signal: u8,
    stop_timeout: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    userns: Option<Namespace>,
    netns: Namespace,
    pidns: Namespace,
    ipcns: Namespace,
    utsns: Namespace,
    cgroupns: Namespace,
    cap_drop: [&'static str; 1],
    cap_add: [&'static str; 0],
    privileged: bool,
    no_new_privileges: bool,
    read_only_filesystem: bool,
    terminal: bool,
    stdin: bool,
    remove: bool,
    restart_policy: &'static str,
    /// The shim is what an init would be.
    init: bool,
    /// Podman would otherwise mount more for a program that it takes for systemd.
    systemd: &'static str,
    #[serde(rename = "sdnotifyMode")]
    sdnotify_mode: &'static str,
    /// The variables of the engine's own process; those with proxies may hold passwords.
    env_host: bool,
    httpproxy: bool,
    image_volume_mode: &'static str,
    log_configuration: LogConfiguration,
    healthconfig: HealthConfig,
}

#[derive(Debug, Serialize)]
struct MountRequest<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    source: &'a str,
    destination: &'a str,
    options: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ResourceLimit {
    /// In lower case, and without the `RLIMIT_` that Podman itself shows.
    #[serde(rename = "type")]
    kind: &'static str,
    soft: u64,
    hard: u64,
}

#[derive(Debug, Serialize)]
struct Resources {
    pids: Pids,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<Cpu>,
}

#[derive(Debug, Serialize)]
struct Pids {
    limit: u32,
}

#[derive(Debug, Serialize)]
struct Memory {
    limit: i64,
    /// Memory and swap together.
    swap: i64,
}

#[derive(Debug, Serialize)]
struct Cpu {
    quota: u64,
    period: u64,
}

#[derive(Debug, Serialize)]
struct Namespace {
    nsmode: &'static str,
}

impl Namespace {
    const PRIVATE: Self = Self { nsmode: "private" };
}

#[derive(Debug, Serialize)]
struct LogConfiguration {
    driver: &'static str,
}

#[derive(Debug, Serialize)]
struct HealthConfig {
    #[serde(rename = "Test")]
    test: [&'static str; 1],
}

impl<'a> CreateRequest<'a> {
    /// The request for a container. `outward` is what a container with a network gets.
    ///
    /// # Errors
    ///
    /// `Invalid` for a number that Podman would take for "no limit", for a path that is not text, and for a container
    /// without an entry point, which would get the image's.
    pub(crate) fn new(spec: &'a ContainerSpec, outward: Outward) -> Result<Self> {
        if spec.entrypoint.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "a container needs an entry point"));
        }
        let mut mounts = spec.mounts.iter().map(MountRequest::bind).collect::<Result<Vec<_>>>()?;
        for tmpfs in &spec.tmpfs {
            mounts.push(MountRequest::tmpfs(tmpfs)?);
        }
        let network = match spec.network {
            ContainerNetwork::None => "none",
            ContainerNetwork::Named(_) => outward.mode(),
        };
        Ok(Self {
            name: &spec.name,
            image: &spec.image,
            labels: &spec.labels,
            entrypoint: &spec.entrypoint,
            command: [],
            work_dir: text(&spec.working_dir)?,
            user: spec.user.to_string(),
            mounts,
            r_limits: resource_limits(spec),
            resource_limits: Resources::new(spec)?,
            stop_signal: STOP_SIGNAL,
            stop_timeout: spec.stop_timeout.as_secs() + u64::from(spec.stop_timeout.subsec_nanos() > 0),
            userns: spec.user.keep_id.then_some(Namespace { nsmode: "keep-id" }),
            netns: Namespace { nsmode: network },
            pidns: Namespace::PRIVATE,
            ipcns: Namespace::PRIVATE,
            utsns: Namespace::PRIVATE,
            cgroupns: Namespace::PRIVATE,
            cap_drop: ["ALL"],
            cap_add: [],
            privileged: false,
            no_new_privileges: true,
            read_only_filesystem: true,
            terminal: false,
            stdin: false,
            remove: false,
            restart_policy: "no",
            init: false,
            systemd: "false",
            sdnotify_mode: "ignore",
            env_host: false,
            httpproxy: false,
            image_volume_mode: "ignore",
            log_configuration: LogConfiguration { driver: "none" },
            healthconfig: HealthConfig { test: ["NONE"] },
        })
    }
}

impl<'a> MountRequest<'a> {
    fn bind(mount: &'a Mount) -> Result<Self> {
        let access = match mount.access {
            Access::ReadOnly => "ro",
            Access::ReadWrite => "rw",
        };
        // With what is mounted below it, for that is what this machine sees there.
        let options = [access, "rbind", "rprivate", "nosuid", "nodev"].map(str::to_owned).to_vec();
        Ok(Self { kind: "bind", source: text(&mount.source)?, destination: text(&mount.target)?, options })
    }

    fn tmpfs(tmpfs: &'a Tmpfs) -> Result<Self> {
        if tmpfs.size_bytes == 0 {
            return Err(not_zero("the size of a folder in memory"));
        }
        let execution = if tmpfs.allow_execution { "exec" } else { "noexec" };
        // Podman 4.3 knows no owner of such a folder, so that everybody may write there. It would also copy into it
        // what the image has in its place.
        let mut options =
            ["rw", execution, "nosuid", "nodev", "mode=1777", "notmpcopyup"].map(str::to_owned).to_vec();
        options.push(format!("size={}", tmpfs.size_bytes));
        Ok(Self { kind: "tmpfs", source: "tmpfs", destination: text(&tmpfs.target)?, options })
    }
}

impl Resources {
    fn new(spec: &ContainerSpec) -> Result<Self> {
        if spec.max_processes == 0 {
            return Err(not_zero("the number of processes"));
        }
        let memory = spec.memory_bytes.map(|bytes| match i64::try_from(bytes) {
            Ok(0) => Err(not_zero("memory")),
            Ok(limit) => Ok(Memory { limit, swap: limit }),
            Err(_) => Err(Error::new(ErrorKind::Invalid, "so much memory is no limit").with("bytes", bytes)),
        });
        let cpu = spec.cpu_millis.map(|millis| match u64::from(millis) * CPU_PERIOD_US / 1000 {
            0 => Err(not_zero("CPU")),
            quota => Ok(Cpu { quota, period: CPU_PERIOD_US }),
        });
        Ok(Self {
            pids: Pids { limit: spec.max_processes },
            memory: memory.transpose()?,
            cpu: cpu.transpose()?,
        })
    }
}

fn resource_limits(spec: &ContainerSpec) -> [ResourceLimit; 3] {
    let limit = |kind, value| ResourceLimit { kind, soft: value, hard: value };
    [
        limit("core", 0),
        limit("nofile", spec.max_open_files),
        limit("nproc", u64::from(spec.max_processes).max(MIN_USER_PROCESSES)),
    ]
}

fn not_zero(what: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, "zero is no limit to Podman").with("of", what)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "Podman takes no path that is not UTF-8").with("path", path.display())
    })
}

/// The part of Podman's answer about a container that is needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InspectAnswer {
    id: String,
    name: String,
    state: StateAnswer,
    config: ConfigAnswer,
    mounts: Option<Vec<MountAnswer>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StateAnswer {
    status: String,
    pid: i64,
    exit_code: i64,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    started_at: String,
    finished_at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigAnswer {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MountAnswer {
    #[serde(rename = "Type")]
    kind: String,
    source: String,
    destination: String,
    #[serde(rename = "RW")]
    is_writable: bool,
}

impl From<InspectAnswer> for ContainerState {
    fn from(answer: InspectAnswer) -> Self {
        let InspectAnswer { id, name, state: found, config, mounts } = answer;
        let mut state = Self::new(ContainerId::new(id), name.trim_start_matches('/'), status(&found.status));
        state.labels = config.labels.unwrap_or_default();
        state.pid = u32::try_from(found.pid).ok().filter(|pid| *pid != 0 && state.status.is_alive());
        state.started_at = time(&found.started_at);
        if state.status == ContainerStatus::Exited && state.started_at.is_some() {
            // Podman takes the end of a short run from another clock than its beginning, and may say that it ended first.
            state.ended_at = time(&found.finished_at).max(state.started_at);
            state.exit_code = Some(found.exit_code);
        }
        state.out_of_memory = found.oom_killed;
        state.mounts = mounts.unwrap_or_default().into_iter().filter_map(MountAnswer::into_mount).collect();
        state
    }
}

impl MountAnswer {
    /// The folder of the machine that it shows: that of a volume is one, too.
    fn into_mount(self) -> Option<Mount> {
        let access = if self.is_writable { Access::ReadWrite } else { Access::ReadOnly };
        matches!(self.kind.as_str(), "bind" | "volume")
            .then(|| Mount::new(self.source, self.destination, access))
    }
}

/// A point in time, unless it is the one that Podman says for "never".
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time: &Timestamp| *time > Timestamp::UNIX_EPOCH)
}

/// What a container does. Podman has more words than `podman-api` knows, and newer versions may have others.
fn status(word: &str) -> ContainerStatus {
    match word {
        "created" | "configured" | "initialized" => ContainerStatus::Created,
        "running" | "stopping" => ContainerStatus::Running,
        "paused" => ContainerStatus::Paused,
        "exited" | "stopped" => ContainerStatus::Exited,
        "removing" => ContainerStatus::Removing,
        _ => ContainerStatus::Other,
    }
}

/// A container of a list. `None` for one without a name, which the storage has and Podman does not.
pub(crate) fn listed(container: models::ListContainer) -> Option<ContainerState> {
    let name = container.names?.into_iter().next()?;
    let status = status(container.state.as_deref().unwrap_or_default());
    let mut state =
        ContainerState::new(ContainerId::new(container.id?), name.trim_start_matches('/'), status);
    state.labels = container.labels.unwrap_or_default().into_iter().collect();
    Some(state)
}

/// Podman's answer about an image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageAnswer {
    id: String,
    repo_digests: Option<Vec<String>>,
    config: Option<ImageConfigAnswer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageConfigAnswer {
    env: Option<Vec<String>>,
}

impl From<ImageAnswer> for ImageInfo {
    fn from(answer: ImageAnswer) -> Self {
        let env = answer.config.and_then(|config| config.env).unwrap_or_default();
        let pairs = env.iter().filter_map(|pair| pair.split_once('='));
        Self {
            // Docker says which digest it is, Podman does not.
            id: format!("sha256:{}", answer.id.trim_start_matches("sha256:")),
            repo_digest: answer.repo_digests.unwrap_or_default().into_iter().next(),
            env: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            // Podman is told to ignore them.
            volumes: Vec::new(),
        }
    }
}

/// Who the engine is.
pub(crate) fn engine_info(answer: models::Info) -> EngineInfo {
    let mut info = EngineInfo::default();
    // Podman has no id of an installation. All its containers are in this folder.
    info.id = answer.store.and_then(|store| store.graph_root).unwrap_or_default();
    info.version = answer.version.and_then(|version| version.version).unwrap_or_default();
    let Some(host) = answer.host else { return info };
    let controllers = host.cgroup_controllers.unwrap_or_default();
    let has = |name: &str| controllers.iter().any(|controller| controller == name);
    (info.cpu_limit, info.memory_limit, info.process_limit) = (has("cpu"), has("memory"), has("pids"));
    if let Some(security) = host.security {
        info.rootless = security.rootless.unwrap_or_default();
        info.seccomp = security.seccomp_enabled.unwrap_or_default();
    }
    info.keeps_user = info.rootless;
    info
}

#[cfg(test)]
mod tests;
