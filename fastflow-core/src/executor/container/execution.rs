//! One attempt in a container.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    ContainerId, ContainerSignal, ContainerState, ContainerStatus,
    launch::ended,
    place::{Place, remove_order_dir},
    serving::Serving,
};
use crate::{
    AttemptId, Error, ErrorKind, OwnerId, Result, Timestamp,
    executor::{Ended, Execution, ExecutionHandle, outcome},
    run::{Exit, ExitReport, LogSummary, LostCause, StopCause},
};

/// How long a shim that was told to kill everything may take for that and for the rest of the log.
const SHIM_KILL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a container whose shim was killed is watched for being removed: whoever removes one kills it first.
const REMOVAL_TIME: Duration = Duration::from_secs(1);
/// Between two looks at that.
const REMOVAL_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long an engine may take to see an end that the shim has told already. To remove a container that has ended is
/// cheap for it; one that it holds for running it kills first, by a program of its own.
const SETTLE_PATIENCE: Duration = Duration::from_millis(500);
/// How often a signal that does not arrive is tried again.
const MAX_SIGNAL_TRIES: u32 = 5;

/// What the kernel sends when memory runs out.
const SIGKILL: i32 = 9;

/// An attempt that was started in a container.
#[derive(Debug)]
pub(super) struct ContainerExecution {
    attempt: Arc<Attempt>,
    handle: ExecutionHandle,
}

/// Everything by which an attempt's container and files are found.
pub(super) struct Attempt {
    pub(super) place: Arc<Place>,
    pub(super) serving: Serving,
    pub(super) owner: OwnerId,
    pub(super) id: AttemptId,
    pub(super) run_dir: PathBuf,
    /// The container's name, and its engine's.
    pub(super) name: String,
    pub(super) container: ContainerId,
}

impl ContainerExecution {
    pub(super) fn new(attempt: Attempt) -> Self {
        let handle = handle(attempt.id, &attempt.container, &attempt.name);
        Self { attempt: Arc::new(attempt), handle }
    }
}

/// The handle of an attempt, always with the same content for the same container.
pub(super) fn handle(attempt: AttemptId, container: &ContainerId, name: &str) -> ExecutionHandle {
    ExecutionHandle {
        attempt,
        native_id: container.as_str().into(),
        detail: serde_json::json!({ "container": name }),
    }
}

#[async_trait]
impl Execution for ContainerExecution {
    fn handle(&self) -> &ExecutionHandle {
        &self.handle
    }

    /// The exit record is the end: when it appears, nothing of the program runs any more. The engine takes longer to
    /// see that, and is asked only in case there is never a record.
    async fn wait(&self) -> Result<Ended> {
        let attempt = &self.attempt;
        let watched = attempt.place.watch.folder(&attempt.run_dir);
        let recorded = watched.until(|| outcome::read(&attempt.run_dir, attempt.id).transpose());
        tokio::select! {
            recorded = recorded => attempt.witnessed(recorded?).await,
            state = ended(&attempt.place, &attempt.container) => match outcome::read(&attempt.run_dir, attempt.id)? {
                Some(recorded) => attempt.witnessed(recorded).await,
                None => attempt.ended_without_record(state).await,
            },
        }
    }

    async fn stop(&self, grace: Duration, cause: StopCause) -> Result<()> {
        let attempt = &self.attempt;
        if outcome::read(&attempt.run_dir, attempt.id)?.is_some() {
            return Ok(());
        }
        // Before the signal: whoever sees the end finds the cause. The stop itself needs no file.
        if attempt.run_dir.is_dir()
            && let Err(error) = outcome::record_stop(&attempt.run_dir, cause)
        {
            tracing::warn!(attempt = %attempt.id, %error, "the cause of the stop cannot be written down");
        }
        if attempt.signal(ContainerSignal::Terminate).await? {
            // The shim keeps the grace of its order by itself, should this process not live to see the end.
            let attempt = Arc::clone(attempt);
            tokio::spawn(async move { attempt.escalate(grace).await });
        }
        Ok(())
    }

    async fn remove(&self) -> Result<()> {
        self.attempt.remove().await
    }
}

impl Attempt {
    /// Sends a signal to the shim, letting it go on first if somebody holds it. Whether there was one.
    async fn signal(&self, signal: ContainerSignal) -> Result<bool> {
        let engine = &self.place.engine;
        for _ in 0..MAX_SIGNAL_TRIES {
            if engine.signal(&self.container, signal).await? {
                return Ok(true);
            }
            match engine.inspect(self.container.as_str()).await?.map(|state| state.status) {
                Some(ContainerStatus::Paused) => engine.unpause(&self.container).await?,
                // Between two states of its engine.
                Some(status) if status.is_alive() => {}
                _ => return Ok(false),
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the engine says that a container runs, and delivers no signal to it",
        )
        .with("attempt", self.id))
    }

    async fn escalate(&self, grace: Duration) {
        let clock = &self.place.clock;
        for (patience, signal) in [(grace, ContainerSignal::Quit), (SHIM_KILL_TIMEOUT, ContainerSignal::Kill)]
        {
            tokio::select! {
                _ = ended(&self.place, &self.container) => return,
                () = clock.sleep(patience) => {}
            }
            // An engine that cannot be asked now is asked by the next step, and by whoever removes the container.
            if let Err(error) = self.signal(signal).await {
                tracing::warn!(attempt = %self.id, error = error.chain(), "a kill could not be delivered yet");
            }
        }
    }

    /// The engine saw the kernel kill for want of memory where the shim could not: its own group counts no kills.
    async fn witnessed(&self, ended: Ended) -> Result<Ended> {
        let Ended::Exited(mut report) = ended else { return Ok(ended) };
        if report.exit == Exit::Signal(SIGKILL) && report.stopped_by.is_none() && report.oom_kills == 0 {
            let state = self.place.engine.inspect(self.container.as_str()).await.ok().flatten();
            if state.is_some_and(|state| state.out_of_memory) {
                report.exit = Exit::OutOfMemory;
            }
        }
        Ok(Ended::Exited(report))
    }

    /// The shim left no record: it was killed, and everything in the container with it.
    async fn ended_without_record(&self, state: Option<ContainerState>) -> Result<Ended> {
        if let Some(state) = &state
            && state.out_of_memory
            && let Some(report) = out_of_memory(state)
        {
            return Ok(Ended::Exited(report));
        }
        // The container stays until its end is recorded: a host that comes meanwhile finds the same cause.
        let state = self.unless_removed(state).await?;
        Ok(Ended::Lost(lost_cause(&self.run_dir, state.as_ref())))
    }

    /// The container, unless somebody else is removing it.
    async fn unless_removed(&self, mut state: Option<ContainerState>) -> Result<Option<ContainerState>> {
        let clock = &self.place.clock;
        let enough = clock.elapsed().saturating_add(REMOVAL_TIME);
        while state.as_ref().is_some_and(|state| state.status != ContainerStatus::Removing) {
            if clock.elapsed() >= enough {
                return Ok(state);
            }
            clock.sleep(REMOVAL_LOOK_INTERVAL).await;
            state = self.place.engine.inspect(self.container.as_str()).await?;
        }
        Ok(None)
    }

    /// Kills what runs of it, and frees what was made for it. Last the entry: it is what leads to the rest.
    pub(super) async fn remove(&self) -> Result<()> {
        if outcome::read(&self.run_dir, self.id).is_ok_and(|ended| ended.is_some()) {
            // What it says does not matter: the removal copes with everything.
            tokio::select! {
                _ = self.place.engine.wait(&self.container) => {}
                () = self.place.clock.sleep(SETTLE_PATIENCE) => {}
            }
        }
        self.place.engine.remove(&self.name).await?;
        remove_order_dir(&self.place.order_dir(&self.name).await?);
        self.serving.remove(&self.owner, self.id)
    }
}

/// Why nobody can know how it ended.
pub(super) fn lost_cause(run_dir: &std::path::Path, state: Option<&ContainerState>) -> LostCause {
    let boot = fastflow_shim::proc::boot_id().ok();
    let guard = fastflow_shim::guard::read(run_dir).ok().flatten();
    match (guard, state) {
        (Some(fastflow_shim::GuardState::Known(fastflow_shim::Guard::Taken { boot_id, .. })), _)
            if boot.is_some_and(|boot| boot != boot_id) =>
        {
            LostCause::MachineRestarted
        }
        (_, Some(_)) if run_dir.is_dir() => LostCause::MonitorDied,
        _ => LostCause::Removed,
    }
}

/// What the engine alone can report of a container whose shim was killed for want of memory.
fn out_of_memory(state: &ContainerState) -> Option<ExitReport> {
    let started_at = state.started_at?;
    let ended_at = state.ended_at.map_or(started_at, |ended: Timestamp| ended.max(started_at));
    Some(ExitReport {
        exit: Exit::OutOfMemory,
        stopped_by: None,
        started_at,
        ended_at,
        duration: Duration::try_from(ended_at.duration_since(started_at)).unwrap_or_default(),
        cpu_time: None,
        peak_memory_bytes: None,
        oom_kills: 1,
        log: LogSummary { complete: false, ..LogSummary::empty() },
    })
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}
