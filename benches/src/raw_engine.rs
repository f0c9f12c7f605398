//! The least that a container costs on an engine: its own API, by hand, over one connection that stays open.

use std::{collections::BTreeMap, path::Path, time::Duration};

use bytes::Bytes;
use fastflow_core::{
    Error, ErrorKind, Result,
    executor::container::{Access, ContainerSpec},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, client::conn::http1, header::CONTENT_TYPE, header::HOST};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::UnixStream, task::JoinHandle};

use crate::process::monotonic;

/// Whose API it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Api {
    /// Docker's, version 1.41.
    Docker,
    /// Podman's own, version 4.0.0.
    Podman,
}

/// A program, and the container that it runs in.
#[derive(Clone, Debug)]
pub struct Twin {
    /// The container, as it was asked for of the same engine. Its name and its entry point do not count.
    pub container: ContainerSpec,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Where it starts.
    pub working_dir: String,
}

/// How long each step of one container took.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Until it was made.
    pub create: Duration,
    /// Until it was started.
    pub start: Duration,
    /// Until the engine said that it had ended.
    pub wait: Duration,
    /// Until it was removed.
    pub remove: Duration,
}

impl Life {
    /// All steps together.
    pub fn total(&self) -> Duration {
        self.create + self.start + self.wait + self.remove
    }
}

/// An open connection to an engine.
#[derive(Debug)]
pub struct RawEngine {
    api: Api,
    sender: http1::SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
}

#[derive(Deserialize)]
struct DockerEnd {
    #[serde(rename = "StatusCode")]
    status_code: i64,
}

impl RawEngine {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    ///
    /// When nobody listens there.
    pub async fn connect(api: Api, path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let driver = tokio::spawn(async { drop(connection.await) });
        Ok(Self { api, sender, driver })
    }

    /// Makes a container, starts it, waits for its end, and removes it.
    ///
    /// # Errors
    ///
    /// When the engine refuses a step, or the program does not exit with 0.
    pub async fn life(&mut self, name: &str, twin: &Twin) -> Result<Life> {
        let mut at = monotonic();
        let mut step = || {
            let before = std::mem::replace(&mut at, monotonic());
            at.saturating_sub(before)
        };
        let (prefix, target, body) = match self.api {
            Api::Docker => {
                ("/v1.41/containers", format!("/v1.41/containers/create?name={name}"), docker_body(twin))
            }
            Api::Podman => {
                let prefix = "/v4.0.0/libpod/containers";
                (prefix, format!("{prefix}/create"), podman_body(name, twin))
            }
        };
        let answer = self.ask(Method::POST, &target, Some(&body)).await?;
        let id = serde_json::from_slice::<Created>(&answer).map_err(failed)?.id;
        let create = step();
        self.ask(Method::POST, &format!("{prefix}/{id}/start"), None).await?;
        let start = step();
        let condition = match self.api {
            Api::Docker => "condition=not-running",
            Api::Podman => "condition=stopped&condition=exited&interval=10ms",
        };
        let answer = self.ask(Method::POST, &format!("{prefix}/{id}/wait?{condition}"), None).await?;
        let wait = step();
        let force = match self.api {
            Api::Docker => "v=1&force=1",
            Api::Podman => "v=true&force=true&timeout=0",
        };
        self.ask(Method::DELETE, &format!("{prefix}/{id}?{force}"), None).await?;
        let remove = step();
        let code = match self.api {
            Api::Docker => serde_json::from_slice::<DockerEnd>(&answer).map_err(failed)?.status_code,
            Api::Podman => serde_json::from_slice::<i64>(&answer).map_err(failed)?,
        };
        if code == 0 {
            return Ok(Life { create, start, wait, remove });
        }
        Err(Error::new(ErrorKind::Internal, "the floor's container did not end well").with("code", code))
    }

    async fn ask(&mut self, method: Method, target: &str, body: Option<&Value>) -> Result<Bytes> {
        let bytes = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "engine")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(bytes)))
            .map_err(failed)?;
        self.sender.ready().await.map_err(failed)?;
        let response = self.sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(Error::new(ErrorKind::Unavailable, "the engine refuses a step of the floor")
            .with("target", target)
            .with("status", status)
            .with("answer", String::from_utf8_lossy(&body)))
    }
}

impl Drop for RawEngine {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn docker_body(twin: &Twin) -> Value {
    let spec = &twin.container;
    let mounts: Vec<Value> = spec
        .mounts
        .iter()
        .map(|mount| {
            json!({
                "Type": "bind", "Source": mount.source, "Target": mount.target,
                "ReadOnly": mount.access == Access::ReadOnly, "BindOptions": {"Propagation": "rprivate"},
            })
        })
        .collect();
    let tmpfs: BTreeMap<String, String> = spec
        .tmpfs
        .iter()
        .map(|tmpfs| {
            let options = format!("rw,noexec,nosuid,nodev,size={},mode=1777", tmpfs.size_bytes);
            (tmpfs.target.display().to_string(), options)
        })
        .collect();
    let env: Vec<String> = twin.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "Image": spec.image, "Entrypoint": [twin.argv[0]], "Cmd": twin.argv[1..], "Env": env,
        "User": spec.user.to_string(), "WorkingDir": twin.working_dir, "Labels": spec.labels,
        "AttachStdin": false, "AttachStdout": false, "AttachStderr": false, "OpenStdin": false, "Tty": false,
        "StopSignal": "SIGTERM", "StopTimeout": spec.stop_timeout.as_secs(),
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges:true"], "Privileged": false,
            "ReadonlyRootfs": true, "IpcMode": "private", "CgroupnsMode": "private",
            "RestartPolicy": {"Name": "no"}, "AutoRemove": false, "Init": false,
            "LogConfig": {"Type": "none", "Config": {}}, "NetworkMode": "none",
            "Mounts": mounts, "Tmpfs": tmpfs,
            "NanoCpus": spec.cpu_millis.map(|millis| u64::from(millis) * 1_000_000),
            "Memory": spec.memory_bytes, "MemorySwap": spec.memory_bytes, "PidsLimit": spec.max_processes,
            "Ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "nofile", "Soft": spec.max_open_files, "Hard": spec.max_open_files},
            ],
        },
    })
}

fn podman_body(name: &str, twin: &Twin) -> Value {
    const USER_PROCESSES: u32 = 4096;
    let spec = &twin.container;
    let binds = spec.mounts.iter().map(|mount| {
        let access = if mount.access == Access::ReadOnly { "ro" } else { "rw" };
        json!({
            "type": "bind", "source": mount.source, "destination": mount.target,
            "options": [access, "rbind", "rprivate", "nosuid", "nodev"],
        })
    });
    let tmpfs = spec.tmpfs.iter().map(|tmpfs| {
        let size = format!("size={}", tmpfs.size_bytes);
        json!({
            "type": "tmpfs", "source": "tmpfs", "destination": tmpfs.target,
            "options": ["rw", "noexec", "nosuid", "nodev", "mode=1777", "notmpcopyup", size],
        })
    });
    let mounts: Vec<Value> = binds.chain(tmpfs).collect();
    json!({
        "name": name, "image": spec.image, "entrypoint": [twin.argv[0]], "command": twin.argv[1..],
        "env": twin.env, "user": spec.user.to_string(), "work_dir": twin.working_dir, "labels": spec.labels,
        "terminal": false, "stdin": false, "stop_signal": 15, "stop_timeout": spec.stop_timeout.as_secs(),
        "healthconfig": {"Test": ["NONE"]}, "mounts": mounts,
        "netns": {"nsmode": "none"}, "ipcns": {"nsmode": "private"}, "pidns": {"nsmode": "private"},
        "utsns": {"nsmode": "private"}, "cgroupns": {"nsmode": "private"},
        "read_only_filesystem": true, "privileged": false, "cap_add": [], "cap_drop": ["ALL"],
        "no_new_privileges": true,
        "resource_limits": {
            "pids": {"limit": spec.max_processes},
            "memory": {"limit": spec.memory_bytes, "swap": spec.memory_bytes},
        },
        "r_limits": [
            {"type": "core", "soft": 0, "hard": 0},
            {"type": "nofile", "soft": spec.max_open_files, "hard": spec.max_open_files},
            {"type": "nproc", "soft": USER_PROCESSES, "hard": USER_PROCESSES},
        ],
        "log_configuration": {"driver": "none"}, "restart_policy": "no", "remove": false, "init": false,
        "systemd": "false", "sdnotifyMode": "ignore", "env_host": false, "httpproxy": false,
        "image_volume_mode": "ignore",
    })
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "talking to the engine failed").because(error)
}
