//! Hosts that die at any moment with runs in Podman containers: nothing is lost, nothing is doubled, nothing is pretended.
//!
//! `FASTFLOW_SEED` repeats a plan and its kills, as far as the machine allows; `FASTFLOW_KILLS` sets how many.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use fastflow_core::{
    Clock,
    executor::container::ContainerEngine,
    testing::{tool, torture::Containers},
};
use fastflow_podman::{PodmanConfig, PodmanEngine};

fn connect(address: &str, clock: Arc<dyn Clock>) -> Arc<dyn ContainerEngine> {
    let mut config = PodmanConfig::default();
    config.host = Some(address.parse().unwrap());
    Arc::new(PodmanEngine::new(config, clock).unwrap())
}

const PODMAN: Containers = Containers { name: "podman", engine: tool::podman, connect };

fastflow_core::executor_torture!(PODMAN);
