//! From what a container is to be to Docker's request, and from Docker's answers to what a container is. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    Mount as BindMount, MountBindOptions, MountBindOptionsPropagationEnum, MountType, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};
use fastflow_core::{
    Error, ErrorKind, Result, Timestamp,
    executor::container::{
        Access, ContainerId, ContainerNetwork, ContainerSignal, ContainerSpec, ContainerState,
        ContainerStatus, EngineInfo, ImageInfo, Mount, Tmpfs,
    },
};
use serde::Deserialize;

/// The networks that every engine has. None of them keeps containers apart from each other or from the machine.
const BUILT_IN_NETWORKS: [&str; 4] = ["bridge", "default", "host", "none"];

/// Docker's request for a container. Whatever is not named here is never asked for.
pub(crate) fn create_body(spec: &ContainerSpec) -> Result<ContainerCreateBody> {
    if spec.user.keep_id {
        return Err(Error::new(ErrorKind::Unsupported, "Docker cannot keep the number of a user"));
    }
    let Some((program, args)) = spec.entrypoint.split_first() else {
        return Err(invalid("a container needs a program", "entrypoint", ""));
    };
    Ok(ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: Some(vec![program.clone()]),
        cmd: Some(args.to_vec()),
        working_dir: Some(text(&spec.working_dir)?),
        user: Some(spec.user.to_string()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        open_stdin: Some(false),
        tty: Some(false),
        stop_signal: Some(ContainerSignal::Terminate.name().to_owned()),
        stop_timeout: Some(i64::try_from(spec.stop_timeout.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        host_config: Some(host_config(spec)?),
        ..ContainerCreateBody::default()
    })
}

fn host_config(spec: &ContainerSpec) -> Result<HostConfig> {
    // For Docker 0 processes are any number of them.
    if spec.max_processes == 0 {
        return Err(invalid("a container needs a process", "max_processes", 0));
    }
    let memory = spec.memory_bytes.map(|bytes| number(bytes, "memory_bytes")).transpose()?;
    Ok(HostConfig {
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        privileged: Some(false),
        readonly_rootfs: Some(true),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        // An engine can be set up to put a first process of its own before ours.
        init: Some(false),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: Some(HashMap::new()) }),
        network_mode: Some(network_mode(&spec.network)?),
        mounts: Some(spec.mounts.iter().map(bind_mount).collect::<Result<_>>()?),
        tmpfs: Some(spec.tmpfs.iter().map(tmpfs).collect::<Result<_>>()?),
        nano_cpus: spec
            .cpu_millis
            .map(|millis| number(u64::from(millis) * 1_000_000, "cpu_millis"))
            .transpose()?,
        memory,
        // Together with swap: there is none beside it.
        memory_swap: memory,
        pids_limit: Some(i64::from(spec.max_processes)),
        ulimits: Some(vec![
            ulimit("core", 0),
            ulimit("nofile", number(spec.max_open_files, "max_open_files")?),
        ]),
        ..HostConfig::default()
    })
}

fn network_mode(network: &ContainerNetwork) -> Result<String> {
    match network {
        ContainerNetwork::None => Ok("none".to_owned()),
        ContainerNetwork::Named(name) => network_name(name).map(str::to_owned),
    }
}

/// Refuses what would be another thing than a network of this name, as `host` or `container:…`.
pub(crate) fn network_name(name: &str) -> Result<&str> {
    let name = plain_name(name)?;
    if BUILT_IN_NETWORKS.contains(&name) {
        return Err(invalid("a network of the engine itself", "name", name));
    }
    Ok(name)
}

/// Refuses what is not a name or an id and could become another part of an address.
pub(crate) fn plain_name(name: &str) -> Result<&str> {
    let is_plain = name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if is_plain { Ok(name) } else { Err(invalid("not a name in Docker", "name", name.escape_debug())) }
}

/// A mount, and not a bind of the old kind: that one makes a source that is not there.
fn bind_mount(mount: &Mount) -> Result<BindMount> {
    Ok(BindMount {
        typ: Some(MountType::BIND),
        source: Some(text(&mount.source)?),
        target: Some(text(&mount.target)?),
        read_only: Some(mount.access == Access::ReadOnly),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..BindMount::default()
    })
}

fn tmpfs(tmpfs: &Tmpfs) -> Result<(String, String)> {
    // To the kernel a size of 0 is no limit.
    if tmpfs.size_bytes == 0 {
        return Err(invalid("a folder in memory needs a size", "target", tmpfs.target.display()));
    }
    let execution = if tmpfs.allow_execution { "exec" } else { "noexec" };
    Ok((text(&tmpfs.target)?, format!("rw,{execution},nosuid,nodev,size={},mode=1777", tmpfs.size_bytes)))
}

fn ulimit(name: &str, limit: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(limit), hard: Some(limit) }
}

fn text(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) if path.is_absolute() => Ok(text.to_owned()),
        _ => Err(invalid("not an absolute path in UTF-8", "path", path.display())),
    }
}

/// A limit as Docker takes it. It takes 0 as none, and -1 as well.
fn number(value: u64, field: &'static str) -> Result<i64> {
    match i64::try_from(value) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(invalid("a limit that Docker does not have", field, value)),
    }
}

fn invalid(message: &'static str, field: &'static str, found: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Invalid, message).with(field, found)
}

/// The answer to a question for one container. Only what is used, and nothing that a new word could make fail.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InspectAnswer {
    id: String,
    name: String,
    #[serde(default)]
    config: Option<InspectConfig>,
    state: InspectState,
    #[serde(default)]
    mounts: Option<Vec<InspectMount>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectConfig {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectState {
    status: String,
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    exit_code: i64,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    started_at: Option<String>,
    finished_at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectMount {
    r#type: Option<String>,
    source: Option<String>,
    destination: Option<String>,
    #[serde(default, rename = "RW")]
    rw: bool,
}

impl From<InspectAnswer> for ContainerState {
    fn from(answer: InspectAnswer) -> Self {
        let status = status(&answer.state.status);
        let name = answer.name.strip_prefix('/').unwrap_or(&answer.name);
        let mut state = Self::new(ContainerId::new(answer.id), name, status);
        state.labels = answer.config.and_then(|config| config.labels).unwrap_or_default();
        state.pid = Some(answer.state.pid).filter(|pid| *pid > 0);
        state.started_at = answer.state.started_at.as_deref().and_then(time);
        state.ended_at = answer.state.finished_at.as_deref().and_then(time).filter(|_| !status.is_alive());
        // One that never ran has a code, too, and it is 0.
        state.exit_code = state.ended_at.and(state.started_at).map(|_| answer.state.exit_code);
        state.out_of_memory = answer.state.oom_killed;
        state.mounts =
            answer.mounts.unwrap_or_default().into_iter().filter_map(InspectMount::folder).collect();
        state
    }
}

impl InspectMount {
    /// The folder of the machine that it shows: that of a volume is one, too.
    fn folder(self) -> Option<Mount> {
        let access = if self.rw { Access::ReadWrite } else { Access::ReadOnly };
        matches!(self.r#type.as_deref(), Some("bind" | "volume"))
            .then(|| Some(Mount::new(self.source?, self.destination?, access)))?
    }
}

/// Docker's time for what has not happened is that of the year 1.
fn time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().filter(|time| *time > Timestamp::UNIX_EPOCH)
}

fn status(word: &str) -> ContainerStatus {
    match word {
        "created" => ContainerStatus::Created,
        "running" | "restarting" | "stopping" => ContainerStatus::Running,
        "paused" => ContainerStatus::Paused,
        "exited" | "stopped" => ContainerStatus::Exited,
        "removing" | "dead" => ContainerStatus::Removing,
        _ => ContainerStatus::Other,
    }
}

/// One container of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedAnswer {
    id: String,
    names: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    state: String,
}

impl From<ListedAnswer> for ContainerState {
    fn from(answer: ListedAnswer) -> Self {
        let names = answer.names.unwrap_or_default();
        // Names with another slash are those under which another container knows it.
        let own = names.iter().filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/'));
        let mut state =
            Self::new(ContainerId::new(answer.id), own.unwrap_or_default(), status(&answer.state));
        state.labels = answer.labels.unwrap_or_default();
        state
    }
}

/// What the engine says about itself.
#[derive(Debug, Deserialize)]
pub(crate) struct InfoAnswer {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "ServerVersion")]
    server_version: Option<String>,
    #[serde(rename = "SecurityOptions")]
    security_options: Option<Vec<String>>,
    #[serde(default, rename = "CpuCfsQuota")]
    cpu_cfs_quota: bool,
    #[serde(default, rename = "MemoryLimit")]
    memory_limit: bool,
    #[serde(default, rename = "PidsLimit")]
    pids_limit: bool,
}

impl From<InfoAnswer> for EngineInfo {
    fn from(answer: InfoAnswer) -> Self {
        let options = answer.security_options.unwrap_or_default();
        let option = |name: &str| options.iter().find(|option| option.split(',').any(|part| part == name));
        let mut info = Self::default();
        info.rootless = option("name=rootless").is_some();
        info.remaps_users = option("name=userns").is_some();
        let seccomp = option("name=seccomp");
        info.seccomp =
            seccomp.is_some_and(|option| !option.split(',').any(|part| part == "profile=unconfined"));
        info.id = answer.id.unwrap_or_default();
        info.version = answer.server_version.unwrap_or_default();
        info.cpu_limit = answer.cpu_cfs_quota;
        info.memory_limit = answer.memory_limit;
        info.process_limit = answer.pids_limit;
        info
    }
}

/// What the engine says about an image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageAnswer {
    id: String,
    repo_digests: Option<Vec<String>>,
    config: Option<ImageConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageConfig {
    env: Option<Vec<String>>,
    volumes: Option<serde_json::Map<String, serde_json::Value>>,
}

impl From<ImageAnswer> for ImageInfo {
    fn from(answer: ImageAnswer) -> Self {
        let digests = answer.repo_digests.unwrap_or_default();
        let (env, volumes) = answer.config.map(|config| (config.env, config.volumes)).unwrap_or_default();
        let env = env.unwrap_or_default();
        Self {
            id: answer.id,
            repo_digest: digests.iter().find_map(|name| Some(name.split_once('@')?.1.to_owned())),
            env: env.iter().filter_map(|line| line.split_once('=')).map(own).collect(),
            volumes: volumes.unwrap_or_default().into_iter().map(|(path, _)| path.into()).collect(),
        }
    }
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests;
