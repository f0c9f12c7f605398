//! What the files of an attempt say about its end, in the words of the contract.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use fastflow_shim::{ExitRecord, Outcome, layout, regular};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::aside::create_aside;
use crate::{
    AttemptId, Error, Result,
    executor::Ended,
    run::{Exit, ExitReport, LogSummary, StartFailure, StartFailureKind, StopCause},
};

/// Why the attempt was asked to stop, for the shim can only tell that it was.
const STOP: &str = "stop.json";

/// The largest record of a stop, and the largest exit record: far above what either needs.
const MAX_STOP_BYTES: u64 = 4 * 1024;
const MAX_EXIT_BYTES: u64 = 64 * 1024;

/// SIGKILL, which is what the kernel sends when memory runs out.
const SIGKILL: i32 = 9;

#[derive(Debug, Deserialize, Serialize)]
struct Stop {
    cause: StopCause,
}

/// Writes down why the attempt is asked to stop, in one step. The first cause stays.
pub(in crate::executor) fn record_stop(run_dir: &Path, cause: StopCause) -> io::Result<()> {
    let path = run_dir.join(STOP);
    let (aside, mut file) = create_aside(run_dir)?;
    let written = serde_json::to_vec(&Stop { cause })
        .map_err(io::Error::from)
        .and_then(|bytes| file.write_all(&bytes))
        .and_then(|()| match fs::hard_link(&aside, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match read_stop(run_dir) {
                Some(_) => Ok(()),
                // Whatever it is, it is no cause.
                None => fs::rename(&aside, &path),
            },
            linked => linked,
        });
    // It may have been renamed away.
    let _ = fs::remove_file(&aside);
    written
}

fn read_stop(run_dir: &Path) -> Option<Stop> {
    serde_json::from_slice(&regular::read(&run_dir.join(STOP), MAX_STOP_BYTES).ok()?).ok()
}

/// The end of an attempt by its exit record, or `None` when there is none. One that is damaged, or that of
/// another attempt, will never say more than it does now, and counts as none.
pub(in crate::executor) fn read(run_dir: &Path, attempt: AttemptId) -> Result<Option<Ended>> {
    let path = run_dir.join(layout::EXIT);
    let bytes = match regular::read(&path, MAX_EXIT_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if regular::is_foreign(&error) => Vec::new(),
        Err(error) => return Err(Error::from(error).with("path", path.display())),
    };
    match serde_json::from_slice::<ExitRecord>(&bytes) {
        Ok(record) if record.attempt == attempt.to_string() => Ok(Some(ended(run_dir, record))),
        Ok(record) => {
            tracing::error!(%attempt, path = %path.display(), found = record.attempt, "the exit record is that of another attempt");
            Ok(None)
        }
        Err(error) => {
            tracing::error!(%attempt, path = %path.display(), %error, "the exit record cannot be understood");
            Ok(None)
        }
    }
}

fn ended(run_dir: &Path, record: ExitRecord) -> Ended {
    let stopped_by = record.stopped_by.map(|cause| match cause {
        fastflow_shim::StopCause::Timeout => StopCause::TimedOut,
        fastflow_shim::StopCause::Request => recorded_cause(run_dir),
    });
    let exit = match record.outcome {
        Outcome::Exited { code } => Exit::Code(code),
        // A kill that was ours is told apart from the kernel's by whether there was a stop.
        Outcome::Signaled { signal: SIGKILL } if record.oom_kills > 0 && stopped_by.is_none() => {
            Exit::OutOfMemory
        }
        Outcome::Signaled { signal } => Exit::Signal(signal),
        Outcome::ExecFailed { errno, message } => {
            return Ended::NotExecuted(start_failure(errno, message));
        }
    };
    Ended::Exited(ExitReport {
        exit,
        stopped_by,
        started_at: record.started_at,
        ended_at: record.ended_at,
        duration: Duration::from_micros(record.duration_us),
        cpu_time: Some(Duration::from_micros(record.cpu_user_us.saturating_add(record.cpu_system_us))),
        peak_memory_bytes: record.peak_memory_bytes,
        oom_kills: record.oom_kills,
        log: LogSummary {
            bytes: record.log.bytes.saturating_add(record.log.dropped_bytes),
            dropped_bytes: record.log.dropped_bytes,
            complete: record.log.complete,
            masked: record.log.masked,
        },
    })
}

/// Somebody other than this executor may have sent the signal; that is a request like any other.
fn recorded_cause(run_dir: &Path) -> StopCause {
    read_stop(run_dir).map_or(StopCause::Cancelled, |stop| stop.cause)
}

/// The class of what kept a program from starting, by the kernel's word.
pub(in crate::executor) fn start_failure(errno: Option<i32>, message: String) -> StartFailure {
    let kind = match errno.map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR) => StartFailureKind::CommandNotFound,
        Some(Errno::ACCESS | Errno::NOEXEC | Errno::ISDIR | Errno::LIBBAD | Errno::LOOP) => {
            StartFailureKind::CommandNotExecutable
        }
        Some(Errno::NOSPC | Errno::DQUOT) => StartFailureKind::StorageFull,
        Some(Errno::PERM | Errno::ROFS) => StartFailureKind::Denied,
        _ => StartFailureKind::Internal,
    };
    StartFailure { kind, message }
}
