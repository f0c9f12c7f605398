//! Starting an attempt: from its spec to the answer of the one that watches over it.
//!
//! Everything here blocks, and runs to its end once begun, whether or not anybody still waits for it. So a
//! dropped start leaves an attempt that is started, or one that is not, and never half of one.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use fastflow_shim::{Guard, GuardState, LogLimits, Order, Reply, UsagePolicy, guard};

use super::{
    Place, cgroup,
    live::Entry,
    monitor::{self, Monitor},
    outcome,
};
use crate::{Error, ErrorKind, Result, executor::AttemptSpec, run::StartFailure};

/// How long the shim may take to read its order.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the shim may take to start the program and to say so. A program on a slow disk takes a while.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest reply.
const REPLY_MAX_BYTES: u64 = 64 * 1024;

/// How long a shim whose program could not be started may take to end.
const END_TIMEOUT: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };

/// What a start came to.
#[derive(Debug)]
pub(super) enum Started {
    Running { monitor: Monitor, entry: Entry },
    Failed(StartFailure),
}

pub(super) fn start(place: &Place, spec: &AttemptSpec) -> Result<Started> {
    let mut order = order(spec);
    // What the shim would refuse is refused here, before there is anything to clear away.
    let invalid =
        |error| Error::new(ErrorKind::Invalid, "the attempt cannot be started as it stands").because(error);
    order.to_vec().and_then(|bytes| Order::from_slice(&bytes)).map_err(invalid)?;
    check_dir("run_dir", &spec.run_dir)?;
    check_dir("working_dir", &spec.working_dir)?;
    if guard::read(&spec.run_dir)?.is_some() {
        return Err(started_before(spec));
    }
    let mut entry = Entry {
        run_dir: spec.run_dir.clone(),
        cgroups: place.cgroups.paths(&spec.owner, spec.id),
        session: None,
    };
    place.live.write(&spec.owner, spec.id, &entry)?;
    entry.cgroups = place.cgroups.create(&spec.owner, spec.id, &spec.limits)?;
    order.cgroups.clone_from(&entry.cgroups);
    match launch(&place.shim, &order.to_vec().map_err(invalid)?)? {
        Reply::Started { pid, start_time_ticks, boot_id, .. } => {
            if entry.cgroups.is_empty() {
                entry.session = monitor::session_of(pid);
                place.live.write(&spec.owner, spec.id, &entry)?;
            }
            Ok(Started::Running { monitor: Monitor { pid, start_time_ticks, boot_id }, entry })
        }
        Reply::ExecFailed { errno, message } => {
            await_end(&spec.run_dir)?;
            clear(place, spec, &entry.cgroups)?;
            Ok(Started::Failed(outcome::start_failure(errno, message)))
        }
        Reply::Refused { guard } => {
            if matches!(guard, GuardState::Known(Guard::Void { .. })) {
                clear(place, spec, &entry.cgroups)?;
            }
            Err(started_before(spec))
        }
        Reply::BadOrder { errno, message } => {
            Err(Error::new(machine_failure(errno), "the shim could not work, and has started nothing")
                .with("attempt", spec.id)
                .because(io::Error::other(message)))
        }
    }
}

/// The kind of what the machine refused the shim. Anything else that it stumbles over is a bug.
fn machine_failure(errno: Option<i32>) -> ErrorKind {
    errno
        .map(|errno| Error::from(io::Error::from_raw_os_error(errno)).kind())
        .filter(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::Denied | ErrorKind::Unavailable))
        .unwrap_or(ErrorKind::Internal)
}

fn order(spec: &AttemptSpec) -> Order {
    let limits = &spec.limits;
    let mut order = Order::new(spec.id.to_string(), &spec.argv, &spec.working_dir, &spec.run_dir);
    order.env.clone_from(&spec.env);
    order.timeout_ms = limits.timeout.map(millis);
    order.stop_grace_ms = millis(limits.stop_grace);
    order.log = LogLimits { max_bytes: limits.log_max_bytes, tail_bytes: limits.log_tail_bytes };
    order.usage = UsagePolicy {
        interval_ms: millis(limits.usage_interval),
        soft_cpu_millis: limits.soft_cpu_millis,
        soft_memory_bytes: limits.soft_memory_bytes,
    };
    order
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn check_dir(field: &'static str, path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|error| Error::from(error).with(field, path.display()))?;
    if metadata.is_dir() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "a directory of the attempt is something else")
        .with(field, path.display()))
}

fn started_before(spec: &AttemptSpec) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        "the attempt was started before, or was settled never to start; a new try needs a new number",
    )
    .with("attempt", spec.id)
}

/// Starts the shim away from this process, hands it the order, and returns its answer.
///
/// Both ways are sockets: a shim that dies must not end this process with a broken pipe.
fn launch(shim: &Path, order: &[u8]) -> Result<Reply> {
    let failed = |error: io::Error| {
        Error::from(error)
            .with("shim", shim.display())
            .with("help", "the state directory must be writable, and on a file system that allows to execute")
    };
    let (mut to_shim, order_end) = UnixStream::pair().map_err(failed)?;
    let (from_shim, reply_end) = UnixStream::pair().map_err(failed)?;
    to_shim.set_write_timeout(Some(ORDER_TIMEOUT)).map_err(failed)?;
    from_shim.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(failed)?;
    let mut child = Command::new(shim)
        .args(["--order-fd", "0", "--reply", "--detach"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(order_end)))
        .stdout(Stdio::from(OwnedFd::from(reply_end)))
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    // A shim that has ended already has said why, or nothing.
    let sent = to_shim.write_all(order);
    drop(to_shim);
    let mut line = Vec::new();
    let answered = BufReader::new(io::Read::take(from_shim, REPLY_MAX_BYTES)).read_until(b'\n', &mut line);
    // The child has only forked and ended. Where somebody else collects children, there is nothing to wait for.
    let _ = child.wait();
    let unknown = |cause: io::Error| {
        Error::new(
            ErrorKind::Unavailable,
            "the shim gave no answer; whether the program was started is unknown",
        )
        .with("shim", shim.display())
        .because(cause)
    };
    answered.map_err(unknown)?;
    if line.is_empty() {
        return Err(unknown(sent.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())));
    }
    serde_json::from_slice(&line).map_err(|error| unknown(error.into()))
}

/// Waits for the end of a shim that has nothing more to do.
fn await_end(run_dir: &Path) -> io::Result<()> {
    let Some(GuardState::Known(guard)) = guard::read(run_dir)? else { return Ok(()) };
    let Some((_, monitor)) = Monitor::of(guard) else { return Ok(()) };
    let Some(pidfd) = monitor.open()? else { return Ok(()) };
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&END_TIMEOUT)))?;
    monitor::clear_away(&pidfd);
    Ok(())
}

/// Removes what was made for an attempt of which nothing runs.
fn clear(place: &Place, spec: &AttemptSpec, cgroups: &[PathBuf]) -> Result<()> {
    cgroup::remove(cgroups)?;
    place.live.remove(&spec.owner, spec.id)
}

/// Whether the shim can be executed and the list of attempts written.
pub(super) fn probe(place: &Place) -> Result<()> {
    let unusable = |error: io::Error| {
        Error::from(error)
            .with("shim", place.shim.display())
            .with("help", "the state directory must be on a file system that allows to execute")
    };
    let mut child = Command::new(&place.shim)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(unusable)?;
    // Without an order it only says so. Where somebody else collects children, its word is lost.
    let _ = child.wait();
    place.live.probe()
}
