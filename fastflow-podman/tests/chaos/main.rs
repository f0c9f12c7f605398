//! Podman engines that are killed, hidden and meddled with while runs go on.
//!
//! Each test starts an engine of its own by `tools/setup-engines`, in a folder beside that of the other tests' engines,
//! and stops it at its end. Tests wait for each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conmon;
#[path = "../../../fastflow-docker/tests/chaos/engine.rs"]
mod engine;
#[path = "../../../fastflow-docker/tests/chaos/outside.rs"]
mod outside;
#[path = "../../../fastflow-docker/tests/chaos/stage.rs"]
mod stage;

use std::sync::Arc;

use fastflow_core::{Clock, testing::tool};
use fastflow_podman::{PodmanConfig, PodmanEngine};

const KIND: &str = "podman";

fn shared() -> Option<(String, String)> {
    tool::podman()
}

fn connect(address: &str, clock: Arc<dyn Clock>) -> PodmanEngine {
    let mut config = PodmanConfig::default();
    config.host = Some(address.parse().unwrap());
    PodmanEngine::new(config, clock).unwrap()
}

/// The call that kills a container and removes it. Without a time of zero, it is asked to stop first.
fn removal(container: &str) -> String {
    format!("/v4.0.0/libpod/containers/{container}?force=true&timeout=0")
}
