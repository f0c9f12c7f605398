//! The ledger over the death of hosts, over time in which there was none, and over changes: each instant has its row,
//! and no run twice.

use std::{collections::BTreeSet, time::Duration};

use fastflow_core::{
    Clock, Orchestrator, RunId, Shutdown, SystemClock,
    run::{Origin, Status},
    schedule::{Tick, TickOutcome},
    source::SyncRequest,
};
use serde_json::{Value, json};

use crate::{
    kit::{Place, ended, started_after, until},
    stage::{
        SAY, assert_whole, host, id, is_refused, ledger, ledger_of, made, names, runs_of, started_ahead,
    },
};

/// Much longer than an instant may be late and count as seen in time.
const AWAY: Duration = Duration::from_secs(570);

/// Every run has exactly one row, every row its run, and every run was started by one program.
async fn balanced(place: &Place, flow: &Orchestrator, pipeline: &str, ticks: &[Tick]) {
    let rows = made(ticks);
    let runs: BTreeSet<RunId> = runs_of(flow, pipeline).await.iter().map(|run| run.id).collect();
    assert_eq!(rows.iter().copied().collect::<BTreeSet<_>>(), runs);
    assert_eq!(rows.len(), runs.len(), "no run in two rows");
    let instants: BTreeSet<_> = ticks.iter().map(|tick| tick.nominal).collect();
    assert_eq!(instants.len(), ticks.len(), "no instant in two rows");
    for run in rows {
        let done = ended(flow, run).await;
        // A start that was interrupted before the program began is none.
        assert_eq!((done.status(), done.failed_attempts), (Status::Success, 0), "{done:?}");
    }
    let said: Vec<String> = place.lines_of(pipeline).into_iter().map(|words| words[2].clone()).collect();
    let distinct: BTreeSet<&String> = said.iter().collect();
    assert_eq!(said.len(), distinct.len(), "no program ran twice");
    assert_eq!(said.len(), runs.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_killed_at_their_instants_leave_one_row_and_one_run_for_each() {
    const KILLS: u32 = 8;
    let place = Place::new();
    place.declared("etl", SAY, json!({"schedule_interval_seconds": 1, "overlap": "allow"}));
    // The first host only makes the schedule.
    place.start().await.shutdown(Shutdown::Detach).await.unwrap();
    let flow = started_after(|| place.builder()).await;
    let anchor = flow.schedules().get(&id("etl/schedule")).await.unwrap().anchor;
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let clock = SystemClock::new();
    for kill in 0..KILLS {
        let host = host(&place);
        let enough = place.lines_of("etl").len() + 1;
        until("an instant to be acted upon", || async { place.lines_of("etl").len() >= enough }).await;
        // From just before an instant to just after it.
        let past = clock.now().duration_since(anchor).as_millis() % 1000;
        let wait = 1000 - u64::try_from(past).unwrap() + u64::from(kill) * 4;
        clock.sleep(Duration::from_millis(wait.saturating_sub(8))).await;
        host.kill(false);
    }
    let flow = started_after(|| place.builder()).await;
    let now = clock.now();
    until("the ledger to be up to date", || async {
        ledger(&flow, "etl/schedule").await.last().is_some_and(|last| last.nominal >= now)
    })
    .await;
    place.fields("etl", json!({}));
    flow.source().sync(SyncRequest::default()).await.unwrap();
    let ticks = ledger(&flow, "etl/schedule").await;
    assert!(ticks.len() > KILLS as usize);
    assert_whole(&ticks, 1);
    assert!(ticks.iter().all(|tick| tick.outcome.run().is_some()), "{:?}", names(&ticks));
    balanced(&place, &flow, "etl", &ticks).await;
}

/// The rows of a schedule of one instant each minute that no host saw for nine minutes and a half.
async fn after_a_while(policy: Value) -> (Place, Orchestrator, Vec<Tick>) {
    let place = Place::new();
    let mut fields = json!({"schedule_interval_seconds": 60, "overlap": "allow"});
    fields.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
    place.declared("etl", SAY, fields);
    place.start().await.shutdown(Shutdown::Detach).await.unwrap();
    let flow = started_ahead(&place, AWAY).await;
    let ticks = ledger_of(&flow, "etl/schedule", 9).await;
    assert_whole(&ticks, 60);
    assert_eq!(ticks.len(), 9);
    (place, flow, ticks)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_host_saw_is_caught_up_as_the_schedule_says() {
    // The ninth instant is half a minute old: that is in time.
    let (place, flow, ticks) = after_a_while(json!({"catch_up": "none"})).await;
    assert_eq!(names(&ticks), [vec!["missed"; 8], vec!["run"]].concat());
    balanced(&place, &flow, "etl", &ticks).await;

    let (place, flow, ticks) = after_a_while(json!({"catch_up": {"all": 3}})).await;
    assert_eq!(names(&ticks), [vec!["missed"; 5], vec!["run"; 4]].concat());
    balanced(&place, &flow, "etl", &ticks).await;
    for run in runs_of(&flow, "etl").await {
        let Origin::Schedule { nominal, .. } = run.origin else { panic!("{run:?}") };
        assert!(ticks.iter().any(|tick| tick.outcome == TickOutcome::Run(run.id) && tick.nominal == nominal));
    }

    let (place, flow, ticks) =
        after_a_while(json!({"catch_up": {"all": 1000}, "catch_up_window": 200})).await;
    assert_eq!(names(&ticks), [vec!["missed"; 6], vec!["run"; 3]].concat(), "none older than the window");
    balanced(&place, &flow, "etl", &ticks).await;

    let (place, flow, ticks) = after_a_while(json!({"catch_up": {"all": 1000}, "overlap": "skip"})).await;
    let latest = [vec!["missed"; 8], vec!["run"]].concat();
    assert_eq!(names(&ticks), latest, "more would only overlap the one that is in time");
    balanced(&place, &flow, "etl", &ticks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_no_host_saw_the_latest_runs_unless_one_is_in_time() {
    let place = Place::new();
    place.declared("etl", SAY, json!({"schedule_interval_seconds": 300}));
    place.start().await.shutdown(Shutdown::Detach).await.unwrap();
    let flow = started_ahead(&place, Duration::from_secs(800)).await;
    let ticks = ledger_of(&flow, "etl/schedule", 2).await;
    assert_eq!(names(&ticks), ["missed", "run"], "one of 500 seconds ago, and one of 200");
    balanced(&place, &flow, "etl", &ticks).await;
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let flow = started_ahead(&place, Duration::from_secs(1515)).await;
    let ticks = ledger_of(&flow, "etl/schedule", 5).await;
    assert_eq!(names(&ticks[2..]), ["missed", "missed", "run"], "one of 15 seconds ago");
    balanced(&place, &flow, "etl", &ticks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_of_minutes_without_a_host_is_one_row_and_one_run() {
    let place = Place::new();
    place.declared("etl", SAY, json!({"schedule_interval_seconds": 60}));
    place.start().await.shutdown(Shutdown::Detach).await.unwrap();
    let days = 30 * 24 * 60;
    let flow = started_ahead(&place, Duration::from_mins(days) + Duration::from_secs(30)).await;
    let ticks = ledger_of(&flow, "etl/schedule", 2).await;
    assert_eq!(names(&ticks), ["missed", "run"]);
    assert_eq!(ticks[0].count + ticks[1].count, days);
    assert_whole(&ticks, 60);
    balanced(&place, &flow, "etl", &ticks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_makes_no_instant_twice() {
    let place = Place::new();
    place.declared("etl", SAY, json!({"schedule_interval_seconds": 1, "overlap": "allow"}));
    let flow = started_ahead(&place, Duration::from_secs(30)).await;
    let before = ledger_of(&flow, "etl/schedule", 2).await;
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let flow = started_ahead(&place, Duration::from_secs(27)).await;
    let ticks = ledger_of(&flow, "etl/schedule", before.len() + 2).await;
    assert_eq!(ticks[..before.len()], before, "what is written stays");
    assert_whole(&ticks, 1);
    place.fields("etl", json!({}));
    flow.source().sync(SyncRequest::default()).await.unwrap();
    balanced(&place, &flow, "etl", &ledger(&flow, "etl/schedule").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_refuses_all_its_instants_and_names_no_run_that_never_was() {
    let place = Place::new();
    for overlap in ["skip", "replace", "queue"] {
        place.declared(overlap, SAY, json!({
            "schedule_interval_seconds": 60, "overlap": overlap, "catch_up": {"all": 5}, "blackouts": ["none"],
        }));
    }
    place.start().await.shutdown(Shutdown::Detach).await.unwrap();
    let flow = started_ahead(&place, Duration::from_secs(200)).await;
    for overlap in ["skip", "replace", "queue"] {
        let ticks = ledger_of(&flow, &format!("{overlap}/schedule"), 3).await;
        // Where overlaps are skipped, only the one that is in time is to run at all.
        let missed = if overlap == "skip" { 2 } else { 0 };
        assert!(
            ticks[..missed].iter().all(|tick| tick.outcome == TickOutcome::Missed),
            "{overlap}: {ticks:#?}"
        );
        let refused = &ticks[missed..];
        assert!(refused.iter().all(|tick| is_refused(tick, &["blackout `none`"])), "{overlap}: {ticks:#?}");
        assert!(runs_of(&flow, overlap).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_is_edited_while_no_host_is_there_accounts_for_the_instants_of_the_old_one() {
    let place = Place::new();
    place.declared("etl", SAY, json!({"schedule_interval_seconds": 60, "overlap": "allow"}));
    place.start().await.shutdown(Shutdown::Detach).await.unwrap();
    place.fields(
        "etl",
        json!({"schedule_interval_seconds": 45, "overlap": "allow", "catch_up": {"all": 100}}),
    );
    let flow = started_ahead(&place, Duration::from_secs(250)).await;
    let ticks = ledger_of(&flow, "etl/schedule", 4).await;
    // Nobody was there, and the last one is ten seconds old: that is in time.
    assert_eq!(names(&ticks[..4]), ["missed", "missed", "missed", "run"], "{ticks:#?}");
    assert_whole(&ticks[..4], 60);
    let record = flow.schedules().get(&id("etl/schedule")).await.unwrap();
    let next = record.next.unwrap().nominal;
    assert_eq!(next.duration_since(record.anchor).as_secs(), 270, "the new rule, from now on");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_rule_is_edited_again_and_again_no_second_is_lost_and_none_doubled() {
    let place = Place::new();
    let fields = |end: u32| json!({"schedule_interval_seconds": 1, "overlap": "allow", "schedule_end": format!("{end}-01-01")});
    place.declared("etl", SAY, fields(2100));
    let flow = place.start().await;
    for edit in 0..300 {
        place.fields("etl", fields(2101 + edit));
        flow.source().sync(SyncRequest::default()).await.unwrap();
    }
    let record = flow.schedules().get(&id("etl/schedule")).await.unwrap();
    assert!(record.generation > 300);
    place.fields("etl", fields(2100));
    let rows = ledger(&flow, "etl/schedule").await.len();
    ledger_of(&flow, "etl/schedule", rows + 1).await;
    place.fields("etl", json!({}));
    flow.source().sync(SyncRequest::default()).await.unwrap();
    let ticks = ledger(&flow, "etl/schedule").await;
    assert_whole(&ticks, 1);
    assert_eq!(ticks[0].nominal.duration_since(record.anchor).as_millis(), 1000);
    balanced(&place, &flow, "etl", &ticks).await;
}
