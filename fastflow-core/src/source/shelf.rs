//! The snapshots of one source: who got which, and when each may go.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError},
    time::Duration,
};

use super::{
    Collected, Revision,
    snapshot::{self, Snapshots},
};
use crate::{Clock, Error, ErrorKind, Result, Timestamp};

/// What was handed out so recently, by whatever process, is not collected: its run may not be written down yet.
const HANDED_OUT_FOR: Duration = Duration::from_mins(10);
/// A copy that was not finished for so long never will be.
const STALE_AFTER: Duration = Duration::from_hours(1);

/// So many lose their names while nobody else can find one. That takes a few milliseconds.
const UNNAMED_AT_ONCE: usize = 100;

/// The snapshots of one source, handed out and taken away.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) snapshots: Snapshots,
    clock: Arc<dyn Clock>,
    handed_out: Mutex<HashMap<Revision, Duration>>,
    /// Held shared while a revision is found and handed out, and alone while others lose their names.
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

    /// Keeps a revision for a while, also from other processes that share the folder. Nothing may be removed here since it
    /// was found. Whether it is still there: another process may have removed it.
    pub(super) fn hand_out(&self, revision: &Revision) -> bool {
        let now = self.clock.elapsed();
        self.handed_out().insert(revision.clone(), now);
        self.snapshots.touch(revision)
    }

    /// The folder of a revision, kept for a while. Blocks.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not there.
    pub(super) fn checkout(&self, revision: &Revision) -> Result<PathBuf> {
        let _held = self.hold();
        if !self.snapshots.has(revision) || !self.hand_out(revision) {
            return Err(Error::new(ErrorKind::NotFound, "there is no snapshot of this revision any more")
                .with("revision", revision));
        }
        Ok(self.snapshots.path(revision))
    }

    /// Removes what nobody needs: all but what is in `keep`, what `shown` returns, and what was handed out a short while
    /// ago. Blocks, but keeps nobody else waiting for longer than a few names take: what somebody holds now is left to
    /// the next time.
    pub(super) fn collect(
        &self,
        keep: &BTreeSet<Revision>,
        shown: impl Fn() -> BTreeSet<Revision>,
    ) -> Result<Collected> {
        let mut collected = Collected::default();
        let mut failed = None;
        for path in self.stale()? {
            match removed(&path) {
                Ok(()) => collected.stale += 1,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let mut unneeded = self.snapshots.revisions()?;
        unneeded.retain(|revision| !keep.contains(revision));
        for some in unneeded.chunks(UNNAMED_AT_ONCE) {
            for unnamed in self.unname(some, &shown) {
                match unnamed.and_then(|path| removed(&path)) {
                    Ok(()) => collected.removed += 1,
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        failed.map_or(Ok(collected), Err)
    }

    /// The copies that will never be finished. While nobody else holds this none is being written.
    fn stale(&self) -> Result<Vec<PathBuf>> {
        let Some(_alone) = self.alone() else { return Ok(Vec::new()) };
        let now = self.clock.now();
        Ok(self.snapshots.partials()?.into_iter().filter(|path| is_stale(path, now)).collect())
    }

    /// Takes the names of those away that are not used, and says where their content is now. It is removed when nobody
    /// waits for that.
    fn unname(&self, unneeded: &[Revision], shown: &impl Fn() -> BTreeSet<Revision>) -> Vec<Result<PathBuf>> {
        let Some(_alone) = self.alone() else { return Vec::new() };
        let mut used = shown();
        used.extend(self.handed_out_lately());
        let now = self.clock.now();
        let unused = unneeded.iter().filter(|revision| !used.contains(revision));
        let unused = unused.filter(|revision| {
            let path = self.snapshots.path(revision);
            self.snapshots.has(revision) && !is_handed_out(&path, now)
        });
        unused.filter_map(|revision| self.unname_unless_handed_out(revision, now).transpose()).collect()
    }

    /// Another process may hand a revision out at any moment: it touches the folder, and then it is there or not. So what
    /// was touched before it lost its name gets that back.
    fn unname_unless_handed_out(&self, revision: &Revision, now: Timestamp) -> Result<Option<PathBuf>> {
        let unnamed = self.snapshots.unname(revision)?;
        if !is_handed_out(&unnamed, now) {
            return Ok(Some(unnamed));
        }
        self.snapshots.name(&unnamed, revision)?;
        Ok(None)
    }

    /// Whoever waited for this would make all wait that come after it, for as long as the longest reading takes.
    fn alone(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        match self.collecting.try_write() {
            Ok(alone) => Some(alone),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn handed_out_lately(&self) -> Vec<Revision> {
        let now = self.clock.elapsed();
        let mut handed_out = self.handed_out();
        handed_out.retain(|_, at| now.saturating_sub(*at) < HANDED_OUT_FOR);
        handed_out.keys().cloned().collect()
    }

    fn handed_out(&self) -> MutexGuard<'_, HashMap<Revision, Duration>> {
        self.handed_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn removed(path: &Path) -> Result<()> {
    snapshot::remove(path).map_err(|error| snapshot::at(error, path))
}

fn is_stale(path: &Path, now: Timestamp) -> bool {
    touched(path).is_some_and(|touched| {
        now.duration_since(touched) > STALE_AFTER.try_into().unwrap_or(jiff::SignedDuration::MAX)
    })
}

/// Whether any process has made or handed out this snapshot a short while ago.
fn is_handed_out(path: &Path, now: Timestamp) -> bool {
    touched(path).is_some_and(|touched| now.duration_since(touched).unsigned_abs() < HANDED_OUT_FOR)
}

fn touched(path: &Path) -> Option<Timestamp> {
    let touched = std::fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok()?;
    Timestamp::try_from(touched).ok()
}

#[cfg(test)]
mod tests;
