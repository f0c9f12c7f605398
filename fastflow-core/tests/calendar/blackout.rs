//! Blackout calendars as hosts write them.

use fastflow_core::{ErrorKind, schedule::BlackoutCalendar};

use super::instant;

fn calendar(text: &str) -> BlackoutCalendar {
    serde_json::from_str(text).unwrap()
}

#[test]
fn spans_include_both_ends_in_the_calendars_zone() {
    let quiet = calendar(
        r#"{"name": "quiet", "timezone": "America/New_York", "spans": [
            {"first": "2026-11-01", "last": "2026-11-01"},
            {"first": "2026-12-24T12:00:00Z", "last": "2026-12-24T13:00:00Z"}]}"#,
    )
    .resolve()
    .unwrap();
    // The day on which the clock goes back has 25 hours.
    let table = [
        ("2026-11-01T03:59:59.999999999Z", false),
        ("2026-11-01T04:00:00Z", true),
        ("2026-11-02T04:59:59.999999999Z", true),
        ("2026-11-02T05:00:00Z", false),
        ("2026-12-24T11:59:59.999999999Z", false),
        ("2026-12-24T12:00:00Z", true),
        ("2026-12-24T13:00:00Z", true),
        ("2026-12-24T13:00:00.000000001Z", false),
    ];
    for (at, expected) in table {
        assert_eq!(quiet.contains(instant(at)), expected, "{at}");
    }
}

#[test]
fn weekdays_are_days_of_the_calendars_zone() {
    let weekend =
        calendar(r#"{"name": "weekend", "timezone": "Asia/Tokyo", "weekdays": ["saturday", "sunday"]}"#)
            .resolve()
            .unwrap();
    let table = [
        ("2026-11-27T14:59:59Z", false),
        ("2026-11-27T15:00:00Z", true),
        ("2026-11-29T14:59:59Z", true),
        ("2026-11-29T15:00:00Z", false),
    ];
    for (at, expected) in table {
        assert_eq!(weekend.contains(instant(at)), expected, "{at}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let refused = [
        (r#"{"name": "a", "timezone": "Europe/Berln"}"#, "did you mean: Europe/Berlin"),
        (
            r#"{"name": "a", "spans": [{"first": "2026-01-02", "last": "2026-01-01"}]}"#,
            "ends before it begins",
        ),
    ];
    for (text, part) in refused {
        let error = calendar(text).resolve().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(part), "{error}");
    }
    let span = r#"{"first": "2026-01-01", "last": "2026-01-01"}"#;
    let many = format!(r#"{{"name": "a", "spans": [{}]}}"#, vec![span; 1001].join(","));
    assert!(calendar(&many).resolve().unwrap_err().to_string().contains("at most 1000"));
    assert!(serde_json::from_str::<BlackoutCalendar>(r#"{"name": "a", "span": []}"#).is_err());
}

#[test]
fn it_is_written_as_it_is_read() {
    for text in [
        r#"{"name":"a","timezone":"UTC"}"#,
        r#"{"name":"a","timezone":"Asia/Tokyo","spans":[{"first":"2026-01-01","last":"2026-01-02T00:00:00Z"}],"weekdays":["monday","sunday"]}"#,
    ] {
        assert_eq!(serde_json::to_string(&calendar(text)).unwrap(), text);
    }
}
