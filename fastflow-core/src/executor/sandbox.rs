//! What an executor needs that starts its programs under the shim by ways of its own: through another command, on a
//! batch system, in a sandbox of its own kind.
//!
//! The shim keeps most of the contract by itself: it starts a program once, keeps its limits of time, writes its log and
//! usage, and leaves a proof of its end. What is left to an executor is to hand it its order, to find it again, and to send
//! it signals: `SIGTERM` to stop, `SIGQUIT` to kill. [`ShimBinary`](crate::shim::ShimBinary) puts it somewhere.

use std::{fmt, path::Path};

use fastflow_shim::Guard;
use zeroize::Zeroizing;

use super::{
    AttemptRef, AttemptSpec, Ended,
    order::order,
    outcome,
    refusal::{check_dir, invalid_order, started_before},
    settle,
};
use crate::{AttemptId, Result, run::StopCause};

/// The order for an attempt whose shim sees the paths of this machine, as the bytes that it reads. It carries the secrets:
/// hand it over through a pipe. Those that are files will lie in `secrets_dir`, a folder in memory.
///
/// # Errors
///
/// `AlreadyExists` when the attempt was started before, or never may; `Invalid` for what the shim would refuse; `NotFound` when
/// a directory of the attempt is not there.
///
/// ```
/// use fastflow_core::executor::{AttemptSpec, sandbox};
///
/// let dir = tempfile::tempdir().unwrap();
/// let id = "019aa2f0-7c3c-7def-8000-000000000001-1".parse().unwrap();
/// let spec = AttemptSpec::new(id, "warehouse".parse().unwrap(), vec!["/bin/true".into()], dir.path().into());
/// assert!(sandbox::order_for(spec, dir.path()).unwrap().starts_with(b"{"));
/// ```
pub fn order_for(mut spec: AttemptSpec, secrets_dir: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let order = order(&mut spec, secrets_dir);
    let bytes = order.check().and_then(|()| order.to_vec()).map_err(invalid_order)?;
    check_dir("run_dir", &spec.run_dir)?;
    check_dir("working_dir", &spec.working_dir)?;
    match fastflow_shim::guard::read(&spec.run_dir)? {
        Some(_) => Err(started_before(&spec)),
        None => Ok(bytes),
    }
}

/// Whether an attempt was started, decided once and for ever.
///
/// ```
/// use fastflow_core::executor::{AttemptRef, sandbox::{self, Settled}};
///
/// let dir = tempfile::tempdir().unwrap();
/// let attempt = AttemptRef {
///     id: "019aa2f0-7c3c-7def-8000-000000000001-1".parse().unwrap(),
///     owner: "warehouse".parse().unwrap(),
///     run_dir: dir.path().into(),
///     handle: None,
/// };
/// assert_eq!(sandbox::settle(&attempt, false).unwrap(), Settled::NeverStarted);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Settled {
    /// Its program has not started, and never will.
    NeverStarted,
    /// It was started by this shim; `None` when its guard cannot be read.
    Started(Option<Monitor>),
    /// It was started, and its files were taken away.
    Removed,
}

/// The shim of an attempt, named so that no other process ever has the same name.
///
/// ```
/// use fastflow_core::executor::sandbox::Monitor;
///
/// let monitor = Monitor { pid: 4711, start_time_ticks: 1_000, boot_id: "b".into() };
/// assert!(!monitor.is_alive().unwrap());
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Monitor {
    /// Its process.
    pub pid: u32,
    /// When that started, in clock ticks since boot.
    pub start_time_ticks: u64,
    /// The boot that both are of.
    pub boot_id: String,
}

impl Monitor {
    /// Whether it runs.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn is_alive(&self) -> Result<bool> {
        Ok(fastflow_shim::proc::is_alive(self.pid, self.start_time_ticks, &self.boot_id)?)
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Settles whether an attempt was started: by its guard, which is taken if nobody has it. `was_begun` says that the executor
/// had begun to start it, so that a run directory that is not there was taken away.
///
/// # Errors
///
/// When the file system does not allow it. Nothing is known then.
pub fn settle(attempt: &AttemptRef, was_begun: bool) -> Result<Settled> {
    Ok(match settle::settle(attempt, was_begun)? {
        settle::Settled::Never => Settled::NeverStarted,
        settle::Settled::Removed => Settled::Removed,
        settle::Settled::Started(guard) => Settled::Started(guard.and_then(monitor)),
    })
}

fn monitor(guard: Guard) -> Option<Monitor> {
    match guard {
        Guard::Taken { pid, start_time_ticks, boot_id, .. } => {
            Some(Monitor { pid, start_time_ticks, boot_id })
        }
        Guard::Void { .. } => None,
    }
}

/// The end of an attempt by the proof that its shim has left, or `None` when there is none.
///
/// # Errors
///
/// When the file system does not let it be read.
pub fn ended(run_dir: &Path, attempt: AttemptId) -> Result<Option<Ended>> {
    outcome::read(run_dir, attempt)
}

/// Writes down why an attempt is asked to stop, for the shim can only tell that it was. The first cause stays. Before the
/// signal: whoever sees the end finds the cause.
///
/// # Errors
///
/// When the file system does not allow it; the stop itself needs no file.
pub fn record_stop(run_dir: &Path, cause: StopCause) -> Result<()> {
    Ok(outcome::record_stop(run_dir, cause)?)
}
