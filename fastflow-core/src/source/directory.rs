//! A folder of pipelines on this machine.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{
    Catalog, CatalogEntry, Collected, Fetched, PipelineSource, Probe, Provenance, RevisedPipeline, Revision,
    SyncFailure, SyncFailureKind, SyncRequest, TreeLimits, chain,
    content::OpenFolder,
    listing::{Candidate, LINKED, Listing, Shape},
    load,
    shelf::Shelf,
    tree::{self, Entry, Kind, Refusal, Stamp, Tree},
    watch::Watch,
};
use crate::{Clock, Error, ErrorKind, PipelineName, Result, SystemClock, Timestamp, pipeline::Diagnostic};

/// How often a folder that changes while it is read is read again.
const MAX_READS: u32 = 5;
/// A stamp that is younger may stay the same when the file changes once more: clocks of files are coarse.
const SETTLED_AFTER: Duration = Duration::from_millis(100);

/// A folder of pipelines on this machine.
///
/// - Each folder directly inside it that holds a `main.py` (or, for `"type": "notebook"`, a `main.ipynb`) is a
///   pipeline with the folder's name; each single `*.py` file is a pipeline with the name before the dot.
/// - Hidden names are skipped. A name that cannot be a pipeline's is a warning of the catalog. `a/` beside
///   `a.py`, and names that differ only by case, are configuration errors of both.
/// - A pipeline's revision is a hash of its files' paths, contents and execute bits. `.git`, `__pycache__`,
///   `.venv`, `venv`, `node_modules` and `*.pyc` are no part of it, at any depth.
/// - Links may point only inside the pipeline's own folder; pipes, sockets and devices are refused.
/// - A host that uses it is told when something in the folder changes, and syncs.
/// - Each revision is copied once to the folder of snapshots, and never changed there. That folder belongs to one
///   source at a time and must not lie inside a pipeline.
///
/// ```no_run
/// use fastflow_core::source::{DirectorySource, PipelineSource};
///
/// # async fn example() -> fastflow_core::Result<()> {
/// let source = DirectorySource::new("pipelines", "state/snapshots");
/// for entry in &source.catalog().await?.entries {
///     match &entry.pipeline {
///         Ok(pipeline) => tracing::info!(name = %entry.name, revision = %pipeline.revision.short()),
///         Err(findings) => tracing::warn!(name = %entry.name, ?findings),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct DirectorySource {
    worker: Worker,
    origin: String,
}

impl DirectorySource {
    /// The pipelines in `folder`, with their snapshots in `snapshots`, which is made when it is missing. Where the folder is
    /// is settled now, and stays so when the process goes to another directory.
    pub fn new(folder: impl Into<PathBuf>, snapshots: impl Into<PathBuf>) -> Self {
        let folder: PathBuf = folder.into();
        // Where even the directory of the process is gone, the folder is looked for as it was given.
        let folder: Arc<Path> = std::path::absolute(&folder).unwrap_or(folder).into();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Self {
            origin: without_steps_back(&folder).display().to_string(),
            worker: Worker {
                shelf: Arc::new(Shelf::new(snapshots.into(), Arc::clone(&clock))),
                limits: TreeLimits::default(),
                clock,
                state: Arc::default(),
                watch: Arc::new(Watch::new(&folder)),
                folder,
            },
        }
    }

    /// Other limits for what a pipeline's folder may hold.
    #[must_use]
    pub fn with_limits(mut self, limits: TreeLimits) -> Self {
        self.worker.limits = limits;
        self
    }

    /// Another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.worker.shelf = Arc::new(Shelf::new(self.worker.shelf.folder().to_owned(), Arc::clone(&clock)));
        self.worker.clock = clock;
        self
    }

    /// The folder of pipelines.
    pub fn folder(&self) -> &Path {
        &self.worker.folder
    }

    /// Does blocking file work where it disturbs nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Worker) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let worker = self.worker.clone();
        tokio::task::spawn_blocking(move || work(&worker)).await.map_err(|error| {
            Error::new(ErrorKind::Internal, "reading the folder of pipelines broke off").because(error)
        })?
    }
}

impl fmt::Debug for DirectorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectorySource")
            .field("folder", &self.worker.folder)
            .field("snapshots", &self.worker.shelf.folder())
            .finish_non_exhaustive()
    }
}

/// By its text alone. A link on the way is not resolved: the `current` of a deployment leads elsewhere after the next one.
fn without_steps_back(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut shown, part| {
        if part == Component::ParentDir {
            shown.pop();
        } else {
            shown.push(part);
        }
        shown
    })
}

#[async_trait]
impl PipelineSource for DirectorySource {
    fn origin(&self) -> Option<String> {
        Some(self.origin.clone())
    }

    async fn catalog(&self) -> Result<Arc<Catalog>> {
        self.blocking(|worker| worker.catalog().map(Arc::new)).await
    }

    async fn refresh(&self, name: &PipelineName) -> Result<CatalogEntry> {
        let name = name.clone();
        self.blocking(move |worker| worker.refresh(&name)).await
    }

    /// The folder is what is shown, always: there is nothing to make ready first.
    async fn fetch(&self, request: &SyncRequest) -> Result<Fetched, SyncFailure> {
        if let Some(branch) = &request.branch {
            let message = format!("a folder has no branches, and branch {branch:?} was asked for");
            return Err(SyncFailure::new(SyncFailureKind::Refused, message));
        }
        Ok(Fetched::new(self.blocking(Worker::fetch).await?))
    }

    async fn publish(&self, _: &Fetched) {}

    async fn changed(&self) {
        self.worker.watch.changed(&*self.worker.clock).await;
    }

    async fn probe(&self) -> Result<Probe, SyncFailure> {
        self.blocking(|worker| worker.open().map(drop)).await?;
        Ok(Probe::default())
    }

    /// What a folder held once cannot be had again.
    async fn checkout(&self, revision: &Revision, _: Option<&Provenance>) -> Result<PathBuf> {
        let revision = revision.clone();
        self.blocking(move |worker| worker.shelf.checkout(&revision)).await
    }

    async fn collect(&self, keep: &BTreeSet<Revision>) -> Result<Collected> {
        let keep = keep.clone();
        self.blocking(move |worker| worker.collect(&keep)).await
    }
}

/// What the blocking work needs; cheap to clone.
#[derive(Clone)]
struct Worker {
    folder: Arc<Path>,
    shelf: Arc<Shelf>,
    limits: TreeLimits,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    watch: Arc<Watch>,
}

/// What is known from the last look.
#[derive(Default)]
struct State {
    listing: Option<(Arc<Listing>, Settled)>,
    pipelines: HashMap<PipelineName, Known>,
}

/// Whether an unchanged stamp proves an unchanged file.
type Settled = bool;

#[derive(Clone)]
struct Known {
    tree: Arc<Tree>,
    settled: Settled,
    revision: Revision,
    entry: CatalogEntry,
}

impl Worker {
    /// Reads everything, and from before that on watches for what changes.
    fn fetch(&self) -> Result<Catalog> {
        for _ in 0..MAX_READS {
            let root = self.open()?;
            let listing = self.list(&root, true)?;
            if !self.watch.arm(&listing.folders(&root)) {
                break;
            }
        }
        self.catalog()
    }

    fn catalog(&self) -> Result<Catalog> {
        let root = self.open()?;
        let _held = self.shelf.hold();
        let listing = self.list(&root, true)?;
        self.all(&root, &listing)
    }

    /// All pipelines of a listing.
    fn all(&self, root: &OwnedFd, listing: &Listing) -> Result<Catalog> {
        let mut entries = Vec::new();
        for name in listing.candidates.keys() {
            match self.entry(root, listing, name) {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    let found = Diagnostic::error(name.as_str(), "", error.to_string());
                    entries.push(CatalogEntry { name: name.clone(), pipeline: Err(vec![found]) });
                }
                Err(error) => return Err(error),
            }
        }
        self.state().pipelines.retain(|name, _| listing.candidates.contains_key(name));
        Ok(Catalog::of(entries, listing.warnings.clone()))
    }

    fn refresh(&self, name: &PipelineName) -> Result<CatalogEntry> {
        let root = self.open()?;
        let _held = self.shelf.hold();
        let listing = self.list(&root, false)?;
        let mut entry = self.entry(&root, &listing, name)?;
        if self.is_in_cycle(&listing, name) {
            // The others are as they were last read; what they are now decides.
            entry = self.all(&root, &listing)?.entries.into_iter().find(|entry| entry.name == *name);
        }
        entry.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such pipeline")
                .with("pipeline", name)
                .with("folder", self.folder.display())
        })
    }

    /// Whether the pipeline's end leads to its own start, by what was last read of each.
    fn is_in_cycle(&self, listing: &Listing, name: &PipelineName) -> bool {
        let state = self.state();
        let present = state.pipelines.iter().filter(|(name, _)| listing.candidates.contains_key(name));
        chain::is_in_cycle(name, present.map(|(_, known)| &known.entry))
    }

    fn collect(&self, keep: &BTreeSet<Revision>) -> Result<Collected> {
        self.shelf
            .collect(keep, || self.state().pipelines.values().map(|known| known.revision.clone()).collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the folder of pipelines, which may be a link: that is the operator's own.
    fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&*self.folder, flags, Mode::empty()).map_err(|error| {
            let kind = if error == Errno::ACCESS { ErrorKind::Denied } else { ErrorKind::Unavailable };
            Error::new(kind, "the folder of pipelines cannot be opened")
                .with("folder", self.folder.display())
                .because(std::io::Error::from(error))
        })
    }

    /// The names in the folder: as they were, when nothing was added, removed or renamed since.
    fn list(&self, root: &OwnedFd, anew: bool) -> Result<Arc<Listing>> {
        if !anew {
            let stamp = Listing::stamp(root, &self.folder)?;
            if let Some((listing, true)) = &self.state().listing
                && listing.stamp == stamp
            {
                return Ok(Arc::clone(listing));
            }
        }
        let now = self.clock.now();
        let listing = Arc::new(Listing::read(root, &self.folder)?);
        let settled = is_settled(listing.stamp.latest_ns(), now);
        self.state().listing = Some((Arc::clone(&listing), settled));
        Ok(listing)
    }

    /// The pipeline of this name; none when nothing there is a pipeline.
    fn entry(&self, root: &OwnedFd, listing: &Listing, name: &PipelineName) -> Result<Option<CatalogEntry>> {
        let refused = |findings| Ok(Some(CatalogEntry { name: name.clone(), pipeline: Err(findings) }));
        let candidate = match listing.pick(root, name) {
            None => return Ok(None),
            Some(Err(same)) => return refused(vec![same]),
            Some(Ok(candidate)) => candidate,
        };
        match self.read(root, name, candidate) {
            Ok(entry) => Ok(Some(entry)),
            Err(Refusal::Content(findings)) => refused(findings),
            Err(Refusal::Failed(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    /// Reads a pipeline whose name is its own, if anything changed since the last time.
    fn read(
        &self,
        root: &OwnedFd,
        name: &PipelineName,
        candidate: &Candidate,
    ) -> Result<CatalogEntry, Refusal> {
        let shown = self.folder.join(&candidate.name);
        let known = self.state().pipelines.get(name).cloned();
        for _ in 0..MAX_READS {
            let now = self.clock.now();
            let (base, tree) = self.scan(root, candidate)?;
            let tree = Arc::new(tree);
            if let Some(known) = &known
                && known.settled
                && known.tree == tree
                && self.shelf.hand_out(&known.revision)
            {
                return Ok(known.entry.clone());
            }
            let inside = if candidate.shape == Shape::File { &self.folder } else { &*shown };
            let revision =
                match self.shelf.snapshots.take(&OpenFolder { folder: &base, shown: inside }, &tree) {
                    Err(Refusal::Failed(error)) if error.kind() == ErrorKind::Conflict => continue,
                    taken => taken?,
                };
            if self.scan(root, candidate)?.1 != *tree {
                continue;
            }
            let settled = is_settled(tree.changed_ns, now);
            return self.remember(
                name,
                candidate,
                Known {
                    tree,
                    settled,
                    entry: CatalogEntry { name: name.clone(), pipeline: Err(Vec::new()) },
                    revision,
                },
            );
        }
        Err(tree::changing(&shown).into())
    }

    /// Reads the definition out of the snapshot, and keeps it for the next time.
    fn remember(
        &self,
        name: &PipelineName,
        candidate: &Candidate,
        mut known: Known,
    ) -> Result<CatalogEntry, Refusal> {
        let script = candidate.name.to_str().filter(|_| candidate.shape == Shape::File);
        let pipeline = load::load(&self.shelf.snapshots.path(&known.revision), name, script)?;
        known.entry.pipeline = pipeline.map(|pipeline| RevisedPipeline {
            revision: known.revision.clone(),
            pipeline: Arc::new(pipeline),
            provenance: None,
        });
        self.shelf.hand_out(&known.revision);
        let entry = known.entry.clone();
        self.state().pipelines.insert(name.clone(), known);
        Ok(entry)
    }

    /// What a pipeline consists of, and the folder its paths begin in.
    fn scan(&self, root: &OwnedFd, candidate: &Candidate) -> Result<(OwnedFd, Tree), Refusal> {
        let refused =
            |message: &str| Refusal::Content(vec![Diagnostic::error(candidate.shown(), "", message)]);
        let path = Path::new(&candidate.name);
        let failed = |error| Refusal::from(tree::failed(error, &self.folder.join(path)));
        match candidate.shape {
            Shape::Link => Err(refused(LINKED)),
            Shape::Special => Err(refused("found a pipe, a socket or a device, expected a file; remove it")),
            Shape::Folder => {
                let folder = match rustix::fs::openat(root, path, tree::FOLDER, Mode::empty()) {
                    Err(Errno::ACCESS) => {
                        return Err(refused("this folder cannot be read; allow it to the host's user"));
                    }
                    folder => folder.map_err(failed)?,
                };
                let tree = tree::scan(&folder, self.limits)?;
                Ok((folder, tree))
            }
            Shape::File => {
                let stat = rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                let stamp = Stamp::of(&stat);
                let bytes = u64::try_from(stat.st_size).unwrap_or(0);
                if bytes > self.limits.max_bytes {
                    return Err(refused("found a file that is too large for a pipeline"));
                }
                let kind = Kind::File { executable: stat.st_mode & 0o111 != 0, bytes };
                let entries = vec![Entry { path: path.to_path_buf(), kind, stamp }];
                let root = rustix::io::dup(root).map_err(failed)?;
                Ok((root, Tree { entries, changed_ns: stamp.latest_ns() }))
            }
        }
    }
}

/// Whether a later change surely gets a later stamp. A stamp from the future proves nothing.
fn is_settled(changed_ns: i128, now: Timestamp) -> bool {
    let age = now.as_nanosecond() - changed_ns;
    age > i128::try_from(SETTLED_AFTER.as_nanos()).unwrap_or(i128::MAX)
}
