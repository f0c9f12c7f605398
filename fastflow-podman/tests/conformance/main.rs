//! Podman containers keep the contract of executors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use fastflow_core::{
    AttemptId, OwnerId, SystemClock,
    executor::{
        AttemptSpec, Executor,
        container::{ContainerConfig, PullPolicy},
    },
    testing::{conformance::executor::ExecutorFixture, tool},
};
use fastflow_podman::PodmanConfig;

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
}

fastflow_core::executor_conformance!(Podman);
