//! What holds for any expression, zone, policy and instant.

use fastflow_core::{
    Timestamp,
    pipeline::{DaylightPolicy, FoldRule, GapRule},
    schedule::Cron,
};
use jiff::tz::TimeZone;
use proptest::{option, prelude::*, sample::select};

use super::zone;

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Pacific/Apia",
    "America/Sao_Paulo",
];

/// A field of numbers up to `most`: a star, a step, a number, a range or a list.
fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let number = least..=most;
    prop_oneof![
        3 => Just("*".to_owned()),
        1 => (2..=most).prop_map(|step| format!("*/{step}")),
        2 => number.clone().prop_map(|number| number.to_string()),
        1 => (number.clone(), number.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (number.clone(), number).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

/// Days up to the 28th, so that each expression matches.
fn expression() -> impl Strategy<Value = String> {
    (field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

fn daylight() -> impl Strategy<Value = DaylightPolicy> {
    let gap = option::of(select(vec![GapRule::Shift, GapRule::Skip]));
    let fold = option::of(select(vec![FoldRule::First, FoldRule::Last, FoldRule::Both]));
    (gap, fold).prop_map(|(gap, fold)| DaylightPolicy { gap, fold })
}

/// From 1970 to 2100, in nanoseconds.
fn moment() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_102_444_800, 0..1_000_000_000).prop_map(|(second, nano)| Timestamp::new(second, nano).unwrap())
}

/// An instant within a day of a transition of the zone, where there is one.
fn near_transition(zone: &TimeZone, moment: Timestamp, offset: i64) -> Timestamp {
    let transition = zone.following(moment).next().map_or(moment, |transition| transition.timestamp());
    Timestamp::from_second(transition.as_second() + offset).unwrap()
}

proptest! {
    #[test]
    fn instants_increase_and_none_is_passed_over(
        expression in expression(),
        name in select(&ZONES[..]),
        daylight in daylight(),
        moment in moment(),
        offset in -86400_i64..86400,
        skipped in 0..86400_i64,
    ) {
        let zone = zone(name);
        let cron: Cron = expression.parse().unwrap();
        let mut last = near_transition(&zone, moment, offset);
        for _ in 0..20 {
            let Some(next) = cron.next_after(last, &zone, daylight) else {
                panic!("`{expression}` in {name} ends after {last}");
            };
            prop_assert!(next > last, "{next} is not after {last}");
            // From anywhere between the two, the next one is the same.
            let between = Timestamp::from_second(last.as_second() + skipped).unwrap();
            if between < next && between > last {
                prop_assert_eq!(cron.next_after(between, &zone, daylight), Some(next));
            }
            last = next;
        }
    }

    #[test]
    fn wildcards_follow_the_clock_on_the_wall(
        minute in select(vec!["*", "*/5", "*/7", "*/20"]),
        rest in (field(0, 23), field(1, 28), field(1, 12), field(0, 7)),
        name in select(&ZONES[..]),
        moment in moment(),
        offset in -86400_i64..86400,
    ) {
        let zone = zone(name);
        let (hour, day, month, weekday) = rest;
        let cron: Cron = format!("{minute} {hour} {day} {month} {weekday}").parse().unwrap();
        let start = near_transition(&zone, moment, offset);
        let matches = |instant: Timestamp| {
            // What the wall shows, asked of the same expression where no clock is ever changed.
            let wall = TimeZone::UTC.to_timestamp(zone.to_datetime(instant)).unwrap();
            let before = wall - jiff::Span::new().nanoseconds(1);
            cron.next_after(before, &TimeZone::UTC, DaylightPolicy::default()) == Some(wall)
        };
        // Three hours, minute by minute: enough for most gaps and folds.
        let first = start.as_second().div_euclid(60) * 60;
        let minutes = (1..=180).map(|minute| Timestamp::from_second(first + minute * 60).unwrap());
        let expected: Vec<_> = minutes.filter(|instant| matches(*instant)).collect();
        let mut found = Vec::new();
        let mut last = Timestamp::from_second(first).unwrap();
        while let Some(next) = cron.next_after(last, &zone, DaylightPolicy::default()) {
            if next.as_second() > first + 180 * 60 {
                break;
            }
            found.push(next);
            last = next;
        }
        prop_assert_eq!(found, expected);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[-0-9A-Z*/,#?@a-z ]{0,40}") {
        let _ = text.parse::<Cron>();
    }
}
