//! Secrets of runs in Podman containers are found nowhere, whatever becomes of these.
//!
//! `FASTFLOW_SEED` repeats the order of the runs and the moments of their ends, as far as the machine allows.

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

fastflow_core::executor_canary!(PODMAN);
