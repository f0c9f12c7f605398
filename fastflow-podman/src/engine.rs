//! The requests and answers of one Podman engine.
//!
//! `podman-api` asks for the engine's description and for lists; both have models that leave every word of Podman as
//! text. Everything else goes through [`Libpod`], for what `podman-api` does there cannot be used: its request to make a
//! container spells `no_new_privileges` wrong, and Podman ignores the word that it does not know; its model of a
//! container fails on states that Podman has; waiting throws the answer away; "is running already" is an error; and
//! a pull has no limit of time that a stream could be held to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use fastflow_core::{
    Clock, Error, ErrorKind, Result,
    environment::SetupLog,
    executor::{
        ImageName,
        container::{
            ContainerEngine, ContainerId, ContainerNetwork, ContainerSignal, ContainerSpec, ContainerState,
            ContainerStatus, EngineInfo, ImageInfo,
        },
    },
};
use podman_api::{
    ApiVersion, Podman,
    opts::{ContainerListFilter, ContainerListOpts},
};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::{
    config::{PodmanConfig, PodmanHost, Variables},
    convert::{self, CreateRequest, ImageAnswer, InspectAnswer},
    error::Failure,
    libpod::{Call, Libpod},
    network::{NetworkAnswer, Outward},
};

/// The version of the API that is asked for everywhere: newer engines then answer in the words of Podman 4.
const WRITTEN_FOR: ApiVersion = ApiVersion::new(4, Some(0), Some(0));
/// How often Podman looks whether a container has ended. Each look costs it about half a millisecond of CPU; at its own
/// default of 250 ms every end would be noticed that much later.
const WAIT_INTERVAL: &str = "25ms";
/// How long Podman may take to notice an end that it was told of.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);
/// The waits between two looks at a container that is about to change.
const LOOK_INTERVAL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A Podman engine, behind its socket.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use fastflow_core::{SystemClock, executor::container::ContainerEngine};
/// use fastflow_podman::{PodmanConfig, PodmanEngine};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> fastflow_core::Result<()> {
/// let engine = PodmanEngine::new(PodmanConfig::default(), Arc::new(SystemClock::new()))?;
/// println!("Podman {}", engine.info().await?.version);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PodmanEngine {
    pub(crate) config: PodmanConfig,
    pub(crate) variables: Variables,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) libpod: Libpod,
    podman: Podman,
    outward: OnceCell<Outward>,
}

impl PodmanEngine {
    /// An engine. Nothing is sent to it yet.
    ///
    /// # Errors
    ///
    /// `Invalid` or `Unsupported` when the address cannot be used, or not safely.
    pub fn new(config: PodmanConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let variables = Variables::of_this_process();
        let host = config.endpoint(&variables)?;
        let podman = match &host {
            PodmanHost::Unix(path) => Podman::unix_versioned(path, WRITTEN_FOR),
            PodmanHost::Tcp { .. } => {
                Podman::new_versioned(host.to_string(), WRITTEN_FOR).map_err(|error| {
                    Error::new(ErrorKind::Invalid, "the address of the engine cannot be used").because(error)
                })?
            }
        };
        let libpod = Libpod::new(host, Arc::clone(&clock));
        Ok(Self { config, variables, clock, libpod, podman, outward: OnceCell::new() })
    }

    async fn outward(&self) -> Result<Outward> {
        // What is installed beside an engine does not change while it is used.
        let outward = self.outward.get_or_try_init(|| async {
            let answer = self.libpod.ask(Call::get(&["info"]), self.config.call_timeout).await;
            let network: Result<NetworkAnswer, _> = answer.and_then(|answer| answer.json());
            network.map_err(|failure| failure.into_error("Podman does not describe itself"))?.outward()
        });
        outward.await.copied()
    }

    /// What a failed request to make a container means. Podman answers 500 to whatever it does not like, so that only
    /// looking tells.
    async fn refused_create(&self, container: &ContainerSpec, failure: Failure) -> Error {
        const WHAT: &str = "Podman does not make the container";
        if failure.status().is_none() {
            return failure.into_error(WHAT);
        }
        let (name, image) = tokio::join!(self.is_taken(&container.name), self.find_image(&container.image));
        match (name, image) {
            (Ok(true), _) => Error::new(ErrorKind::AlreadyExists, "there is a container of this name")
                .with("name", &container.name),
            (_, Ok(None)) => {
                Error::new(ErrorKind::NotFound, "the image is not there").with("image", &container.image)
            }
            (Ok(false), Ok(Some(_))) => failure.into_error_where_answered(ErrorKind::Invalid, WHAT),
            (Err(error), _) | (_, Err(error)) => error,
        }
    }

    /// Whether a name is taken: in Podman's storage, where it is a little earlier than among its containers.
    async fn is_taken(&self, name: &str) -> Result<bool> {
        let call = Call::get(&["containers", name, "exists"]).query("external", "true");
        let answer = self.libpod.ask(call, self.config.call_timeout).await;
        found(answer, "Podman does not say whether there is a container").map(|answer| answer.is_some())
    }

    pub(crate) async fn find_image(&self, image: &str) -> Result<Option<ImageInfo>> {
        let answer = self.libpod.ask(Call::get(&["images", image, "json"]), self.config.call_timeout).await;
        let image: Option<ImageAnswer> =
            found(answer.and_then(|answer| answer.json()), "Podman does not describe the image")?;
        Ok(image.map(ImageInfo::from))
    }

    /// What a refused signal means. Podman looks at the process itself then, and may have seen its end before anybody
    /// reported it.
    async fn refused_signal(&self, container: &ContainerId, failure: Failure) -> Result<bool> {
        let mut pauses = pauses(SETTLE_LIMIT);
        while self
            .inspect(container.as_str())
            .await?
            .is_some_and(|state| state.status == ContainerStatus::Running)
        {
            let Some(pause) = pauses.next() else {
                let what = "Podman does not deliver the signal";
                return Err(failure.into_error_where_answered(ErrorKind::Unavailable, what));
            };
            self.clock.sleep(pause).await;
        }
        Ok(false)
    }
}

/// Longer and longer pauses that together are no longer than `limit`.
fn pauses(limit: Duration) -> ExponentialBackoff {
    let (first, longest) = LOOK_INTERVAL;
    let builder = ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).with_jitter();
    builder.without_max_times().with_total_delay(Some(limit)).build()
}

/// An answer, or `None` where Podman has no such thing.
fn found<T>(answer: Result<T, Failure>, what: &'static str) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.status() == Some(404) => Ok(None),
        Err(failure) => Err(failure.into_error_where_answered(ErrorKind::Unavailable, what)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateAnswer {
    id: String,
}

#[async_trait]
impl ContainerEngine for PodmanEngine {
    fn kind(&self) -> &'static str {
        "podman"
    }

    async fn info(&self) -> Result<EngineInfo> {
        let ask = async { self.podman.info().await.map_err(Failure::from) };
        let info = self.libpod.within(self.config.call_timeout, ask).await;
        info.map(convert::engine_info).map_err(|failure| {
            failure.into_error_where_answered(ErrorKind::Unavailable, "Podman does not describe itself")
        })
    }

    async fn image(&self, image: &ImageName) -> Result<Option<ImageInfo>> {
        self.find_image(image.as_str()).await
    }

    async fn pull(&self, image: &ImageName, log: &dyn SetupLog) -> Result<()> {
        self.pull_image(image, log).await
    }

    /// Finds out whether containers can have a network here. There is nothing to make: see [`crate::network`].
    async fn ensure_network(&self, _name: &str) -> Result<bool> {
        self.outward().await.map(|_| false)
    }

    async fn create(&self, container: &ContainerSpec) -> Result<ContainerId> {
        let outward = match container.network {
            ContainerNetwork::None => Outward::Slirp4netns,
            ContainerNetwork::Named(_) => self.outward().await?,
        };
        let request = CreateRequest::new(container, outward)?;
        let ask = async {
            let call = Call::post(&["containers", "create"]).json(&request)?;
            self.libpod.ask(call, self.config.change_timeout).await?.json::<CreateAnswer>()
        };
        match ask.await {
            Ok(answer) => Ok(ContainerId::new(answer.id)),
            Err(failure) => Err(self.refused_create(container, failure).await),
        }
    }

    async fn start(&self, container: &ContainerId) -> Result<()> {
        const WHAT: &str = "Podman does not start the container";
        let call = Call::post(&["containers", container.as_str(), "start"]);
        // 304, for one that runs, is an answer like any other here.
        let Err(failure) = self.libpod.ask(call, self.config.change_timeout).await else { return Ok(()) };
        if failure.status().is_none_or(|code| code == 404) {
            return Err(failure.into_error(WHAT));
        }
        match self.inspect(container.as_str()).await? {
            Some(state) if state.status.is_alive() => Ok(()),
            Some(_) => Err(failure.into_error_where_answered(ErrorKind::Internal, WHAT)),
            None => Err(failure.into_error_where_answered(ErrorKind::NotFound, WHAT)),
        }
    }

    async fn inspect(&self, container: &str) -> Result<Option<ContainerState>> {
        let mut pauses = pauses(SETTLE_LIMIT);
        loop {
            let call = Call::get(&["containers", container, "json"]);
            let answer = self.libpod.ask(call, self.config.call_timeout).await;
            // Podman fails over a container that is taken away while it looks. Asked again, it does not find it.
            if answer.as_ref().is_err_and(|failure| failure.status() == Some(500))
                && let Some(pause) = pauses.next()
            {
                self.clock.sleep(pause).await;
                continue;
            }
            let state: Option<InspectAnswer> =
                found(answer.and_then(|answer| answer.json()), "Podman does not describe the container")?;
            return Ok(state.map(ContainerState::from));
        }
    }

    async fn wait(&self, container: &ContainerId) -> Result<()> {
        // Podman 4 returns at once for one that never ran. This does not rely on it.
        if self.inspect(container.as_str()).await?.is_none_or(|state| !state.status.is_alive()) {
            return Ok(());
        }
        let call = Call::post(&["containers", container.as_str(), "wait"])
            .query("condition", "stopped")
            .query("condition", "exited")
            .query("interval", WAIT_INTERVAL);
        let answer = self.libpod.ask_patiently(call, self.config.call_timeout).await;
        found(answer, "Podman does not wait for the container").map(drop)
    }

    async fn signal(&self, container: &ContainerId, signal: ContainerSignal) -> Result<bool> {
        // Podman keeps a signal for a paused container until it goes on, and says that it was delivered.
        let state = self.inspect(container.as_str()).await?;
        if state
            .is_none_or(|state| !matches!(state.status, ContainerStatus::Running | ContainerStatus::Other))
        {
            return Ok(false);
        }
        let call = Call::post(&["containers", container.as_str(), "kill"]).query("signal", signal.name());
        match self.libpod.ask(call, self.config.call_timeout).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.status().is_some() => self.refused_signal(container, failure).await,
            Err(failure) => Err(failure.into_error("Podman does not deliver the signal")),
        }
    }

    async fn unpause(&self, container: &ContainerId) -> Result<()> {
        const WHAT: &str = "Podman does not let the container go on";
        let call = Call::post(&["containers", container.as_str(), "unpause"]);
        match self.libpod.ask(call, self.config.call_timeout).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.status().is_some() => match self.inspect(container.as_str()).await? {
                Some(state) if state.status == ContainerStatus::Paused => {
                    Err(failure.into_error_where_answered(ErrorKind::Unavailable, WHAT))
                }
                _ => Ok(()),
            },
            Err(failure) => Err(failure.into_error(WHAT)),
        }
    }

    async fn remove(&self, container: &str) -> Result<()> {
        const WHAT: &str = "Podman does not remove the container";
        let mut pauses = pauses(self.config.change_timeout);
        loop {
            let call = Call::delete(&["containers", container])
                .query("force", "true")
                .query("v", "true")
                .query("timeout", "0");
            let answer = self.libpod.ask(call, self.config.change_timeout).await;
            let Err(failure) = answer else { return Ok(()) };
            match failure.status() {
                Some(404) => return Ok(()),
                None => return Err(failure.into_error(WHAT)),
                // Somebody else may be at it: then it is gone soon.
                Some(_) if self.inspect(container).await?.is_none() => return Ok(()),
                Some(_) => {}
            }
            let Some(pause) = pauses.next() else {
                return Err(failure.into_error_where_answered(ErrorKind::Unavailable, WHAT));
            };
            self.clock.sleep(pause).await;
        }
    }

    async fn list(&self, labels: &BTreeMap<String, String>) -> Result<Vec<ContainerState>> {
        let filters =
            labels.iter().map(|(key, value)| ContainerListFilter::LabelKeyVal(key.clone(), value.clone()));
        let options = ContainerListOpts::builder().all(true).filter(filters).build();
        let containers = self.podman.containers();
        let ask = async { containers.list(&options).await.map_err(Failure::from) };
        let listed = self.libpod.within(self.config.call_timeout, ask).await;
        let listed = listed.map_err(|failure| {
            failure.into_error_where_answered(ErrorKind::Unavailable, "Podman does not list its containers")
        })?;
        let mut states: Vec<_> = listed.into_iter().filter_map(convert::listed).collect();
        // Podman takes a `*` in a label's name for a pattern.
        states.retain(|state| labels.iter().all(|(key, value)| state.labels.get(key) == Some(value)));
        Ok(states)
    }
}
