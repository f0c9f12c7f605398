//! Whether an attempt was started, decided once and for ever by the guard in its run directory.

use std::{fs, io};

use fastflow_shim::{Guard, GuardState, guard};

use super::AttemptRef;
use crate::{Error, Result};

/// What the guard says, once it has been made to say something.
#[derive(Debug)]
pub(super) enum Settled {
    /// It has not started, and never will.
    Never,
    /// It was started. What its shim wrote, if that is to be read and its own.
    Started(Option<Guard>),
    /// It was started, and its files were taken away.
    Removed,
}

/// Makes sure that the guard is taken, by the attempt or else by nobody. `was_begun` says that somebody had begun to
/// start it, so that a run directory that is not there was taken away.
pub(super) fn settle(attempt: &AttemptRef, was_begun: bool) -> Result<Settled> {
    let describe = |error: io::Error| Error::from(error).with("run_dir", attempt.run_dir.display());
    let has_files = attempt.run_dir.is_dir();
    if !has_files {
        // A start that is still on its way would find the directory should somebody make it again.
        fs::create_dir_all(&attempt.run_dir).map_err(describe)?;
    }
    let guard = match guard::read(&attempt.run_dir).map_err(describe)? {
        Some(guard) => Some(guard),
        None => guard::void(&attempt.run_dir).map_err(describe)?,
    };
    Ok(match guard {
        // An attempt with a handle has started, whatever its directory says now.
        None | Some(GuardState::Known(Guard::Void { .. }))
            if attempt.handle.is_some() || (was_begun && !has_files) =>
        {
            Settled::Removed
        }
        None | Some(GuardState::Known(Guard::Void { .. })) => Settled::Never,
        Some(GuardState::Unreadable) => Settled::Started(None),
        Some(GuardState::Known(guard @ Guard::Taken { .. })) => Settled::Started(own(attempt, guard)),
    })
}

fn own(attempt: &AttemptRef, guard: Guard) -> Option<Guard> {
    let Guard::Taken { attempt: found, .. } = &guard else { return None };
    if *found == attempt.id.to_string() {
        return Some(guard);
    }
    tracing::error!(attempt = %attempt.id, run_dir = %attempt.run_dir.display(), found, "the guard is that of another attempt");
    None
}
