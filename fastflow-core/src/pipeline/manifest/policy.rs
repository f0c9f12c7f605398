//! How schedules behave beside their rules.

use std::{collections::BTreeSet, num::NonZeroU32};

use super::{
    Report,
    field::{Field, Fields},
    node::Kind,
    read,
};
use crate::pipeline::{
    CatchUp, ConfigName, DaylightPolicy, FoldRule, GapRule, Overlap, SchedulePolicy, Seconds, TimeZoneName,
    likeness::nearest,
};

/// The fields that stand at the top of a file and in each entry of `schedules`.
pub(super) const FIELDS: [&str; 7] =
    ["timezone", "daylight", "overlap", "catch_up", "catch_up_window", "jitter", "blackouts"];

/// The policy that the fields say; what they leave out is as in `base`.
pub(super) fn policy(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    base: &SchedulePolicy,
) -> SchedulePolicy {
    let overlaps = [
        ("allow", Overlap::Allow),
        ("skip", Overlap::Skip),
        ("queue", Overlap::Queue),
        ("replace", Overlap::Replace),
    ];
    let timezone = fields.take("timezone").and_then(|field| time_zone(report, &field));
    let daylight = fields.take("daylight").and_then(|field| {
        let mut inner = Fields::open(report, &field.path, field.node)?;
        let daylight = daylight(report, &mut inner);
        inner.finish(report);
        Some(daylight)
    });
    let overlap = fields.take("overlap").and_then(|field| field.choice(report, &overlaps));
    let catch_up = fields.take("catch_up").and_then(|field| catch_up(report, &field));
    let any = 0..=Seconds::MAX.0;
    let catch_up_window = read::seconds(report, fields, "catch_up_window", any.clone());
    let jitter = read::seconds(report, fields, "jitter", any);
    let blackouts = fields.take("blackouts").map(|field| blackouts(report, &field));
    SchedulePolicy {
        timezone: timezone.unwrap_or_else(|| base.timezone.clone()),
        daylight: daylight.unwrap_or(base.daylight),
        overlap: overlap.unwrap_or(base.overlap),
        max_instances: None,
        catch_up: catch_up.unwrap_or(base.catch_up),
        catch_up_window: catch_up_window.unwrap_or(base.catch_up_window),
        jitter: jitter.unwrap_or(base.jitter),
        blackouts: blackouts.unwrap_or_else(|| base.blackouts.clone()),
    }
}

/// A zone of this machine's database. It is the one thing in a file whose meaning depends on the machine: a schedule
/// in a zone that nobody knows would never be due, and say nothing.
fn time_zone(report: &mut Report<'_>, field: &Field<'_>) -> Option<TimeZoneName> {
    let name: TimeZoneName = field.parsed(report, TimeZoneName::EXPECTED)?;
    let database = jiff::tz::db();
    if name == TimeZoneName::default() || database.get(name.as_str()).is_ok() {
        return Some(name);
    }
    let known: Vec<String> = database.available().map(|zone| zone.as_str().to_owned()).collect();
    let city = |zone: &&String| {
        zone.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(name.as_str()))
    };
    let near = known.iter().find(city).map(String::as_str);
    let advice = match near.or_else(|| nearest(name.as_str(), known.iter().map(String::as_str))) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("this machine's database has {} of them, and not this one", known.len()),
    };
    field.wrong(report, format!("{}: {advice}", TimeZoneName::EXPECTED));
    None
}

pub(super) fn daylight(report: &mut Report<'_>, fields: &mut Fields<'_>) -> DaylightPolicy {
    let gaps = [("shift", GapRule::Shift), ("skip", GapRule::Skip)];
    let folds = [("first", FoldRule::First), ("last", FoldRule::Last), ("both", FoldRule::Both)];
    DaylightPolicy {
        gap: fields.take("gap").and_then(|field| field.choice(report, &gaps)),
        fold: fields.take("fold").and_then(|field| field.choice(report, &folds)),
    }
}

fn catch_up(report: &mut Report<'_>, field: &Field<'_>) -> Option<CatchUp> {
    let expected = format!(
        "\"none\", \"latest\" or an object such as {{\"all\": 10}}, with a whole number from 1 to {}",
        CatchUp::MAX_ALL
    );
    match &field.node.kind {
        Kind::Text(text) if text == "none" => Some(CatchUp::None),
        Kind::Text(text) if text == "latest" => Some(CatchUp::Latest),
        Kind::Object(_) => {
            let mut inner = Fields::open(report, &field.path, field.node)?;
            let all = catch_up_all(report, &mut inner);
            inner.finish(report);
            all
        }
        _ => {
            field.wrong(report, expected);
            None
        }
    }
}

pub(super) fn catch_up_all(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<CatchUp> {
    let Some(all) = fields.take("all") else {
        let message = format!("missing, expected runs as a whole number from 1 to {}", CatchUp::MAX_ALL);
        report.error(fields.place, &fields.path_of("all"), message);
        return None;
    };
    let max = all.whole(report, 1..=CatchUp::MAX_ALL, "runs").and_then(NonZeroU32::new)?;
    Some(CatchUp::All { max })
}

fn blackouts(report: &mut Report<'_>, field: &Field<'_>) -> BTreeSet<ConfigName> {
    let mut names = BTreeSet::new();
    for item in field.list(report, SchedulePolicy::MAX_BLACKOUTS, "a list of names of blackout calendars") {
        let Some(name) = item.parsed(report, ConfigName::EXPECTED) else { continue };
        if !names.insert(name) {
            report.warning(item.node.place, &item.path, "found this name twice; it counts once");
        }
    }
    names
}
