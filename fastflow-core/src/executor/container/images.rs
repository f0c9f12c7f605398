//! Images: which one, whether it is there, and getting it once for all who wait.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt as _, Shared};
use tokio::{sync::watch, task::AbortHandle};

use super::{ContainerConfig, ContainerEngine, ImageInfo, PullPolicy};
use crate::{Clock, Error, ErrorKind, Result, environment::SetupLog, executor::ImageName};

/// How long an image that was seen is taken to be there, and its name to mean the same.
const SEEN_FOR: Duration = Duration::from_secs(5);
/// How many images are remembered. The table is emptied when it is full.
const MAX_SEEN: usize = 1024;

/// What an executor knows of images.
pub(super) struct Images {
    engine: Arc<dyn ContainerEngine>,
    config: ContainerConfig,
    clock: Arc<dyn Clock>,
    seen: Mutex<HashMap<ImageName, (Duration, ImageInfo)>>,
    pulls: Mutex<HashMap<ImageName, Pull>>,
}

/// One that is on its way. Whoever stops waiting stops nobody else.
#[derive(Clone)]
struct Pull {
    outcome: Shared<BoxFuture<'static, Result<(), Arc<Error>>>>,
    /// The newest line; who comes late hears how far it is, and who is slow misses some.
    line: watch::Receiver<Arc<str>>,
    /// The pull itself, which may have ended without anybody waiting.
    task: AbortHandle,
}

impl Images {
    pub(super) fn new(
        engine: Arc<dyn ContainerEngine>,
        config: ContainerConfig,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { engine, config, clock, seen: Mutex::default(), pulls: Mutex::default() }
    }

    /// The image of a pipeline that has chosen `chosen`, fetched if need be and if that is allowed.
    pub(super) async fn get(&self, chosen: Option<&ImageName>, log: &dyn SetupLog) -> Result<ImageInfo> {
        let name = self.choose(chosen)?;
        let present = self.look(name).await?;
        match (self.config.pull, present) {
            (PullPolicy::Missing | PullPolicy::Never, Some(info)) => Ok(info),
            (PullPolicy::Never, None) => Err(missing(name).with(
                "help",
                "images are never pulled here: bring it there with the engine's own `pull`, `load` or `build`, or set another pull policy",
            )),
            (PullPolicy::Always, Some(info)) => match self.pull(name, log).await {
                Ok(()) => self.expect(name).await,
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    log.line(&format!("going on with the image {name} that is here: {error}"));
                    Ok(info)
                }
                Err(error) => Err(error),
            },
            (PullPolicy::Missing | PullPolicy::Always, None) => {
                self.pull(name, log).await?;
                self.expect(name).await
            }
        }
    }

    /// The image, if it is there. Not asked of the engine again if it was there a moment ago.
    pub(super) async fn present(&self, name: &ImageName) -> Result<ImageInfo> {
        let known = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.get(name).filter(|(at, _)| self.clock.elapsed().saturating_sub(*at) < SEEN_FOR).cloned()
        };
        match known {
            Some((_, info)) => Ok(info),
            None => self.expect(name).await,
        }
    }

    /// Forgets what was seen: it has changed.
    pub(super) fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The image of a pipeline that has chosen `chosen`, if it may.
    pub(super) fn choose<'a>(&'a self, chosen: Option<&'a ImageName>) -> Result<&'a ImageName> {
        match chosen {
            None => Ok(&self.config.image),
            Some(image) if *image == self.config.image || self.config.images.allows(image) => Ok(image),
            Some(image) => Err(Error::new(ErrorKind::Denied, "pipelines may not choose this image here")
                .with("field", "image")
                .with("image", image)
                .with("help", "remove the field, or let the host program allow the image")),
        }
    }

    async fn expect(&self, name: &ImageName) -> Result<ImageInfo> {
        self.look(name).await?.ok_or_else(|| missing(name))
    }

    async fn look(&self, name: &ImageName) -> Result<Option<ImageInfo>> {
        let found = self.engine.image(name).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_SEEN {
            seen.clear();
        }
        match &found {
            Some(info) => drop(seen.insert(name.clone(), (self.clock.elapsed(), info.clone()))),
            None => drop(seen.remove(name)),
        }
        Ok(found)
    }

    async fn pull(&self, name: &ImageName, log: &dyn SetupLog) -> Result<()> {
        let Pull { mut outcome, mut line, .. } = self.board(name);
        log.line(&format!("pulling the image {name}"));
        line.mark_unchanged();
        let ended = loop {
            tokio::select! {
                ended = &mut outcome => break ended,
                Ok(()) = line.changed() => {
                    let newest = Arc::clone(&line.borrow_and_update());
                    log.line(&newest);
                }
            }
        };
        ended.map_err(|error| {
            // A registry that refuses has no image for us; an engine that refuses is another matter.
            let kind = if error.kind() == ErrorKind::Denied { ErrorKind::NotFound } else { error.kind() };
            Error::new(kind, "the image could not be pulled").with("image", name).because(error.chain())
        })
    }

    /// The pull that is on its way, begun if there is none.
    fn board(&self, name: &ImageName) -> Pull {
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, pull| !pull.task.is_finished());
        if let Some(pull) = pulls.get(name) {
            return pull.clone();
        }
        let (say, line) = watch::channel(Arc::from(""));
        let (engine, image) = (Arc::clone(&self.engine), name.clone());
        let task = tokio::spawn(async move { engine.pull(&image, &Newest(say)).await });
        let handle = task.abort_handle();
        let outcome = async move {
            let ended = task.await.unwrap_or_else(|panic| {
                Err(Error::new(ErrorKind::Internal, "pulling an image panicked").because(panic))
            });
            ended.map_err(Arc::new)
        };
        let pull = Pull { outcome: outcome.boxed().shared(), line, task: handle };
        pulls.insert(name.clone(), pull.clone());
        pull
    }
}

fn missing(name: &ImageName) -> Error {
    Error::new(ErrorKind::NotFound, "the image is not there").with("image", name)
}

/// Keeps the newest line.
struct Newest(watch::Sender<Arc<str>>);

impl SetupLog for Newest {
    fn line(&self, text: &str) {
        self.0.send_replace(text.into());
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").finish_non_exhaustive()
    }
}
