//! Making a container, giving it its order, and hearing what came of that.

use std::{path::Path, time::Duration};

use fastflow_shim::{Guard, GuardState, Order, Reply, guard, layout, regular};

use super::{
    ContainerId, ContainerNetwork, ContainerSpec, ContainerState,
    compose::{Blueprint, SHIM},
    place::{Place, create_order_dir, remove_order, remove_order_dir, write_order},
};
use crate::{Error, ErrorKind, Result, executor::Network};

/// How long the shim may take to start the program and to say so, from when the engine has started it. A program on a
/// slow disk takes a while.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest reply.
const MAX_REPLY_BYTES: u64 = 64 * 1024;
/// How often an engine is asked about a container although it has not said that it ended: it may have lost the one
/// who watches over it.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(5);
/// How long the shim's own word is waited for before the engine is asked at all. The usual answer and the usual end come
/// from the shim, and what an engine is asked meanwhile it takes from the starts of others.
const SHIM_PATIENCE: Duration = Duration::from_millis(500);
/// How long an engine that cannot be asked is left alone.
const UNAVAILABLE_PAUSE: Duration = Duration::from_millis(500);

/// A container that has its order, and what its shim said: `None` when it has ended without a word.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) id: ContainerId,
    pub(super) reply: Option<Reply>,
}

/// Makes the container and gives it the order. On an error nothing of it is left, but for what an engine that cannot be
/// asked may still do: that container finds no order.
pub(super) async fn launch(place: &Place, blueprint: &Blueprint<'_>, order: Order) -> Result<Launched> {
    let mut id = make(place, blueprint, Some(&order)).await?;
    let mut started = place.engine.start(&id).await;
    if let Err(error) = &started
        && error.kind() == ErrorKind::Unavailable
        && blueprint.network == Network::Bridge
        && place.renew_network().await?
    {
        // Removed since it was seen, while nobody was on it: what is made anew is on the new one.
        clear(place, blueprint.name).await?;
        id = make(place, blueprint, Some(&order)).await?;
        started = place.engine.start(&id).await;
    }
    drop(order);
    let launched = async {
        started?;
        let reply = reply(place, blueprint.run_dir, &id).await?;
        remove_order(&place.order_dir(blueprint.name).await?);
        Ok(Launched { id: id.clone(), reply })
    };
    let launched: Result<Launched> = launched.await;
    let error = match launched {
        Ok(launched) => return Ok(launched),
        Err(error) => error,
    };
    // It may run all the same. Whoever has the guard decides.
    if let Ok(Some(GuardState::Known(Guard::Taken { .. }) | GuardState::Unreadable)) =
        guard::void(blueprint.run_dir)
    {
        tracing::warn!(container = blueprint.name, error = error.chain(), "started, and the answer was lost");
        return Ok(Launched { id, reply: None });
    }
    if let Err(error) = clear(place, blueprint.name).await {
        tracing::warn!(container = blueprint.name, error = error.chain(), "not removed yet");
    }
    Err(error)
}

/// Makes the container, and the folder over which it gets its order: with the order in it, if there is one already.
pub(super) async fn make(
    place: &Place,
    blueprint: &Blueprint<'_>,
    order: Option<&Order>,
) -> Result<ContainerId> {
    let spec = blueprint.container(place.facts().await?)?;
    if spec.network != ContainerNetwork::None {
        place.ensure_network().await?;
    }
    let dir = place.order_dir(blueprint.name).await?;
    create_order_dir(&dir)?;
    let made = async {
        if let Some(order) = order {
            write_order(&dir, order, spec.user)?;
        }
        create(place, &spec).await
    };
    made.await.inspect_err(|error| {
        // A container of this name is somebody else's, and so is the folder.
        if error.kind() != ErrorKind::AlreadyExists {
            remove_order_dir(&dir);
        }
    })
}

async fn create(place: &Place, spec: &ContainerSpec) -> Result<ContainerId> {
    let created = place.engine.create(spec).await;
    if let Err(error) = &created {
        match error.kind() {
            // Removed since it was looked at.
            ErrorKind::NotFound => place.images.forget(),
            ErrorKind::Invalid => {
                return created.map_err(|error| {
                    let refused = Error::new(ErrorKind::Unsupported, "the engine refuses to make this container");
                    refused
                        .with("container", &spec.name)
                        .with("help", "if it speaks of a path: does the engine see the files of this machine? One elsewhere, or in a virtual machine that shares no folders, cannot be used. If it speaks of a limit: this machine has less than the pipeline asks for")
                        .because(error)
                });
            }
            _ => {}
        }
    }
    created
}

/// Removes a container and the folder of its order. Last the folder: it shows that there is something to remove.
pub(super) async fn clear(place: &Place, name: &str) -> Result<()> {
    place.engine.remove(name).await?;
    remove_order_dir(&place.order_dir(name).await?);
    Ok(())
}

/// What the shim says, or `None` when its container ends without a word.
pub(super) async fn reply(place: &Place, run_dir: &Path, id: &ContainerId) -> Result<Option<Reply>> {
    let watched = place.watch.folder(run_dir);
    let path = run_dir.join(layout::REPLY);
    let look = || regular::read(&path, MAX_REPLY_BYTES).ok();
    let bytes = tokio::select! {
        bytes = watched.until(look) => Some(bytes),
        _ = ended(place, id) => look(),
        () = place.clock.sleep(REPLY_TIMEOUT) => {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the shim gave no answer; whether the program was started is unknown",
            )
            .with("container", id));
        }
    };
    let Some(bytes) = bytes else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::new(ErrorKind::Internal, "the shim's answer cannot be understood")
            .with("container", id)
            .because(error)
    })
}

/// Returns when the container does not run any more, with how the engine sees it: `None` when it is gone. Lasts while
/// the engine cannot be asked. Cancel-safe.
pub(super) async fn ended(place: &Place, id: &ContainerId) -> Option<ContainerState> {
    let mut first_process = None;
    place.clock.sleep(SHIM_PATIENCE).await;
    loop {
        let waited = tokio::select! {
            waited = place.engine.wait(id) => waited,
            () = place.clock.sleep(LIVENESS_INTERVAL) => Ok(()),
        };
        match place.engine.inspect(id.as_str()).await {
            Ok(Some(state)) if state.status.is_alive() => {
                let pid = state.pid.filter(|_| waited.is_ok());
                if is_dead(&mut first_process, pid) {
                    return Some(state);
                }
            }
            Ok(state) => return state,
            Err(_) => {}
        }
        if waited.is_err() {
            place.clock.sleep(UNAVAILABLE_PAUSE).await;
        }
    }
}

/// Whether the first process of a container is gone although its engine says that it runs: who watched over it for the
/// engine was killed. Known only where this process sees that one, which its command line proves.
fn is_dead(known: &mut Option<(u32, u64)>, pid: Option<u32>) -> bool {
    let Some(pid) = pid else { return false };
    match known {
        Some((known, start)) if *known == pid => !fastflow_shim::proc::Stat::read(pid)
            .is_ok_and(|stat| stat.start_time_ticks == *start && !stat.is_zombie()),
        _ => {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if command.starts_with(SHIM.as_bytes()) {
                *known = fastflow_shim::proc::start_time_ticks(pid).ok().map(|start| (pid, start));
            }
            false
        }
    }
}
