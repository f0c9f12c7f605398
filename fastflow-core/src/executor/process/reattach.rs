//! Finding attempts again, by their files and by nothing else.

use std::{fs, io, sync::Arc};

use fastflow_shim::{Guard, GuardState, guard};

use super::{
    Place, blocking, cgroup,
    execution::{Attempt, ProcessExecution, handle},
    live::Entry,
    monitor::Monitor,
    outcome,
};
use crate::{
    Error, ErrorKind, OwnerId, Result,
    executor::{AttemptRef, ExecutionHandle, Reattached},
    run::LostCause,
};

/// The attempts of `owner` that were started and not removed.
pub(super) fn list(place: &Place, owner: &OwnerId) -> Result<Vec<ExecutionHandle>> {
    let mut found = Vec::new();
    for id in place.live.attempts(owner)? {
        // Removed since the directory was read.
        let Some(entry) = place.live.read(owner, id)? else { continue };
        match guard::read(&entry.run_dir)? {
            // It never starts, and whoever settled that did not live to clear away.
            Some(GuardState::Known(Guard::Void { .. })) => {
                cgroup::remove(&entry.cgroups)?;
                place.live.remove(owner, id)?;
            }
            Some(GuardState::Known(guard)) => {
                found.push(handle(id, Monitor::of(guard).map(|(_, monitor)| monitor).as_ref()));
            }
            // It is only on its way.
            None if entry.run_dir.is_dir() => {}
            // It was started, and its files were damaged or taken away.
            Some(GuardState::Unreadable) | None => found.push(handle(id, None)),
        }
    }
    Ok(found)
}

/// What the guard says, once it has been made to say something.
#[derive(Debug)]
enum Settled {
    /// It has not started, and never will.
    Never,
    /// It was started. By whom, if that can be known.
    Started(Option<Monitor>),
    /// It was started, and its files were taken away.
    Removed,
}

pub(super) async fn reattach(place: &Arc<Place>, attempt: &AttemptRef) -> Result<Reattached> {
    let (of, with) = (Arc::clone(place), attempt.clone());
    let (settled, entry) = blocking(move || settle(&of, &with)).await?;
    // What the handle remembers helps where the files do not.
    let recorded = || serde_json::from_value(attempt.handle.as_ref()?.detail.clone()).ok();
    let monitor: Option<Monitor> = match &settled {
        Settled::Started(Some(monitor)) => Some(monitor.clone()),
        _ => recorded(),
    };
    let name = (attempt.owner.clone(), attempt.id);
    let found = Attempt::of(Arc::clone(place), name, Some(entry), monitor.clone());
    match settled {
        Settled::Never => {
            found.free().await?;
            Ok(Reattached::NeverStarted)
        }
        Settled::Removed => lose(&found, LostCause::Removed).await,
        Settled::Started(_) => {
            if let Some(monitor) = monitor
                // Life first, then the record: it is there when the one who writes it has ended.
                && (monitor.open()?.is_some() || outcome::read(&found.run_dir, found.id)?.is_some())
            {
                return Ok(Reattached::Found(Box::new(ProcessExecution::new(found, &monitor))));
            }
            let cause = found.lost_cause()?;
            lose(&found, cause).await
        }
    }
}

/// Ends and frees what is left of an attempt of which nobody can know how it ended.
async fn lose(attempt: &Attempt, cause: LostCause) -> Result<Reattached> {
    attempt.end_all().await?;
    attempt.free().await?;
    Ok(Reattached::Lost(cause))
}

/// Makes sure that the guard is taken, by the attempt or else by nobody.
fn settle(place: &Place, attempt: &AttemptRef) -> Result<(Settled, Entry)> {
    let entry = place.live.read(&attempt.owner, attempt.id)?;
    let was_listed = entry.is_some();
    let entry = Entry { run_dir: attempt.run_dir.clone(), ..entry.unwrap_or_default() };
    let has_files = attempt.run_dir.is_dir();
    if !has_files {
        // A start that is still on its way would find the directory should somebody make it again.
        fs::create_dir_all(&attempt.run_dir)
            .map_err(|error| Error::from(error).with("run_dir", attempt.run_dir.display()))?;
    }
    let describe = |error: io::Error| Error::from(error).with("run_dir", attempt.run_dir.display());
    let guard = match guard::read(&attempt.run_dir).map_err(describe)? {
        Some(guard) => Some(guard),
        None => guard::void(&attempt.run_dir).map_err(describe)?,
    };
    let settled = match guard {
        // An attempt with a handle has started, whatever its directory says now.
        None | Some(GuardState::Known(Guard::Void { .. }))
            if attempt.handle.is_some() || (was_listed && !has_files) =>
        {
            Settled::Removed
        }
        None | Some(GuardState::Known(Guard::Void { .. })) => Settled::Never,
        Some(GuardState::Unreadable) => Settled::Started(None),
        Some(GuardState::Known(guard)) => {
            let Some((found, monitor)) = Monitor::of(guard) else { return Ok((Settled::Never, entry)) };
            if found != attempt.id.to_string() {
                return Err(Error::new(ErrorKind::Invalid, "the run directory is that of another attempt")
                    .with("attempt", attempt.id)
                    .with("found", found));
            }
            Settled::Started(Some(monitor))
        }
    };
    Ok((settled, entry))
}
