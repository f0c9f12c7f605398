//! What Podman consists of is killed: the process that watches over a container, and the service.

use std::time::Duration;

use fastflow_core::run::{Exit, Failure};
use serde_json::json;

use crate::{
    engine::{Engine, kill},
    stage::{Stage, failure, nothing_runs},
};

/// The process that watches over a container for Podman.
fn conmon_of(container: &str) -> i32 {
    let conmon = std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0);
        let is_conmon = arguments.next()?.ends_with(b"conmon");
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (is_conmon && arguments.any(|argument| argument == container.as_bytes())).then_some(pid)
    });
    conmon.expect("somebody watches over the container")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_conmon_was_killed_ends_with_its_true_end() {
    let Some(engine) = Engine::start(&json!({})) else { return };
    let stage = Stage::new(&engine, 1).await;
    let run = stage.counting().await;
    kill(conmon_of(&engine.container(&run.id.to_string()))).await;
    assert!(!nothing_runs(&run));
    stage.go(&run, 7);
    let done = stage.ended_within(&run, Duration::from_secs(15)).await;
    assert_eq!(*failure(&done), Failure::Exit(Exit::Code(7)));
    assert_eq!(stage.starts(&run), "1 ");
    stage.check_log(&run).await;
    engine.until_empty().await;
    assert!(nothing_runs(&run));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_outlive_a_killed_service() {
    let Some(engine) = Engine::start(&json!({})) else { return };
    let stage = Stage::new(&engine, 1).await;
    let run = stage.counting().await;
    engine.kill("podman").await;
    assert!(!nothing_runs(&run));
    engine.start_again();
    assert!(!nothing_runs(&run));
    stage.go(&run, 0);
    stage.check_success(&run).await;
    engine.until_empty().await;
    stage.close().await;
}
