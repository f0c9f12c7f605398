//! The environments of the pipelines that are shown: which are there, and which are made ahead of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{Ports, intake::Asked, workspace};
use crate::{
    PipelineName, Result, Timestamp,
    environment::{Environment, EnvironmentId, EnvironmentState},
    run::{Failure, RunSpec},
    source::{RevisedPipeline, Revision},
};

/// What is being done for environments in this process. What is there is in the builder's own files, and asked for
/// there, so that nothing here can be out of date.
#[derive(Debug, Default)]
pub(crate) struct EnvironmentWork {
    /// What is made ahead: at most one entry for each pipeline that is shown.
    ahead: Mutex<BTreeMap<PipelineName, (Revision, Ahead)>>,
    /// How many runs wait for their environment now.
    runs: watch::Sender<usize>,
}

/// How far an environment is that is made ahead of a run.
#[derive(Clone, Debug)]
pub(super) enum Ahead {
    Queued,
    Building { since: Timestamp },
    Failed(Failure),
}

impl EnvironmentWork {
    fn table(&self) -> MutexGuard<'_, BTreeMap<PipelineName, (Revision, Ahead)>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is done ahead for this revision.
    pub(super) fn ahead(&self, pipeline: &PipelineName, revision: &Revision) -> Option<Ahead> {
        let table = self.table();
        table.get(pipeline).filter(|(of, _)| of == revision).map(|(_, ahead)| ahead.clone())
    }

    /// Notes what is done ahead, instead of what was done for another revision.
    pub(super) fn note(&self, pipeline: &PipelineName, revision: &Revision, ahead: Ahead) {
        self.table().insert(pipeline.clone(), (revision.clone(), ahead));
    }

    /// Notes how a build has ended, unless another revision has taken its place. No failure is an end that is seen in the
    /// builder's files.
    pub(super) fn settle(&self, pipeline: &PipelineName, revision: &Revision, failure: Option<&Failure>) {
        let mut table = self.table();
        let Some((of, ahead)) = table.get_mut(pipeline) else { return };
        if of != revision {
            return;
        }
        match failure {
            Some(failure) => *ahead = Ahead::Failed(failure.clone()),
            None => drop(table.remove(pipeline)),
        }
    }

    /// Forgets all pipelines but these.
    pub(super) fn retain(&self, pipelines: &BTreeSet<PipelineName>) {
        self.table().retain(|name, _| pipelines.contains(name));
    }

    /// Counts a run that waits for its environment, as long as what this returns lives.
    pub(super) fn run_waits(&self) -> RunWaits<'_> {
        self.runs.send_modify(|runs| *runs += 1);
        RunWaits(self)
    }

    /// How many runs wait for their environment, and when that changes.
    pub(super) fn waiting_runs(&self) -> watch::Receiver<usize> {
        self.runs.subscribe()
    }
}

/// A run that waits for its environment.
pub(super) struct RunWaits<'a>(&'a EnvironmentWork);

impl Drop for RunWaits<'_> {
    fn drop(&mut self) {
        self.0.runs.send_modify(|runs| *runs -= 1);
    }
}

/// How the environment of a pipeline stands.
pub(crate) async fn state(ports: &Ports, found: &RevisedPipeline) -> EnvironmentState {
    let Some(spec) = needed(ports, found) else { return EnvironmentState::NotNeeded };
    let ahead = ports.environment_work.ahead(&found.pipeline.name, &found.revision);
    match ahead {
        Some(Ahead::Queued) => return EnvironmentState::Queued,
        Some(Ahead::Building { since }) => return EnvironmentState::Building { since },
        Some(Ahead::Failed(_)) | None => {}
    }
    // After a failure, a run or another pipeline with the same needs may have had more luck.
    match (find(ports, &spec).await, ahead) {
        (Ok(Some(environment)), _) => EnvironmentState::cached(environment),
        (_, Some(Ahead::Failed(failure))) | (Err(failure), _) => EnvironmentState::Failed(failure),
        (Ok(None), _) => EnvironmentState::NotCached,
    }
}

/// What the next run of a pipeline executes, if that is possible and takes an environment.
pub(super) fn needed(ports: &Ports, found: &RevisedPipeline) -> Option<Arc<RunSpec>> {
    let spec = ports.spec(found, &Asked::default()).ok()?;
    let executor = ports.executors.get(&spec.executor).ok()?;
    executor.capabilities().environments.then_some(spec)
}

/// The environment of a run like this, if it is there. Nothing is fetched or built.
pub(super) async fn find(ports: &Ports, spec: &RunSpec) -> Result<Option<Environment>, Failure> {
    let executor = ports.executors.get(&spec.executor).map_err(|error| workspace::start_failure(&error))?;
    let place = match executor.present_workbench(spec.pipeline.definition.image.as_ref()).await {
        Ok(place) => place,
        Err(error) if error.kind() == crate::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(workspace::start_failure(&error)),
    };
    let folder = workspace::snapshot(ports, spec).await?;
    let request = workspace::request(ports, &spec.pipeline, folder, place);
    ports.environments.find(&request).await.map_err(Failure::EnvironmentFailed)
}

/// The environments of all pipelines that are shown, as far as they are there and can be seen.
pub(super) async fn shown(ports: &Ports) -> Result<BTreeSet<EnvironmentId>> {
    let mut ids = BTreeSet::new();
    for entry in &ports.source.catalog().await?.entries {
        let Some(spec) = entry.runnable().ok().and_then(|found| needed(ports, found)) else { continue };
        match find(ports, &spec).await {
            Ok(environment) => ids.extend(environment.map(|environment| environment.id)),
            // Each look at it counts as its use, so that it is not old yet.
            Err(failure) => {
                tracing::debug!(pipeline = %entry.name, %failure, "an environment cannot be seen");
            }
        }
    }
    Ok(ids)
}
