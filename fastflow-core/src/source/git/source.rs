//! The pipelines of a git repository.

use std::{
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;

use super::{
    GitConfig, GitReference,
    claim::Claims,
    mirror::Mirror,
    tree::{self, Known, Terms},
};
use crate::{
    Clock, Error, ErrorKind, PipelineName, Result,
    source::{
        Catalog, CatalogEntry, Collected, Commit, Fetched, PipelineSource, Probe, Provenance, Revision,
        SyncFailure, SyncFailureKind, SyncRequest, shelf::Shelf,
    },
};

/// The pipelines of a git repository.
///
/// - What is shown is one commit, always all of it: a sync fetches, makes the snapshots of all pipelines that changed, and
///   only then shows the new commit. What runs keeps the snapshot that it began with.
/// - The remote always wins, also after its history was rewritten.
/// - It holds the same as a [`DirectorySource`](crate::source::DirectorySource) of the same files would, with the same
///   revisions. Nothing is checked out, and no filter, hook, attribute or submodule of the repository has any effect.
/// - The folders of the mirror and of the snapshots belong to one source at a time: another one waits for ten seconds until
///   work there is over, and fails then.
///
/// ```no_run
/// use std::sync::Arc;
/// use fastflow_core::{SystemClock, source::{GitConfig, GitSource, PipelineSource, SyncRequest}};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = GitConfig::new("https://git.example.org/team/pipelines.git");
/// let source = GitSource::new(config, "state/git", "state/snapshots", Arc::new(SystemClock::new()))?;
/// let fetched = source.fetch(&SyncRequest::default()).await?;
/// source.publish(&fetched).await;
/// println!("{} pipelines", source.catalog().await?.entries.len());
/// # Ok(())
/// # }
/// ```
pub struct GitSource {
    worker: Arc<Worker>,
}

struct Worker {
    config: GitConfig,
    claims: Claims,
    mirror: Mirror,
    shelf: Shelf,
    state: Mutex<State>,
    /// One reads trees at a time: what an earlier process has left is removed by the first.
    reading: Mutex<Opened>,
}

/// Whether the leftovers of an earlier process are gone.
type Opened = bool;

#[derive(Default)]
struct State {
    /// None until something was published or restored.
    shown: Option<Arc<Catalog>>,
    /// What is known of the trees that were read last.
    known: Arc<Known>,
    /// The branch that a caller named.
    following: Option<GitReference>,
    /// What becomes of `following` when this commit is published.
    fetched: Option<(Commit, Option<GitReference>)>,
}

impl GitSource {
    /// The pipelines of the repository of `config`, with our own copy of it in `mirror` and snapshots in `snapshots`.
    /// Nothing is touched before it is used.
    ///
    /// # Errors
    ///
    /// `Invalid` when the address is not taken, or the access does not go with it.
    pub fn new(
        config: GitConfig,
        mirror: impl Into<PathBuf>,
        snapshots: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let folder = mirror.into();
        let mirror = Mirror::new(&folder, config.clone(), Arc::clone(&clock))?;
        let worker = Worker {
            config,
            claims: Claims::new(folder),
            mirror,
            shelf: Shelf::new(snapshots.into(), clock),
            state: Mutex::default(),
            reading: Mutex::new(false),
        };
        Ok(Self { worker: Arc::new(worker) })
    }

    /// Does blocking work where it disturbs nobody. When nobody waits for it any more, it ends soon.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Worker, &Arc<AtomicBool>) -> T + Send + 'static,
    ) -> Result<T> {
        let interrupt = Interrupt::default();
        let (worker, flag) = (Arc::clone(&self.worker), Arc::clone(&interrupt.0));
        tokio::task::spawn_blocking(move || work(&worker, &flag)).await.map_err(|error| {
            Error::new(ErrorKind::Internal, "work on the repository broke off").because(error)
        })
    }
}

/// Ends the work it was given to when it is dropped.
#[derive(Default)]
struct Interrupt(Arc<AtomicBool>);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl fmt::Debug for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitSource")
            .field("remote", &self.worker.mirror.remote())
            .field("reference", &self.worker.config.reference)
            .field("snapshots", &self.worker.shelf.folder())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl PipelineSource for GitSource {
    fn origin(&self) -> Option<String> {
        Some(self.worker.mirror.shown_origin())
    }

    async fn catalog(&self) -> Result<Arc<Catalog>> {
        self.worker.shown()
    }

    async fn refresh(&self, name: &PipelineName) -> Result<CatalogEntry> {
        let catalog = self.worker.shown()?;
        let entry = catalog.get(name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such pipeline").with("pipeline", name)
        })?;
        if let Ok(found) = &entry.pipeline {
            self.worker.shelf.hand_out(&found.revision);
        }
        Ok(entry.clone())
    }

    async fn fetch(&self, request: &SyncRequest) -> Result<Fetched, SyncFailure> {
        let branch = request.branch.clone();
        self.blocking(move |worker, interrupt| worker.fetch(branch, interrupt)).await?
    }

    async fn publish(&self, fetched: &Fetched) {
        let mut state = self.worker.state();
        state.shown = Some(Arc::new(fetched.catalog.clone()));
        if let Some((commit, following)) = state.fetched.take()
            && Some(&commit) == fetched.catalog.commit.as_ref()
        {
            state.following = following;
        }
    }

    async fn restore(&self, published: &Commit) -> Result<()> {
        let published = published.clone();
        self.blocking(move |worker, interrupt| worker.restore(&published, interrupt)).await?
    }

    async fn probe(&self) -> Result<Probe, SyncFailure> {
        self.blocking(|worker, interrupt| worker.mirror.probe(&worker.reference(), interrupt)).await?
    }

    async fn forget_host_key(&self) -> Result<Option<String>> {
        self.blocking(|worker, _| worker.mirror.forget_host_key()).await?
    }

    async fn checkout(&self, revision: &Revision, provenance: Option<&Provenance>) -> Result<PathBuf> {
        let (revision, provenance) = (revision.clone(), provenance.cloned());
        self.blocking(move |worker, interrupt| worker.checkout(&revision, provenance.as_ref(), interrupt))
            .await?
    }

    async fn collect(&self, keep: &BTreeSet<Revision>) -> Result<Collected> {
        let keep = keep.clone();
        self.blocking(move |worker, interrupt| {
            let _claim = worker.claims.take(interrupt)?;
            worker.shelf.collect(&keep, || worker.revisions_shown())
        })
        .await?
    }
}

impl Worker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> Result<Arc<Catalog>> {
        self.state().shown.clone().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "the repository was never synced")
                .with("remote", self.mirror.remote())
        })
    }

    fn revisions_shown(&self) -> BTreeSet<Revision> {
        let shown = self.state().shown.clone();
        let entries = shown.iter().flat_map(|catalog| &catalog.entries);
        entries.filter_map(|entry| Some(entry.pipeline.as_ref().ok()?.revision.clone())).collect()
    }

    /// What is followed: what a caller named, or else what is configured.
    fn reference(&self) -> GitReference {
        self.state().following.clone().unwrap_or_else(|| self.config.reference.clone())
    }

    fn fetch(&self, branch: Option<String>, interrupt: &Arc<AtomicBool>) -> Result<Fetched, SyncFailure> {
        let _claim = self.claims.take(interrupt)?;
        let named = branch.map(GitReference::Branch);
        let following = named.clone().or_else(|| self.state().following.clone());
        let reference = named.unwrap_or_else(|| self.reference());
        let shown = self.state().shown.clone();
        let mut arrived = self.mirror.fetch(&reference, interrupt)?;
        let catalog = match self.read(&arrived.commit, interrupt) {
            // Only now is it seen that something is missing.
            Err(failure) if failure.kind == SyncFailureKind::Corrupt => {
                tracing::warn!(%failure, "the copy of the repository is damaged; fetching all anew");
                let earlier = arrived.bytes;
                arrived = self.mirror.fetch_anew(&reference, interrupt)?;
                arrived.bytes += earlier;
                self.read(&arrived.commit, interrupt)?
            }
            read => read?,
        };
        let before = shown.as_ref().and_then(|shown| shown.commit.as_ref());
        let distance = match before {
            Some(before) => self.mirror.distance(&before.id, &arrived.commit.id)?,
            None => None,
        };
        self.state().fetched = Some((arrived.commit, following));
        Ok(Fetched { catalog, bytes: arrived.bytes, distance })
    }

    /// Reads all pipelines of a commit, and makes the snapshots that are missing.
    fn read(&self, commit: &Commit, interrupt: &AtomicBool) -> Result<Catalog, SyncFailure> {
        let mut opened = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if !*opened {
            self.shelf.snapshots.clear_partials()?;
            *opened = true;
        }
        let _held = self.shelf.hold();
        let known = Arc::clone(&self.state().known);
        let opened = self.mirror.opened()?;
        let place = (self.config.subdirectory.as_deref(), self.terms(interrupt));
        let read = tree::read(&opened.repository, commit, place, &self.shelf.snapshots, &known)?;
        for found in read.catalog.entries.iter().filter_map(|entry| entry.pipeline.as_ref().ok()) {
            self.shelf.hand_out(&found.revision);
        }
        self.state().known = Arc::new(read.known);
        Ok(read.catalog)
    }

    fn terms<'a>(&'a self, interrupt: &'a AtomicBool) -> Terms<'a> {
        Terms { limits: &self.config.limits, interrupt }
    }

    fn restore(&self, published: &Commit, interrupt: &AtomicBool) -> Result<()> {
        let _claim = self.claims.take(interrupt)?;
        self.mirror.check_origin()?;
        // The repository may have been made anew since.
        self.mirror.commit(&published.id, &published.reference)?;
        let catalog = self.read(published, interrupt)?;
        self.state().shown = Some(Arc::new(catalog));
        Ok(())
    }

    fn checkout(
        &self,
        revision: &Revision,
        provenance: Option<&Provenance>,
        interrupt: &AtomicBool,
    ) -> Result<PathBuf> {
        let Some(provenance) = provenance.filter(|_| !self.shelf.snapshots.has(revision)) else {
            return self.shelf.checkout(revision);
        };
        {
            let _claim = self.claims.take(interrupt)?;
            let _held = self.shelf.hold();
            let (opened, snapshots) = (self.mirror.opened()?, &self.shelf.snapshots);
            tree::restore(&opened.repository, provenance, revision, self.terms(interrupt), snapshots)?;
            self.shelf.hand_out(revision);
        }
        self.shelf.checkout(revision)
    }
}
