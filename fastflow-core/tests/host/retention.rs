//! What is kept, and what is removed.

use fastflow_core::{ErrorKind, Retention, Shutdown, run::Status};

use crate::{
    kit::{Place, attempt, ended, refused, run, started, until},
    queue::GATE,
};

#[tokio::test(flavor = "multi_thread")]
async fn old_directories_go_and_runs_stay_and_what_runs_is_not_touched() {
    let place = Place::new();
    place.pipeline("hello", "print('hello')").pipeline("gate", GATE);
    let flow = place.start().await;
    let gate = flow.submit(place.ask("gate")).await.unwrap();
    place.until_said("waiting").await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(run(&flow, "hello").await.id);
    }
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let retention = Retention { max_runs_per_pipeline: 1, max_total_bytes: 0, ..Retention::default() };
    let flow = started(place.builder().retention(retention)).await;
    until("all directories of ended runs to be gone", || async {
        let mut left = 0;
        for id in &ids {
            left += usize::from(flow.runs().directory(attempt(*id, 1)).await.is_ok());
        }
        left == 0
    })
    .await;
    for id in &ids {
        assert_eq!(flow.runs().get(*id).await.unwrap().status(), Status::Success, "the run itself stays");
        refused(flow.runs().directory(attempt(*id, 1)).await, ErrorKind::NotFound, &["directory"]);
    }
    assert!(flow.runs().directory(attempt(gate.id, 1)).await.is_ok(), "a run in flight keeps everything");
    place.write("go", "go");
    assert_eq!(ended(&flow, gate.id).await.status(), Status::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_runs_of_each_pipeline_are_kept() {
    let place = Place::new();
    place.pipeline("one", "pass").pipeline("two", "pass");
    let flow = place.start().await;
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        one.push(run(&flow, "one").await.id);
        two.push(run(&flow, "two").await.id);
    }
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let retention = Retention { max_runs_per_pipeline: 2, ..Retention::default() };
    let flow = started(place.builder().retention(retention)).await;
    for ids in [one, two] {
        let there = |index: usize| {
            let (flow, id) = (flow.clone(), ids[index]);
            async move { flow.runs().directory(attempt(id, 1)).await.is_ok() }
        };
        until("the oldest to go", || async { !there(0).await }).await;
        assert!(there(1).await && there(2).await);
    }
}
