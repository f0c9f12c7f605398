//! Pipelines that come after several others: once a chain, when all of them have succeeded.

use fastflow_core::{
    Orchestrator, RunId,
    orchestrator::Rerun,
    run::{Origin, Status},
};
use serde_json::json;

use crate::{
    chain::AS_TOLD,
    kit::{Place, count, ended, run, started, started_after, until},
    stage::{SAY, decided, ended_of, host, runs_of},
};

/// `a` starts `b` and `c`; `d` comes after both.
fn diamond(place: &Place) {
    let both = json!([{"pipeline": "b"}, {"pipeline": "c"}]);
    let retried = json!({"retry_attempts": 1, "retry_strategy": {"type": "fixed_delay", "delay": 0}});
    place
        .declared("a", AS_TOLD, json!({"downstream_triggers": both}))
        .declared("b", AS_TOLD, retried)
        .declared("c", AS_TOLD, json!({}))
        .declared("d", SAY, json!({"after": ["b", "c"]}));
}

/// The run of `d` in the chain of this run, and that there is no other.
async fn joined(flow: &Orchestrator, chain: RunId) -> RunId {
    until("the join", || async { runs_of(flow, "d").await.iter().any(|run| run.chain == chain) }).await;
    let runs: Vec<RunId> =
        runs_of(flow, "d").await.iter().filter(|run| run.chain == chain).map(|run| run.id).collect();
    assert_eq!(runs.len(), 1, "once a chain");
    runs[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_comes_once_a_chain_also_when_one_of_them_was_tried_again() {
    let place = Place::new();
    diamond(&place);
    let flow = place.start().await;
    for told in ["0", "1 0"] {
        place.write("end-b", told);
        let first = run(&flow, "a").await;
        let d = ended(&flow, joined(&flow, first.id).await).await;
        assert_eq!(d.status(), Status::Success);
        let Origin::Join { last } = d.origin else { panic!("{d:?}") };
        let last = flow.runs().get(last).await.unwrap();
        assert!(["b", "c"].contains(&last.pipeline().as_str()) && last.chain == first.id);
        for run in runs_of(&flow, "b").await.iter().chain(&runs_of(&flow, "c").await) {
            assert!(run.finished_at <= d.started_at || run.chain != first.id, "{run:?} and {d:?}");
        }
    }
    assert_eq!(runs_of(&flow, "b").await.last().unwrap().attempt, 2);
    // Runs of two chains are not joined: each of these begins its own.
    run(&flow, "b").await;
    let lone = run(&flow, "c").await;
    assert_eq!(runs_of(&flow, "d").await.len(), 2);
    let said = decided(&flow, lone.id).await;
    assert_eq!(said, ["`d` waits for `b`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_comes_once_although_one_of_them_succeeds_twice() {
    let place = Place::new();
    diamond(&place);
    let twice = json!([{"pipeline": "b"}, {"pipeline": "c"}, {"pipeline": "b"}]);
    place.fields("a", json!({"downstream_triggers": twice}));
    // One at a time: the second run of `b` ends when the join is there already.
    let flow = started(place.builder().max_concurrent_runs(count(1))).await;
    let first = run(&flow, "a").await;
    let b = ended_of(&flow, "b", 2).await;
    assert_eq!(
        b.iter().map(|run| (run.chain, run.status())).collect::<Vec<_>>(),
        [(first.id, Status::Success), (first.id, Status::Success)]
    );
    ended(&flow, joined(&flow, first.id).await).await;
    assert_eq!(runs_of(&flow, "d").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_waits_for_what_failed_until_that_is_run_again() {
    let place = Place::new();
    diamond(&place);
    place.write("end-c", "5");
    let flow = place.start().await;
    let first = run(&flow, "a").await;
    let b = ended_of(&flow, "b", 1).await.remove(0);
    let c = ended_of(&flow, "c", 1).await.remove(0);
    assert_eq!((b.status(), c.status()), (Status::Success, Status::Failed));
    assert!(runs_of(&flow, "d").await.is_empty());
    assert_eq!(decided(&flow, b.id).await, ["`d` waits for `c`"]);
    let dead = |flow: Orchestrator| async move {
        let page = flow.runs().dead_letters(None, 10.try_into().unwrap()).await.unwrap();
        page.items.iter().map(|run| run.id).collect::<Vec<_>>()
    };
    assert_eq!(dead(flow.clone()).await, [c.id]);
    // Again with what it was, and again in vain.
    let again = flow.runs().rerun(c.id, Rerun::SameRevision).await.unwrap();
    assert_eq!(again.chain, first.id, "it belongs to the chain");
    assert_eq!(ended(&flow, again.id).await.status(), Status::Failed);
    assert_eq!(dead(flow.clone()).await, [again.id], "the one that was run again is off the list");
    // Mended, the chain goes on.
    place.pipeline("c", "pass");
    let mended = flow.runs().rerun(again.id, Rerun::NewestRevision).await.unwrap();
    assert_ne!(mended.spec.revision, again.spec.revision);
    assert_eq!(ended(&flow, mended.id).await.status(), Status::Success);
    let d = ended(&flow, joined(&flow, first.id).await).await;
    assert_eq!((&d.origin, d.status()), (&Origin::Join { last: mended.id }, Status::Success));
    assert!(dead(flow.clone()).await.is_empty());
    // One that had succeeded begins a chain of its own, and joins nothing of the old one.
    let other = flow.runs().rerun(b.id, Rerun::SameRevision).await.unwrap();
    assert_eq!(other.chain, other.id);
    ended(&flow, other.id).await;
    assert_eq!(runs_of(&flow, "d").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_killed_at_the_end_of_runs_lose_no_follower_and_start_none_twice() {
    const CHAINS: usize = 16;
    let place = Place::new();
    diamond(&place);
    // One at a time of each, so that every host sees ends.
    let both = json!([{"pipeline": "b"}, {"pipeline": "c"}]);
    place
        .fields("a", json!({"max_instances": 1, "downstream_triggers": both}))
        .fields("b", json!({"max_instances": 1}))
        .fields("c", json!({"max_instances": 1}));
    let flow = place.start().await;
    let mut chains = Vec::new();
    for _ in 0..CHAINS {
        chains.push(flow.submit("a").await.unwrap().id);
    }
    flow.shutdown(fastflow_core::Shutdown::Detach).await.unwrap();
    let clock = crate::kit::clock();
    let ended_programs = || std::fs::read_dir(place.data().join("runs")).map_or(0, |_| exits(&place));
    for kill in 0..CHAINS {
        let host = host(&place);
        let enough = ended_programs() + 1;
        until("a program to end", || async { ended_programs() >= enough || ended_programs() >= 4 * CHAINS })
            .await;
        clock.sleep(std::time::Duration::from_millis(u64::try_from(kill % 8).unwrap() * 2)).await;
        host.kill(false);
    }
    let flow = started_after(|| place.builder()).await;
    for chain in &chains {
        assert_eq!(ended(&flow, joined(&flow, *chain).await).await.status(), Status::Success);
    }
    for name in ["b", "c", "d"] {
        let runs = runs_of(&flow, name).await;
        let mut of: Vec<RunId> = runs.iter().map(|run| run.chain).collect();
        of.sort_unstable();
        assert_eq!(of, chains, "{name}: one in each chain");
        assert!(runs.iter().all(|run| run.status() == Status::Success && run.failed_attempts == 0));
    }
}

/// How many programs have ended, by what their sandboxes left.
fn exits(place: &Place) -> usize {
    let mut found = 0;
    let mut open = vec![place.data().join("runs")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && entry.file_name() != "work" {
                open.push(entry.path());
            } else if entry.file_name() == "exit.json" {
                found += 1;
            }
        }
    }
    found
}
