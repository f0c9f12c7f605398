//! Schedules that run by themselves: with a row of the ledger for every instant, whatever becomes of it.

use std::{num::NonZeroU32, time::Duration};

use fastflow_core::{
    Clock, ErrorKind, RunId, SystemClock,
    builder::BlackoutScope,
    pipeline::{Moment, ScheduleRule},
    run::{Exit, Failure, Origin, Status},
    schedule::{BlackoutCalendar, Schedule, TickOutcome},
    source::SyncRequest,
};
use serde_json::json;

use crate::{
    kit::{Place, attempts, ended, refused, started, until},
    stage::{FOREVER, SAY, assert_whole, id, is_refused, ledger, ledger_of, made, names, runs_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_makes_a_run_each_time_and_its_program_knows_why() {
    let place = Place::new();
    place.declared("tick", SAY, json!({"schedule_interval_seconds": 1, "overlap": "allow"}));
    let flow = place.start().await;
    let ticks = ledger_of(&flow, "tick/schedule", 3).await;
    assert_whole(&ticks, 1);
    let anchor = flow.schedules().get(&id("tick/schedule")).await.unwrap().anchor;
    assert_eq!(ticks[0].nominal.duration_since(anchor).as_millis(), 1000, "the first is an interval later");
    for tick in &ticks[..3] {
        assert_eq!((tick.count, tick.through), (1, tick.nominal));
        let run = ended(&flow, tick.outcome.run().expect("an instant in time makes a run")).await;
        let schedule = id("tick/schedule");
        assert_eq!(run.origin, Origin::Schedule { schedule: schedule.clone(), nominal: tick.nominal });
        assert_eq!((run.status(), run.schedule()), (Status::Success, Some(&schedule)));
        let line = [schedule.to_string(), tick.nominal.to_string(), run.id.to_string()];
        let said = place.lines_of("tick");
        assert!(said.iter().any(|words| words[..3] == line), "{line:?} is missing in {said:?}");
    }
    let runs: Vec<RunId> = runs_of(&flow, "tick").await.iter().map(|run| run.id).collect();
    let rows = made(&ledger(&flow, "tick/schedule").await);
    assert!(runs.iter().all(|run| rows.contains(run)), "no run without its row");
}

/// Three seconds of work each second, until this one has so many rows; then what became of the instants.
async fn overlapping(overlap: &str, rows: usize) -> (Place, fastflow_core::Orchestrator, Vec<&'static str>) {
    let place = Place::new();
    let slow = "import os, time\nopen(os.environ['TMP_DIR'] + '/began', 'a').write('x')\ntime.sleep(3)";
    place.declared(
        "slow",
        slow,
        json!({"schedule_interval_seconds": 1, "overlap": overlap, "stop_grace": 0}),
    );
    let flow = place.start().await;
    let ticks = ledger_of(&flow, "slow/schedule", rows).await;
    assert_whole(&ticks, 1);
    place.fields("slow", json!({}));
    flow.source().sync(SyncRequest::default()).await.unwrap();
    let ticks = ledger(&flow, "slow/schedule").await;
    (place, flow, names(&ticks))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_run_is_skipped_over_and_the_ledger_says_over_which() {
    let (_place, flow, outcomes) = overlapping("skip", 5).await;
    assert_eq!(outcomes[..3], ["run", "skipped_overlap", "skipped_overlap"], "{outcomes:?}");
    assert!(outcomes[3..].contains(&"run"), "it goes on once the first has ended: {outcomes:?}");
    let ticks = ledger(&flow, "slow/schedule").await;
    let first = ticks[0].outcome.run().unwrap();
    assert_eq!(ticks[1].outcome, TickOutcome::SkippedOverlap { unfinished: first });
    for run in made(&ticks) {
        assert_eq!(ended(&flow, run).await.status(), Status::Success);
    }
    assert_eq!(runs_of(&flow, "slow").await.len(), made(&ticks).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_run_is_waited_for_and_the_queue_says_for_what() {
    let (_place, flow, outcomes) = overlapping("queue", 3).await;
    assert!(outcomes.iter().all(|outcome| *outcome == "run"), "{outcomes:?}");
    let runs = runs_of(&flow, "slow").await;
    assert!(runs[1].started_at.is_none() && runs[2].started_at.is_none(), "both wait: {runs:?}");
    let waiting = flow.runs().waiting(runs[2].id).await.unwrap().unwrap().to_string();
    let holder = runs[0].id.to_string();
    assert!(waiting.contains("`slow/schedule`: 1 of 1") && waiting.contains(&holder), "{waiting}");
    for pair in [&runs[0..2], &runs[1..3]] {
        let (first, second) = (ended(&flow, pair[0].id).await, ended(&flow, pair[1].id).await);
        assert!(first.finished_at.unwrap() <= second.started_at.unwrap(), "one after the other");
        assert_eq!(second.status(), Status::Success);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_run_gives_way_to_the_next() {
    let (_place, flow, outcomes) = overlapping("replace", 3).await;
    assert!(outcomes.iter().all(|outcome| *outcome == "run"), "{outcomes:?}");
    let runs = runs_of(&flow, "slow").await;
    let (last, replaced) = runs.split_last().unwrap();
    for (index, run) in replaced.iter().enumerate() {
        assert_eq!(ended(&flow, run.id).await.status(), Status::Cancelled);
        let text = flow.runs().explain(run.id).await.unwrap().to_string();
        assert!(text.contains(&format!("run {} took its place", runs[index + 1].id)), "{text}");
    }
    assert_eq!(ended(&flow, last.id).await.status(), Status::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_runs_run_beside_each_other_where_they_may() {
    let (place, flow, outcomes) = overlapping("allow", 3).await;
    assert!(outcomes.iter().all(|outcome| *outcome == "run"), "{outcomes:?}");
    let runs = runs_of(&flow, "slow").await;
    let first = ended(&flow, runs[0].id).await;
    let second = ended(&flow, runs[1].id).await;
    assert!(second.started_at.unwrap() < first.finished_at.unwrap(), "side by side");
    assert!(place.said("began").len() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disabled_start_nothing_and_every_instant_says_so() {
    let place = Place::new();
    place.declared("off", SAY, json!({"schedule_interval_seconds": 1, "enabled": false})).declared(
        "half",
        SAY,
        json!({"schedules": [
            {"id": "dead", "schedule_interval_seconds": 1, "enabled": false},
            {"id": "live", "schedule_interval_seconds": 1, "overlap": "allow"},
        ]}),
    );
    let flow = place.start().await;
    for schedule in ["off/schedule", "half/dead"] {
        let ticks = ledger_of(&flow, schedule, 2).await;
        assert!(ticks.iter().all(|tick| tick.outcome == TickOutcome::SkippedDisabled), "{ticks:?}");
        assert_whole(&ticks, 1);
    }
    assert!(!made(&ledger_of(&flow, "half/live", 1).await).is_empty(), "its sister goes on");
    assert!(runs_of(&flow, "off").await.is_empty());
    // Switched on in its file, it runs from now on, and nothing of before.
    place.fields("off", json!({"schedule_interval_seconds": 1, "overlap": "allow"}));
    until("a run of what was off", || async { !runs_of(&flow, "off").await.is_empty() }).await;
    let ticks = ledger(&flow, "off/schedule").await;
    assert_whole(&ticks, 1);
    assert_eq!(ticks[0].outcome, TickOutcome::SkippedDisabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pipeline_keeps_its_schedules_and_a_removed_one_only_its_ledger() {
    let place = Place::new();
    let fields = json!({"schedule_interval_seconds": 1, "overlap": "allow"});
    place.declared("etl", SAY, fields.clone());
    let flow = place.start().await;
    ledger_of(&flow, "etl/schedule", 1).await;
    place.file("etl/pipeline.json", r#"{"timeout": "abc"}"#);
    flow.source().sync(SyncRequest::default()).await.unwrap();
    assert_eq!(flow.schedules().list().await.unwrap().len(), 1, "it keeps what it had");
    until("an instant to be refused", || async {
        ledger(&flow, "etl/schedule").await.iter().any(|tick| is_refused(tick, &["timeout", "abc"]))
    })
    .await;
    place.fields("etl", fields);
    let before = ledger(&flow, "etl/schedule").await.len();
    let ticks = ledger_of(&flow, "etl/schedule", before + 2).await;
    assert!(ticks.last().unwrap().outcome.run().is_some(), "mended, it runs: {ticks:?}");
    assert_whole(&ticks, 1);
    std::fs::remove_dir_all(place.pipelines().join("etl")).unwrap();
    flow.source().sync(SyncRequest::default()).await.unwrap();
    assert!(flow.schedules().list().await.unwrap().is_empty());
    refused(flow.schedules().get(&id("etl/schedule")).await, ErrorKind::NotFound, &["etl/schedule"]);
    assert!(ledger(&flow, "etl/schedule").await.len() >= ticks.len(), "what was is not forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn however_often_the_source_is_read_an_interval_comes_round() {
    let place = Place::new();
    place.declared("tick", SAY, json!({"schedule_interval_seconds": 2, "overlap": "allow"}));
    let flow = place.start().await;
    let first = flow.schedules().get(&id("tick/schedule")).await.unwrap();
    let clock = SystemClock::new();
    // Much more often than it comes round: the fault of those who begin to count anew at each reading.
    until("two instants, between many readings", || async {
        flow.source().sync(SyncRequest::default()).await.unwrap();
        clock.sleep(Duration::from_millis(50)).await;
        ledger(&flow, "tick/schedule").await.len() >= 2
    })
    .await;
    let now = flow.schedules().get(&id("tick/schedule")).await.unwrap();
    assert_eq!((now.anchor, now.generation), (first.anchor, first.generation), "nothing was touched");
    let ticks = ledger(&flow, "tick/schedule").await;
    assert_whole(&ticks, 2);
    assert_eq!(ticks[0].nominal.duration_since(first.anchor).as_secs(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_run_with_their_own_variables_limits_and_retries() {
    let place = Place::new();
    let program =
        format!("{SAY}\nimport time\ntime.sleep(600 if env['B'] == 'slow' else 0)\nraise SystemExit(3)");
    place.declared(
        "etl",
        &program,
        json!({
            "default_env": {"A": "of-all", "B": "of-all"},
            "stop_grace": 0,
            "schedules": [
                {"id": "tried", "schedule_interval_seconds": 1, "default_env": {"B": "quick"},
                 "retry_attempts": 1, "retry_strategy": {"type": "fixed_delay", "delay": 0}},
                {"id": "timed", "schedule_interval_seconds": 1, "default_env": {"B": "slow"}, "timeout": 1},
            ],
        }),
    );
    let flow = place.start().await;
    let tried = made(&ledger_of(&flow, "etl/tried", 1).await)[0];
    let timed = made(&ledger_of(&flow, "etl/timed", 1).await)[0];
    let tried = ended(&flow, tried).await;
    assert_eq!((tried.failure(), tried.attempt), (Some(&Failure::Exit(Exit::Code(3))), 2), "{tried:?}");
    assert_eq!(ended(&flow, timed).await.failure(), Some(&Failure::TimedOut));
    assert_eq!(attempts(&flow, timed).await.len(), 1);
    let said = place.lines_of("etl");
    let of = |run: RunId| said.iter().find(|words| words[2] == run.to_string()).unwrap()[3..].to_vec();
    assert_eq!(of(tried.id), ["of-all", "quick"]);
    assert_eq!(of(timed), ["of-all", "slow"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_instant_comes_once_and_one_of_the_past_never() {
    let place = Place::new();
    let soon = SystemClock::new().now() + Duration::from_secs(2);
    place
        .declared("soon", SAY, json!({"run_once_at": soon.to_string()}))
        .declared("past", SAY, json!({"run_once_at": "2020-02-02T02:02:02Z"}))
        .declared("both", SAY, json!({"run_once_at": soon.to_string(), "schedule_cron": "0 0 1 1 *"}));
    let flow = place.start().await;
    let ticks = ledger_of(&flow, "soon/once", 1).await;
    assert_eq!((ticks.len(), ticks[0].nominal.as_millisecond()), (1, soon.as_millisecond()));
    assert!(ticks[0].fired_at >= soon);
    assert_eq!(ended(&flow, made(&ticks)[0]).await.status(), Status::Success);
    assert_eq!(ledger_of(&flow, "both/once", 1).await.len(), 1);
    assert_eq!(flow.schedules().get(&id("soon/once")).await.unwrap().next, None, "never again");
    flow.source().sync(SyncRequest::default()).await.unwrap();
    assert!(ledger(&flow, "past/once").await.is_empty() && runs_of(&flow, "past").await.is_empty());
    assert_eq!(ledger(&flow, "soon/once").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_rule_begins_now_and_starts_nothing_of_the_past() {
    let place = Place::new();
    place.declared("etl", SAY, json!({"schedule_cron": "0 0 1 1 *"}));
    let flow = place.start().await;
    let before = flow.schedules().get(&id("etl/schedule")).await.unwrap();
    place.fields("etl", json!({"schedule_interval_seconds": 1, "overlap": "allow"}));
    let edited = SystemClock::new().now();
    flow.source().sync(SyncRequest::default()).await.unwrap();
    let after = flow.schedules().get(&id("etl/schedule")).await.unwrap();
    assert_eq!((after.anchor, after.generation), (before.anchor, before.generation + 1));
    let ticks = ledger_of(&flow, "etl/schedule", 2).await;
    assert!(ticks[0].nominal > edited, "{ticks:?}");
    assert_whole(&ticks, 1);
    assert_eq!(
        ticks[0].nominal.duration_since(before.anchor).as_millis() % 1000,
        0,
        "in step with its anchor"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_blackout_nothing_starts_and_the_ledger_names_it() {
    let place = Place::new();
    let calendar = |name: &str| -> BlackoutCalendar {
        let spans = json!([{"first": "2020-01-01", "last": "2100-01-01"}]);
        serde_json::from_value(json!({"name": name, "spans": spans})).unwrap()
    };
    place
        .declared("quiet", SAY, json!({"schedule_interval_seconds": 1, "blackouts": ["holidays"]}))
        .declared("loud", SAY, json!({"schedule_interval_seconds": 1, "overlap": "allow"}))
        .declared("lost", SAY, json!({"schedule_interval_seconds": 1, "blackouts": ["holydays"]}));
    let flow = started(place.builder().blackout(calendar("holidays"), BlackoutScope::Named)).await;
    for tick in ledger_of(&flow, "quiet/schedule", 2).await {
        assert_eq!(tick.outcome, TickOutcome::SkippedBlackout { calendar: "holidays".parse().unwrap() });
    }
    assert!(ledger_of(&flow, "loud/schedule", 1).await[0].outcome.run().is_some());
    for tick in ledger_of(&flow, "lost/schedule", 2).await {
        assert!(is_refused(&tick, &["holydays", ".blackout("]), "{tick:?}");
    }
    flow.shutdown(fastflow_core::Shutdown::Detach).await.unwrap();
    let flow = started(place.builder().blackout(calendar("holydays"), BlackoutScope::All)).await;
    let now = SystemClock::new().now();
    let dark = || async {
        let ticks = ledger(&flow, "loud/schedule").await;
        ticks.iter().any(|tick| tick.nominal > now && tick.outcome.name() == "skipped_blackout")
    };
    until("what all keep to hold for those that name none", dark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_of_the_api_are_made_changed_and_removed_and_files_keep_theirs() {
    let place = Place::new();
    place.declared("etl", SAY, json!({"schedule_cron": "0 0 1 1 *", "default_env": {"A": "file"}}));
    let flow = place.start().await;
    let schedules = flow.schedules();
    let every = |seconds| ScheduleRule::IntervalSeconds(NonZeroU32::new(seconds).unwrap());
    let mut mine = Schedule::new(id("etl@mine"), every(1));
    mine.parameters.insert("A".parse().unwrap(), "api".into());
    mine.policy.overlap = fastflow_core::pipeline::Overlap::Allow;
    let put = schedules.put(mine.clone()).await.unwrap();
    assert_eq!(
        schedules.put(mine.clone()).await.unwrap().generation,
        put.generation,
        "the same changes nothing"
    );
    let run = ended(&flow, made(&ledger_of(&flow, "etl@mine", 1).await)[0]).await;
    assert_eq!(run.status(), Status::Success);
    assert_eq!(place.lines_of("etl")[0][3], "api", "its parameters reach the program");

    let next = schedules.next(&id("etl@mine"), 3).await.unwrap();
    assert_eq!(next.len(), 3);
    assert!(next.windows(2).all(|pair| pair[1].duration_since(pair[0]).as_secs() == 1), "{next:?}");
    let upcoming = schedules.upcoming(Duration::from_secs(3), 10).await.unwrap();
    assert!((2..=3).contains(&upcoming.len()), "{upcoming:?}");
    assert!(upcoming.iter().all(|next| next.schedule == id("etl@mine")), "{upcoming:?}");
    let far = schedules.upcoming(Duration::from_hours(400 * 24), 2).await.unwrap();
    assert_eq!(far.len(), 2, "no more than asked for: {far:?}");

    schedules.set_enabled(&id("etl@mine"), false).await.unwrap();
    until("an instant while it is off", || async {
        ledger(&flow, "etl@mine").await.last().unwrap().outcome == TickOutcome::SkippedDisabled
    })
    .await;
    assert!(schedules.upcoming(Duration::from_secs(3), 10).await.unwrap().is_empty());
    flow.source().sync(SyncRequest::default()).await.unwrap();
    assert!(!schedules.get(&id("etl@mine")).await.unwrap().schedule.enabled, "no file touches it");
    schedules.remove(&id("etl@mine")).await.unwrap();
    assert!(!ledger(&flow, "etl@mine").await.is_empty());
    for result in [
        schedules.remove(&id("etl@mine")).await,
        schedules.set_enabled(&id("etl@mine"), true).await.map(drop),
    ] {
        refused(result, ErrorKind::NotFound, &["etl@mine"]);
    }

    let files = id("etl/schedule");
    refused(
        schedules.put(Schedule::new(files.clone(), every(1))).await,
        ErrorKind::Invalid,
        &["etl/schedule", "@<name>"],
    );
    refused(schedules.set_enabled(&files, false).await, ErrorKind::Invalid, &["etl/schedule"]);
    refused(schedules.remove(&files).await, ErrorKind::Invalid, &["etl/schedule"]);
    refused(schedules.put(Schedule::new(id("elt@mine"), every(1))).await, ErrorKind::NotFound, &["elt"]);
    let mut wrong = Schedule::new(id("etl@wrong"), every(1));
    wrong.config = Some("nightly".parse().unwrap());
    refused(schedules.put(wrong.clone()).await, ErrorKind::NotFound, &["nightly"]);
    wrong.config = None;
    wrong.policy.blackouts.insert("holydays".parse().unwrap());
    refused(schedules.put(wrong).await, ErrorKind::Invalid, &["holydays"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_made_of_a_pipeline_that_is_gone_is_refused_visibly() {
    let place = Place::new();
    place.declared("etl", SAY, json!({}));
    let flow = place.start().await;
    let at: Moment = (SystemClock::new().now() + Duration::from_secs(1)).to_string().parse().unwrap();
    flow.schedules().put(Schedule::new(id("etl@once"), at)).await.unwrap();
    std::fs::remove_dir_all(place.pipelines().join("etl")).unwrap();
    flow.source().sync(SyncRequest::default()).await.unwrap();
    let ticks = ledger_of(&flow, "etl@once", 1).await;
    assert!(is_refused(&ticks[0], &["no such pipeline"]), "{ticks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_schedules_of_a_pipeline_do_not_know_each_other() {
    let place = Place::new();
    place.declared(
        "etl",
        FOREVER,
        json!({"stop_grace": 0, "schedules": [
            {"id": "one", "schedule_interval_seconds": 1},
            {"id": "two", "schedule_interval_seconds": 1, "max_instances": 2},
        ]}),
    );
    let flow = place.start().await;
    let one = ledger_of(&flow, "etl/one", 3).await;
    let two = ledger_of(&flow, "etl/two", 3).await;
    assert_eq!(names(&one[..3]), ["run", "skipped_overlap", "skipped_overlap"]);
    assert_eq!(names(&two[..3]), ["run", "run", "skipped_overlap"], "each counts its own");
    for run in made(&one).into_iter().chain(made(&two)) {
        flow.runs().cancel(run).await.unwrap();
        ended(&flow, run).await;
    }
}
