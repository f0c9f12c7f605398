//! Windows, intervals, single instants, zones by name, and jitter.

use std::time::Duration;

use fastflow_core::{
    ErrorKind, Timestamp,
    pipeline::{DaylightPolicy, Moment, SchedulePolicy, ScheduleRule, ScheduleWindow, Seconds, TimeZoneName},
    schedule::{Calendar, Occasion, ScheduleId, find_zone, jitter_offset},
};

use super::{instant, zone};

const LONG_AGO: &str = "1970-01-01T00:00:00Z";

fn cron(text: &str) -> Occasion {
    ScheduleRule::Cron(text.parse().unwrap()).into()
}

fn every(seconds: u32) -> Occasion {
    ScheduleRule::IntervalSeconds(seconds.try_into().unwrap()).into()
}

fn window(start: &str, end: &str) -> ScheduleWindow {
    let moment = |text: &str| (!text.is_empty()).then(|| text.parse::<Moment>().unwrap());
    ScheduleWindow { start: moment(start), end: moment(end) }
}

fn due(occasion: &Occasion, window: &ScheduleWindow, anchor: &str, name: &str) -> Vec<String> {
    let daylight = DaylightPolicy::default();
    let calendar = Calendar::in_zone(occasion, window, daylight, instant(anchor), zone(name)).unwrap();
    let due = calendar.between(instant(LONG_AGO), Timestamp::MAX, 5);
    due.iter().map(ToString::to_string).collect()
}

#[test]
fn both_ends_of_a_window_belong_to_it() {
    let two = window("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let midnights = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];
    assert_eq!(due(&cron("@daily"), &two, LONG_AGO, "UTC"), midnights);
    let none = window("2026-01-01T00:00:00.000000001Z", "2026-01-01T23:59:59.999999999Z");
    assert_eq!(due(&cron("@daily"), &none, LONG_AGO, "UTC"), [""; 0]);
}

#[test]
fn the_days_of_a_window_are_days_of_the_schedules_zone() {
    let day = window("2026-07-01", "2026-07-01");
    assert_eq!(
        due(&cron("0 0,23 * * *"), &day, LONG_AGO, "Europe/Berlin"),
        ["2026-06-30T22:00:00Z", "2026-07-01T21:00:00Z"]
    );
    // 1 November ends with the second of two midnights' hours in Havana, which goes back from one to midnight.
    let long = window("2026-11-01", "2026-11-01");
    let fires = due(&cron("0 0-23 * * *"), &long, LONG_AGO, "America/Havana");
    assert_eq!(fires.first().unwrap(), "2026-11-01T04:00:00Z");
    // Where a day begins at one, that is its first instant.
    let short = Occasion::from("2026-03-08".parse::<Moment>().unwrap());
    assert_eq!(due(&short, &ScheduleWindow::default(), LONG_AGO, "America/Havana"), ["2026-03-08T05:00:00Z"]);
    // The Friday that Apia left out has no instants of its own.
    let gone = window("2011-12-30", "2011-12-30");
    assert_eq!(due(&cron("* * * * *"), &gone, LONG_AGO, "Pacific/Apia"), [""; 0]);
    let after = window("2011-12-30", "2011-12-31");
    assert_eq!(due(&cron("@daily"), &after, LONG_AGO, "Pacific/Apia"), ["2011-12-30T10:00:00Z"]);
}

#[test]
fn an_interval_counts_from_its_anchor() {
    let anchor = "2026-01-01T00:00:07.5Z";
    let open = ScheduleWindow::default();
    let fires = due(&every(60), &open, anchor, "UTC");
    assert_eq!(fires[..2], ["2026-01-01T00:01:07.5Z", "2026-01-01T00:02:07.5Z"]);
    let from_anchor = window(anchor, "2026-01-01T00:01:07.5Z");
    assert_eq!(due(&every(60), &from_anchor, anchor, "UTC"), [anchor, "2026-01-01T00:01:07.5Z"]);
    let later = window("2026-01-01T00:03:00Z", "");
    assert_eq!(due(&every(60), &later, anchor, "UTC")[0], "2026-01-01T00:03:07.5Z");
    // 25 hours of Berlin's longest day are 25 intervals of an hour.
    let day = window("2026-10-25", "2026-10-25");
    let berlin = zone("Europe/Berlin");
    let calendar =
        Calendar::in_zone(&every(3600), &day, DaylightPolicy::default(), instant(anchor), berlin).unwrap();
    assert_eq!(calendar.between(instant(LONG_AGO), Timestamp::MAX, 100).len(), 25);
}

#[test]
fn next_is_strictly_after() {
    let calendar = |occasion: &Occasion| {
        let policy = SchedulePolicy::default();
        Calendar::new(occasion, &ScheduleWindow::default(), &policy, instant(LONG_AGO)).unwrap()
    };
    let at = instant("2026-01-01T00:00:00Z");
    for occasion in [cron("@daily"), every(86400)] {
        let calendar = calendar(&occasion);
        assert_eq!(calendar.next_after(at).unwrap(), instant("2026-01-02T00:00:00Z"));
        let just_before = instant("2025-12-31T23:59:59.999999999Z");
        assert_eq!(calendar.next_after(just_before).unwrap(), at);
        // Before 1970, where fractions of a second count downwards.
        let old = instant("1969-12-31T23:59:59.5Z");
        let cron_has_it = calendar.cron().is_some();
        let next = calendar.next_after(old).unwrap();
        assert_eq!(next, instant(if cron_has_it { LONG_AGO } else { "1970-01-02T00:00:00Z" }));
    }
    let once = calendar(&Occasion::Once(Moment::Instant(at)));
    assert_eq!(once.next_after(instant(LONG_AGO)), Some(at));
    assert_eq!(once.next_after(at), None);
}

#[test]
fn the_ends_of_time_are_no_place_to_panic() {
    for occasion in [cron("* * * * * *"), cron("0 0 29 2 *"), every(1), every(u32::MAX)] {
        for name in ["UTC", "Europe/Berlin", "Pacific/Apia"] {
            let daylight = DaylightPolicy::default();
            let open = ScheduleWindow::default();
            let calendar =
                Calendar::in_zone(&occasion, &open, daylight, instant(LONG_AGO), zone(name)).unwrap();
            assert!(calendar.next_after(Timestamp::MIN).is_some());
            assert_eq!(calendar.next_after(Timestamp::MAX), None);
        }
    }
    for day in ["-009999-01-01", "9999-12-31"] {
        let moment = Moment::Day(day.parse().unwrap());
        let whole = ScheduleWindow { start: Some(moment), end: Some(moment) };
        Calendar::in_zone(
            &every(1),
            &whole,
            DaylightPolicy::default(),
            instant(LONG_AGO),
            zone("Asia/Tokyo"),
        )
        .unwrap();
    }
}

#[test]
fn a_rule_whose_times_are_all_left_out_ends_the_search() {
    // Berlin's clock goes forward at two on the last Sunday of March: from 1996 on, half past two is never there.
    let daylight = DaylightPolicy { gap: Some(fastflow_core::pipeline::GapRule::Skip), fold: None };
    let rule = cron("30 2 * 3 SUNL");
    let from = instant("1996-01-01T00:00:00Z");
    let calendar =
        Calendar::in_zone(&rule, &ScheduleWindow::default(), daylight, from, zone("Europe/Berlin")).unwrap();
    assert_eq!(calendar.next_after(from), None);
}

#[test]
fn an_unknown_zone_is_an_error_and_never_utc() {
    let find = |name: &str| find_zone(&name.parse::<TimeZoneName>().unwrap());
    assert_eq!(
        find("America/Argentina/Buenos_Aires").unwrap().iana_name(),
        Some("America/Argentina/Buenos_Aires")
    );
    for name in ["Mars/Olympus", "Etc/Unknown", "Europe/Berln", "Local"] {
        let error = find(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let policy =
        SchedulePolicy { timezone: "America/New_Yrok".parse().unwrap(), ..SchedulePolicy::default() };
    let error = Calendar::new(&every(1), &ScheduleWindow::default(), &policy, instant(LONG_AGO)).unwrap_err();
    assert!(error.to_string().ends_with("did you mean: America/New_York)"), "{error}");
}

#[test]
fn jitter_is_a_schedules_own_and_spreads() {
    let id = |number: u32| format!("etl{number}/nightly").parse::<ScheduleId>().unwrap();
    // A value that no later version may change: it would move every schedule.
    assert_eq!(jitter_offset(&id(0), Seconds(3600)), Duration::from_millis(3_214_173));
    assert_eq!(jitter_offset(&id(0), Seconds(0)), Duration::ZERO);
    let offsets: Vec<_> = (0..1000).map(|number| jitter_offset(&id(number), Seconds(9))).collect();
    assert!(offsets.iter().all(|offset| *offset <= Duration::from_secs(9)));
    for tenth in 0..10 {
        let range = Duration::from_millis(tenth * 900)..Duration::from_millis((tenth + 1) * 900);
        let count = offsets.iter().filter(|offset| range.contains(*offset)).count();
        assert!((50..150).contains(&count), "{count} of 1000 in {range:?}");
    }
}
