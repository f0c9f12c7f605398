//! Starts hosts, and ends them.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{variable, within};
use crate::{Clock as _, SystemClock};

const ROLE: &str = "FASTFLOW_TORTURE_ROLE";
const STAGE: &str = "FASTFLOW_TORTURE_STAGE";
const SEED: &str = "FASTFLOW_TORTURE_SEED";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a host process is to do, and where, and with which plan.
///
/// ```
/// use fastflow_core::testing::torture::Part;
///
/// // A process that nobody started as a host has none.
/// assert!(Part::of_this_process().is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Part {
    /// The name of what it is to do.
    pub role: String,
    /// The folder of the test.
    pub stage: PathBuf,
    /// The seed of the plan.
    pub seed: u64,
}

impl Part {
    /// What this process is to do, if it was started as a host.
    pub fn of_this_process() -> Option<Self> {
        let (role, stage) = (variable(ROLE)?, variable(STAGE)?);
        let seed = variable(SEED).map_or(0, |text| text.parse().unwrap());
        Some(Self { role, stage: stage.into(), seed })
    }
}

/// A running host process, in a process group of its own. Dropping it kills it.
///
/// It is the test program itself, started again to run one ignored test of it, which reads its [`Part`].
///
/// ```no_run
/// use fastflow_core::testing::torture::HostProcess;
///
/// let host = HostProcess::start(concat!(module_path!(), "::as_a_host"), "work", "/tmp/stage".as_ref(), 7);
/// host.kill(true);
/// ```
#[derive(Debug)]
pub struct HostProcess {
    child: Child,
    errors: PathBuf,
}

impl HostProcess {
    /// Starts one. `test` is the path of the ignored test, with the name of its crate.
    pub fn start(test: &str, role: &str, stage: &Path, seed: u64) -> Self {
        let (_crate, test) = test.split_once("::").unwrap();
        let errors = stage.join("host.err");
        let said = File::options().create(true).append(true).open(&errors).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(ROLE, role)
            .env(STAGE, stage)
            .env(SEED, seed.to_string())
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, errors }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process alone, or everything that it did not let go of. It must still have been there.
    pub fn kill(mut self, whole_group: bool) {
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

    /// Waits for its own end, which must be a success.
    pub async fn ended(mut self, limit: Duration) {
        let clock = SystemClock::new();
        let status: Option<ExitStatus> = tokio::select! {
            status = async {
                loop {
                    if let Some(status) = self.child.try_wait().unwrap() {
                        break status;
                    }
                    clock.sleep(Duration::from_millis(10)).await;
                }
            } => Some(status),
            () = clock.sleep(limit) => None,
        };
        let success = status.is_some_and(|status| status.success());
        assert!(success, "a host has not come to its end within {limit:?}: {status:?}\n{}", self.said());
    }

    /// Waits until it has left this file.
    pub async fn until_there(&mut self, path: &Path) {
        let clock = SystemClock::new();
        within(&format!("{} to be there", path.display()), PATIENCE, async {
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

impl Drop for HostProcess {
    fn drop(&mut self) {
        // Fine when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
