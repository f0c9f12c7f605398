//! Why a run waits, or ended as it did: the first line says it, and the rest how it came to that.

use std::time::Duration;

use fastflow_core::{ErrorKind, Orchestrator, RunId, orchestrator::Rerun, run::Status};
use serde_json::json;

use crate::{
    kit::{Place, count, ended, refused, run, started, until},
    queue::GATE,
    stage::{FOREVER, explained},
};

async fn says(flow: &Orchestrator, run: RunId, words: &[&str]) {
    let line = explained(flow, run).await;
    for word in words {
        assert!(line.contains(word), "{word:?} is missing in: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_line_says_what_a_run_waits_for() {
    let place = Place::new();
    place
        .pipeline("gate", GATE)
        .pipeline("hello", "pass")
        .declared("single", FOREVER, json!({"max_instances": 1, "stop_grace": 0}))
        .declared("retried", "raise SystemExit(1)", json!({"retry_attempts": 1}));
    let flow = started(place.builder().max_concurrent_runs(count(3))).await;
    let single = flow.submit("single").await.unwrap().id;
    place.until_said(&format!("began-{single}")).await;
    let second = flow.submit("single").await.unwrap().id;
    says(&flow, second, &["PENDING", "waits for its pipeline: 1 of 1", &single.to_string()]).await;

    let later = flow.submit(place.ask("hello").delay(Duration::from_hours(1))).await.unwrap();
    let due = later.created_at + Duration::from_hours(1);
    says(&flow, later.id, &["PENDING", "waits until", &due.to_string()[..19]]).await;

    let retried = flow.submit("retried").await.unwrap().id;
    until("the first attempt to fail", || async {
        flow.runs().get(retried).await.unwrap().failed_attempts == 1
    })
    .await;
    says(&flow, retried, &["PENDING", "waits until", "since attempt 1 failed: exit code 1"]).await;
    let text = flow.runs().explain(retried).await.unwrap().to_string();
    assert!(text.contains("the next attempt follows at"), "{text}");

    for _ in 0..2 {
        flow.submit(place.ask("gate")).await.unwrap();
    }
    until("all slots to be taken", || async { place.said("waiting") == "yes" }).await;
    let fourth = flow.submit("hello").await.unwrap().id;
    let fifth = flow.submit("hello").await.unwrap().id;
    until("the slots to be counted", || async { explained(&flow, fifth).await.contains("3 of 3") }).await;
    says(&flow, fourth, &["waits for a slot: 3 of 3 runs are in flight", "1 in the queue come before it"])
        .await;
    says(&flow, fifth, &["3 of 3", "2 in the queue come before it"]).await;
    for run in [second, later.id, retried] {
        flow.runs().cancel(run).await.unwrap();
        says(&flow, run, &["CANCELLED"]).await;
    }
    place.write("go", "go");
    ended(&flow, fifth).await;
    flow.runs().cancel(single).await.unwrap();
    ended(&flow, single).await;
    assert_eq!(flow.runs().waiting(fifth).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_line_says_why_a_run_ended_as_it_did() {
    let place = Place::new();
    let retried = json!({"retry_attempts": 1, "retry_strategy": {"type": "fixed_delay", "delay": 0}});
    place
        .declared("good", "pass", json!({}))
        .declared("three", "raise SystemExit(3)", retried)
        .declared("killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", json!({}))
        .declared("slow", FOREVER, json!({"timeout": 1, "stop_grace": 0}))
        .declared("lost", "pass", json!({"python_version": "3.99"}))
        .declared("newest", FOREVER, json!({"max_instances": 1, "when_full": "replace", "stop_grace": 0}));
    let flow = place.start().await;
    let good = run(&flow, "good").await.id;
    says(&flow, good, &[&good.to_string(), "`good` is SUCCESS"]).await;
    let three = run(&flow, "three").await.id;
    says(&flow, three, &["`three` is FAILED", "exit code 3"]).await;
    let text = flow.runs().explain(three).await.unwrap().to_string();
    let facts: Vec<&str> = text.lines().skip(1).collect();
    let expected = [
        "submitted: manual",
        "attempt 1 was taken on",
        "attempt 1 began",
        "attempt 1 failed: exit code 3",
        "the next attempt follows at",
        "attempt 2 was taken on",
        "attempt 2 began",
        "attempt 2 failed: exit code 3",
        "no further attempt: 2 have failed",
    ];
    assert_eq!(facts.len(), expected.len(), "{text}");
    for (fact, expected) in facts.iter().zip(expected) {
        assert!(fact.contains(expected), "{expected:?} is not where it should be:\n{text}");
    }
    says(&flow, run(&flow, "killed").await.id, &["FAILED", "killed by signal 9"]).await;
    says(&flow, run(&flow, "slow").await.id, &["FAILED", "timed out"]).await;
    if fastflow_core::testing::tool::uv().is_some() {
        says(&flow, run(&flow, "lost").await.id, &["FAILED", "environment failed"]).await;
    }
    let older = flow.submit("newest").await.unwrap().id;
    place.until_said(&format!("began-{older}")).await;
    let newer = flow.submit("newest").await.unwrap().id;
    ended(&flow, older).await;
    says(&flow, older, &["CANCELLED", &format!("run {newer} took its place")]).await;
    flow.runs().cancel(newer).await.unwrap();
    ended(&flow, newer).await;
    says(&flow, newer, &["CANCELLED"]).await;
    refused(flow.runs().explain(RunId::from_bytes([7; 16])).await, ErrorKind::NotFound, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_listed_until_somebody_runs_it_again() {
    let place = Place::new();
    place.declared("etl", "raise SystemExit(1)", json!({})).declared("good", "pass", json!({}));
    let flow = place.start().await;
    run(&flow, "good").await;
    let mut failed = Vec::new();
    for value in ["x", "y", "z"] {
        failed.push(run(&flow, place.ask("etl").parameter("A", value).priority(4)).await);
    }
    let ids = |page: &fastflow_core::store::Page<fastflow_core::run::Run>| -> Vec<RunId> {
        page.items.iter().map(|run| run.id).collect()
    };
    let page = flow.runs().dead_letters(None, count(2)).await.unwrap();
    assert_eq!(ids(&page), [failed[2].id, failed[1].id], "newest first, without what went well");
    let rest = flow.runs().dead_letters(page.next, count(2)).await.unwrap();
    assert_eq!((ids(&rest), rest.next), (vec![failed[0].id], None));

    place.declared("etl", "import os\nraise SystemExit(0 if os.environ['A'] == 'y' else 1)", json!({}));
    let again = flow.runs().rerun(failed[1].id, Rerun::NewestRevision).await.unwrap();
    assert_eq!((&again.parameters, again.priority), (&failed[1].parameters, 4));
    assert_eq!(again.chain, failed[1].id);
    assert_eq!(ended(&flow, again.id).await.status(), Status::Success);
    let same = flow.runs().rerun(failed[0].id, Rerun::SameRevision).await.unwrap();
    assert_eq!(same.spec.revision, failed[0].spec.revision, "what it was, not what it is now");
    assert_eq!(ended(&flow, same.id).await.status(), Status::Failed);
    let page = flow.runs().dead_letters(None, count(10)).await.unwrap();
    assert_eq!(ids(&page), [same.id, failed[2].id]);
    says(&flow, again.id, &["SUCCESS"]).await;
    let text = flow.runs().explain(again.id).await.unwrap().to_string();
    assert!(text.contains(&format!("rerun of {}", failed[1].id)), "{text}");
}
