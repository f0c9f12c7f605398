//! Finding attempts again: by the guard in their run directory, and by what the engine knows of their containers.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ContainerId, ContainerState,
    compose::{ATTEMPT_LABEL, KIND_LABEL, Kind, OWNER_LABEL},
    execution::{Attempt, ContainerExecution, handle, lost_cause},
    place::Place,
    serving::Serving,
    start::container_name,
    warm::Warm,
};
use crate::{
    AttemptId, OwnerId, Result,
    executor::{
        AttemptRef, ExecutionHandle, Reattached, outcome,
        settle::{Settled, settle},
    },
    run::LostCause,
};

/// The attempts of `owner` that the engine has containers of.
pub(super) async fn list(place: &Arc<Place>, warm: &Warm, owner: &OwnerId) -> Result<Vec<ExecutionHandle>> {
    let labels = BTreeMap::from([(OWNER_LABEL.to_owned(), owner.to_string())]);
    let containers = place.engine.list(&labels).await?;
    let serving = warm.serving().all(owner)?;
    let mut found = Vec::new();
    for container in containers {
        let kind = container.labels.get(KIND_LABEL).map(String::as_str);
        if kind == Some(Kind::Attempt.as_str()) {
            let attempt = container.labels.get(ATTEMPT_LABEL).and_then(|id| id.parse::<AttemptId>().ok());
            // Labels may come from an image; the name is given by us alone.
            let attempt = attempt.filter(|attempt| container.name == container_name(*attempt));
            found.extend(attempt.map(|attempt| handle(attempt, &container.id, &container.name)));
        } else if let Some(attempts) = serving.get(&container.name) {
            let handles = attempts.iter().map(|attempt| handle(*attempt, &container.id, &container.name));
            found.extend(handles);
        }
    }
    Ok(found)
}

pub(super) async fn reattach(
    place: &Arc<Place>,
    serving: &Serving,
    attempt: &AttemptRef,
) -> Result<Reattached> {
    let served_by = serving.read(&attempt.owner, attempt.id)?;
    let name = served_by.clone().unwrap_or_else(|| container_name(attempt.id));
    // The engine first: whoever cannot ask it knows nothing, and must not decide anything.
    let before = place.engine.inspect(&name).await?.filter(|state| is_own(state, attempt));
    let was_begun = before.is_some() || served_by.is_some() || place.order_dir(&name).await?.exists();
    let with = attempt.clone();
    let settled = super::blocking(move || settle(&with, was_begun)).await?;
    match settled {
        Settled::Never => {
            free(place, serving, attempt, &name).await?;
            Ok(Reattached::NeverStarted)
        }
        Settled::Removed => lose(place, serving, attempt, &name, LostCause::Removed).await,
        Settled::Started(_) => {
            // The host that started it may not have lived to do that.
            super::place::remove_order(&place.order_dir(&name).await?);
            // Life first, then the record: it is there when the one who writes it has ended. Where there is none, the
            // container tells why, as often as it is asked, until it is taken away.
            let state = place.engine.inspect(&name).await?.filter(|state| is_own(state, attempt));
            let is_known = state.is_some() || outcome::read(&attempt.run_dir, attempt.id)?.is_some();
            if is_known {
                let recorded =
                    attempt.handle.as_ref().map(|handle| ContainerId::new(handle.native_id.clone()));
                let container = state.map(|state| state.id).or(recorded);
                return Ok(Reattached::Found(Box::new(ContainerExecution::new(Attempt {
                    place: Arc::clone(place),
                    serving: serving.clone(),
                    owner: attempt.owner.clone(),
                    id: attempt.id,
                    run_dir: attempt.run_dir.clone(),
                    container: container.unwrap_or_else(|| ContainerId::new(name.as_str())),
                    name,
                }))));
            }
            let cause = lost_cause(&attempt.run_dir, state.as_ref());
            lose(place, serving, attempt, &name, cause).await
        }
    }
}

/// Whether a container is one of this installation's, whatever its name is.
fn is_own(state: &ContainerState, attempt: &AttemptRef) -> bool {
    state.labels.get(OWNER_LABEL).is_some_and(|owner| *owner == attempt.owner.to_string())
}

/// Ends and frees what is left of an attempt of which nobody can know how it ended.
async fn lose(
    place: &Place,
    serving: &Serving,
    attempt: &AttemptRef,
    name: &str,
    cause: LostCause,
) -> Result<Reattached> {
    free(place, serving, attempt, name).await?;
    Ok(Reattached::Lost(cause))
}

async fn free(place: &Place, serving: &Serving, attempt: &AttemptRef, name: &str) -> Result<()> {
    let others = serving.all(&attempt.owner)?;
    if others.get(name).is_some_and(|attempts| attempts.iter().any(|other| *other != attempt.id)) {
        // Two wanted the same sandbox, and their host died before the slower one had said that it has none.
        return serving.remove(&attempt.owner, attempt.id);
    }
    if place.engine.inspect(name).await?.is_some_and(|state| is_own(&state, attempt)) {
        place.engine.remove(name).await?;
    }
    super::place::remove_order_dir(&place.order_dir(name).await?);
    serving.remove(&attempt.owner, attempt.id)
}
