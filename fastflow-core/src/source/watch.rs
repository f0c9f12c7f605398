//! Tells when something changes in a folder of pipelines.

use std::{
    collections::BTreeMap,
    fmt,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::watch;

use super::{
    listing::MARKS,
    tree::{EXCLUDED, EXCLUDED_SUFFIX},
};
use crate::Clock;

/// How long nothing more must have changed before a change is told: editors and copies take several steps.
const QUIET: Duration = Duration::from_millis(200);
/// A change is told after this long even where changes never stop.
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// Between two looks at what the system does not tell of.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How many readings are made without a watch until one is tried again: about a minute.
const BLIND_READINGS: u32 = 12;

/// How a folder in the folder of pipelines is watched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Depth {
    /// All of it: it is a pipeline.
    All,
    /// For what would make it a pipeline. It may be large, busy, and none of our business.
    Marks,
}

/// Tells when something changes in a folder of pipelines, once the changes have settled.
///
/// What is watched is set before the folder is read, so that a change is seen by the reading or told after it.
pub(super) struct Watch {
    root: PathBuf,
    seen: Arc<Seen>,
    /// How many of the changes were told.
    told: AtomicU64,
    eye: Mutex<Eye>,
}

/// What is shared with whoever tells of changes. It must never wait for one who sets what is watched, since that one
/// waits for it.
#[derive(Debug)]
struct Seen {
    /// How many changes there were.
    changes: watch::Sender<u64>,
    /// The folders in the folder of pipelines that are watched.
    folders: Mutex<BTreeMap<PathBuf, Depth>>,
    /// The folder of pipelines was removed or renamed.
    is_gone: AtomicBool,
}

enum Eye {
    /// Nothing is watched yet.
    Closed,
    /// The system tells of changes in this folder.
    Open(RecommendedWatcher, Identity),
    /// The system cannot tell of changes: there is no room for more watches, or it never could. It is tried again at
    /// each so many readings.
    Blind { readings: u32 },
}

fn has_vanished(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Which folder a path led to: its device and its number there.
type Identity = (u64, u64);

/// Where the folder of pipelines is now; it may be a link that leads elsewhere than before.
fn identity(meta: &std::fs::Metadata) -> Identity {
    (meta.dev(), meta.ino())
}

impl Watch {
    pub(super) fn new(root: &Path) -> Self {
        let (changes, folders, is_gone) = (watch::Sender::new(0), Mutex::default(), AtomicBool::new(false));
        let seen = Arc::new(Seen { changes, folders, is_gone });
        Self { root: root.to_owned(), seen, told: AtomicU64::new(0), eye: Mutex::new(Eye::Closed) }
    }

    /// Watches the folder of pipelines with these folders in it, by their names. Whether any of them is new: it may have
    /// changed just before. Blocks.
    pub(super) fn arm(&self, folders: &BTreeMap<PathBuf, Depth>) -> bool {
        let mut eye = self.eye.lock().unwrap_or_else(PoisonError::into_inner);
        if let Eye::Blind { readings } = &mut *eye {
            *readings += 1;
            if !readings.is_multiple_of(BLIND_READINGS) {
                return false;
            }
        }
        match self.rearm(&mut eye, folders) {
            Ok(is_new) => is_new,
            Err(error) => {
                tracing::warn!(
                    folder = %self.root.display(), %error,
                    "changes cannot be watched; the folder is read every few seconds instead"
                );
                let readings = if let Eye::Blind { readings } = *eye { readings } else { 0 };
                *eye = Eye::Blind { readings };
                // Whoever waits must begin to look.
                self.seen.changed();
                false
            }
        }
    }

    fn rearm(&self, eye: &mut Eye, folders: &BTreeMap<PathBuf, Depth>) -> notify::Result<bool> {
        let mut is_new = false;
        let here = identity(&std::fs::metadata(&self.root).map_err(notify::Error::io)?);
        let is_gone = self.seen.is_gone.swap(false, Ordering::AcqRel);
        if is_gone || !matches!(eye, Eye::Open(_, there) if *there == here) {
            // One that is made again under the same name is another folder.
            self.seen.folders().clear();
            let seen = Arc::clone(&self.seen);
            let root = self.root.clone();
            // What a link leads to is no part of a pipeline unless it lies in its folder, which is watched anyway.
            let config = notify::Config::default().with_follow_symlinks(false);
            let mut watcher = RecommendedWatcher::new(move |event| seen.event(&root, &event), config)?;
            watcher.watch(&self.root, RecursiveMode::NonRecursive)?;
            *eye = Eye::Open(watcher, here);
            is_new = true;
        }
        let Eye::Open(watcher, _) = eye else { return Ok(false) };
        let (gone, new) = self.seen.differ(folders);
        for name in gone {
            // It may not be there any more, and its watch with it.
            let _ = watcher.unwatch(&self.root.join(name));
        }
        for (name, depth) in new {
            let mode = match depth {
                Depth::All => RecursiveMode::Recursive,
                Depth::Marks => RecursiveMode::NonRecursive,
            };
            match watcher.watch(&self.root.join(&name), mode) {
                Ok(()) => is_new = true,
                // It, or a folder in it, was removed since it was listed: it is listed again.
                Err(error) if has_vanished(&error) => {
                    self.seen.folders().remove(&name);
                    is_new = true;
                }
                Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => return Err(error),
                // It keeps no other from being watched, and is tried again with the next reading.
                Err(error) => {
                    tracing::warn!(folder = %self.root.join(&name).display(), %error, "changes in a folder cannot be watched");
                    self.seen.folders().remove(&name);
                }
            }
        }
        Ok(is_new)
    }

    /// Returns when something has changed and nothing more changes right now.
    pub(super) async fn changed(&self, clock: &dyn Clock) {
        let mut changes = self.seen.changes.subscribe();
        let told = self.told.load(Ordering::Acquire);
        loop {
            tokio::select! {
                // The sender lives as long as this.
                () = changes.wait_for(|changes| *changes != told).map(drop) => break,
                () = clock.sleep(LOOK_INTERVAL) => {
                    if self.looks().await {
                        return;
                    }
                }
            }
        }
        let seen = self.settled(&mut changes, clock).await;
        self.told.store(seen, Ordering::Release);
    }

    /// Waits until changes have stopped, and says how many there were.
    async fn settled(&self, changes: &mut watch::Receiver<u64>, clock: &dyn Clock) -> u64 {
        let end = clock.elapsed() + LONGEST_DELAY;
        loop {
            changes.mark_unchanged();
            let left = end.saturating_sub(clock.elapsed());
            tokio::select! {
                () = clock.sleep(QUIET.min(left)) => return *changes.borrow_and_update(),
                _ = changes.changed(), if !left.is_zero() => {}
            }
        }
    }

    /// Whether there is something to be read that nobody tells of: because nobody can, or because the path leads to
    /// another folder now.
    async fn looks(&self) -> bool {
        // Until it is there again there is nothing to be read.
        let Ok(meta) = tokio::fs::metadata(&self.root).await else { return false };
        let eye = self.eye.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = match &*eye {
            Eye::Closed => false,
            Eye::Open(_, there) => *there != identity(&meta),
            Eye::Blind { .. } => true,
        };
        is_other || self.seen.is_gone.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Seen {
    fn folders(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Depth>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Takes over what is to be watched, and returns what is so no longer, and what is new.
    fn differ(&self, wanted: &BTreeMap<PathBuf, Depth>) -> (Vec<PathBuf>, Vec<(PathBuf, Depth)>) {
        let mut folders = self.folders();
        let gone = folders.iter().filter(|(name, depth)| wanted.get(*name) != Some(depth));
        let gone = gone.map(|(name, _)| name.clone()).collect();
        let new = wanted.iter().filter(|(name, depth)| folders.get(*name) != Some(depth));
        let new = new.map(|(name, depth)| (name.clone(), *depth)).collect();
        folders.clone_from(wanted);
        (gone, new)
    }

    fn event(&self, root: &Path, event: &notify::Result<Event>) {
        match event {
            Ok(event) if !self.matters(root, event) => {}
            // After an error some were lost, perhaps those that matter.
            _ => self.changed(),
        }
    }

    /// Whether an event may have changed a pipeline. A watched folder that is gone is forgotten: one that comes in its
    /// place has to be watched anew.
    fn matters(&self, root: &Path, event: &Event) -> bool {
        match event.kind {
            // Reading is one of them: it must not lead to the next.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
            EventKind::Access(_) => return false,
            _ => {}
        }
        let is_end = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        // The queue was full, and the system does not know what it left out.
        let mut any = event.need_rescan() || event.paths.is_empty();
        for path in &event.paths {
            let Ok(path) = path.strip_prefix(root) else { continue };
            let mut names = path.iter().map(Path::new);
            let Some(first) = names.next() else {
                self.is_gone.fetch_or(is_end, Ordering::AcqRel);
                any = true;
                continue;
            };
            let is_inside = names.next().is_some();
            let folder = self.folders().get(first).copied().filter(|_| is_inside);
            any |= path_matters(path, first, folder, event.kind);
            if !is_inside && is_end {
                self.folders().remove(first);
            }
        }
        any
    }
}

fn path_matters(path: &Path, first: &Path, folder: Option<Depth>, kind: EventKind) -> bool {
    let is_hidden = first.as_os_str().as_encoded_bytes().starts_with(b".");
    let is_excluded = path.iter().any(|name| EXCLUDED.iter().any(|excluded| name == *excluded));
    let bytes = path.as_os_str().as_encoded_bytes();
    if is_hidden || is_excluded || bytes.ends_with(EXCLUDED_SUFFIX) {
        return false;
    }
    let name = path.file_name();
    match folder {
        Some(Depth::All) => true,
        Some(Depth::Marks) => name.is_some_and(|name| MARKS.iter().any(|mark| name == *mark)),
        // Beside the pipelines: what is written there is no pipeline's, unless it is a script.
        None => {
            bytes.ends_with(b".py")
                || !matches!(kind, EventKind::Modify(ModifyKind::Data(_)) | EventKind::Access(_))
        }
    }
}
