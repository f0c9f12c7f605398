//! What expressions mean on a local clock: all of it in UTC.

use fastflow_core::{
    ErrorKind,
    pipeline::{CronText, DaylightPolicy, FoldRule, GapRule},
    schedule::Cron,
};
use jiff::tz::TimeZone;

use super::instant;

/// The first instants after noon of Wednesday, 26 November 2025.
fn fires(expression: &str, count: usize) -> Vec<String> {
    let cron: Cron = expression.parse().unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut last = instant("2025-11-26T12:00:00Z");
    let mut fires = Vec::new();
    for _ in 0..count {
        last = cron.next_after(last, &TimeZone::UTC, DaylightPolicy::default()).unwrap();
        fires.push(last.to_string());
    }
    fires
}

#[test]
fn fields_are_those_of_cron() {
    let table = [
        ("0 12 * * *", "2025-11-27T12:00:00Z"),
        ("1 12 * * *", "2025-11-26T12:01:00Z"),
        ("  */7   *  * *   * ", "2025-11-26T12:07:00Z"),
        ("0-10/4 13 * * *", "2025-11-26T13:00:00Z"),
        ("5,9 12 * * *", "2025-11-26T12:05:00Z"),
        ("0 0 * jan *", "2026-01-01T00:00:00Z"),
        ("0 0 * feb-APR,dec *", "2025-12-01T00:00:00Z"),
        ("0 0 * * sun", "2025-11-30T00:00:00Z"),
        ("0 0 * * 0", "2025-11-30T00:00:00Z"),
        ("0 0 * * 7", "2025-11-30T00:00:00Z"),
        ("0 0 * * FRI-SUN", "2025-11-28T00:00:00Z"),
        ("0 0 * * 1", "2025-12-01T00:00:00Z"),
        ("0 0 L * *", "2025-11-30T00:00:00Z"),
        ("0 0 31 * *", "2025-12-31T00:00:00Z"),
        ("0 0 15W * *", "2025-12-15T00:00:00Z"),
        ("0 0 LW * *", "2025-11-28T00:00:00Z"),
        ("0 0 * * 5L", "2025-11-28T00:00:00Z"),
        ("0 0 * * FRIL", "2025-11-28T00:00:00Z"),
        ("0 0 * * 1#2", "2025-12-08T00:00:00Z"),
        ("0 0 * * MON#2", "2025-12-08T00:00:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ("15 0 12 * * *", "2025-11-26T12:00:15Z"),
        ("*/20 * * * * *", "2025-11-26T12:00:20Z"),
        ("@hourly", "2025-11-26T13:00:00Z"),
        ("@daily", "2025-11-27T00:00:00Z"),
        ("@midnight", "2025-11-27T00:00:00Z"),
        ("@weekly", "2025-11-30T00:00:00Z"),
        ("@monthly", "2025-12-01T00:00:00Z"),
        ("@yearly", "2026-01-01T00:00:00Z"),
        ("@annually", "2026-01-01T00:00:00Z"),
    ];
    for (expression, next) in table {
        assert_eq!(fires(expression, 1), [next], "{expression}");
    }
}

#[test]
fn two_restricted_days_are_alternatives_and_a_star_makes_them_conditions() {
    assert_eq!(
        fires("0 0 13 * 5", 4),
        ["2025-11-28T00:00:00Z", "2025-12-05T00:00:00Z", "2025-12-12T00:00:00Z", "2025-12-13T00:00:00Z"]
    );
    // Mondays that are odd days of the month: the field begins with a star, which is what cron(8) asks.
    assert_eq!(
        fires("0 0 */2 * MON", 3),
        ["2025-12-01T00:00:00Z", "2025-12-15T00:00:00Z", "2025-12-29T00:00:00Z"]
    );
    assert_eq!(fires("0 0 1-31/2 * MON", 2), ["2025-11-27T00:00:00Z", "2025-11-29T00:00:00Z"]);
    // 29 February on a Monday comes once in 28 years.
    assert_eq!(fires("0 0 29 2 */8", 1), ["2032-02-29T00:00:00Z"]);
}

#[test]
fn leap_years_leave_out_1900_and_2100() {
    let cron: Cron = "0 0 29 2 *".parse().unwrap();
    let next = |after| {
        cron.next_after(instant(after), &TimeZone::UTC, DaylightPolicy::default()).unwrap().to_string()
    };
    assert_eq!(next("2096-02-29T00:00:00Z"), "2104-02-29T00:00:00Z");
    assert_eq!(next("1896-02-29T00:00:00Z"), "1904-02-29T00:00:00Z");
    assert_eq!(next("1999-12-31T00:00:00Z"), "2000-02-29T00:00:00Z");
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let table = [
        ("60 * * * *", "minute `60`, expected: minutes from 0 to 59"),
        ("0 24 * * *", "hour `24`, expected: hours from 0 to 23"),
        ("0 0 0 * *", "day of month `0`, expected: days of the month from 1 to 31"),
        ("0 0 32 * *", "day of month `32`"),
        ("0 0 * 13 *", "month `13`, expected: months from 1 to 12"),
        ("0 0 * * 8", "day of week `8`, expected: days of the week from 0 to 7"),
        ("0 0 * * L", "day of week `L`"),
        ("0 0 * * 1#6", "day of week `1#6`"),
        ("0 0 * JANFEB *", "month `JANFEB`"),
        ("0 0 * MON *", "month `MON`"),
        ("0 MON * * *", "hour `MON`"),
        ("0 0 * * 5MON", "day of week `5MON`"),
        ("0 0 * * MONDAY", "day of week `MONDAY`"),
        ("5/15 * * * *", "minute `5/15`"),
        ("0 22-2 * * *", "hour `22-2`"),
        ("0 0 * * FRI-MON", "day of week `FRI-MON`"),
        ("*/0 * * * *", "minute `*/0`"),
        ("? * * * *", "minute `?`"),
        ("60 * * * * *", "second `60`"),
        ("@reboot", "expected: @hourly, @daily,"),
        ("0 0 30 2 *", "never matches (found: 0 0 30 2 *"),
        ("0 0 31 4,6,9,11 *", "never matches"),
        (", * * * *", "minute `,`"),
        ("0 1,,2 * * *", "hour `1,,2`"),
    ];
    for (expression, part) in table {
        let error = expression.parse::<CronText>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(part), "{expression}: {error}");
    }
}

#[test]
fn what_begins_with_a_star_follows_real_time() {
    let wildcard = |expression: &str| expression.parse::<Cron>().unwrap().is_wildcard();
    for expression in ["* * * * *", "*/15 2 * * *", "5 * * * *", "5 */2 * * *", "@hourly", "0 0 * * * *"] {
        assert!(wildcard(expression), "{expression}");
    }
    for expression in ["0-59 2 * * *", "0 0-23 * * *", "@daily", "* 30 2 * * *", "0 0 * * *"] {
        assert!(!wildcard(expression), "{expression}");
    }
    let cron: Cron = "*/15 2 * * *".parse().unwrap();
    assert_eq!(cron.daylight(DaylightPolicy::default()), (GapRule::Skip, FoldRule::Both));
    let policy = DaylightPolicy { gap: Some(GapRule::Shift), fold: None };
    assert_eq!(cron.daylight(policy), (GapRule::Shift, FoldRule::Both));
    let cron: Cron = "0 2 * * *".parse().unwrap();
    let policy = DaylightPolicy { gap: None, fold: Some(FoldRule::Last) };
    assert_eq!(cron.daylight(policy), (GapRule::Shift, FoldRule::Last));
}
