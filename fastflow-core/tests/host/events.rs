//! The event sequence: whole, in order, resumable.

use std::collections::HashMap;

use fastflow_core::{
    Orchestrator, RunId,
    run::Status,
    store::{Event, EventId},
};
use futures::{StreamExt, TryStreamExt};

use crate::kit::{EndlessBuild, Place, ended, run, started, within};

/// All events after `after` up to and with `last`.
async fn events(flow: &Orchestrator, after: u64, last: u64) -> Vec<Event> {
    if after == last {
        return Vec::new();
    }
    let stream = flow.events(EventId(after)).take(usize::try_from(last - after).unwrap()).try_collect();
    within("the events", stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_live_complete_and_resume_anywhere() {
    let place = Place::new();
    place.pipeline("good", "pass").pipeline("bad", "raise SystemExit(1)").file(
        "bad/pipeline.json",
        r#"{"retry_attempts": 1, "retry_strategy": {"type": "fixed_delay", "delay": 0}}"#,
    );
    let flow = place.start().await;
    let mut live = flow.events(EventId(0));
    let mut ids = Vec::new();
    for name in ["good", "bad", "good"] {
        ids.push(flow.submit(name).await.unwrap().id);
    }
    let mut seen: Vec<Event> = Vec::new();
    let mut open = ids.len();
    while open > 0 {
        let event = within("an event", live.next()).await.unwrap().unwrap();
        open -= usize::from(event.status.is_terminal());
        seen.push(event);
    }
    let numbers: Vec<u64> = seen.iter().map(|event| event.id.0).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "no gap, no double, from 1 on");
    let mut by_run: HashMap<RunId, Vec<(&str, &str)>> = HashMap::new();
    for event in &seen {
        by_run.entry(event.run).or_default().push((&event.name, &event.state));
    }
    let first = [("submitted", "queued"), ("claimed", "starting"), ("started", "running")];
    let good = [&first[..], &[("exited", "succeeded")]].concat();
    let bad = [&first[..], &[("exited", "queued")], &first[1..], &[("exited", "failed")]].concat();
    for (id, expected) in ids.iter().zip([&good, &bad, &good]) {
        // A program may end before its start was recorded; then the end is the first that is known.
        let told = by_run[id].clone();
        let without = |events: &[(&'static str, &'static str)]| {
            events.iter().copied().filter(|event| event.0 != "started").collect::<Vec<_>>()
        };
        let told: Vec<_> = told.into_iter().filter(|event| event.0 != "started").collect();
        assert_eq!(told, without(expected));
    }
    let last = numbers.len() as u64;
    for after in 0..last {
        assert_eq!(events(&flow, after, last).await, seen[usize::try_from(after).unwrap()..]);
    }
    // The same after a restart, and then on.
    flow.shutdown(fastflow_core::Shutdown::Detach).await.unwrap();
    let flow = place.start().await;
    run(&flow, "good").await;
    assert_eq!(events(&flow, 0, last).await, seen);
    let next = events(&flow, last, last + 1).await;
    assert_eq!((next[0].id.0, next[0].name.as_str()), (last + 1, "submitted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_told_while_the_environment_is_still_built() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    let flow = started(place.bare_builder().environments(EndlessBuild)).await;
    let mut live = flow.events(EventId(0));
    let accepted = flow.submit("hello").await.unwrap();
    for expected in ["submitted", "claimed"] {
        let event = within("an event", live.next()).await.unwrap().unwrap();
        assert_eq!((event.name.as_str(), event.run), (expected, accepted.id));
    }
    flow.runs().cancel(accepted.id).await.unwrap();
    assert_eq!(ended(&flow, accepted.id).await.status(), Status::Cancelled);
}
