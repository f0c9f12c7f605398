//! Somebody else uses the engine's own tools on containers of ours.

use std::time::Duration;

use fastflow_core::{
    Clock, SystemClock,
    orchestrator::Waiting,
    run::{Failure, LostCause, StartFailureKind, Status},
};
use serde_json::json;

use crate::{
    engine::Engine,
    stage::{Stage, failure, nothing_runs, until},
};

/// How long an engine is out of reach.
const OUTAGE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_removed_while_it_runs_is_lost_soon() {
    let Some(engine) = Engine::start(&json!({})) else { return };
    let stage = Stage::new(&engine, 1).await;
    let run = stage.counting().await;
    engine.ask("DELETE", &crate::removal(&engine.container(&run.id.to_string())));
    let done = stage.ended_within(&run, Duration::from_secs(10)).await;
    assert_eq!(*failure(&done), Failure::Lost(LostCause::Removed));
    assert_eq!(stage.starts(&run), "1 ");
    assert!(nothing_runs(&run));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_is_cancelled_all_the_same() {
    let Some(engine) = Engine::start(&json!({})) else { return };
    let stage = Stage::new(&engine, 1).await;
    let run = stage.counting().await;
    engine.ask("POST", &format!("/containers/{}/pause", engine.container(&run.id.to_string())));
    stage.flow.runs().cancel(run.id).await.unwrap();
    // Its grace is a second.
    let done = stage.ended_within(&run, Duration::from_secs(16)).await;
    assert_eq!(done.status(), Status::Cancelled, "{done:?}");
    assert!(nothing_runs(&run));
    engine.until_empty().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_restarted_does_not_run_its_program_twice() {
    let Some(engine) = Engine::start(&json!({})) else { return };
    let stage = Stage::new(&engine, 1).await;
    let run = stage.counting().await;
    // A host that is there takes the container away before it starts again.
    let restart = format!("/containers/{}/restart?t=20", engine.container(&run.id.to_string()));
    let stage = stage.without_host(&engine, || drop(engine.ask("POST", &restart))).await;
    let done = stage.ended(&run).await;
    assert_eq!(*failure(&done), Failure::Interrupted);
    assert_eq!(stage.starts(&run), "1 ");
    engine.until_empty().await;
    assert!(nothing_runs(&run));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_removed_between_two_runs_is_missing() {
    let Some(engine) = Engine::start(&json!({})) else { return };
    let stage = Stage::new(&engine, 1).await;
    let like = json!({ "Image": engine.image(), "Cmd": ["true"] });
    let made = engine.ask_with("POST", "/containers/create?name=fastflow-chaos", &like);
    let container = made["Id"].as_str().unwrap();
    engine.ask_with("POST", &format!("/commit?container={container}&repo=fastflow-chaos&tag=1"), &json!({}));
    engine.ask("DELETE", &format!("/containers/{container}?force=1"));
    stage.pipeline("count", r#"{"network": "none", "image": "fastflow-chaos:1"}"#);
    let first = stage.counting().await;
    stage.go(&first, 0);
    stage.check_success(&first).await;
    engine.until_empty().await;
    engine.ask("DELETE", "/images/fastflow-chaos:1");
    let second = stage.submit().await;
    let done = stage.ended(&second).await;
    let Failure::StartFailed(why) = failure(&done) else { panic!("{done:?}") };
    assert_eq!(why.kind, StartFailureKind::ImageMissing, "{why:?}");
    assert!(why.message.contains("fastflow-chaos:1"), "{why:?}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_out_of_reach_fails_nothing() {
    let Some(engine) = Engine::start(&json!({})) else { return };
    let stage = Stage::new(&engine, 3).await;
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(stage.counting().await);
    }
    let mut queued = Vec::new();
    for _ in 0..3 {
        queued.push(stage.submit().await);
    }
    let hidden = engine.socket().with_extension("hidden");
    std::fs::rename(engine.socket(), &hidden).unwrap();
    let clock = SystemClock::new();
    for run in &running {
        stage.go(run, 0);
    }
    // Their ends need no engine.
    for run in &running {
        stage.check_success(run).await;
    }
    until("the queued runs to wait for the engine", || async {
        let mut all = true;
        for run in &queued {
            let waiting = stage.flow.runs().waiting(run.id).await.unwrap();
            all &= matches!(waiting, Some(Waiting::Executor { reason, .. }) if !reason.is_empty());
        }
        all
    })
    .await;
    clock.sleep(OUTAGE.saturating_sub(clock.elapsed())).await;
    std::fs::rename(&hidden, engine.socket()).unwrap();
    for run in &queued {
        stage.until_counting(run).await;
        stage.go(run, 0);
        stage.check_success(run).await;
    }
    engine.until_empty().await;
    stage.close().await;
}
