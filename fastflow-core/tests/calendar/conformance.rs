//! Each rule of gaps and folds against the file that people read, and others can use.

use fastflow_core::{
    Timestamp,
    pipeline::{DaylightPolicy, FoldRule, GapRule, ScheduleRule, ScheduleWindow},
    schedule::Calendar,
};
use jiff::civil::Date;

use super::zone;

const CONFORMANCE: &str = include_str!("conformance.txt");

/// The rules that a column stands for; none is what cron(8) does.
fn gaps(text: &str) -> Vec<Option<GapRule>> {
    match text {
        "cron" => vec![None],
        "shift" => vec![Some(GapRule::Shift)],
        "skip" => vec![Some(GapRule::Skip)],
        "any" => vec![Some(GapRule::Shift), Some(GapRule::Skip)],
        other => panic!("{other}"),
    }
}

fn folds(text: &str) -> Vec<Option<FoldRule>> {
    match text {
        "cron" => vec![None],
        "first" => vec![Some(FoldRule::First)],
        "last" => vec![Some(FoldRule::Last)],
        "both" => vec![Some(FoldRule::Both)],
        "any" => vec![Some(FoldRule::First), Some(FoldRule::Last), Some(FoldRule::Both)],
        other => panic!("{other}"),
    }
}

/// All that is due on a day, as the file writes it.
fn due(name: &str, day: Date, expression: &str, daylight: DaylightPolicy) -> String {
    let zone = zone(name);
    let at = |day: Date| day.to_zoned(zone.clone()).unwrap().timestamp();
    let rule = ScheduleRule::Cron(expression.parse().unwrap()).into();
    let open = ScheduleWindow::default();
    let calendar = Calendar::in_zone(&rule, &open, daylight, Timestamp::UNIX_EPOCH, zone.clone()).unwrap();
    let nanosecond = jiff::Span::new().nanoseconds(1);
    let (before, last) = (at(day) - nanosecond, at(day.tomorrow().unwrap()) - nanosecond);
    let shown = calendar
        .between(before, last, 100)
        .into_iter()
        .map(|instant| instant.to_zoned(zone.clone()).strftime("%H:%M%:z").to_string())
        .collect::<Vec<_>>()
        .join(" ");
    if shown.is_empty() { "-".to_owned() } else { shown }
}

#[test]
fn every_rule_does_what_the_table_says() {
    let mut lines = CONFORMANCE.lines().filter(|line| !line.starts_with('#'));
    let (mut place, mut checked) = (None, 0);
    while let Some(line) = lines.next() {
        if line.is_empty() {
            let (name, day) = lines.next().unwrap().split_once(' ').unwrap();
            place = Some((name, day.parse::<Date>().unwrap()));
            continue;
        }
        let (name, day) = place.unwrap();
        let [expression, gap, fold, expected] = line.split("; ").collect::<Vec<_>>().try_into().unwrap();
        for gap in gaps(gap) {
            for fold in folds(fold) {
                let found = due(name, day, expression, DaylightPolicy { gap, fold });
                assert_eq!(found, expected, "{name} {day} `{expression}` {gap:?} {fold:?}");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 13 * 3 * 7, "each expression with all six pairs of rules, and with none");
}
