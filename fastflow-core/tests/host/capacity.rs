//! What runs share: slots, turns, pools, budgets, and the number of one pipeline; and what is told of who waits.

use std::time::Duration;

use fastflow_core::{
    ErrorKind, Orchestrator, RunId, Shutdown, Submission,
    orchestrator::Waiting,
    pipeline::ByteSize,
    run::{Obstacle, Status},
};
use serde_json::json;

use crate::{
    kit::{Place, count, ended, refused, run, started, started_after},
    queue::GATE,
    stage::{FOREVER, decided, explained},
};

/// Writes its pipeline's name.
const TURN: &str =
    "import os\nopen(os.environ['TMP_DIR'] + '/turns', 'a').write(os.environ['FASTFLOW_PIPELINE'] + ' ')";

/// Enters a room, looks how many slots those hold who are there, leaves. The first wait until all three are held.
const ROOM: &str = r"
import os, pathlib, time
tmp = pathlib.Path(os.environ['TMP_DIR'])
me = tmp / ('in-' + os.environ['SLOTS'] + '-' + os.environ['FASTFLOW_RUN_ID'])
me.touch()
there = 0
while True:
    there = max(there, sum(int(other.name.split('-')[1]) for other in tmp.glob('in-*')))
    if there >= 3:
        (tmp / 'full').touch()
    if os.environ['SLOTS'] == '0' or (tmp / 'full').exists() or not tmp.exists():
        break
    time.sleep(0.01)
with open(tmp / 'seen', 'a') as seen:
    seen.write(f'{there}\n')
me.unlink()
";

async fn holding(place: &Place, flow: &Orchestrator, pipeline: &str) -> RunId {
    let holder = flow.submit(place.ask(pipeline)).await.unwrap().id;
    place.until_said(&format!("began-{holder}")).await;
    holder
}

async fn let_go(flow: &Orchestrator, run: RunId) {
    flow.runs().cancel(run).await.unwrap();
    ended(flow, run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_take_turns_however_many_runs_one_of_them_has() {
    let place = Place::new();
    place.pipeline("gate", GATE);
    for name in ["a", "b", "c"] {
        place.pipeline(name, TURN);
    }
    let flow = started(place.builder().max_concurrent_runs(count(1))).await;
    flow.submit(place.ask("gate")).await.unwrap();
    place.until_said("waiting").await;
    let mut runs = Vec::new();
    for name in ["a", "a", "a", "a", "b", "b", "c"] {
        runs.push(flow.submit(place.ask(name)).await.unwrap().id);
    }
    // A host that dies does not change whose turn it is.
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let flow = started_after(|| place.builder().max_concurrent_runs(count(1))).await;
    let waiting = flow.runs().waiting(runs[4]).await.unwrap();
    let slot = Waiting::Slot { ahead: 1, in_flight: 1, max: count(1) };
    assert_eq!(waiting, Some(slot), "the first of b comes after the first of a");
    place.write("go", "go");
    for run in runs {
        assert_eq!(ended(&flow, run).await.status(), Status::Success);
    }
    assert_eq!(place.said("turns"), "a b c a b a a ");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_priority_of_a_pipeline_counts_unless_the_caller_names_one() {
    let place = Place::new();
    place.pipeline("gate", GATE).declared("low", TURN, json!({"priority": -5})).declared(
        "high",
        TURN,
        json!({"priority": 5}),
    );
    let flow = started(place.builder().max_concurrent_runs(count(1))).await;
    flow.submit(place.ask("gate")).await.unwrap();
    place.until_said("waiting").await;
    let low = flow.submit(place.ask("low")).await.unwrap();
    let urgent = flow.submit(place.ask("low").priority(9)).await.unwrap();
    let high = flow.submit(place.ask("high")).await.unwrap();
    assert_eq!([low.priority, urgent.priority, high.priority], [-5, 9, 5]);
    let text = explained(&flow, high.id).await;
    assert!(text.contains("1 of 1 runs are in flight, and 1 in the queue"), "{text}");
    place.write("go", "go");
    for run in [low, urgent, high] {
        ended(&flow, run.id).await;
    }
    assert_eq!(place.said("turns"), "low high low ");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slots_of_a_pool_are_never_held_twice_whoever_wants_them() {
    let place = Place::new();
    place
        .declared("one", ROOM, json!({"pools": ["db"], "default_env": {"SLOTS": "1"}}))
        .declared("two", ROOM, json!({"pools": {"db": 2}, "default_env": {"SLOTS": "2"}}))
        .declared("none", ROOM, json!({"default_env": {"SLOTS": "0"}}));
    let flow = started(place.builder().pool("db".parse().unwrap(), count(3))).await;
    let mut runs = Vec::new();
    for _ in 0..8 {
        for name in ["one", "two", "none"] {
            runs.push(flow.submit(name).await.unwrap().id);
        }
    }
    for run in runs {
        assert_eq!(ended(&flow, run).await.status(), Status::Success);
    }
    let seen: Vec<u32> = place.said("seen").lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(
        (seen.len(), seen.iter().max()),
        (24, Some(&3)),
        "all three slots were used, and no fourth: {seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_pool_is_told_who_holds_it_and_is_not_overtaken() {
    let place = Place::new();
    let quick = |slots: u32| json!({"pools": {"db": slots}});
    place
        .declared("holder", FOREVER, json!({"pools": ["db"], "stop_grace": 0}))
        .declared("large", TURN, quick(2))
        .declared("small", TURN, quick(1))
        .declared("greedy", TURN, quick(3))
        .declared("unknown", TURN, json!({"pools": ["web"]}));
    let flow = started(place.builder().pool("db".parse().unwrap(), count(2))).await;
    refused(flow.submit("unknown").await, ErrorKind::Invalid, &["web", "db"]);
    refused(flow.submit("greedy").await, ErrorKind::Invalid, &["db", "3", "2"]);
    let holder = holding(&place, &flow, "holder").await;
    let large = flow.submit("large").await.unwrap().id;
    let small = flow.submit("small").await.unwrap().id;
    let obstacle = Obstacle::Pool { pool: "db".parse().unwrap(), used: 1, slots: 2 };
    let waiting = flow.runs().waiting(large).await.unwrap();
    assert_eq!(waiting, Some(Waiting::Limit { obstacle, held_by: vec![holder], ahead: 0 }));
    let text = explained(&flow, large).await;
    assert!(text.contains(&format!("pool `db`: 1 of 2 slots are held, by run {holder}")), "{text}");
    // There is a slot for the small one, but the large one was here first.
    let_go(&flow, holder).await;
    for run in [large, small] {
        assert_eq!(ended(&flow, run).await.status(), Status::Success);
    }
    assert_eq!(place.said("turns"), "large small ");
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_memory_is_kept_within_the_budget() {
    let place = Place::new();
    let Some(flow) = with_budget(&place).await else { return };
    let holder = holding(&place, &flow, "holder").await;
    let large = flow.submit("large").await.unwrap().id;
    let text = explained(&flow, large).await;
    assert!(text.contains("waits for memory") && text.contains(&holder.to_string()), "{text}");
    assert_eq!(run(&flow, "free").await.status(), Status::Success, "who declares nothing goes past");
    let_go(&flow, holder).await;
    assert_eq!(ended(&flow, large).await.status(), Status::Success, "alone, it may exceed it");
}

/// None, loudly, where the executor keeps no limits of memory.
async fn with_budget(place: &Place) -> Option<Orchestrator> {
    place
        .declared("holder", FOREVER, json!({"mem_hard_limit": "256m", "stop_grace": 0}))
        .declared("large", TURN, json!({"mem_hard_limit": "1g"}))
        .declared("free", TURN, json!({}));
    let flow = started(place.builder().memory_budget(ByteSize(512 << 20))).await;
    let key = "first";
    match flow.submit(Submission::new("free").key(key)).await {
        Ok(first) => drop(ended(&flow, first.id).await),
        Err(error) => panic!("{error:?}"),
    }
    match flow.submit(Submission::new("large").delay(Duration::from_hours(1))).await {
        Ok(probe) => {
            flow.runs().cancel(probe.id).await.unwrap();
            Some(flow)
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            fastflow_core::testing::tool::require("cgroups", "limits of memory need control groups");
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pipeline_queues_rejects_or_replaces() {
    let place = Place::new();
    let full = |when: &str| json!({"max_instances": 1, "when_full": when, "stop_grace": 0});
    for when in ["queue", "reject", "replace"] {
        place.declared(when, FOREVER, full(when));
    }
    let flow = place.start().await;

    let first = holding(&place, &flow, "queue").await;
    let second = flow.submit("queue").await.unwrap().id;
    let text = explained(&flow, second).await;
    assert!(text.contains(&format!("its pipeline: 1 of 1 runs are in flight, by run {first}")), "{text}");
    let_go(&flow, first).await;
    place.until_said(&format!("began-{second}")).await;
    let_go(&flow, second).await;

    let first = flow.submit(place.ask("reject").key("once")).await.unwrap().id;
    place.until_said(&format!("began-{first}")).await;
    refused(flow.submit("reject").await, ErrorKind::Unavailable, &["reject", "when_full"]);
    let again = flow.submit(place.ask("reject").key("once")).await.unwrap();
    assert_eq!(again.id, first, "the same submission is not a second one");
    let_go(&flow, first).await;
    let second = holding(&place, &flow, "reject").await;
    let_go(&flow, second).await;

    let first = holding(&place, &flow, "replace").await;
    let second = flow.submit("replace").await.unwrap().id;
    assert_eq!(ended(&flow, first).await.status(), Status::Cancelled);
    place.until_said(&format!("began-{second}")).await;
    assert_eq!(decided(&flow, first).await, [format!("run {second} took its place")]);
    assert_eq!(decided(&flow, second).await, [format!("took the place of run {first}")]);
    let_go(&flow, second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_hold_over_the_death_of_the_host() {
    let place = Place::new();
    place.declared("one", FOREVER, json!({"max_instances": 1, "pools": ["db"], "stop_grace": 0}));
    let builder = || place.builder().pool("db".parse().unwrap(), count(1));
    let flow = started(builder()).await;
    let first = holding(&place, &flow, "one").await;
    let second = flow.submit(place.ask("one").key("second")).await.unwrap().id;
    drop(flow);
    let flow = started_after(builder).await;
    assert_eq!(flow.submit(place.ask("one").key("second")).await.unwrap().id, second);
    let waiting = flow.runs().waiting(second).await.unwrap();
    let obstacle = Obstacle::Instances { max: count(1) };
    assert_eq!(
        waiting,
        Some(Waiting::Limit { obstacle, held_by: vec![first], ahead: 0 }),
        "what runs on counts"
    );
    let_go(&flow, first).await;
    place.until_said(&format!("began-{second}")).await;
    let third = flow.submit(place.ask("one")).await.unwrap().id;
    drop(flow);
    // A host without the pool does not run what needs it, and says so.
    let flow = started_after(|| place.builder()).await;
    let_go(&flow, second).await;
    let text = explained(&flow, third).await;
    assert!(text.contains("pool `db`, which this host does not have"), "{text}");
    drop(flow);
    let flow = started_after(builder).await;
    place.until_said(&format!("began-{third}")).await;
    let_go(&flow, third).await;
}
