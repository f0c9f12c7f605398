//! Keeps sandboxes ready for the pipelines that ask for it.
//!
//! It makes ready what the next attempt of a pipeline needs (snapshot, image, environment) and has the executor keep as
//! many sandboxes as the pipeline says. It looks again after each start of such a pipeline, and now and then: sandboxes
//! end of age, and pipelines change. Nothing depends on it: an attempt that finds no sandbox gets one of its own.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use super::{Ports, intake::Asked, program, workspace};
use crate::{
    AttemptId, Error, ErrorKind, PipelineName, Result, RunId,
    environment::SetupLog,
    executor::{AttemptSpec, Health},
    source::RevisedPipeline,
};

/// How often it looks although nothing was started.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Works until it is dropped.
pub(crate) async fn run(ports: Arc<Ports>) {
    let can = |name| ports.executors.get(name).is_ok_and(|executor| executor.capabilities().warm);
    if !ports.executors.by_name.keys().any(can) {
        return;
    }
    let mut wanted = match ports.source.catalog().await {
        Ok(catalog) => catalog
            .entries
            .iter()
            .filter(|entry| asks(entry.runnable().ok()))
            .map(|entry| entry.name.clone())
            .collect(),
        Err(error) => {
            tracing::warn!(%error, "pipelines that want warm sandboxes are known only from their first run on");
            BTreeSet::new()
        }
    };
    loop {
        let mut kept = BTreeSet::new();
        for name in wanted {
            match keep(&ports, &name).await {
                Ok(true) => drop(kept.insert(name)),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(pipeline = %name, %error, "no sandboxes could be made ready");
                    kept.insert(name);
                }
            }
        }
        wanted = kept;
        tokio::select! {
            () = ports.signals.warm_used() => {}
            () = ports.clock.sleep(LOOK_INTERVAL) => {}
        }
        wanted.extend(ports.signals.take_warm_used());
    }
}

fn asks(pipeline: Option<&RevisedPipeline>) -> bool {
    pipeline.is_some_and(|found| found.pipeline.definition.warm > 0 && found.pipeline.definition.enabled)
}

/// Makes as many ready as the pipeline says. Whether it wants any at all.
async fn keep(ports: &Ports, name: &PipelineName) -> Result<bool> {
    let entry = match ports.source.refresh(name).await {
        Ok(entry) => entry,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(found) = entry.runnable().ok().filter(|found| asks(Some(*found))) else { return Ok(false) };
    let definition = &found.pipeline.definition;
    let executor = ports.executors.get(definition.executor.as_ref().unwrap_or(&ports.executors.default))?;
    if !executor.capabilities().warm {
        return Ok(false);
    }
    if executor.health() != Health::Up {
        return Ok(true);
    }
    let spec = ports.spec(found, &Asked::default())?;
    let environment = workspace::make_ready(ports, &spec, &Traced).await.map_err(|failure| {
        Error::new(ErrorKind::Unavailable, "the environment could not be made ready")
            .because(failure.to_string())
    })?;
    // What they wait for has no name yet.
    let nobody = AttemptId { run: RunId::from_bytes([0; 16]), number: NonZeroU32::MIN };
    let mut like = AttemptSpec::new(nobody, ports.owner.clone(), Vec::new(), ports.data.runs_dir());
    program::fit(&mut like, definition, Some(&environment));
    executor.keep_warm(&like, definition.warm).await?;
    Ok(true)
}

/// For whoever follows the host's own words: no run waits for this.
struct Traced;

impl SetupLog for Traced {
    fn line(&self, text: &str) {
        tracing::debug!(text, "making ready");
    }
}
