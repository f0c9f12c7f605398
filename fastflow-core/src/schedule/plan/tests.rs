use std::num::NonZeroU32;

use super::*;
use crate::pipeline::{ScheduleRule, Seconds};

const ZERO: Timestamp = Timestamp::UNIX_EPOCH;

fn every(seconds: u32) -> Schedule {
    let every = NonZeroU32::new(seconds).unwrap();
    Schedule::new("etl/often".parse().unwrap(), ScheduleRule::IntervalSeconds(every))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn ids() -> impl FnMut() -> RunId {
    let mut last = 0_u128;
    move || {
        last += 1;
        RunId::from_bytes(last.to_be_bytes())
    }
}

fn run(number: u128) -> RunId {
    RunId::from_bytes(number.to_be_bytes())
}

/// The plan from second 0, and its outcomes as words.
fn plan(schedule: &Schedule, now: i64, unfinished: &[RunId]) -> (Plan, Vec<String>) {
    let calendar = schedule.calendar(ZERO).unwrap();
    let blackouts = BTreeMap::new();
    let agenda = Agenda {
        schedule,
        calendar: &calendar,
        blackouts: &blackouts,
        enabled: true,
        unfinished,
        cursor: ZERO,
        now: at(now),
    };
    let plan = agenda.plan(ids());
    let words = plan.ticks.iter().map(|tick| tick.outcome.name().to_owned()).collect();
    (plan, words)
}

#[test]
fn what_is_in_time_runs_and_the_cursor_follows() {
    let mut schedule = every(10);
    schedule.policy.overlap = Overlap::Allow;
    let (plan, words) = plan(&schedule, 35, &[]);
    assert_eq!(words, ["run", "run", "run"]);
    assert_eq!(plan.cursor, Some(at(30)));
    assert_eq!(plan.next.unwrap().nominal, at(40));
    assert_eq!(plan.starts.iter().map(|start| start.nominal).collect::<Vec<_>>(), [10, 20, 30].map(at));
}

#[test]
fn nothing_due_is_an_empty_plan() {
    let (plan, words) = plan(&every(10), 9, &[]);
    assert_eq!((plan.cursor, plan.next.unwrap().nominal), (None, at(10)));
    assert!(words.is_empty() && plan.starts.is_empty());
}

#[test]
fn overlaps_are_skipped_queued_replaced_or_allowed() {
    let mut schedule = every(60);
    let old = [run(900), run(901)];
    let (skipped, words) = plan(&schedule, 61, &old[..1]);
    assert_eq!(words, ["skipped_overlap"]);
    assert_eq!(skipped.ticks[0].outcome, TickOutcome::SkippedOverlap { unfinished: old[0] });

    schedule.policy.overlap = Overlap::Replace;
    let (replaced, words) = plan(&schedule, 61, &old);
    assert_eq!(words, ["run"]);
    assert_eq!(replaced.starts[0].replaces, old, "both, since one may be there");

    schedule.policy.max_instances = NonZeroU32::new(2);
    let (replaced, _) = plan(&schedule, 61, &old);
    assert_eq!(replaced.starts[0].replaces, old[..1]);

    for overlap in [Overlap::Queue, Overlap::Allow] {
        schedule.policy.overlap = overlap;
        let (beside, words) = plan(&schedule, 61, &old);
        assert_eq!(words, ["run"]);
        assert!(beside.starts[0].replaces.is_empty());
    }
}

#[test]
fn runs_of_the_same_plan_overlap_too() {
    let mut schedule = every(10);
    assert_eq!(plan(&schedule, 35, &[]).1, ["run", "skipped_overlap", "skipped_overlap"]);
    schedule.policy.overlap = Overlap::Replace;
    let (plan, _) = plan(&schedule, 35, &[]);
    assert_eq!(plan.starts[2].replaces, [plan.starts[1].run]);
}

#[test]
fn what_is_late_is_caught_up_as_the_policy_says() {
    let mut schedule = every(600);
    schedule.policy.overlap = Overlap::Allow;
    let mut words = |catch_up, now| {
        schedule.policy.catch_up = catch_up;
        plan(&schedule, now, &[]).1.join(" ")
    };
    let late = 3 * 600 + 300;
    assert_eq!(words(CatchUp::None, late), "missed missed missed");
    assert_eq!(words(CatchUp::Latest, late), "missed missed run");
    assert_eq!(words(CatchUp::All { max: NonZeroU32::new(2).unwrap() }, late), "missed run run");
    // One that is in time is the latest by itself.
    assert_eq!(words(CatchUp::Latest, 3 * 600 + 30), "missed missed run");
    assert_eq!(words(CatchUp::None, 3 * 600 + 30), "missed missed run");
    let two = CatchUp::All { max: NonZeroU32::new(2).unwrap() };
    assert_eq!(words(two, 3 * 600 + 30), "run run run");
}

#[test]
fn where_overlaps_are_skipped_the_latest_run_and_not_the_oldest() {
    let mut schedule = every(600);
    schedule.policy.catch_up = CatchUp::All { max: NonZeroU32::new(9).unwrap() };
    let late = 3 * 600 + 300;
    assert_eq!(plan(&schedule, late, &[]).1, ["missed", "missed", "run"]);
    assert_eq!(plan(&schedule, 3 * 600 + 30, &[]).1, ["missed", "missed", "run"], "it is in time");
    assert_eq!(plan(&schedule, late, &[run(900)]).1, ["missed", "missed", "skipped_overlap"]);
    schedule.policy.max_instances = NonZeroU32::new(2);
    assert_eq!(plan(&schedule, late, &[]).1, ["missed", "run", "run"]);
}

#[test]
fn nothing_older_than_the_window_is_caught_up() {
    let mut schedule = every(600);
    schedule.policy.catch_up = CatchUp::All { max: NonZeroU32::new(9).unwrap() };
    schedule.policy.overlap = Overlap::Allow;
    schedule.policy.catch_up_window = Seconds(900);
    assert_eq!(plan(&schedule, 3 * 600 + 300, &[]).1, ["missed", "run", "run"]);
}

#[test]
fn disabled_and_blacked_out_instants_say_so() {
    let mut schedule = every(10);
    schedule.enabled = false;
    assert_eq!(plan(&schedule, 20, &[]).1, ["skipped_disabled", "skipped_disabled"]);
    schedule.enabled = true;
    let calendar = schedule.calendar(ZERO).unwrap();
    let quiet: super::super::BlackoutCalendar = serde_json::from_str(
        r#"{"name": "quiet", "spans": [{"first": "1970-01-01T00:00:05Z", "last": "1970-01-01T00:00:15Z"}]}"#,
    )
    .unwrap();
    let blackouts = [("quiet".parse().unwrap(), quiet.resolve().unwrap())].into();
    let agenda = Agenda {
        schedule: &schedule,
        calendar: &calendar,
        blackouts: &blackouts,
        enabled: true,
        unfinished: &[],
        cursor: ZERO,
        now: at(20),
    };
    let words: Vec<_> = agenda.plan(ids()).ticks.iter().map(|tick| tick.outcome.name()).collect();
    assert_eq!(words, ["skipped_blackout", "run"]);
    let disabled = Agenda { enabled: false, ..agenda };
    assert!(disabled.plan(ids()).starts.is_empty());
}

#[test]
fn a_month_of_minutes_shares_a_row_and_loses_none() {
    let schedule = every(60);
    let now = 30 * 24 * 3600 + 90;
    let (plan, words) = plan(&schedule, now, &[]);
    assert_eq!(words, ["missed", "run"]);
    let row = &plan.ticks[0];
    assert_eq!(plan.ticks.iter().map(|tick| tick.count).sum::<u64>(), 43_201);
    assert_eq!((row.nominal, row.through), (at(60), at(43_200 * 60)));
}

#[test]
fn a_year_of_seconds_takes_several_plans_and_loses_none() {
    let mut schedule = every(1);
    schedule.policy.catch_up = CatchUp::All { max: NonZeroU32::new(5).unwrap() };
    schedule.policy.overlap = Overlap::Allow;
    let calendar = schedule.calendar(ZERO).unwrap();
    let (mut cursor, now) = (ZERO, at(250_000));
    let (mut counted, mut started, mut plans) = (0, Vec::new(), 0);
    let mut ids = ids();
    loop {
        let agenda = Agenda {
            schedule: &schedule,
            calendar: &calendar,
            blackouts: &BTreeMap::new(),
            enabled: true,
            unfinished: &[],
            cursor,
            now,
        };
        let plan = agenda.plan(&mut ids);
        let Some(next) = plan.cursor else { break };
        assert!(next > cursor);
        cursor = next;
        counted += plan.ticks.iter().map(|tick| tick.count).sum::<u64>();
        started.extend(plan.starts.iter().map(|start| start.nominal.as_second()));
        plans += 1;
    }
    assert!(plans > 1);
    assert_eq!(counted, 250_000);
    // Those of the last minute are in time, and five before them are caught up.
    assert_eq!(started, (249_935..=250_000).collect::<Vec<_>>());
}
