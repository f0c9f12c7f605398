//! Tells when something changes in a folder of pipelines.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

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
/// Between two looks where the system cannot tell of changes.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

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
    /// How many changes there were.
    changes: watch::Sender<u64>,
    /// How many of them were told.
    told: AtomicU64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    watcher: Option<RecommendedWatcher>,
    /// The folders in the folder of pipelines that are watched.
    folders: BTreeMap<PathBuf, Depth>,
    /// The folder of pipelines was removed or renamed.
    is_gone: bool,
    /// The system cannot tell of changes: there is no room for more watches, or it never could.
    blind: bool,
}

impl Watch {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            changes: watch::Sender::new(0),
            told: AtomicU64::new(0),
            state: Arc::default(),
        }
    }

    /// Watches the folder of pipelines with these folders in it, by their names. Whether any of them is new: it may have
    /// changed just before. Blocks.
    pub(super) fn arm(&self, folders: &BTreeMap<PathBuf, Depth>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.blind {
            return false;
        }
        match self.rearm(&mut state, folders) {
            Ok(is_new) => is_new,
            Err(error) => {
                tracing::warn!(
                    folder = %self.root.display(), %error,
                    "changes cannot be watched; the folder is read every few seconds instead"
                );
                *state = State { blind: true, ..State::default() };
                // Whoever waits must begin to look.
                self.changes.send_modify(|changes| *changes += 1);
                false
            }
        }
    }

    fn rearm(&self, state: &mut State, folders: &BTreeMap<PathBuf, Depth>) -> notify::Result<bool> {
        let mut is_new = state.watcher.is_none() || state.is_gone;
        if is_new {
            // One that is made again under the same name is another folder.
            *state = State { watcher: Some(self.watcher()?), ..State::default() };
        }
        let State { watcher: Some(watcher), folders: watched, .. } = state else { return Ok(false) };
        if is_new {
            watcher.watch(&self.root, RecursiveMode::NonRecursive)?;
        }
        let gone: Vec<PathBuf> = watched
            .iter()
            .filter(|(name, depth)| folders.get(*name) != Some(depth))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            watched.remove(&name);
            // It may be gone, and its watch with it.
            let _ = watcher.unwatch(&self.root.join(&name));
        }
        for (name, depth) in folders {
            if watched.contains_key(name) {
                continue;
            }
            let mode = match depth {
                Depth::All => RecursiveMode::Recursive,
                Depth::Marks => RecursiveMode::NonRecursive,
            };
            match watcher.watch(&self.root.join(name), mode) {
                Ok(()) => {
                    watched.insert(name.clone(), *depth);
                    is_new = true;
                }
                // Removed since it was listed.
                Err(notify::Error { kind: notify::ErrorKind::PathNotFound, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(is_new)
    }

    fn watcher(&self) -> notify::Result<RecommendedWatcher> {
        let (root, changes, state) = (self.root.clone(), self.changes.clone(), Arc::clone(&self.state));
        notify::recommended_watcher(move |event: notify::Result<Event>| {
            let matters = match &event {
                Ok(event) => {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    matters(&root, &mut state, event)
                }
                // Some were lost, perhaps those that matter.
                Err(_) => true,
            };
            if matters {
                changes.send_modify(|changes| *changes += 1);
            }
        })
    }

    /// Returns when something has changed and nothing more changes right now.
    pub(super) async fn changed(&self, clock: &dyn Clock) {
        let mut changes = self.changes.subscribe();
        let told = self.told.load(Ordering::Acquire);
        let seen = if self.looks() {
            loop {
                clock.sleep(POLL_INTERVAL).await;
                // Until it is there again there is nothing to be read.
                if self.root.is_dir() {
                    break;
                }
            }
            *changes.borrow_and_update()
        } else {
            // The sender lives as long as this.
            let _ = changes.wait_for(|changes| *changes != told).await;
            self.settled(&mut changes, clock).await
        };
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

    /// Whether it has to look by itself, because nobody tells it.
    fn looks(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.blind || state.is_gone
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Whether an event may have changed a pipeline. A watched folder that is gone is forgotten: one that comes in its place
/// has to be watched anew.
fn matters(root: &Path, state: &mut State, event: &Event) -> bool {
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
            state.is_gone |= is_end;
            any = true;
            continue;
        };
        let is_inside = names.next().is_some();
        let folder = state.folders.get(first).copied().filter(|_| is_inside);
        any |= path_matters(path, first, folder, event.kind);
        if !is_inside && is_end {
            state.folders.remove(first);
        }
    }
    any
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
