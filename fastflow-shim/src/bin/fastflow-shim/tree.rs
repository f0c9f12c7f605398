//! Everything that the program has started.

use std::{collections::HashSet, fs, io, path::PathBuf, process};

use fastflow_shim::proc;
use nix::sys::signal::{self, Signal};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus};

/// The descendants of this process and the members of the attempt's cgroups.
#[derive(Debug)]
pub(crate) struct Tree {
    cgroups: Vec<PathBuf>,
}

impl Tree {
    pub(crate) fn new(cgroups: Vec<PathBuf>) -> Self {
        Self { cgroups }
    }

    /// Sends SIGKILL to all that is there now. What forks meanwhile is caught by the next call.
    pub(crate) fn kill(&self) {
        if process::id() == 1 {
            // Everything that this PID namespace holds, in one step.
            let _ = signal::kill(nix::unistd::Pid::from_raw(-1), Signal::SIGKILL);
        } else {
            for stat in proc::descendants().unwrap_or_default().iter().filter(|stat| !stat.is_zombie()) {
                kill_if(stat.pid, || {
                    proc::start_time_ticks(stat.pid).is_ok_and(|start| start == stat.start_time_ticks)
                });
            }
        }
        for pid in self.members() {
            kill_if(pid, || self.members().contains(&pid));
        }
    }

    /// Whether a cgroup holds a process besides this one.
    pub(crate) fn has_members(&self) -> bool {
        !self.members().is_empty()
    }

    fn members(&self) -> HashSet<u32> {
        let lists =
            self.cgroups.iter().filter_map(|cgroup| fs::read_to_string(cgroup.join("cgroup.procs")).ok());
        let own = process::id();
        lists
            .flat_map(|list| list.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>())
            .filter(|pid| *pid != own && *pid != 0)
            .collect()
    }
}

/// Kills process `pid` if it is still the one that was meant: the handle is opened first and the question
/// asked afterwards, so that a number which has gone to a stranger in between cannot be hit.
fn kill_if(pid: u32, is_meant: impl FnOnce() -> bool) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        && is_meant()
    {
        let _ = rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL);
    }
}

/// What there is to learn from the children that have ended.
#[derive(Debug, Default)]
pub(crate) struct Reaped {
    /// How the program ended, if it was among them.
    pub(crate) program: Option<WaitStatus>,
    /// Whether no child is left, and with it no descendant: each orphan is given to this process.
    pub(crate) none_left: bool,
}

/// Waits for all children that have ended, without waiting for one to end.
pub(crate) fn reap(program: Pid) -> io::Result<Reaped> {
    let mut reaped = Reaped::default();
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => reaped.program = Some(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return Ok(reaped),
            Err(rustix::io::Errno::CHILD) => {
                reaped.none_left = true;
                return Ok(reaped);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
