//! Attempts in throw-away containers, of any engine that can mount this machine's folders.
//!
//! [`ContainerExecutor`] holds everything that decides something about an attempt; a [`ContainerEngine`] only asks and
//! answers. So all engines behave the same, and one that is new has a dozen calls to translate.
//!
//! Each attempt runs under the shim as the first process of a container of its own:
//!
//! ```text
//! /fastflow/shim     the shim, read-only
//! /fastflow/order    its order, in memory; it takes it away when it has read it
//! /fastflow/run      the attempt's run directory: the working copy, the log, the usage, the end
//! /dev/shm/fastflow-secrets   those of its secrets that are files, in memory, until it has ended
//! <as here>          its environment, read-only
//! ```
//!
//! The order carries everything that may be secret, so that an engine's description of a container holds none of it.
//! What the shim writes into the run directory is the record; the engine's word is asked for only where there is none.

mod breaker;
mod compose;
mod config;
mod engine;
mod execution;
mod host_paths;
mod images;
mod launch;
mod place;
mod reattach;
mod serving;
mod start;
mod warm;
mod watch;
mod workbench;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;

use self::{breaker::Breaker, place::Place, warm::Warm, workbench::ContainerWorkbench};
pub use self::{
    config::{ContainerConfig, ImageChoice, PullPolicy},
    engine::{
        Access, ContainerEngine, ContainerId, ContainerNetwork, ContainerSignal, ContainerSpec,
        ContainerState, ContainerStatus, ContainerUser, EngineInfo, ImageInfo, Mount, Tmpfs,
    },
};
use super::{
    AttemptRef, AttemptSpec, Capabilities, ExecutionHandle, Executor, Health, ImageName, Reattached, Start,
};
use crate::{
    Clock, Error, ErrorKind, OwnerId, Result,
    environment::{SetupLog, Workbench},
};

/// Runs attempts in containers.
///
/// ```no_run
/// use std::sync::Arc;
/// use fastflow_core::{
///     SystemClock,
///     executor::container::{ContainerConfig, ContainerEngine, ContainerExecutor},
/// };
///
/// fn executor(engine: impl ContainerEngine) -> fastflow_core::Result<ContainerExecutor> {
///     let config = ContainerConfig::new("/var/lib/app/containers");
///     ContainerExecutor::new(engine, config, Arc::new(SystemClock::new()))
/// }
/// ```
#[derive(Debug)]
pub struct ContainerExecutor {
    place: Arc<Place>,
    breaker: Arc<Breaker>,
    warm: Warm,
}

impl ContainerExecutor {
    /// Installs the shim. The engine is asked when it is needed: one that is down now may be up then. Blocks for some
    /// milliseconds.
    ///
    /// # Errors
    ///
    /// `Denied`, `StorageFull` when the state directory cannot be written; `Invalid` for a user that is root.
    pub fn new(engine: impl ContainerEngine, config: ContainerConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let breaker = Arc::new(Breaker::new(Arc::new(engine), Arc::clone(&clock)));
        let engine: Arc<dyn ContainerEngine> = breaker.clone();
        let place = Arc::new(Place::new(engine, config, clock)?);
        let warm = Warm::new(&place.config.state_dir);
        Ok(Self { place, breaker, warm })
    }
}

#[async_trait]
impl Executor for ContainerExecutor {
    fn kind(&self) -> &'static str {
        self.place.engine.kind()
    }

    /// What engines can do. One that lacks something says so when it is asked, before anything is made.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            environments: true,
            cpu_limit: true,
            memory_limit: true,
            process_limit: true,
            output: true,
            reattach: true,
            images: true,
            network: true,
            isolation: true,
            warm: true,
            secrets: true,
        }
    }

    async fn probe(&self) -> Result<()> {
        if self.place.is_known() {
            return self.place.engine.info().await.map(drop);
        }
        self.place.known().await.map(drop)
    }

    fn health(&self) -> Health {
        self.breaker.health()
    }

    fn path_inside(&self, run_dir: &Path, path: &Path) -> PathBuf {
        compose::path_inside(run_dir, path)
    }

    async fn workbench(
        &self,
        image: Option<&ImageName>,
        log: &dyn SetupLog,
    ) -> Result<Option<Arc<dyn Workbench>>> {
        let image = self.place.images.get(image, log).await?;
        Ok(Some(Arc::new(ContainerWorkbench::new(Arc::clone(&self.place), image))))
    }

    async fn present_workbench(&self, image: Option<&ImageName>) -> Result<Option<Arc<dyn Workbench>>> {
        let image = self.place.images.present(self.place.images.choose(image)?).await?;
        Ok(Some(Arc::new(ContainerWorkbench::new(Arc::clone(&self.place), image))))
    }

    async fn keep_warm(&self, like: &AttemptSpec, count: u32) -> Result<()> {
        let image = self.place.images.present(self.place.images.choose(like.image.as_ref())?).await?;
        let (place, warm, like) = (Arc::clone(&self.place), self.warm.clone(), like.clone());
        on_its_own(async move { warm.keep(&place, &image, &like, count).await }).await
    }

    async fn start(&self, spec: AttemptSpec) -> Result<Start> {
        on_its_own(start::start(Arc::clone(&self.place), self.warm.clone(), spec)).await
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<ExecutionHandle>> {
        workbench::sweep(&self.place).await?;
        self.warm.sweep(&self.place, owner).await?;
        reattach::list(&self.place, &self.warm, owner).await
    }

    async fn reattach(&self, attempt: &AttemptRef) -> Result<Reattached> {
        reattach::reattach(&self.place, self.warm.serving(), attempt).await
    }
}

/// Runs `work` to its end, even when nobody waits for it any more.
async fn on_its_own<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work)
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "the executor's own work failed").because(error))?
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "the executor's own work failed").because(error))?
}
