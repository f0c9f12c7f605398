//! The machine around the host: an engine, folders, and the container that the host runs in.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use bollard::{
    Docker,
    container::LogOutput,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        CreateContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions,
    },
};
use fastflow_core::testing::tool;
use futures::StreamExt as _;
use tempfile::TempDir;

use crate::{
    host::{ANSWER, CASE, Case, DATA, ENGINE, ORDERS, PIPELINES},
    socket::docker,
};

/// Where the host program lies in its container.
const PROGRAM: &str = "/host-program";
const PIPELINE: &str = "import os\nprint('hello from', os.getuid())\n";

pub(crate) struct Outer {
    docker: Docker,
    socket: PathBuf,
    image: String,
    folder: TempDir,
    /// In memory.
    orders: TempDir,
}

impl Outer {
    /// `None` where there is no engine; then it has said so.
    pub(crate) fn new() -> Option<Self> {
        let Some((host, image)) = tool::docker() else {
            tool::require("docker", "start the engines with `tools/setup-engines`");
            return None;
        };
        let Some(socket) = host.strip_prefix("unix://") else {
            tool::require("docker", "the engine has no socket on this machine");
            return None;
        };
        let docker = docker(Path::new(socket));
        let folder = tempfile::tempdir().unwrap();
        let orders = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(orders.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir_all(folder.path().join("pipelines/hello")).unwrap();
        fs::write(folder.path().join("pipelines/hello/main.py"), PIPELINE).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        Some(Self { docker, socket: socket.into(), image, folder, orders })
    }

    /// What the host has as [`DATA`].
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs the host in a container of its own to its end, and returns its answer.
    pub(crate) async fn host(&self, case: Case) -> String {
        let body = self.container(case);
        let id = self.docker.create_container(None::<CreateContainerOptions>, body).await.unwrap().id;
        self.docker.start_container(&id, None::<StartContainerOptions>).await.unwrap();
        // An exit code other than 0 is an error to bollard; the answer tells.
        let _ = self.docker.wait_container(&id, None::<WaitContainerOptions>).next().await;
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
        let said: Vec<_> = self.docker.logs(&id, Some(options)).collect().await;
        let said: String = said.into_iter().filter_map(Result::ok).map(text).collect();
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        self.docker.remove_container(&id, Some(options)).await.unwrap();
        let answer = self.folder.path().join("data").join(ANSWER);
        let words =
            fs::read_to_string(&answer).unwrap_or_else(|_| panic!("the host has not answered: {said}"));
        fs::remove_file(answer).unwrap();
        words
    }

    fn container(&self, case: Case) -> ContainerCreateBody {
        let this = std::env::current_exe().unwrap();
        let folder = self.folder.path();
        let mut binds = vec![
            bind(&this, PROGRAM, "ro"),
            bind(&self.socket, ENGINE, "rw"),
            bind(&folder.join("data"), DATA, "rw"),
            bind(&folder.join("pipelines"), PIPELINES, "ro"),
        ];
        if case != Case::OrdersInside {
            binds.push(bind(self.orders.path(), ORDERS, "rw"));
        }
        let argv = [PROGRAM, "--exact", "host::as_a_host", "--ignored", "--nocapture"];
        ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: Some(argv.map(str::to_owned).to_vec()),
            env: Some(vec![
                format!("{CASE}={}", case.name()),
                format!("{}={}", crate::host::OUTSIDE, folder.display()),
                format!("{}={}", crate::host::ORDERS_OUTSIDE, self.orders.path().display()),
                format!("{}={}", crate::host::IMAGE, self.image),
            ]),
            host_config: Some(HostConfig { binds: Some(binds), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        }
    }

    /// Whether no order is left.
    pub(crate) fn orders_are_gone(&self) -> bool {
        fs::read_dir(self.orders.path()).unwrap().next().is_none()
    }

    /// How many containers there are of attempts of this test.
    pub(crate) async fn attempts(&self) -> usize {
        let label = format!("fastflow.owner={}", self.owner());
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        self.docker.list_containers(Some(options)).await.unwrap().len()
    }

    /// Whose the attempts of the host are, who has it from the same folder.
    fn owner(&self) -> String {
        crate::host::owner(self.folder.path())
    }
}

fn bind(source: &Path, target: &str, access: &str) -> String {
    format!("{}:{target}:{access}", source.display())
}

fn text(line: LogOutput) -> String {
    String::from_utf8_lossy(&line.into_bytes()).into_owned()
}
