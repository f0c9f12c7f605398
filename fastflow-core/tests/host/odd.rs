//! Schedules with names, instants and pipelines that are odd, and hosts that go on in spite of them.

use std::time::Duration;

use fastflow_core::{
    Shutdown,
    orchestrator::{Rerun, Waiting},
    run::{Obstacle, Origin, Status},
    source::SyncRequest,
    store::TickQuery,
};
use serde_json::json;

use crate::{
    kit::{Place, clock, ended, started, until},
    stage::{FOREVER, SAY, id, ledger, ledger_of, names, runs_of, started_ahead},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_instant_at_the_top_gets_a_name_that_no_entry_has() {
    let place = Place::new();
    let entry = |id: &str| json!({"id": id, "schedule_cron": "@yearly"});
    let entries = ["once", "once.2", "run_once_at", "schedule"].map(entry);
    place.declared("a", SAY, json!({"run_once_at": "2100-01-01", "schedules": entries}));
    let flow = place.start().await;
    let known = flow.schedules().list().await.unwrap();
    let known: Vec<String> = known.iter().map(|record| record.schedule.id.to_string()).collect();
    assert_eq!(known, ["a/once", "a/once.2", "a/once.3", "a/run_once_at", "a/schedule"]);
    flow.source().sync(SyncRequest::default()).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    place.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instant_finer_than_the_store_is_one_instant_through_every_edit() {
    let place = Place::new();
    let soon = clock().now().checked_add(Duration::from_secs(2)).unwrap();
    let moment = format!("{}5Z", soon.strftime("%Y-%m-%dT%H:%M:%S.%6f"));
    place.declared("a", SAY, json!({"run_once_at": moment}));
    let flow = place.start().await;
    let ticks = ledger_of(&flow, "a/once", 1).await;
    assert_eq!(names(&ticks), ["run"]);
    for overlap in ["allow", "queue", "skip"] {
        place.fields("a", json!({"run_once_at": moment, "overlap": overlap}));
        flow.source().sync(SyncRequest::default()).await.unwrap();
    }
    assert_eq!(ledger(&flow, "a/once").await, ticks, "it was due once");
    let record = flow.schedules().get(&id("a/once")).await.unwrap();
    assert_eq!((record.next, record.generation), (None, 4), "it was written once, and once an edit");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_will_run_is_upcoming() {
    let place = Place::new();
    place
        .declared("on", SAY, json!({"schedule_cron": "0 * * * *"}))
        .declared("off", SAY, json!({"schedule_cron": "0 * * * *", "enabled": false}))
        .declared("broken", SAY, json!({"schedule_cron": "30 * * * *", "timeout": "soon"}));
    let flow = place.start().await;
    let upcoming = flow.schedules().upcoming(Duration::from_hours(3), 100).await.unwrap();
    assert_eq!(upcoming.len(), 3);
    assert!(upcoming.iter().all(|upcoming| upcoming.schedule == id("on/schedule")), "{upcoming:?}");
    assert!(upcoming.is_sorted());
    assert_eq!(flow.schedules().upcoming(Duration::from_hours(3), 2).await.unwrap(), upcoming[..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_behind_another_is_told_so() {
    let place = Place::new();
    place
        .declared("holder", FOREVER, json!({"pools": ["db"], "stop_grace": 0}))
        .declared("large", SAY, json!({"pools": {"db": 2}}))
        .declared("small", SAY, json!({"pools": {"db": 1}}));
    let flow = started(place.builder().pool("db".parse().unwrap(), 2.try_into().unwrap())).await;
    let holder = flow.submit("holder").await.unwrap().id;
    until("the holder to run", || async {
        flow.runs().get(holder).await.unwrap().status() == Status::Running
    })
    .await;
    let large = flow.submit("large").await.unwrap().id;
    let small = flow.submit("small").await.unwrap().id;
    let obstacle = Obstacle::Pool { pool: "db".parse().unwrap(), used: 1, slots: 2 };
    let waiting = flow.runs().waiting(small).await.unwrap();
    assert_eq!(waiting, Some(Waiting::Behind { run: large, obstacle }));
    flow.runs().cancel(holder).await.unwrap();
    for run in [large, small] {
        assert_eq!(ended(&flow, run).await.status(), Status::Success);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_goes_on_after_its_host_was_drained_and_not_after_a_cancel() {
    let place = Place::new();
    place.declared("serve", FOREVER, json!({"restart_on_crash": true, "stop_grace": 0}));
    let flow = place.start().await;
    let first = flow.submit("serve").await.unwrap().id;
    until("it to run", || async { flow.runs().get(first).await.unwrap().status() == Status::Running }).await;
    let now = Shutdown::Drain { patience: Duration::ZERO, grace: Duration::ZERO };
    flow.shutdown(now).await.unwrap();

    let flow = place.start().await;
    until("another run of it", || async {
        runs_of(&flow, "serve").await.last().unwrap().status() == Status::Running
    })
    .await;
    let runs = runs_of(&flow, "serve").await;
    assert_eq!((runs.len(), runs[0].status()), (2, Status::Cancelled));
    assert_eq!(runs[1].origin, Origin::Daemon { previous: first, restarts: 0 });
    flow.runs().cancel(runs[1].id).await.unwrap();
    ended(&flow, runs[1].id).await;
    flow.shutdown(now).await.unwrap();
    let flow = place.start().await;
    assert_eq!(runs_of(&flow, "serve").await.len(), 2, "who was cancelled stays so");
    assert!(flow.schedules().ticks(&TickQuery::default()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_run_again_is_for_the_same_instant() {
    let place = Place::new();
    place.declared("a", SAY, json!({"schedule_interval_seconds": 1}));
    let flow = place.start().await;
    let run = ledger_of(&flow, "a/schedule", 1).await[0].outcome.run().unwrap();
    let first = ended(&flow, run).await;
    place.fields("a", json!({}));
    flow.source().sync(SyncRequest::default()).await.unwrap();
    for of in [Rerun::SameRevision, Rerun::NewestRevision] {
        let again = flow.runs().rerun(run, of).await.unwrap();
        let again = ended(&flow, again.id).await;
        assert_eq!((again.status(), again.scheduled_for()), (Status::Success, first.scheduled_for()));
        let lines = place.lines_of("a");
        let said = lines.iter().find(|line| line[2] == again.id.to_string()).unwrap();
        let nominal = first.scheduled_for().unwrap().to_string();
        assert_eq!(said[..2], ["-".to_owned(), nominal], "it is of no schedule, and for its instant");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_comes_back_after_its_clock_went_back_goes_on_where_it_was() {
    let place = Place::new();
    let often = json!({"schedule_interval_seconds": 1});
    place.declared("a", SAY, often.clone());
    let flow = started_ahead(&place, Duration::from_secs(20)).await;
    ledger_of(&flow, "a/schedule", 1).await;
    place.fields("a", json!({}));
    flow.source().sync(SyncRequest::default()).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let flow = place.start().await;
    place.fields("a", often);
    flow.source().sync(SyncRequest::default()).await.unwrap();
    let record = flow.schedules().get(&id("a/schedule")).await.unwrap();
    assert!(record.cursor > clock().now(), "the ledger reaches into what is to come");
    let next = record.next.expect("it is due again once the clock has come that far");
    assert!(next.nominal > record.cursor);
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let flow = started_ahead(&place, Duration::from_secs(25)).await;
    ledger_of(&flow, "a/schedule", 2).await;
}
