//! Finding attempts again, by their files and by nothing else.

use std::sync::Arc;

use fastflow_shim::{Guard, GuardState, guard};

use super::{
    Place, blocking, cgroup,
    execution::{Attempt, ProcessExecution, handle},
    live::Entry,
    monitor::{self, Monitor},
    secrets,
};
use crate::{
    OwnerId, Result,
    executor::{
        AttemptRef, ExecutionHandle, Reattached, outcome,
        settle::{Settled, settle},
    },
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
                secrets::remove(entry.secrets.as_deref())?;
                place.live.remove(owner, id)?;
            }
            Some(GuardState::Known(guard)) => {
                let monitor = Monitor::of(guard).filter(|(of, _)| *of == id.to_string());
                found.push(handle(id, monitor.map(|(_, monitor)| monitor).as_ref()));
            }
            // It is only on its way.
            None if entry.run_dir.is_dir() => {}
            // It was started, and its files were damaged or taken away.
            Some(GuardState::Unreadable) | None => found.push(handle(id, None)),
        }
    }
    Ok(found)
}

pub(super) async fn reattach(place: &Arc<Place>, attempt: &AttemptRef) -> Result<Reattached> {
    let (of, with) = (Arc::clone(place), attempt.clone());
    let (settled, entry) = blocking(move || look(&of, &with)).await?;
    // What the handle remembers helps where the files do not.
    let recorded = || serde_json::from_value(attempt.handle.as_ref()?.detail.clone()).ok();
    let monitor: Option<Monitor> = match &settled {
        Settled::Started(Some(guard)) => Monitor::of(guard.clone()).map(|(_, monitor)| monitor),
        _ => recorded(),
    };
    let name = (attempt.owner.clone(), attempt.id);
    let mut found = Attempt::of(Arc::clone(place), name, entry, monitor.clone());
    match settled {
        Settled::Never => {
            found.free().await?;
            Ok(Reattached::NeverStarted)
        }
        Settled::Removed => lose(&found, LostCause::Removed).await,
        Settled::Started(_) => {
            find_session(&mut found)?;
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

/// A host that died between the answer of the shim and the writing of the entry knew the session, and nobody
/// else does. It can be asked for while the shim lives.
fn find_session(attempt: &mut Attempt) -> Result<()> {
    if !attempt.cgroups.is_empty() || attempt.session.is_some() || !attempt.is_monitor_alive()? {
        return Ok(());
    }
    let session = attempt.monitor.as_ref().and_then(|monitor| monitor::session_of(monitor.pid));
    // It may have ended meanwhile, and its number may be a stranger's.
    if session.is_none() || !attempt.is_monitor_alive()? {
        return Ok(());
    }
    attempt.session = session;
    let (run_dir, secrets) = (attempt.run_dir.clone(), attempt.secrets.clone());
    let entry = Entry { run_dir, cgroups: Vec::new(), session, secrets };
    if let Err(error) = attempt.place.live.write(&attempt.owner, attempt.id, &entry) {
        tracing::warn!(attempt = %attempt.id, error = error.chain(), "the session cannot be written down");
    }
    Ok(())
}

/// Ends and frees what is left of an attempt of which nobody can know how it ended.
async fn lose(attempt: &Attempt, cause: LostCause) -> Result<Reattached> {
    attempt.end_all().await?;
    attempt.free().await?;
    Ok(Reattached::Lost(cause))
}

/// Settles it, and finds what is known of it.
fn look(place: &Place, attempt: &AttemptRef) -> Result<(Settled, Entry)> {
    let entry = place.live.read(&attempt.owner, attempt.id)?;
    let settled = settle(attempt, entry.is_some())?;
    let entry = entry.unwrap_or_else(|| place.entry_without_file(attempt.id));
    Ok((settled, Entry { run_dir: attempt.run_dir.clone(), ..entry }))
}
