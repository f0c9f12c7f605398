//! The daemon is killed and started again.

use fastflow_core::run::Failure;
use serde_json::json;

use crate::{
    engine::Engine,
    stage::{Stage, failure, nothing_runs},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_pruned_between_two_runs_is_made_again() {
    let Some(engine) = Engine::start(&json!({})) else { return };
    let stage = Stage::new(&engine, 1).await;
    stage.pipeline("count", r#"{"network": "bridge"}"#);
    for _ in 0..2 {
        let run = stage.counting().await;
        stage.go(&run, 0);
        stage.check_success(&run).await;
        engine.until_empty().await;
        engine.ask_with("POST", "/networks/prune", &json!({}));
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_outlive_a_killed_daemon_that_keeps_containers_alive() {
    let Some(engine) = Engine::start(&json!({ "live-restore": true })) else { return };
    let stage = Stage::new(&engine, 1).await;
    let run = stage.counting().await;
    engine.kill("dockerd").await;
    assert!(!nothing_runs(&run));
    engine.start_again();
    assert!(!nothing_runs(&run));
    stage.go(&run, 0);
    stage.check_success(&run).await;
    engine.until_empty().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_a_restarted_daemon_ends_were_interrupted() {
    let Some(engine) = Engine::start(&json!({})) else { return };
    let stage = Stage::new(&engine, 1).await;
    let run = stage.counting().await;
    engine.kill("dockerd").await;
    // It ends what an earlier one left.
    engine.start_again();
    let done = stage.ended(&run).await;
    assert_eq!(*failure(&done), Failure::Interrupted);
    assert_eq!(stage.starts(&run), "1 ");
    engine.until_empty().await;
    assert!(nothing_runs(&run));
    stage.close().await;
}
