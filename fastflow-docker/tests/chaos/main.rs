//! Docker engines that are killed, hidden and meddled with while runs go on.
//!
//! Each test starts an engine of its own by `tools/setup-engines`, in a folder beside that of the other tests' engines,
//! and stops it at its end. Tests wait for each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod daemon;
mod engine;
mod outside;
mod stage;

use std::sync::Arc;

use fastflow_core::{Clock, testing::tool};
use fastflow_docker::{DockerConfig, DockerEngine};

const KIND: &str = "docker";

fn shared() -> Option<(String, String)> {
    tool::docker()
}

fn connect(address: &str, clock: Arc<dyn Clock>) -> DockerEngine {
    let mut config = DockerConfig::default();
    config.host = Some(address.parse().unwrap());
    DockerEngine::new(config, clock).unwrap()
}

/// The call that kills a container and removes it.
fn removal(container: &str) -> String {
    format!("/containers/{container}?force=1")
}
