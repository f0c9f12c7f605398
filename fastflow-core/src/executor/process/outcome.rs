//! What the files of an attempt say about its end, in the words of the contract.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use fastflow_shim::{ExitRecord, Outcome, layout};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::{
    AttemptId, Error, ErrorKind, Result,
    executor::Ended,
    run::{Exit, ExitReport, LogSummary, StartFailure, StartFailureKind, StopCause},
};

/// Why the attempt was asked to stop, for the shim can only tell that it was.
const STOP: &str = "stop.json";

/// SIGKILL, which is what the kernel sends when memory runs out.
const SIGKILL: i32 = 9;

#[derive(Debug, Deserialize, Serialize)]
struct Stop {
    cause: StopCause,
}

/// Writes down why the attempt is asked to stop. The first cause stays.
pub(super) fn record_stop(run_dir: &Path, cause: StopCause) -> Result<()> {
    let path = run_dir.join(STOP);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path);
    match file.and_then(|file| Ok(serde_json::to_writer(file, &Stop { cause })?)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::from(error).with("path", path.display()))
        }
        _ => Ok(()),
    }
}

/// The end of an attempt by its exit record, or `None` when there is none.
pub(super) fn read(run_dir: &Path, attempt: AttemptId) -> Result<Option<Ended>> {
    let path = run_dir.join(layout::EXIT);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::from(error).with("path", path.display())),
    };
    let corrupt = |what: &'static str| Error::new(ErrorKind::Corrupt, what).with("path", path.display());
    let record: ExitRecord = serde_json::from_slice(&bytes)
        .map_err(|error| corrupt("the exit record cannot be understood").because(error))?;
    if record.attempt != attempt.to_string() {
        return Err(corrupt("the exit record is that of another attempt").with("found", &record.attempt));
    }
    Ok(Some(ended(run_dir, record)))
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
        },
    })
}

/// Somebody other than this executor may have sent the signal; that is a request like any other.
fn recorded_cause(run_dir: &Path) -> StopCause {
    let stop =
        fs::read(run_dir.join(STOP)).ok().and_then(|bytes| serde_json::from_slice::<Stop>(&bytes).ok());
    stop.map_or(StopCause::Cancelled, |stop| stop.cause)
}

/// The class of what kept a program from starting, by the kernel's word.
pub(super) fn start_failure(errno: Option<i32>, message: String) -> StartFailure {
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
