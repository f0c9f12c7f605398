//! The executor over the engine.

use std::sync::Arc;

use fastflow_core::{
    Clock, Result,
    executor::container::{ContainerConfig, ContainerExecutor},
};

use crate::{PodmanConfig, PodmanEngine};

/// An executor that runs attempts in containers of the engine that `engine` names, as `containers` says.
///
/// The engine is asked when it is needed: one that is down now may be up then. Blocks for some milliseconds.
///
/// ```no_run
/// use std::sync::Arc;
/// use fastflow_core::{Orchestrator, SystemClock, executor::container::ContainerConfig};
/// use fastflow_podman::PodmanConfig;
///
/// # async fn example() -> fastflow_core::Result<()> {
/// let containers = ContainerConfig::new("./var/podman");
/// let podman = fastflow_podman::executor(PodmanConfig::default(), containers, Arc::new(SystemClock::new()))?;
/// let flow = Orchestrator::builder("./var").pipelines("./pipelines").executor("podman", podman).build().await?;
/// flow.start().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// `Invalid` and `Unsupported` for an address that cannot be used; otherwise as [`ContainerExecutor::new`].
pub fn executor(
    engine: PodmanConfig,
    containers: ContainerConfig,
    clock: Arc<dyn Clock>,
) -> Result<ContainerExecutor> {
    let engine = PodmanEngine::new(engine, Arc::clone(&clock))?;
    ContainerExecutor::new(engine, containers, clock)
}
