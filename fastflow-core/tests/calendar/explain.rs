//! What is said about expressions: in words, their odd nights, and what may not be meant.

use fastflow_core::{
    pipeline::{DaylightPolicy, FoldRule, GapRule, ScheduleRule, ScheduleWindow},
    schedule::{Calendar, Cron, CronWarning, Oddity},
};

use super::{instant, zone};

fn calendar(expression: &str, name: &str, daylight: DaylightPolicy) -> Calendar {
    let rule = ScheduleRule::Cron(expression.parse().unwrap()).into();
    let start = instant("1970-01-01T00:00:00Z");
    Calendar::in_zone(&rule, &ScheduleWindow::default(), daylight, start, zone(name)).unwrap()
}

fn odd(expression: &str, name: &str, year: i16, daylight: DaylightPolicy) -> Vec<String> {
    let from = instant(&format!("{year}-01-01T00:00:00Z"));
    let until = instant(&format!("{year}-12-31T23:59:59Z"));
    let odd = calendar(expression, name, daylight).odd_times(from, until);
    odd.iter().map(ToString::to_string).collect()
}

#[test]
fn odd_nights_are_those_on_which_the_expression_is_concerned() {
    let cron = DaylightPolicy::default();
    let table: [(&str, &str, i16, &[&str]); 10] = [
        (
            "30 2 * * *",
            "Europe/Berlin",
            2026,
            &[
                "2026-03-29 02:30 does not exist: runs at 03:00",
                "2026-10-25 02:30 exists twice: runs the first time",
            ],
        ),
        (
            "*/15 * * * *",
            "Europe/Berlin",
            2026,
            &[
                "2026-03-29 02:00 to 02:45 do not exist: does not run",
                "2026-10-25 02:00 to 02:45 exist twice: runs each time",
            ],
        ),
        ("0 4 * * *", "Europe/Berlin", 2026, &[]),
        ("30 2 * * MON", "Europe/Berlin", 2026, &[]),
        ("30 2 * * *", "Asia/Kolkata", 2026, &[]),
        ("15 2 * * *", "Australia/Lord_Howe", 2026, &["2026-10-04 02:15 does not exist: runs at 02:30"]),
        ("30 0 * * *", "America/Sao_Paulo", 2018, &["2018-11-04 00:30 does not exist: runs at 01:00"]),
        (
            "0 9,18 * * *",
            "Pacific/Apia",
            2011,
            &["2011-12-30 09:00 to 18:00 do not exist: runs at 00:00 on 2011-12-31"],
        ),
        ("30 23 * * *", "America/Sao_Paulo", 2019, &["2019-02-16 23:30 exists twice: runs the first time"]),
        (
            "15 30 2 * * *",
            "Europe/Berlin",
            2026,
            &[
                "2026-03-29 02:30:15 does not exist: runs at 03:00",
                "2026-10-25 02:30:15 exists twice: runs the first time",
            ],
        ),
    ];
    for (expression, name, year, expected) in table {
        assert_eq!(odd(expression, name, year, cron), expected, "{expression} {name}");
    }
    let asked = DaylightPolicy { gap: Some(GapRule::Skip), fold: Some(FoldRule::Last) };
    assert_eq!(
        odd("30 2 * * *", "Europe/Berlin", 2026, asked),
        [
            "2026-03-29 02:30 does not exist: does not run",
            "2026-10-25 02:30 exists twice: runs the last time",
        ]
    );
}

#[test]
fn odd_times_are_data_and_have_a_limit() {
    let calendar = calendar("30 2 * * *", "Europe/Berlin", DaylightPolicy::default());
    let from = instant("2026-03-29T00:59:59Z");
    let odd = calendar.odd_times(from, instant("2026-03-29T01:00:00Z"));
    assert_eq!(odd.len(), 1, "the end belongs to the span");
    assert_eq!(odd[0].at, instant("2026-03-29T01:00:00Z"));
    assert_eq!(odd[0].what, Oddity::Shifted("2026-03-29T03:00:00".parse().unwrap()));
    assert_eq!(calendar.odd_times(instant("2026-03-29T01:00:00Z"), instant("2026-03-30T00:00:00Z")), []);
    let all = calendar.odd_times(from, jiff::Timestamp::MAX);
    assert_eq!(all.len(), Calendar::MAX_ODD_TIMES);
}

#[test]
fn expressions_are_said_in_words() {
    let table = [
        ("30 2 * * 1-2", "At 02:30, on Monday and Tuesday."),
        ("*/5 * * * *", "At every 5 minutes."),
        ("0 0 13 * 5", "At 00:00, on day 13 or Friday."),
        ("0 0 LW * *", "At 00:00, on the last weekday of the month."),
        ("0 0 L * *", "At 00:00, on the last day of the month."),
        ("@daily", "At 00:00."),
        ("@midnight", "At 00:00."),
    ];
    for (expression, words) in table {
        assert_eq!(expression.parse::<Cron>().unwrap().describe(), words, "{expression}");
    }
}

#[test]
fn what_may_not_be_meant_is_warned_of() {
    use CronWarning::{
        BothDays, EitherDay, EveryMinuteOfHours, EverySecond, LeapDay, ShortMonths, StepOverMonths,
        StepTooLong, UnevenStep,
    };
    let table: [(&str, &[CronWarning]); 22] = [
        ("* 5 * * *", &[EveryMinuteOfHours]),
        ("0 5 * * *", &[]),
        ("* * * * *", &[]),
        ("* */2 * * *", &[]),
        ("* * * * * *", &[EverySecond]),
        ("0 * * * * *", &[]),
        ("*/7 * * * *", &[UnevenStep { step: 7, of: 60 }]),
        ("*/15 * * * *", &[]),
        ("0 */5 * * *", &[UnevenStep { step: 5, of: 24 }]),
        ("*/45 */6 * * *", &[UnevenStep { step: 45, of: 60 }]),
        ("*/90 * * * *", &[StepTooLong { step: 90, of: 60 }]),
        ("0 */24 * * *", &[StepTooLong { step: 24, of: 24 }]),
        ("0 0 */2 * *", &[StepOverMonths]),
        ("0 0 13 * 5", &[EitherDay]),
        ("0 0 */2 * 1", &[StepOverMonths, BothDays]),
        ("0 0 29 2 *", &[LeapDay]),
        ("0 0 31 * *", &[ShortMonths { day: 31 }]),
        ("0 0 29 * *", &[ShortMonths { day: 29 }]),
        ("0 0 31 1,3 *", &[]),
        ("0 0 1,31 * *", &[]),
        ("0 0 L * *", &[]),
        ("@yearly", &[]),
    ];
    let mut texts = std::collections::BTreeSet::new();
    for (expression, warnings) in table {
        let found = expression.parse::<Cron>().unwrap().warnings();
        assert_eq!(found, warnings, "{expression}");
        texts.extend(found.iter().map(ToString::to_string));
    }
    assert!(texts.contains("`*/7` does not divide 60: the last distance is only 4"), "{texts:?}");
    assert!(texts.contains("not every one of its months has a day 31"), "{texts:?}");
}
