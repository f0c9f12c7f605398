//! An orchestrator for as long as a command takes.

use std::{path::PathBuf, sync::Arc, time::Duration};

use fastflow_core::{
    Clock, Error, ErrorKind, ExecutorName, Hosting, Orchestrator, OrchestratorBuilder, Shutdown, SystemClock,
    executor::{ProcessConfig, ProcessExecutor, container::ContainerConfig},
    layout::DataDir,
    secret::MasterKeySource,
    source::SyncRequest,
};
use fastflow_docker::DockerConfig;
use fastflow_podman::PodmanConfig;

use super::{command::Context, place::Place};

/// How long the end of a command waits for the last writes.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// The folder in the data directory below which executors for containers keep their state, as those of the package do.
const EXECUTORS: &str = "executors";
const PROCESS: &str = "process";
const DOCKER: &str = "docker";
const PODMAN: &str = "podman";

/// An orchestrator for as long as a command takes.
#[derive(Debug)]
pub(crate) struct Session {
    flow: Orchestrator,
}

impl Session {
    /// Opens the data directory for a command that waits for runs: where nobody else hosts, this one does meanwhile.
    /// `executor` is one that is needed.
    ///
    /// # Errors
    ///
    /// By the word of [`OrchestratorBuilder::build`], [`Orchestrator::start`] and [`Place::check_need`].
    pub(crate) async fn host(
        context: &Context,
        place: &Place,
        executor: Option<&ExecutorName>,
    ) -> Result<Self, Error> {
        let builder = with_executors(builder(context, place), place, executor)?;
        Self::started(builder.hosting(Hosting::WhenFree), place).await
    }

    /// The same, for a command that has something to ask also where this one may not host, because of an open run of an
    /// executor that is not here, for example: with the reason why it may not.
    ///
    /// # Errors
    ///
    /// As [`reader`](Self::reader), and those of [`host`](Self::host) that say nothing about what is open there.
    pub(crate) async fn host_or_reader(
        context: &Context,
        place: &Place,
    ) -> Result<(Self, Option<Error>), Error> {
        match Self::host(context, place, None).await {
            Ok(session) => Ok((session, None)),
            Err(error) if error.kind() == ErrorKind::Invalid => {
                Ok((Self::reader(context, place).await?, Some(error)))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the data directory for a command that reads and asks, and never hosts.
    ///
    /// # Errors
    ///
    /// By the word of [`OrchestratorBuilder::build`] and [`Place::check_need`].
    pub(crate) async fn reader(context: &Context, place: &Place) -> Result<Self, Error> {
        Self::started(builder(context, place).hosting(Hosting::Never), place).await
    }

    /// The same, for one that needs to know what the files of the pipelines say now. A host knows; where there is none,
    /// they are read here, and nothing is started.
    ///
    /// # Errors
    ///
    /// As [`reader`](Self::reader), and when the files cannot be read.
    pub(crate) async fn reader_of_files(context: &Context, place: &Place) -> Result<Self, Error> {
        match builder(context, place).hosting(Hosting::Required).build().await {
            Ok(flow) => {
                flow.source().sync(SyncRequest::default()).await?;
                Ok(Self { flow })
            }
            Err(error) if error.kind() == ErrorKind::Conflict => Self::reader(context, place).await,
            Err(error) => Err(error),
        }
    }

    async fn started(builder: OrchestratorBuilder, place: &Place) -> Result<Self, Error> {
        let flow = builder.build().await?;
        flow.start().await?;
        let checked = place.check_need(&flow).await;
        let session = Self { flow };
        match checked {
            Ok(()) => Ok(session),
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    /// The orchestrator.
    pub(crate) fn flow(&self) -> &Orchestrator {
        &self.flow
    }

    /// Lets go of everything: programs run on.
    pub(crate) async fn close(self) {
        let clock = SystemClock::new();
        tokio::select! {
            // Whatever was not written is found by whoever hosts next, as after a crash.
            _ = self.flow.shutdown(Shutdown::Detach) => {}
            () = clock.sleep(CLOSE_LIMIT) => {}
        }
    }
}

fn builder(context: &Context, place: &Place) -> OrchestratorBuilder {
    let mut builder = Orchestrator::builder(place.data_dir()).pipelines(&place.pipelines);
    if let Some(uv) = context.global.uv.as_ref().or(context.surroundings.uv.as_ref()) {
        builder = builder.uv(uv);
    }
    if let Some(key) = &context.global.master_key_file {
        builder = builder.master_key(MasterKeySource::File(key.clone()));
    }
    builder
}

/// Adds those for containers that are needed now, or were here before: their runs may not have ended. One that nobody
/// uses is not asked, since an engine that hangs would hold up everything.
fn with_executors(
    builder: OrchestratorBuilder,
    place: &Place,
    wanted: Option<&ExecutorName>,
) -> Result<OrchestratorBuilder, Error> {
    let data = DataDir::new(place.data_dir()).create()?;
    let used = |name: &str| -> Option<PathBuf> {
        let folder = data.root().join(EXECUTORS).join(name);
        (wanted.is_some_and(|wanted| wanted.as_str() == name) || folder.is_dir()).then_some(folder)
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let process = ProcessExecutor::new(&ProcessConfig::new(data.executor_dir()), Arc::clone(&clock))?;
    let mut builder = builder.executor(PROCESS, process);
    if let Some(folder) = used(DOCKER) {
        let (engine, containers) = (DockerConfig::default(), ContainerConfig::new(folder));
        builder =
            builder.executor(DOCKER, fastflow_docker::executor(engine, containers, Arc::clone(&clock))?);
    }
    if let Some(folder) = used(PODMAN) {
        let (engine, containers) = (PodmanConfig::default(), ContainerConfig::new(folder));
        builder = builder.executor(PODMAN, fastflow_podman::executor(engine, containers, clock)?);
    }
    Ok(builder)
}
