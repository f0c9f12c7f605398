//! The process that watches over an attempt: who it is, whether it lives, and how to reach it.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
};

use fastflow_shim::{Guard, proc};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};

/// A process, named so that no other ever has the same name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Monitor {
    pub(super) pid: u32,
    pub(super) start_time_ticks: u64,
    pub(super) boot_id: String,
}

impl Monitor {
    /// The one that took `guard`, with the attempt it was told to start.
    pub(super) fn of(guard: Guard) -> Option<(String, Self)> {
        match guard {
            Guard::Taken { attempt, pid, start_time_ticks, boot_id, .. } => {
                Some((attempt, Self { pid, start_time_ticks, boot_id }))
            }
            Guard::Void { .. } => None,
        }
    }

    /// A hold on the process, or `None` when it has ended. Asked for by number first and verified afterwards:
    /// the hold can then only be on the one that is meant.
    pub(super) fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pidfd) = open_pid(self.pid)? else { return Ok(None) };
        if proc::is_alive(self.pid, self.start_time_ticks, &self.boot_id)? {
            return Ok(Some(pidfd));
        }
        let is_same = |stat: proc::Stat| stat.start_time_ticks == self.start_time_ticks && stat.is_zombie();
        if proc::Stat::read(self.pid).is_ok_and(is_same) && self.is_of_this_boot()? {
            clear_away(&pidfd);
        }
        Ok(None)
    }

    /// Whether this boot is the one it ran in.
    pub(super) fn is_of_this_boot(&self) -> io::Result<bool> {
        Ok(proc::boot_id()? == self.boot_id)
    }

    /// Sends it a signal, if it lives. Whether it did.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(pidfd) = self.open()? else { return Ok(false) };
        match rustix::process::pidfd_send_signal(&pidfd, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it has ended. Cancel-safe.
    pub(super) async fn ended(&self) -> io::Result<()> {
        let Some(pidfd) = self.open()? else { return Ok(()) };
        let pidfd = watch(pidfd)?;
        // A handle on a process becomes readable at its end, and stays so.
        pidfd.readable().await?.retain_ready();
        clear_away(pidfd.get_ref());
        Ok(())
    }
}

/// Collects a monitor that has ended. It is this process' child only where orphans are given to it; nobody
/// else would do it then.
pub(super) fn clear_away(pidfd: &OwnedFd) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let _ = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options);
}

#[expect(unsafe_code, reason = "tokio cannot know that an owned descriptor stays open")]
fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is open, and is moved in; nothing replaces or closes it before the watch is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?)
}

/// Kills process `pid` if `is_meant` says, once the process is held, that it is the right one.
pub(super) fn kill_if(pid: u32, is_meant: impl FnOnce() -> bool) {
    if let Ok(Some(pidfd)) = open_pid(pid)
        && is_meant()
    {
        // It can only have ended meanwhile.
        let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
    }
}

fn open_pid(pid: u32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        // No such process, or a thread of another one.
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The session that process `pid` belongs to.
pub(super) fn session_of(pid: u32) -> Option<u32> {
    // The name, in parentheses, may hold anything; the fields that count follow the last one. See proc(5).
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    line.rsplit_once(')')?.1.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// The living processes of the session that `monitor` was in. Its leader was there before `monitor`; one that
/// came later leads a session of strangers, who got the number when nobody used it any more.
pub(super) fn members_of_session(session: u32, monitor: &Monitor) -> io::Result<Vec<u32>> {
    if proc::start_time_ticks(session).is_ok_and(|start| start > monitor.start_time_ticks) {
        return Ok(Vec::new());
    }
    let is_member = |pid: &u32| {
        session_of(*pid) == Some(session)
            && proc::Stat::read(*pid)
                .is_ok_and(|stat| !stat.is_zombie() && stat.start_time_ticks >= monitor.start_time_ticks)
    };
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter(is_member).collect())
}
