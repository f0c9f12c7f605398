//! Starting an attempt: from its spec to the answer of the one that watches over it.
//!
//! Everything here blocks, and runs to its end once begun, whether or not anybody still waits for it. So a
//! dropped start leaves an attempt that is started, or one that is not, and never half of one.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use fastflow_shim::{Guard, GuardState, Order, Reply, guard};

use super::{
    Place, cgroup,
    live::Entry,
    monitor::{self, Monitor},
    secrets,
};
use crate::{
    Error, ErrorKind, Result,
    executor::{
        AttemptSpec,
        order::order,
        outcome,
        refusal::{bad_order, check_dir, invalid_order, started_before},
    },
    run::StartFailure,
};

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

pub(super) fn start(place: &Place, mut spec: AttemptSpec) -> Result<Started> {
    let secrets = place.secrets.as_ref().filter(|_| !spec.secrets.files.is_empty());
    let secrets_dir = secrets.map(|dir| dir.of(spec.id));
    let mut order = order(&mut spec, secrets_dir.as_deref().unwrap_or(Path::new("")));
    let spec = &spec;
    // What the shim would refuse is refused here, before there is anything to clear away.
    order.check().and_then(|()| order.to_vec().map(drop)).map_err(invalid_order)?;
    check_dir("run_dir", &spec.run_dir)?;
    check_dir("working_dir", &spec.working_dir)?;
    if guard::read(&spec.run_dir)?.is_some() {
        return Err(started_before(spec));
    }
    if let Some(secrets) = secrets {
        secrets.make()?;
    }
    let mut entry = Entry {
        run_dir: spec.run_dir.clone(),
        cgroups: place.cgroups.paths(&spec.owner, spec.id),
        session: None,
        secrets: secrets_dir,
    };
    place.live.write(&spec.owner, spec.id, &entry)?;
    entry.cgroups = place.cgroups.create(&spec.owner, spec.id, &spec.limits)?;
    order.cgroups.clone_from(&entry.cgroups);
    match launch(&place.shim, order)? {
        Reply::Started { pid, start_time_ticks, boot_id, .. } => {
            if entry.cgroups.is_empty() {
                entry.session = monitor::session_of(pid);
                place.live.write(&spec.owner, spec.id, &entry)?;
            }
            Ok(Started::Running { monitor: Monitor { pid, start_time_ticks, boot_id }, entry })
        }
        Reply::ExecFailed { errno, message } => {
            await_end(&spec.run_dir)?;
            clear(place, spec, &entry)?;
            Ok(Started::Failed(outcome::start_failure(errno, message)))
        }
        Reply::Refused { guard } => {
            if matches!(guard, GuardState::Known(Guard::Void { .. })) {
                clear(place, spec, &entry)?;
            }
            Err(started_before(spec))
        }
        Reply::BadOrder { errno, message } => Err(bad_order(spec, errno, message)),
    }
}

/// Starts the shim away from this process, hands it the order, and returns its answer.
///
/// Both ways are sockets: a shim that dies must not end this process with a broken pipe.
fn launch(shim: &Path, order: Order) -> Result<Reply> {
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
    let sent = send(&mut to_shim, order);
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

/// Writes the order, and forgets it.
fn send(to_shim: &mut UnixStream, order: Order) -> io::Result<()> {
    let bytes = order.to_vec().map_err(io::Error::other)?;
    drop(order);
    to_shim.write_all(&bytes)
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
fn clear(place: &Place, spec: &AttemptSpec, entry: &Entry) -> Result<()> {
    cgroup::remove(&entry.cgroups)?;
    secrets::remove(entry.secrets.as_deref())?;
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
