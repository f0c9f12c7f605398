//! Secrets of runs in Docker containers are found nowhere, whatever becomes of these.
//!
//! `FASTFLOW_SEED` repeats the order of the runs and the moments of their ends, as far as the machine allows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use fastflow_core::{
    Clock,
    executor::container::ContainerEngine,
    testing::{tool, torture::Containers},
};
use fastflow_docker::{DockerConfig, DockerEngine};

fn connect(address: &str, clock: Arc<dyn Clock>) -> Arc<dyn ContainerEngine> {
    let mut config = DockerConfig::default();
    config.host = Some(address.parse().unwrap());
    Arc::new(DockerEngine::new(config, clock).unwrap())
}

const DOCKER: Containers = Containers { name: "docker", engine: tool::docker, connect };

fastflow_core::executor_canary!(DOCKER);
