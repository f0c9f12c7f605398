//! The engine: each call, its time limit, and what its answers mean.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptionsBuilder,
};
use fastflow_core::{
    Clock, Error, ErrorKind, Result,
    environment::SetupLog,
    executor::{
        ImageName,
        container::{
            ContainerEngine, ContainerId, ContainerSignal, ContainerSpec, ContainerState, ContainerStatus,
            EngineInfo, ImageInfo,
        },
    },
};
use futures::StreamExt;

use crate::{
    config::{DockerConfig, Variables},
    connect::{Api, Connection},
    convert::{self, ImageAnswer, InfoAnswer, InspectAnswer, ListedAnswer, plain_name},
    error::Failure,
    network,
    pull::{self, Pull},
};

/// A Docker engine.
///
/// Made without asking it anything: it may come and go. Every call makes a connection of its own, so dropping a call
/// ends it; what the engine has begun then, it may go on with.
///
/// ```no_run
/// use std::sync::Arc;
/// use fastflow_core::{SystemClock, executor::container::ContainerEngine};
/// use fastflow_docker::{DockerConfig, DockerEngine};
///
/// # async fn example() -> fastflow_core::Result<()> {
/// let engine = DockerEngine::new(DockerConfig::default(), Arc::new(SystemClock::new()))?;
/// println!("Docker {}", engine.info().await?.version);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DockerEngine {
    config: DockerConfig,
    variables: Variables,
    clock: Arc<dyn Clock>,
    connection: Connection,
}

impl DockerEngine {
    /// Finds out where the engine is, and reads the files for TLS where it needs them. Talks to nobody.
    ///
    /// # Errors
    ///
    /// `Invalid` when the address, or a file for TLS, cannot be used, and for a TCP address of another machine without
    /// TLS that [`DockerConfig::allow_plain_tcp`] does not allow.
    pub fn new(config: DockerConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let variables = Variables::of_this_process();
        let connection = Connection::new(&config.endpoint(&variables)?, config.call_timeout)?;
        Ok(Self { config, variables, clock, connection })
    }

    /// One call within its time. After a connection was lost, the next call asks anew which engine that is.
    pub(crate) async fn call<T, F>(&self, limit: Duration, call: impl FnOnce(Api) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let whole = async { call(self.connection.api().await?).await };
        let result = tokio::select! {
            biased;
            result = whole => result,
            () = self.clock.sleep(limit) => Err(Failure::TimedOut(limit)),
        };
        if result.as_ref().is_err_and(Failure::is_lost_connection) {
            self.connection.forget();
        }
        result
    }

    /// A question, with the time for one.
    pub(crate) async fn ask<T, F>(&self, call: impl FnOnce(Api) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.call(self.config.call_timeout, call).await
    }

    /// A change, with the time for one.
    pub(crate) async fn change<T, F>(&self, call: impl FnOnce(Api) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.call(self.config.change_timeout, call).await
    }

    async fn look(&self, container: &str) -> Result<Option<ContainerState>, Failure> {
        let path = format!("/containers/{container}/json");
        let answer = self.ask(async |api: Api| api.get::<InspectAnswer>(&path, &[]).await).await;
        found(answer.map(ContainerState::from))
    }
}

/// What is not there is none.
fn found<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.status() == Some(404) => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[async_trait]
impl ContainerEngine for DockerEngine {
    fn kind(&self) -> &'static str {
        "docker"
    }

    async fn info(&self) -> Result<EngineInfo> {
        // Whoever asks who it is wants to know it of the one that is there now.
        self.connection.forget();
        let answer = self.ask(async |api: Api| api.get::<InfoAnswer>("/info", &[]).await).await;
        answer.map(EngineInfo::from).map_err(|failure| failure.into_error("Docker cannot be asked"))
    }

    async fn image(&self, image: &ImageName) -> Result<Option<ImageInfo>> {
        let path = format!("/images/{image}/json");
        let answer = self.ask(async |api: Api| api.get::<ImageAnswer>(&path, &[]).await).await;
        found(answer.map(ImageInfo::from))
            .map_err(|failure| failure.into_error("an image cannot be looked up").with("image", image))
    }

    async fn pull(&self, image: &ImageName, log: &dyn SetupLog) -> Result<()> {
        let folder = self.config.credentials_folder(&self.variables);
        let stall = self.config.pull_stall_timeout;
        pull::pull(self, Pull { image, folder: folder.as_deref(), stall, clock: &*self.clock }, log)
            .await
            .map_err(|error| error.with("image", image))
    }

    async fn ensure_network(&self, name: &str) -> Result<bool> {
        network::ensure(self, name).await.map_err(|error| error.with("network", name))
    }

    async fn create(&self, container: &ContainerSpec) -> Result<ContainerId> {
        let what = "a container cannot be made";
        let named = |error: Error| error.with("container", &container.name).with("image", &container.image);
        let name = plain_name(&container.name)?;
        let body = convert::create_body(container).map_err(named)?;
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let made =
            self.change(async |api: Api| Ok(api.docker().create_container(Some(options), body).await?)).await;
        match made {
            Ok(made) => Ok(ContainerId::new(made.id)),
            Err(failure) => Err(named(failure.into_error_where(409, ErrorKind::AlreadyExists, what))),
        }
    }

    async fn start(&self, container: &ContainerId) -> Result<()> {
        let what = "a container cannot be started";
        let id = plain_name(container.as_str())?;
        let started = self
            .change(async |api: Api| {
                Ok(api.docker().start_container(id, None::<StartContainerOptions>).await?)
            })
            .await;
        let Err(failure) = started else { return Ok(()) };
        let kind = match failure.status() {
            Some(404) if self.look(id).await.is_ok_and(|found| found.is_none()) => ErrorKind::NotFound,
            // What the container needs is gone, such as its network: one that is made anew finds it made again.
            Some(404) => ErrorKind::Unavailable,
            // These come from a proxy, 503 also from an engine that is about to end.
            Some(401 | 403 | 502..=504) | None => {
                return Err(failure.into_error(what).with("container", container));
            }
            Some(_) => ErrorKind::Internal,
        };
        Err(failure.into_error_of(kind, what).with("container", container))
    }

    async fn inspect(&self, container: &str) -> Result<Option<ContainerState>> {
        let looked = self.look(plain_name(container)?).await;
        looked.map_err(|failure| {
            failure.into_error("a container cannot be looked at").with("container", container)
        })
    }

    async fn wait(&self, container: &ContainerId) -> Result<()> {
        let what = "a container cannot be waited for";
        let id = plain_name(container.as_str())?;
        let api = self.ask(async |api: Api| Ok(api)).await.map_err(|failure| failure.into_error(what))?;
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let end = api.docker().wait_container(id, Some(options)).next().await;
        let failure = match end {
            // To bollard a code other than 0 is an error.
            Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => return Ok(()),
            Some(Err(error)) => Failure::from(error),
            // The engine has gone away cleanly. That is no end of a container.
            None => Failure::of_connection("the engine has hung up"),
        };
        if failure.status() == Some(404) {
            return Ok(());
        }
        self.connection.forget();
        Err(failure.into_error(what).with("container", container))
    }

    async fn signal(&self, container: &ContainerId, signal: ContainerSignal) -> Result<bool> {
        let what = "a container cannot be signalled";
        let named = |failure: Failure| failure.into_error(what).with("container", container);
        let id = plain_name(container.as_str())?;
        // Docker would keep the signal for a paused one, and deliver it when nobody expects it any more.
        let state = self.look(id).await.map_err(named)?;
        if state.is_none_or(|state| state.status == ContainerStatus::Paused || !state.status.is_alive()) {
            return Ok(false);
        }
        let options = KillContainerOptionsBuilder::new().signal(signal.name()).build();
        let sent = self.ask(async |api: Api| Ok(api.docker().kill_container(id, Some(options)).await?)).await;
        match sent {
            Ok(()) => Ok(true),
            Err(failure) if matches!(failure.status(), Some(404 | 409)) => Ok(false),
            Err(failure) => Err(named(failure)),
        }
    }

    async fn unpause(&self, container: &ContainerId) -> Result<()> {
        let what = "a container cannot go on";
        let named = |failure: Failure| failure.into_error(what).with("container", container);
        let id = plain_name(container.as_str())?;
        let went = self.ask(async |api: Api| Ok(api.docker().unpause_container(id).await?)).await;
        let Err(failure) = went else { return Ok(()) };
        if failure.status().is_none() {
            return Err(named(failure));
        }
        // For one that is not paused Docker has no code of its own.
        let state = self.look(id).await.map_err(named)?;
        if state.is_some_and(|state| state.status == ContainerStatus::Paused) {
            return Err(named(failure));
        }
        Ok(())
    }

    async fn remove(&self, container: &str) -> Result<()> {
        let what = "a container cannot be removed";
        let name = plain_name(container)?;
        let removed = self.change(async |api: Api| remove(&api, name).await).await;
        removed.map_err(|failure| {
            failure.into_error_where(409, ErrorKind::Unavailable, what).with("container", container)
        })
    }

    async fn list(&self, labels: &BTreeMap<String, String>) -> Result<Vec<ContainerState>> {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let filters = serde_json::json!({ "label": labels }).to_string();
        let query = [("all", "true"), ("filters", filters.as_str())];
        let answer =
            self.ask(async |api: Api| api.get::<Vec<ListedAnswer>>("/containers/json", &query).await).await;
        let answer = answer.map_err(|failure| failure.into_error("containers cannot be listed"))?;
        Ok(answer.into_iter().map(ContainerState::from).collect())
    }
}

/// Removes a container. If somebody else is at it, waits for that and looks once more.
async fn remove(api: &Api, name: &str) -> Result<(), Failure> {
    let removed = remove_now(api, name).await;
    if !removed.as_ref().is_err_and(|failure| failure.status() == Some(409)) {
        return removed;
    }
    let options = WaitContainerOptionsBuilder::new().condition("removed").build();
    // Whatever it says, the second removal tells.
    api.docker().wait_container(name, Some(options)).next().await;
    remove_now(api, name).await
}

async fn remove_now(api: &Api, name: &str) -> Result<(), Failure> {
    let options = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
    let removed = api.docker().remove_container(name, Some(options)).await;
    found(removed.map_err(Failure::from)).map(|_| ())
}
