//! Which executor runs the pipelines, and what to do where it cannot.

use std::{error::Error, fmt, io::Write as _, path::Path, sync::Arc};

use clap::ValueEnum;
use fastflow_core::{
    ErrorKind, SystemClock,
    environment::SetupLog,
    executor::{
        Executor, ImageName,
        container::{ContainerConfig, ContainerExecutor},
    },
};

/// What runs the pipelines.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Engine {
    /// Processes of this machine
    Process,
    /// Docker containers
    Docker,
    /// Podman containers
    Podman,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Docker => "docker",
            Self::Podman => "podman",
        })
    }
}

impl Engine {
    /// An executor for containers that is known to work, with its image there; `None` for processes.
    ///
    /// # Errors
    ///
    /// When the engine or the image cannot be had, with what to do about it.
    pub(crate) async fn executor(
        self,
        data: &Path,
        image: Option<ImageName>,
    ) -> Result<Option<ContainerExecutor>, Box<dyn Error>> {
        let mut containers = ContainerConfig::new(data.join(self.to_string()));
        if let Some(image) = image {
            containers.image = image;
        }
        let name = containers.image.clone();
        let clock = Arc::new(SystemClock::new());
        let executor = match self {
            Self::Process => return Ok(None),
            Self::Docker => {
                fastflow_docker::executor(fastflow_docker::DockerConfig::default(), containers, clock)?
            }
            Self::Podman => {
                fastflow_podman::executor(fastflow_podman::PodmanConfig::default(), containers, clock)?
            }
        };
        executor.probe().await.map_err(|error| format!("{}\n{}", error.chain(), self.help(error.kind())))?;
        executor.workbench(None, &Terminal).await.map_err(|error| {
            let help = "another image can be chosen with IMAGE=<name>; it needs Python and uv, and may be brought to the engine by its own `pull`, `load` or `build`";
            format!("the pipelines need the image {name}, and it cannot be had: {}\n{help}", error.chain())
        })?;
        Ok(Some(executor))
    }

    fn help(self, kind: ErrorKind) -> &'static str {
        match (self, kind) {
            (Self::Docker, ErrorKind::Denied) => {
                "this user may not talk to Docker: join the group `docker`, or use a rootless engine and set DOCKER_HOST"
            }
            (Self::Docker, _) => {
                "is Docker installed and started? If it listens elsewhere, set DOCKER_HOST=unix:///path/to/docker.sock"
            }
            (Self::Podman, ErrorKind::Denied) => {
                "this user may not talk to that Podman: start one of your own with `systemctl --user start podman.socket`"
            }
            _ => {
                "is Podman's service started? `systemctl --user start podman.socket` starts it, or `podman system service --time=0 unix:///path` with CONTAINER_HOST=unix:///path"
            }
        }
    }
}

/// Progress for the person who waits.
struct Terminal;

impl SetupLog for Terminal {
    fn line(&self, text: &str) {
        // Nobody to tell is no reason to stop.
        let _ = writeln!(anstream::stderr(), "{text}");
    }
}
