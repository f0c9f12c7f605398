//! One attempt as a local process.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use rustix::process::Signal;

use super::{
    Place, cgroup,
    live::Entry,
    monitor::{self, Monitor},
    secrets,
};
use crate::{
    AttemptId, Error, ErrorKind, OwnerId, Result,
    executor::{Ended, Execution, ExecutionHandle, outcome},
    run::{LostCause, StopCause},
};

/// How long a shim that was told to kill everything may take for that and for the rest of the log. It gives
/// up before; whoever takes longer does not work any more.
const SHIM_KILL_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the kernel may take to end processes that were killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// The time between two rounds of killing.
const KILL_INTERVAL: Duration = Duration::from_millis(5);

/// An attempt that was started on this machine.
#[derive(Debug)]
pub(super) struct ProcessExecution {
    attempt: Arc<Attempt>,
    handle: ExecutionHandle,
}

/// Everything by which an attempt's processes and files are found.
pub(super) struct Attempt {
    pub(super) place: Arc<Place>,
    pub(super) owner: OwnerId,
    pub(super) id: AttemptId,
    pub(super) run_dir: PathBuf,
    pub(super) cgroups: Vec<PathBuf>,
    pub(super) session: Option<u32>,
    pub(super) secrets: Option<PathBuf>,
    /// `None` when nobody knows who it is or was.
    pub(super) monitor: Option<Monitor>,
}

impl ProcessExecution {
    pub(super) fn new(attempt: Attempt, monitor: &Monitor) -> Self {
        let handle = handle(attempt.id, Some(monitor));
        Self { attempt: Arc::new(attempt), handle }
    }
}

/// The handle of an attempt, always with the same content for the same process.
pub(super) fn handle(attempt: AttemptId, monitor: Option<&Monitor>) -> ExecutionHandle {
    ExecutionHandle {
        attempt,
        native_id: monitor.map_or_else(|| "unknown".into(), |monitor| monitor.pid.to_string().into()),
        detail: serde_json::json!(monitor),
    }
}

#[async_trait]
impl Execution for ProcessExecution {
    fn handle(&self) -> &ExecutionHandle {
        &self.handle
    }

    /// The end of the shim is the end: the exit record appears a moment before, when nothing of the program
    /// runs any more; by then the shim itself is gone, too.
    async fn wait(&self) -> Result<Ended> {
        self.attempt.monitor_ended().await?;
        if let Some(ended) = outcome::read(&self.attempt.run_dir, self.attempt.id)? {
            return Ok(ended);
        }
        self.attempt.end_all().await?;
        Ok(Ended::Lost(self.attempt.lost_cause()?))
    }

    async fn stop(&self, grace: Duration, cause: StopCause) -> Result<()> {
        let Some(monitor) = &self.attempt.monitor else { return Ok(()) };
        if monitor.open()?.is_none() {
            return Ok(());
        }
        // Before the signal: whoever sees the end finds the cause. The stop itself needs no file.
        if let Err(error) = outcome::record_stop(&self.attempt.run_dir, cause) {
            tracing::warn!(attempt = %self.attempt.id, %error, "the cause of the stop cannot be written down");
        }
        if monitor.signal(Signal::TERM)? {
            // The shim keeps the grace of its order by itself, should this process not live to see the end.
            let attempt = Arc::clone(&self.attempt);
            tokio::spawn(async move { attempt.escalate(grace).await });
        }
        Ok(())
    }

    async fn remove(&self) -> Result<()> {
        self.attempt.remove().await
    }
}

impl Attempt {
    /// The attempt behind an entry of the list of live ones.
    pub(super) fn of(
        place: Arc<Place>,
        (owner, id): (OwnerId, AttemptId),
        mut entry: Entry,
        monitor: Option<Monitor>,
    ) -> Self {
        if entry.cgroups.is_empty() {
            entry.cgroups = place.cgroups.paths(&owner, id);
        }
        Self {
            place,
            owner,
            id,
            run_dir: entry.run_dir,
            cgroups: entry.cgroups,
            session: entry.session,
            secrets: entry.secrets,
            monitor,
        }
    }

    /// Kills what runs of it, and frees what was made for it.
    pub(super) async fn remove(&self) -> Result<()> {
        if let Some(monitor) = &self.monitor
            && monitor.signal(Signal::QUIT)?
        {
            self.monitor_ended_within(SHIM_KILL_TIMEOUT).await?;
        }
        // A shim that has left its record has left nothing else.
        let is_clean = outcome::read(&self.run_dir, self.id).is_ok_and(|ended| ended.is_some())
            && !self.is_monitor_alive()?
            && cgroup::members(&self.cgroups)?.is_empty();
        if !is_clean {
            self.end_all().await?;
        }
        self.free().await
    }

    /// Removes the cgroups, the secrets and the entry. Last the entry: it is what leads to the rest.
    pub(super) async fn free(&self) -> Result<()> {
        let clock = &self.place.clock;
        let end = clock.elapsed() + KILL_TIMEOUT;
        loop {
            match cgroup::remove(&self.cgroups) {
                Ok(()) => break,
                // The kernel is still letting go of the last process.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && clock.elapsed() < end => {
                    clock.sleep(KILL_INTERVAL).await;
                }
                Err(error) => return Err(self.describe(error)),
            }
        }
        secrets::remove(self.secrets.as_deref())?;
        self.place.live.remove(&self.owner, self.id)
    }

    /// Kills every process of the attempt, and returns when there is none.
    pub(super) async fn end_all(&self) -> Result<()> {
        let clock = &self.place.clock;
        let end = clock.elapsed() + KILL_TIMEOUT;
        loop {
            // Who watches is killed first: it could only get in the way.
            let watched = match &self.monitor {
                Some(monitor) => monitor.signal(Signal::KILL)? && self.is_monitor_alive()?,
                None => false,
            };
            cgroup::kill(&self.cgroups).map_err(|error| self.describe(error))?;
            let in_session = self.kill_session()?;
            if !watched && !in_session && cgroup::members(&self.cgroups)?.is_empty() {
                return Ok(());
            }
            if clock.elapsed() > end {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "processes of the attempt do not end although they were killed; the kernel waits for something",
                )
                .with("attempt", self.id));
            }
            clock.sleep(KILL_INTERVAL).await;
        }
    }

    /// Kills what is in the attempt's session now. Whether there was anything.
    fn kill_session(&self) -> Result<bool> {
        let (Some(session), Some(monitor)) = (self.session, &self.monitor) else { return Ok(false) };
        if !monitor.is_of_this_boot()? {
            return Ok(false);
        }
        let members = monitor::members_of_session(session, monitor)?;
        for pid in &members {
            monitor::kill_if(*pid, || {
                monitor::members_of_session(session, monitor).is_ok_and(|members| members.contains(pid))
            });
        }
        Ok(!members.is_empty())
    }

    pub(super) fn is_monitor_alive(&self) -> Result<bool> {
        Ok(match &self.monitor {
            Some(monitor) => monitor.open()?.is_some(),
            None => false,
        })
    }

    /// Why nobody can know how it ended.
    pub(super) fn lost_cause(&self) -> Result<LostCause> {
        Ok(match &self.monitor {
            Some(monitor) if !monitor.is_of_this_boot()? => LostCause::MachineRestarted,
            Some(_) if self.run_dir.is_dir() => LostCause::MonitorDied,
            _ => LostCause::Removed,
        })
    }

    async fn monitor_ended(&self) -> Result<()> {
        match &self.monitor {
            Some(monitor) => monitor.ended().await.map_err(|error| self.describe(error)),
            None => Ok(()),
        }
    }

    /// Waits for its end, and not for long. Whether it came.
    async fn monitor_ended_within(&self, limit: Duration) -> Result<bool> {
        tokio::select! {
            ended = self.monitor_ended() => ended.map(|()| true),
            () = self.place.clock.sleep(limit) => Ok(false),
        }
    }

    async fn escalate(&self, grace: Duration) {
        let result = async {
            if self.monitor_ended_within(grace).await? {
                return Ok(());
            }
            if let Some(monitor) = &self.monitor {
                monitor.signal(Signal::QUIT)?;
            }
            if self.monitor_ended_within(SHIM_KILL_TIMEOUT).await? {
                return Ok(());
            }
            self.end_all().await
        };
        if let Err(error) = result.await {
            tracing::error!(attempt = %self.id, error = error.chain(), "the attempt could not be killed");
        }
    }

    fn describe(&self, error: io::Error) -> Error {
        Error::from(error).with("attempt", self.id)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("monitor", &self.monitor)
            .finish_non_exhaustive()
    }
}
