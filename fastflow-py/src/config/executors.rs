//! The executors, by name.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use fastflow_core::{
    Clock, Error, ErrorKind, ExecutorName, OrchestratorBuilder, Result, SystemClock,
    executor::{
        container::{ContainerConfig, ImageChoice, PullPolicy},
        process::{CgroupMode, ProcessConfig, ProcessExecutor},
    },
    layout::DataDir,
    pipeline::ByteSize,
};
use fastflow_docker::DockerConfig;
use fastflow_podman::PodmanConfig;
use pyo3::prelude::*;

use super::options::{Options, Size, duration, parsed, put, put_read};
use crate::executor::ExecutorPort;

/// The name of the executor that is there unless others are given. It keeps its state where that one does, so that
/// both find each other's programs.
const PROCESS: &str = "process";
/// The folder, in the data directory, below which the others keep theirs.
const FOLDER: &str = "executors";

/// The executors, by name. The first is the default.
pub(super) struct Executors(Vec<(ExecutorName, Given)>);

/// An executor that is not set up yet.
enum Given {
    Process(GivenProcess),
    Docker(GivenDocker),
    Podman(GivenPodman),
    /// One that is written in Python.
    Python(Py<ExecutorPort>),
}

impl<'py> FromPyObject<'_, 'py> for Given {
    type Error = PyErr;

    /// By what is there of it, so that what is wrong with one is not told of all.
    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(port) = given.cast::<ExecutorPort>() {
            return Ok(Self::Python(port.to_owned().unbind()));
        }
        if given.contains("docker")? {
            return given.extract().map(Self::Docker);
        }
        if given.contains("podman")? {
            return given.extract().map(Self::Podman);
        }
        given.extract().map(Self::Process)
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GivenProcess {
    cgroups: bool,
    secrets_folder: Option<PathBuf>,
}

/// What engines have in common. Times are in seconds.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GivenContainers {
    image: Option<String>,
    images: Option<Vec<String>>,
    pull: String,
    user: Option<(u32, u32)>,
    order_folder: Option<PathBuf>,
    default_memory: Option<Size>,
    default_max_processes: Option<u32>,
    max_open_files: Option<u64>,
    tmp_size: Option<Size>,
    network: Option<String>,
    max_warm: Option<u32>,
    warm_lifetime: Option<f64>,
    host_paths: Vec<(PathBuf, PathBuf)>,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GivenDocker {
    docker: GivenEngine,
    containers: GivenContainers,
    tls_folder: Option<PathBuf>,
    credentials_folder: Option<PathBuf>,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GivenPodman {
    podman: GivenEngine,
    containers: GivenContainers,
    auth_file: Option<PathBuf>,
}

/// Where an engine is, and how many seconds it may take.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GivenEngine {
    host: Option<String>,
    allow_plain_tcp: bool,
    call_timeout: Option<f64>,
    change_timeout: Option<f64>,
    pull_stall_timeout: Option<f64>,
}

impl Executors {
    pub(super) fn read(options: &Options<'_, '_>) -> PyResult<Self> {
        let given = options.get::<Vec<(String, Given)>>("executors")?;
        let read = given.into_iter().map(|(name, given)| {
            let name = name.parse()?;
            // What it says is looked at now, though it is set up once there is a data directory.
            given.check()?;
            Ok((name, given))
        });
        Ok(Self(options.checked("executors", read.collect())?))
    }

    /// Lets the threads go that run the methods of those in Python.
    pub(super) fn end(&self) {
        for (_, given) in &self.0 {
            if let Given::Python(port) = given {
                port.get().lanes().close();
            }
        }
    }

    /// Sets them up in the data directory.
    pub(super) fn apply(
        &self,
        mut builder: OrchestratorBuilder,
        data_dir: &Path,
    ) -> Result<OrchestratorBuilder> {
        if self.0.is_empty() {
            return Ok(builder);
        }
        let data = DataDir::new(data_dir).create()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        for (name, given) in &self.0 {
            let folder = match name.as_str() {
                PROCESS => data.executor_dir(),
                name => data.root().join(FOLDER).join(name),
            };
            let clock = Arc::clone(&clock);
            builder = match given {
                Given::Process(given) => {
                    builder.executor(name.as_str(), ProcessExecutor::new(&given.config(folder), clock)?)
                }
                Given::Docker(given) => {
                    let containers = given.containers.config(folder)?;
                    let docker = fastflow_docker::executor(given.config()?, containers, clock)?;
                    builder.executor(name.as_str(), docker)
                }
                Given::Podman(given) => {
                    let containers = given.containers.config(folder)?;
                    let podman = fastflow_podman::executor(given.config()?, containers, clock)?;
                    builder.executor(name.as_str(), podman)
                }
                Given::Python(port) => builder.executor(name.as_str(), port.get().executor()),
            };
        }
        Ok(builder)
    }
}

impl Given {
    fn check(&self) -> Result<()> {
        let containers = match self {
            Self::Process(_) | Self::Python(_) => return Ok(()),
            Self::Docker(given) => given.config().map(|_| &given.containers)?,
            Self::Podman(given) => given.config().map(|_| &given.containers)?,
        };
        containers.config(PathBuf::new()).map(drop)
    }
}

impl GivenProcess {
    fn config(&self, folder: PathBuf) -> ProcessConfig {
        let mut config = ProcessConfig::new(folder);
        config.cgroups = if self.cgroups { CgroupMode::Auto } else { CgroupMode::Off };
        config.secrets_dir.clone_from(&self.secrets_folder);
        config
    }
}

impl GivenContainers {
    fn config(&self, folder: PathBuf) -> Result<ContainerConfig> {
        let mut config = ContainerConfig::new(folder);
        put_read(&mut config.image, self.image.as_ref(), |image| image.parse())?;
        put_read(&mut config.images, self.images.as_deref(), |images| {
            Ok(ImageChoice::Listed(parsed(images)?))
        })?;
        config.pull = pull(&self.pull)?;
        config.user = self.user;
        config.order_dir.clone_from(&self.order_folder);
        config.default_memory_bytes =
            self.default_memory.as_ref().map(|size| size.read().map(ByteSize::bytes)).transpose()?;
        put(&mut config.default_max_processes, self.default_max_processes);
        put(&mut config.max_open_files, self.max_open_files);
        put_read(&mut config.tmp_bytes, self.tmp_size.as_ref(), |size| Ok(size.read()?.bytes()))?;
        put(&mut config.network, self.network.clone());
        put(&mut config.max_warm, self.max_warm);
        put_read(&mut config.warm_lifetime, self.warm_lifetime, duration)?;
        config.host_paths.clone_from(&self.host_paths);
        Ok(config)
    }
}

impl GivenDocker {
    fn config(&self) -> Result<DockerConfig> {
        let mut config = DockerConfig::default();
        config.host = self.docker.host.as_ref().map(|host| host.parse()).transpose()?;
        config.allow_plain_tcp = self.docker.allow_plain_tcp;
        config.tls_folder.clone_from(&self.tls_folder);
        config.credentials_folder.clone_from(&self.credentials_folder);
        put_read(&mut config.call_timeout, self.docker.call_timeout, duration)?;
        put_read(&mut config.change_timeout, self.docker.change_timeout, duration)?;
        put_read(&mut config.pull_stall_timeout, self.docker.pull_stall_timeout, duration)?;
        Ok(config)
    }
}

impl GivenPodman {
    fn config(&self) -> Result<PodmanConfig> {
        let mut config = PodmanConfig::default();
        config.host = self.podman.host.as_ref().map(|host| host.parse()).transpose()?;
        config.allow_plain_tcp = self.podman.allow_plain_tcp;
        config.auth_file.clone_from(&self.auth_file);
        put_read(&mut config.call_timeout, self.podman.call_timeout, duration)?;
        put_read(&mut config.change_timeout, self.podman.change_timeout, duration)?;
        put_read(&mut config.pull_stall_timeout, self.podman.pull_stall_timeout, duration)?;
        Ok(config)
    }
}

fn pull(policy: &str) -> Result<PullPolicy> {
    match policy {
        "missing" => Ok(PullPolicy::Missing),
        "always" => Ok(PullPolicy::Always),
        "never" => Ok(PullPolicy::Never),
        _ => Err(Error::new(ErrorKind::Invalid, "not a time to fetch images").with("found", policy)),
    }
}
