//! The custom executor keeps the contract of executors, and its own promise.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../custom_executor/executor.rs"]
mod executor;

use std::{fs, num::NonZeroU32, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use executor::{NICENESS, PatientExecutor};
use fastflow_core::{
    AttemptId, OsEntropy, OwnerId, RunId, SystemClock,
    executor::{AttemptSpec, Executor, ProcessConfig, ProcessExecutor, Start},
    testing::conformance::executor::ExecutorFixture,
};

struct Patient;

fn patient() -> PatientExecutor {
    let config = ProcessConfig::new(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("patient-executor"));
    PatientExecutor::new(ProcessExecutor::new(&config, Arc::new(SystemClock::new())).unwrap()).unwrap()
}

#[async_trait]
impl ExecutorFixture for Patient {
    fn name(&self) -> &'static str {
        "patient"
    }

    async fn executor(&self) -> Option<Arc<dyn Executor>> {
        Some(Arc::new(patient()))
    }

    fn spec(&self, id: AttemptId, owner: OwnerId, script: &str, run_dir: PathBuf) -> AttemptSpec {
        let argv = ["/bin/sh", "-c", script, "sh"].map(String::from).to_vec();
        AttemptSpec::new(id, owner, argv, run_dir)
    }

    fn does_without(&self, capability: &str) -> bool {
        // It has what the process executor has, and nobody kills a shim here.
        ["images", "network", "isolation", "warm", "kill", "remove", "pause", "restart"].contains(&capability)
    }
}

mod conformance {
    use super::*;

    fastflow_core::executor_conformance!(Patient);
}

#[tokio::test]
async fn programs_run_at_a_low_priority_from_their_first_instruction() {
    let dir = tempfile::tempdir().unwrap();
    let clock = SystemClock::new();
    let id = AttemptId { run: RunId::new(&clock, &OsEntropy), number: NonZeroU32::MIN };
    let mut spec = Patient.spec(id, "test-patient".parse().unwrap(), "nice > niceness", dir.path().into());
    spec.env.insert("PATH".into(), "/usr/bin:/bin".into());

    let Start::Started(execution) = patient().start(spec).await.unwrap() else { panic!("not started") };
    execution.wait().await.unwrap();
    execution.remove().await.unwrap();

    let niceness = fs::read_to_string(dir.path().join("niceness")).unwrap();
    assert_eq!(niceness.trim(), NICENESS.to_string());
}
