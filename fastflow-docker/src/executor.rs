//! The executor over the engine.

use std::sync::Arc;

use fastflow_core::{
    Clock, Result,
    executor::container::{ContainerConfig, ContainerExecutor},
};

use crate::{DockerConfig, DockerEngine};

/// An executor that runs attempts in containers of the engine that `engine` names, as `containers` says.
///
/// The engine is asked when it is needed: one that is down now may be up then. Blocks for some milliseconds.
///
/// ```no_run
/// use std::sync::Arc;
/// use fastflow_core::{Orchestrator, SystemClock, executor::container::ContainerConfig};
/// use fastflow_docker::DockerConfig;
///
/// # async fn example() -> fastflow_core::Result<()> {
/// let containers = ContainerConfig::new("./var/docker");
/// let docker = fastflow_docker::executor(DockerConfig::default(), containers, Arc::new(SystemClock::new()))?;
/// let flow = Orchestrator::builder("./var").pipelines("./pipelines").executor("docker", docker).build().await?;
/// flow.start().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// `Invalid` and `Unsupported` for an address that cannot be used; otherwise as [`ContainerExecutor::new`].
pub fn executor(
    engine: DockerConfig,
    containers: ContainerConfig,
    clock: Arc<dyn Clock>,
) -> Result<ContainerExecutor> {
    let engine = DockerEngine::new(engine, Arc::clone(&clock))?;
    ContainerExecutor::new(engine, containers, clock)
}
