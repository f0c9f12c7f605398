//! Starts hosts, and ends them.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use fastflow_core::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{
    host,
    kit::{PATIENCE, within_time},
};

/// A running host process, in a process group of its own. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Host {
    child: Child,
    errors: PathBuf,
}

impl Host {
    pub(crate) fn start(role: &str, root: &Path, seed: u64) -> Self {
        let errors = root.join("host.err");
        let said = File::options().create(true).append(true).open(&errors).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "host::as_a_host", "--ignored", "--nocapture"])
            .env(host::ROLE, role)
            .env(host::ROOT, root)
            .env(host::SEED, seed.to_string())
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, errors }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process alone, or everything that it did not let go of. It must still have been there.
    pub(crate) fn kill(mut self, whole_group: bool) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the host ended by itself: {status}\n{}", self.said());
        }
        if whole_group {
            let group = Pid::from_child(&self.child);
            kill_process_group(group, Signal::KILL).unwrap();
        } else {
            self.child.kill().unwrap();
        }
        self.child.wait().unwrap();
    }

    /// Waits for its own end.
    pub(crate) async fn ended(mut self, limit: Duration) {
        let clock = SystemClock::new();
        let status: ExitStatus = within_time("a host to end by itself", limit, async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    break status;
                }
                clock.sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        assert!(status.success(), "{status}\n{}", self.said());
    }

    /// Waits until it has left this file.
    pub(crate) async fn until_there(&mut self, path: &Path) {
        let clock = SystemClock::new();
        within_time(&format!("{} to be there", path.display()), PATIENCE, async {
            while !path.exists() {
                if let Some(status) = self.child.try_wait().unwrap() {
                    assert!(path.exists(), "the host ended by itself: {status}\n{}", self.said());
                }
                clock.sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Fine when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
