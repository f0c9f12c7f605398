//! Keeps an engine that does not answer from being asked by everybody all the time.
//!
//! After some failures in a row nobody asks for a while. Then one does, and the rest depends on the answer. What waits
//! meanwhile is told at once, and when it is worth trying again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{
    ContainerEngine, ContainerId, ContainerSignal, ContainerSpec, ContainerState, EngineInfo, ImageInfo,
};
use crate::{
    Clock, Entropy as _, Error, ErrorKind, OsEntropy, Result, Timestamp,
    environment::SetupLog,
    executor::{Health, ImageName},
};

/// So many failures in a row open it.
const MAX_FAILURES: u32 = 5;
/// How long nobody asks at first. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest time that nobody asks.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// An engine behind a breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    engine: Arc<dyn ContainerEngine>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    since: Timestamp,
    /// How often it has stayed open after a try.
    tries: u32,
    /// When the next one may ask, by the clock's time that never jumps.
    until: Duration,
    /// Whether one is asking.
    is_asking: bool,
    reason: String,
}

impl Breaker {
    pub(super) fn new(engine: Arc<dyn ContainerEngine>, clock: Arc<dyn Clock>) -> Self {
        Self { engine, clock, state: Mutex::default() }
    }

    pub(super) fn health(&self) -> Health {
        let state = self.state();
        let Some(open) = &state.open else { return Health::Up };
        let left = open.until.saturating_sub(self.clock.elapsed());
        let now = self.clock.now();
        Health::Down {
            since: open.since,
            retry_at: now.saturating_add(left).unwrap_or(now),
            reason: open.reason.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks if anybody may ask now, and draws the conclusions.
    async fn ask<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let asking = self.admit()?;
        let answer = call.await;
        self.conclude(answer.as_ref().err());
        drop(asking);
        answer
    }

    /// The same for calls that last. They say nothing about the engine: whoever stands before it may hang up on all of
    /// them at once, and whoever waits asks for the container next.
    async fn ask_for_long<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if self.state().open.is_some() {
            self.info().await?;
        }
        call.await
    }

    fn admit(&self) -> Result<Option<Asking<'_>>> {
        let mut state = self.state();
        let Some(open) = &mut state.open else { return Ok(None) };
        let left = open.until.saturating_sub(self.clock.elapsed());
        if open.is_asking || !left.is_zero() {
            return Err(Error::new(ErrorKind::Unavailable, "the container engine does not answer")
                .with("engine", self.engine.kind())
                .with("asked_again_in_ms", left.as_millis())
                .with("reason", &open.reason));
        }
        open.is_asking = true;
        Ok(Some(Asking(self)))
    }

    fn conclude(&self, error: Option<&Error>) {
        let mut state = self.state();
        let Some(error) = error.filter(|error| error.kind() == ErrorKind::Unavailable) else {
            if let Some(open) = state.open.take() {
                tracing::info!(engine = self.engine.kind(), since = %open.since, "the container engine answers again");
            }
            state.failures = 0;
            return;
        };
        state.failures = state.failures.saturating_add(1);
        if state.failures < MAX_FAILURES {
            return;
        }
        // Calls that were on their way say nothing new.
        if state.open.as_ref().is_some_and(|open| !open.is_asking) {
            return;
        }
        let tries = state.open.as_ref().map_or(0, |open| open.tries + 1);
        let since = state.open.as_ref().map_or_else(|| self.clock.now(), |open| open.since);
        let pause = jittered(FIRST_PAUSE.saturating_mul(1 << tries.min(16)).min(MAX_PAUSE));
        if tries == 0 {
            tracing::warn!(
                engine = self.engine.kind(),
                error = error.chain(),
                "the container engine does not answer"
            );
        }
        let until = self.clock.elapsed().saturating_add(pause);
        state.open = Some(Open { since, tries, until, is_asking: false, reason: error.chain() });
    }
}

/// A quarter more or less, by chance: many hosts of one engine do not come back together.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0];
    OsEntropy.fill(&mut random);
    pause * (192 + u32::from(random[0]) / 2) / 256
}

/// The one that asks. Whoever is dropped meanwhile has heard nothing, and the next may ask.
struct Asking<'a>(&'a Breaker);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(open) = &mut self.0.state().open {
            open.is_asking = false;
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ContainerEngine for Breaker {
    fn kind(&self) -> &'static str {
        self.engine.kind()
    }

    async fn info(&self) -> Result<EngineInfo> {
        self.ask(self.engine.info()).await
    }

    async fn image(&self, image: &ImageName) -> Result<Option<ImageInfo>> {
        self.ask(self.engine.image(image)).await
    }

    /// A registry that does not answer says nothing about the engine.
    async fn pull(&self, image: &ImageName, log: &dyn SetupLog) -> Result<()> {
        self.info().await?;
        self.engine.pull(image, log).await
    }

    async fn ensure_network(&self, name: &str) -> Result<bool> {
        self.ask(self.engine.ensure_network(name)).await
    }

    async fn create(&self, container: &ContainerSpec) -> Result<ContainerId> {
        self.ask(self.engine.create(container)).await
    }

    async fn start(&self, container: &ContainerId) -> Result<()> {
        self.ask(self.engine.start(container)).await
    }

    async fn inspect(&self, container: &str) -> Result<Option<ContainerState>> {
        self.ask(self.engine.inspect(container)).await
    }

    async fn wait(&self, container: &ContainerId) -> Result<()> {
        self.ask_for_long(self.engine.wait(container)).await
    }

    async fn signal(&self, container: &ContainerId, signal: ContainerSignal) -> Result<bool> {
        self.ask(self.engine.signal(container, signal)).await
    }

    async fn unpause(&self, container: &ContainerId) -> Result<()> {
        self.ask(self.engine.unpause(container)).await
    }

    async fn remove(&self, container: &str) -> Result<()> {
        self.ask(self.engine.remove(container)).await
    }

    async fn list(&self, labels: &BTreeMap<String, String>) -> Result<Vec<ContainerState>> {
        self.ask(self.engine.list(labels)).await
    }
}
