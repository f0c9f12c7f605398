//! The snapshots of one source: who got which, and when each may go.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use super::{
    Collected, Revision,
    snapshot::{self, Snapshots},
};
use crate::{Clock, Error, ErrorKind, Result, Timestamp};

/// What was handed out so recently is not collected: its run may not be written down yet.
const HANDED_OUT_FOR: Duration = Duration::from_mins(10);
/// A copy that was not finished for so long never will be.
const STALE_AFTER: Duration = Duration::from_hours(1);

/// The snapshots of one source, handed out and taken away.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) snapshots: Snapshots,
    clock: Arc<dyn Clock>,
    handed_out: Mutex<HashMap<Revision, Duration>>,
    /// Held shared while a revision is found and handed out, and alone while others are removed.
    collecting: RwLock<()>,
}

impl Shelf {
    pub(super) fn new(folder: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            snapshots: Snapshots::new(folder),
            clock,
            handed_out: Mutex::default(),
            collecting: RwLock::default(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        self.snapshots.folder()
    }

    /// Nothing is removed as long as this is held.
    pub(super) fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.collecting.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a revision for a while. Nothing may be removed since it was found.
    pub(super) fn hand_out(&self, revision: &Revision) {
        let now = self.clock.elapsed();
        self.handed_out().insert(revision.clone(), now);
    }

    /// The folder of a revision, kept for a while. Blocks.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not there.
    pub(super) fn checkout(&self, revision: &Revision) -> Result<PathBuf> {
        let _held = self.hold();
        if !self.snapshots.has(revision) {
            return Err(Error::new(ErrorKind::NotFound, "there is no snapshot of this revision any more")
                .with("revision", revision));
        }
        self.hand_out(revision);
        Ok(self.snapshots.path(revision))
    }

    /// Removes what nobody needs: all but what is in `keep`, what `shown` returns, and what was handed out a short while
    /// ago. Blocks.
    pub(super) fn collect(
        &self,
        keep: &BTreeSet<Revision>,
        shown: impl FnOnce() -> BTreeSet<Revision>,
    ) -> Result<Collected> {
        let _alone = self.collecting.write().unwrap_or_else(PoisonError::into_inner);
        let mut used = shown();
        let now = self.clock.elapsed();
        {
            let mut handed_out = self.handed_out();
            handed_out.retain(|_, at| now.saturating_sub(*at) < HANDED_OUT_FOR);
            used.extend(handed_out.keys().cloned());
        }
        let mut collected = Collected::default();
        let mut failed = None;
        for revision in self.snapshots.revisions()? {
            if !keep.contains(&revision) && !used.contains(&revision) {
                match self.snapshots.remove(&revision) {
                    Ok(()) => collected.removed += 1,
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        let now = self.clock.now();
        for path in self.snapshots.partials()?.into_iter().filter(|path| is_stale(path, now)) {
            match snapshot::remove(&path) {
                Ok(()) => collected.stale += 1,
                Err(error) => failed = failed.or(Some(Error::from(error).with("path", path.display()))),
            }
        }
        failed.map_or(Ok(collected), Err)
    }

    fn handed_out(&self) -> MutexGuard<'_, HashMap<Revision, Duration>> {
        self.handed_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_stale(path: &Path, now: Timestamp) -> bool {
    let changed = std::fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let changed = changed.ok().and_then(|time| Timestamp::try_from(time).ok());
    changed.is_some_and(|changed| {
        now.duration_since(changed) > STALE_AFTER.try_into().unwrap_or(jiff::SignedDuration::MAX)
    })
}
