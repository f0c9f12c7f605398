//! A container engine of which every call is written down, with its times.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Result,
    environment::SetupLog,
    executor::{
        ImageName,
        container::{
            ContainerEngine, ContainerId, ContainerSignal, ContainerSpec, ContainerState, EngineInfo,
            ImageInfo,
        },
    },
};
use tokio::sync::Notify;

use crate::process::monotonic;

/// An engine, and what is asked of it.
#[derive(Debug)]
pub struct WatchedEngine {
    engine: Arc<dyn ContainerEngine>,
    calls: Calls,
}

/// What was asked, in the order of the answers. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    spec: Mutex<Option<ContainerSpec>>,
    moved: Notify,
}

/// One call that was answered.
#[derive(Clone, Debug)]
pub struct Call {
    /// What was asked.
    pub what: What,
    /// The container's name or id, where there is one.
    pub container: String,
    /// When it was asked, by the clock of [`monotonic`].
    pub began: Duration,
    /// When it was answered.
    pub ended: Duration,
}

/// What can be asked of an engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// What it is.
    Info,
    /// Whether an image is there.
    Image,
    /// To make a container.
    Create,
    /// To start one.
    Start,
    /// How one is.
    Inspect,
    /// To send a signal.
    Signal,
    /// To remove one.
    Remove,
    /// Which there are.
    List,
}

impl WatchedEngine {
    /// An engine whose calls are added to `calls`.
    pub fn new(engine: Arc<dyn ContainerEngine>, calls: Calls) -> Self {
        Self { engine, calls }
    }

    async fn timed<T>(
        &self,
        what: What,
        container: &str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let began = monotonic();
        let answer = call.await;
        self.calls.add(Call { what, container: container.to_owned(), began, ended: monotonic() });
        answer
    }
}

impl Calls {
    fn list(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, call: Call) {
        self.list().push(call);
        self.0.moved.notify_waiters();
    }

    /// Forgets what was asked so far.
    pub fn clear(&self) {
        self.list().clear();
    }

    /// The first answered call of this kind since the last [`clear`](Self::clear).
    pub fn first(&self, what: What) -> Option<Call> {
        self.list().iter().find(|call| call.what == what).cloned()
    }

    /// The last container that was asked for.
    pub fn last_spec(&self) -> Option<ContainerSpec> {
        self.0.spec.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many containers were removed since the last [`clear`](Self::clear).
    pub async fn removals(&self, count: usize) {
        self.until(|calls| calls.iter().filter(|call| call.what == What::Remove).count() >= count).await;
    }

    /// Waits until the container of this name was removed.
    pub async fn removed(&self, name: &str) {
        self.until(|calls| calls.iter().any(|call| call.what == What::Remove && call.container == name))
            .await;
    }

    async fn until(&self, is_so: impl Fn(&[Call]) -> bool) {
        loop {
            let moved = self.0.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if is_so(&self.list()) {
                return;
            }
            moved.await;
        }
    }
}

#[async_trait]
impl ContainerEngine for WatchedEngine {
    fn kind(&self) -> &'static str {
        self.engine.kind()
    }

    async fn info(&self) -> Result<EngineInfo> {
        self.timed(What::Info, "", self.engine.info()).await
    }

    async fn image(&self, image: &ImageName) -> Result<Option<ImageInfo>> {
        self.timed(What::Image, "", self.engine.image(image)).await
    }

    async fn pull(&self, image: &ImageName, log: &dyn SetupLog) -> Result<()> {
        self.engine.pull(image, log).await
    }

    async fn ensure_network(&self, name: &str) -> Result<bool> {
        self.engine.ensure_network(name).await
    }

    async fn create(&self, container: &ContainerSpec) -> Result<ContainerId> {
        *self.calls.0.spec.lock().unwrap_or_else(PoisonError::into_inner) = Some(container.clone());
        self.timed(What::Create, &container.name, self.engine.create(container)).await
    }

    async fn start(&self, container: &ContainerId) -> Result<()> {
        self.timed(What::Start, container.as_str(), self.engine.start(container)).await
    }

    async fn inspect(&self, container: &str) -> Result<Option<ContainerState>> {
        self.timed(What::Inspect, container, self.engine.inspect(container)).await
    }

    async fn wait(&self, container: &ContainerId) -> Result<()> {
        self.engine.wait(container).await
    }

    async fn signal(&self, container: &ContainerId, signal: ContainerSignal) -> Result<bool> {
        self.timed(What::Signal, container.as_str(), self.engine.signal(container, signal)).await
    }

    async fn unpause(&self, container: &ContainerId) -> Result<()> {
        self.engine.unpause(container).await
    }

    async fn remove(&self, container: &str) -> Result<()> {
        self.timed(What::Remove, container, self.engine.remove(container)).await
    }

    async fn list(&self, labels: &BTreeMap<String, String>) -> Result<Vec<ContainerState>> {
        self.timed(What::List, "", self.engine.list(labels)).await
    }
}
