//! Container engines. Only pipelines that ask for them need them.

use std::sync::Arc;

use fastflow_core::{
    Clock, Error, SystemClock,
    executor::container::{ContainerEngine, EngineInfo},
};
use fastflow_docker::{DockerConfig, DockerEngine};
use fastflow_podman::{PodmanConfig, PodmanEngine};

use super::check::Check;

/// Whether they can be reached.
pub(super) async fn engines() -> [Check; 2] {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (docker, podman) = tokio::join!(docker(Arc::clone(&clock)), podman(clock));
    [
        check("docker", docker, "needed for \"executor\": \"docker\" only; start it, or set DOCKER_HOST"),
        check(
            "podman",
            podman,
            "needed for \"executor\": \"podman\" only; `systemctl --user start podman.socket`, or set CONTAINER_HOST",
        ),
    ]
}

async fn docker(clock: Arc<dyn Clock>) -> Result<EngineInfo, Error> {
    DockerEngine::new(DockerConfig::default(), clock)?.info().await
}

async fn podman(clock: Arc<dyn Clock>) -> Result<EngineInfo, Error> {
    PodmanEngine::new(PodmanConfig::default(), clock)?.info().await
}

fn check(name: &'static str, found: Result<EngineInfo, Error>, help: &str) -> Check {
    match found {
        Ok(info) => {
            let how = if info.rootless { "rootless" } else { "as root" };
            Check::ok(name, format!("{} {how}", info.version))
        }
        Err(error) => Check::warn(name, error.chain(), help),
    }
}
