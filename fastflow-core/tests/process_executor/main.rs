//! The process executor keeps the contract of executors, with and without control groups.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod host;
mod measure;
mod secrets;
mod stranger;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use fastflow_core::{
    AttemptId, OwnerId, SystemClock,
    executor::{AttemptSpec, Executor, ProcessConfig, ProcessExecutor, process::CgroupMode},
    testing::conformance::executor::{ExecutorFixture, Interference},
};
use rustix::process::{Pid, Signal, kill_process};

/// The executor of this machine, as far as it goes.
struct Process(CgroupMode);

/// What hosts of one installation share.
fn state_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process-executor")
}

#[async_trait]
impl ExecutorFixture for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn executor(&self) -> Option<Arc<dyn Executor>> {
        let mut config = ProcessConfig::new(state_dir());
        config.cgroups = self.0;
        let executor = ProcessExecutor::new(&config, Arc::new(SystemClock::new())).unwrap();
        executor.probe().await.unwrap();
        Some(Arc::new(executor))
    }

    fn spec(&self, id: AttemptId, owner: OwnerId, script: &str, run_dir: PathBuf) -> AttemptSpec {
        let argv = ["/bin/sh", "-c", script, "sh"].map(String::from).to_vec();
        AttemptSpec::new(id, owner, argv, run_dir)
    }

    fn does_without(&self, capability: &str) -> bool {
        // Processes have no sandbox that anybody could take away, hold or start again.
        let nowhere = ["images", "network", "isolation", "warm", "remove", "pause", "restart"];
        let limits = ["cpu_limit", "memory_limit", "process_limit"];
        nowhere.contains(&capability) || matches!(self.0, CgroupMode::Off) && limits.contains(&capability)
    }

    fn places(&self) -> Vec<PathBuf> {
        vec![PathBuf::from("/dev/shm"), state_dir()]
    }

    async fn interfere(&self, sandbox: &str, how: Interference) -> bool {
        let shim = Pid::from_raw(sandbox.parse().unwrap()).unwrap();
        how == Interference::Kill && kill_process(shim, Signal::KILL).is_ok()
    }
}

mod with_cgroups {
    use super::*;

    fastflow_core::executor_conformance!(Process(CgroupMode::Auto));
}

mod without_cgroups {
    use super::*;

    fastflow_core::executor_conformance!(Process(CgroupMode::Off));
}
