//! Podman containers keep the contract of executors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../../fastflow-docker/tests/conformance/outside.rs"]
mod outside;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use fastflow_core::{
    AttemptId, OwnerId, SystemClock,
    executor::{
        AttemptSpec, Executor,
        container::{ContainerConfig, PullPolicy},
    },
    testing::{
        conformance::executor::{ExecutorFixture, Interference},
        tool,
    },
};
use fastflow_podman::PodmanConfig;

use outside::Outside;

struct Podman;

/// What hosts of one installation share.
fn state_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("podman-executor")
}

#[async_trait]
impl ExecutorFixture for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    async fn executor(&self) -> Option<Arc<dyn Executor>> {
        let (host, image) = tool::podman()?;
        let mut config = PodmanConfig::default();
        config.host = Some(host.parse().unwrap());
        let mut containers = ContainerConfig::new(state_dir());
        containers.image = image.parse().unwrap();
        containers.pull = PullPolicy::Never;
        let executor = fastflow_podman::executor(config, containers, Arc::new(SystemClock::new())).unwrap();
        executor.probe().await.unwrap();
        Some(Arc::new(executor))
    }

    fn spec(&self, id: AttemptId, owner: OwnerId, script: &str, run_dir: PathBuf) -> AttemptSpec {
        let argv = ["/bin/sh", "-c", script, "sh"].map(String::from).to_vec();
        AttemptSpec::new(id, owner, argv, run_dir)
    }

    /// A start takes a quarter of a second where nothing else runs.
    fn rounds(&self, usual: u32) -> u32 {
        usual / 2
    }

    fn case_timeout(&self) -> Duration {
        Duration::from_mins(5)
    }

    fn places(&self) -> Vec<PathBuf> {
        vec![PathBuf::from("/dev/shm"), state_dir()]
    }

    async fn sandboxes(&self, owner: &OwnerId) -> Vec<String> {
        outside().sandboxes(owner)
    }

    async fn outside_view(&self, sandbox: &str) -> Vec<String> {
        outside().view(sandbox)
    }

    async fn interfere(&self, sandbox: &str, how: Interference) -> bool {
        outside().interfere(sandbox, how)
    }

    /// Podman's seccomp profile lets programs make user namespaces, in which they are root over nothing but these.
    fn does_without(&self, capability: &str) -> bool {
        capability == "namespaces"
    }
}

fn outside() -> Outside {
    let (host, _) = tool::podman().expect("there is an engine: the executor was made");
    Outside::new(&host, "v4.0.0/libpod")
}

fastflow_core::executor_conformance!(Podman);
