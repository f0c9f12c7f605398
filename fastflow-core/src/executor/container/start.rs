//! Starting an attempt: from its spec to the answer of the shim in its container.
//!
//! Everything here runs to its end once begun, whether or not anybody still waits for it. So a dropped start leaves an
//! attempt that is started, or one that is not, and no request whose answer nobody hears.

use std::{path::PathBuf, sync::Arc};

use fastflow_shim::{Guard, GuardState, Reply, guard};

use super::{
    ContainerId,
    compose::{Blueprint, Kind, attempt_labels, attempt_order},
    execution::{Attempt, ContainerExecution},
    launch::{Launched, clear, launch},
    place::Place,
    warm::Warm,
};
use crate::{
    AttemptId, Error, ErrorKind, Result,
    executor::{
        AttemptSpec, Requirements, Start, outcome,
        refusal::{bad_order, check_dir, invalid_order, started_before},
    },
    run::{StartFailure, StartFailureKind},
};

/// The name of the container that is made for an attempt.
pub(super) fn container_name(attempt: AttemptId) -> String {
    format!("fastflow-{attempt}")
}

pub(super) async fn start(place: Arc<Place>, warm: Warm, mut spec: AttemptSpec) -> Result<Start> {
    let needs = spec.requirements();
    let order = attempt_order(&mut spec);
    // What the shim would refuse is refused here, before there is anything to clear away.
    order.check().and_then(|()| order.to_vec().map(drop)).map_err(invalid_order)?;
    check_dir("run_dir", &spec.run_dir)?;
    check_dir("working_dir", &spec.working_dir)?;
    check_engine(&place, needs).await?;
    if guard::read(&spec.run_dir)?.is_some() {
        return Err(started_before(&spec));
    }
    let image = match place.images.choose(spec.image.as_ref()) {
        Ok(name) => place.images.present(name).await,
        Err(error) => return Ok(failed(StartFailureKind::Denied, &error)),
    };
    let image = match image {
        Ok(image) => image,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(failed(StartFailureKind::ImageMissing, &error));
        }
        // An engine that refuses to say is no image that is missing.
        Err(error) => return Err(error),
    };
    place.give(&spec.run_dir).await?;
    if let Some((name, launched)) = warm.serve(&place, &image, &spec, &order).await? {
        if launched.reply.is_some() {
            return conclude(&place, &warm, &spec, (name, launched)).await;
        }
        // It had ended before, of age or with its engine, and has not taken the guard: the attempt is as new.
        warm.give_back(&place, &spec, &name).await?;
        if guard::read(&spec.run_dir)?.is_some() {
            return Err(started_before(&spec));
        }
    }
    let name = container_name(spec.id);
    let blueprint = Blueprint {
        name: &name,
        kind: Kind::Attempt,
        owner: &spec.owner,
        labels: &attempt_labels(spec.id),
        image: &image,
        run_dir: &spec.run_dir,
        network: spec.network,
        limits: &spec.limits,
        reads: &spec.read_only,
        writes: &[],
        order_wait: None,
    };
    let launched = match launch(&place, &blueprint, order).await {
        Ok(launched) => launched,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(started_before(&spec)),
        // Removed since it was looked at.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(failed(StartFailureKind::ImageMissing, &error));
        }
        Err(error) => return Err(error.with("attempt", spec.id)),
    };
    conclude(&place, &warm, &spec, (name, launched)).await
}

/// The pipeline has to change, or the images of the engine.
fn failed(kind: StartFailureKind, error: &Error) -> Start {
    Start::Failed(StartFailure { kind, message: error.chain() })
}

/// What the engine cannot do at all is refused before anything is made.
async fn check_engine(place: &Place, needs: Requirements) -> Result<()> {
    let info = &place.known().await?.info;
    let can = crate::executor::Capabilities {
        cpu_limit: info.cpu_limit,
        memory_limit: info.memory_limit,
        process_limit: info.process_limit,
        images: true,
        network: true,
        output: true,
        secrets: true,
        ..Default::default()
    };
    can.check(needs)
}

/// What the shim's answer means.
async fn conclude(
    place: &Arc<Place>,
    warm: &Warm,
    spec: &AttemptSpec,
    (name, launched): (String, Launched),
) -> Result<Start> {
    let execution = |container: ContainerId| {
        ContainerExecution::new(Attempt {
            place: Arc::clone(place),
            serving: warm.serving().clone(),
            owner: spec.owner.clone(),
            id: spec.id,
            run_dir: PathBuf::from(&spec.run_dir),
            name: name.clone(),
            container,
        })
    };
    match launched.reply {
        Some(Reply::Started { .. }) => Ok(Start::Started(Box::new(execution(launched.id)))),
        Some(Reply::ExecFailed { errno, message }) => {
            free(place, warm, spec, &name).await?;
            Ok(Start::Failed(outcome::start_failure(errno, message)))
        }
        Some(Reply::Refused { guard }) => {
            if matches!(guard, GuardState::Known(Guard::Void { .. })) {
                free(place, warm, spec, &name).await?;
            }
            Err(started_before(spec))
        }
        Some(Reply::BadOrder { errno, message }) => {
            free(place, warm, spec, &name).await?;
            Err(bad_order(spec, errno, message))
        }
        // It ended without a word: killed, perhaps, or settled by somebody else while it was on its way.
        None => match guard::void(&spec.run_dir)? {
            Some(GuardState::Known(Guard::Taken { .. }) | GuardState::Unreadable) => {
                Ok(Start::Started(Box::new(execution(launched.id))))
            }
            Some(GuardState::Known(Guard::Void { .. })) | None => {
                let code = place.engine.inspect(&name).await.ok().flatten().and_then(|state| state.exit_code);
                free(place, warm, spec, &name).await?;
                Err(Error::new(ErrorKind::Unavailable, "the container ended before its program was started")
                    .with("attempt", spec.id)
                    .with(
                        "shim_exit_code",
                        code.map_or_else(|| "unknown".to_owned(), |code| code.to_string()),
                    ))
            }
        },
    }
}

/// Frees what was made for an attempt of which nothing runs.
async fn free(place: &Place, warm: &Warm, spec: &AttemptSpec, name: &str) -> Result<()> {
    clear(place, name).await?;
    warm.serving().remove(&spec.owner, spec.id)
}
