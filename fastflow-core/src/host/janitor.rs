//! Removes what nobody needs: executions without a live attempt, old run directories, unused snapshots and
//! environments. Everything it does is safe to repeat and safe to interrupt.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use super::{
    Ports, environments,
    retention::{self, Sizes},
};
use crate::{
    ErrorKind, PipelineName, Result, RunId,
    environment::EnvironmentId,
    executor::{AttemptRef, ExecutionHandle, Executor, Reattached},
    run::{Run, Status},
    source::Revision,
    store::RunQuery,
};

/// How often executors are asked for executions without a live attempt.
const ORPHAN_INTERVAL: Duration = Duration::from_secs(30);
/// Every how many looks for orphans the disk is cleaned too.
const CLEANING_PERIOD: u32 = 20;
/// Environments removed in one cleaning; the next one goes on.
const MAX_REMOVED_ENVIRONMENTS: usize = 100;

pub(super) struct Janitor {
    ports: Arc<Ports>,
    sizes: Sizes,
    /// What the runs of code executed whose directories are there.
    code: HashMap<RunId, Revision>,
}

/// Works until it is dropped.
pub(crate) async fn run(ports: Arc<Ports>) {
    let mut janitor = Janitor { ports, sizes: Sizes::new(), code: HashMap::new() };
    let mut round = 0_u32;
    loop {
        janitor.remove_orphans().await;
        if round.is_multiple_of(CLEANING_PERIOD) {
            janitor.clean().await;
        }
        round = round.wrapping_add(1);
        janitor.ports.clock.sleep(ORPHAN_INTERVAL).await;
    }
}

impl Janitor {
    async fn remove_orphans(&self) {
        for (name, executor) in &self.ports.executors.by_name {
            match executor.list(&self.ports.owner).await {
                Ok(listed) => {
                    for handle in listed {
                        if let Err(error) = self.remove_if_orphan(&**executor, &handle).await {
                            tracing::warn!(attempt = %handle.attempt, %error, "an orphan could not be removed yet");
                        }
                    }
                }
                Err(error) => tracing::warn!(executor = %name, %error, "the executor cannot be asked now"),
            }
        }
    }

    /// The list was taken before the store is asked: what is listed was claimed before, so a live attempt is
    /// never taken for an orphan.
    async fn remove_if_orphan(&self, executor: &dyn Executor, handle: &ExecutionHandle) -> Result<()> {
        let run = match self.ports.store.run(handle.attempt.run).await {
            Ok(run) => Some(run),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if run.as_ref().is_some_and(|run| is_live(run, handle)) {
            return Ok(());
        }
        let run_dir = run.map_or_else(
            || self.ports.data.runs_dir().join(".unknown"),
            |run| self.ports.data.attempt_dir(run.pipeline(), handle.attempt),
        );
        let attempt = AttemptRef {
            id: handle.attempt,
            owner: self.ports.owner.clone(),
            run_dir,
            handle: Some(handle.clone()),
        };
        if let Reattached::Found(execution) = executor.reattach(&attempt).await? {
            tracing::info!(attempt = %handle.attempt, "removing an execution that no run needs");
            execution.remove().await?;
        }
        Ok(())
    }

    /// What cannot be removed keeps nothing else from being removed.
    async fn clean(&mut self) {
        if let Err(error) = self.remove_old_runs().await {
            tracing::warn!(%error, "old run directories could not be removed");
        }
        if let Err(error) = self.remove_unused().await {
            tracing::warn!(%error, "unused snapshots and environments could not be removed");
        }
    }

    async fn remove_unused(&mut self) -> Result<()> {
        let (revisions, mut environments) = self.in_use().await?;
        if let Err(error) = self.remove_unused_code(revisions.clone()).await {
            tracing::warn!(%error, "unused code could not be removed");
        }
        environments.extend(environments::shown(&self.ports).await?);
        let collected = self.ports.source.collect(&revisions).await?;
        let unused = self.ports.settings.retention.max_unused_environment_age;
        match self.ports.environments.collect(&environments, unused, MAX_REMOVED_ENVIRONMENTS).await {
            Ok(removed) => {
                let environments = removed.removed.len();
                tracing::debug!(snapshots = collected.removed, environments, "cleaned the data directory");
            }
            Err(failure) => tracing::warn!(%failure, "unused environments could not be removed"),
        }
        Ok(())
    }

    /// Nobody else has what code was: it is kept as long as something of its runs is, so that they can be run anew.
    async fn remove_unused_code(&mut self, mut revisions: BTreeSet<Revision>) -> Result<()> {
        let data = self.ports.data.clone();
        let mut found = blocking(move || retention::scan(&data)).await?;
        found.retain(|name, _| name.is_code());
        let present: BTreeSet<RunId> = found.into_values().flatten().collect();
        self.code.retain(|run, _| present.contains(run));
        for run in present {
            if self.code.contains_key(&run) {
                continue;
            }
            match self.ports.store.run(run).await {
                Ok(found) => drop(self.code.insert(run, found.spec.revision.clone())),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        revisions.extend(self.code.values().cloned());
        let collected = self.ports.code.collect(revisions).await?;
        tracing::debug!(snapshots = collected.removed, "removed unused code");
        Ok(())
    }

    async fn remove_old_runs(&mut self) -> Result<()> {
        let data = self.ports.data.clone();
        let found = blocking(move || retention::scan(&data)).await?;
        let mut ended: BTreeMap<PipelineName, Vec<RunId>> = BTreeMap::new();
        let mut present = BTreeSet::new();
        for (pipeline, runs) in found {
            for run in runs {
                present.insert(run);
                if self.has_ended(run).await? {
                    ended.entry(pipeline.clone()).or_default().push(run);
                }
            }
        }
        self.sizes.retain(|run, _| present.contains(run));
        self.measure(&ended).await?;
        let surplus = self.ports.settings.retention.surplus(&ended, &self.sizes, self.ports.clock.now());
        for (pipeline, run) in surplus {
            let data = self.ports.data.clone();
            match blocking(move || retention::remove(&data, &pipeline, run)).await {
                Ok(()) => drop(self.sizes.remove(&run)),
                Err(error) => tracing::warn!(%run, %error, "an old run directory could not be removed"),
            }
        }
        Ok(())
    }

    /// Known sizes are those of ended runs, so most are answered without the store.
    async fn has_ended(&self, run: RunId) -> Result<bool> {
        if self.sizes.contains_key(&run) {
            return Ok(true);
        }
        match self.ports.store.run(run).await {
            Ok(run) => Ok(run.state.is_terminal()),
            // A directory of a run that was never accepted, or of another store: not ours to judge.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn measure(&mut self, ended: &BTreeMap<PipelineName, Vec<RunId>>) -> Result<()> {
        for (pipeline, runs) in ended {
            for run in runs {
                if !self.sizes.contains_key(run) {
                    let dir = self.ports.data.run_dir(pipeline, *run);
                    self.sizes.insert(*run, blocking(move || Ok(retention::tree_bytes(&dir))).await?);
                }
            }
        }
        Ok(())
    }

    /// What open runs need: the revisions of all, and the environments of those that were started.
    async fn in_use(&self) -> Result<(BTreeSet<Revision>, BTreeSet<EnvironmentId>)> {
        let (mut revisions, mut environments) = (BTreeSet::new(), BTreeSet::new());
        let mut query = RunQuery {
            statuses: vec![Status::Pending, Status::Running],
            limit: NonZeroU32::new(RunQuery::MAX_LIMIT),
            ..RunQuery::default()
        };
        loop {
            let page = self.ports.store.runs(&query).await?;
            for run in page.items {
                revisions.insert(run.spec.revision.clone());
                if run.attempt > 0 {
                    let attempts = self.ports.store.attempts(run.id).await?;
                    let setups = attempts.into_iter().filter_map(|attempt| attempt.setup?.environment);
                    environments.extend(setups.map(|environment| environment.id));
                }
            }
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok((revisions, environments)),
            }
        }
    }
}

/// Whether the store still counts on this execution.
fn is_live(run: &Run, handle: &ExecutionHandle) -> bool {
    !run.state.is_terminal() && run.state.name() != "queued" && run.attempt_id() == Some(handle.attempt)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|panic| crate::Error::new(ErrorKind::Internal, "file work panicked").because(panic))?
}
