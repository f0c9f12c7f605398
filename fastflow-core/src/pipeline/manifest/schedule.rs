//! The schedule fields, and the rules between them.

use std::{collections::BTreeSet, num::NonZeroU32};

use super::{
    Report, env,
    field::{Field, Fields},
    policy, read, retry, secret,
};
use crate::pipeline::{
    ConfigName, CronText, Definition, Moment, ScheduleEntry, SchedulePolicy, ScheduleRule, ScheduleWindow,
    Seconds, TopSchedule,
};

pub(super) fn top(report: &mut Report<'_>, fields: &mut Fields<'_>) -> TopSchedule {
    let rule = rule(report, fields);
    let window = window(report, fields);
    let run_once_at = fields.take("run_once_at").and_then(|field| field.parsed(report, Moment::EXPECTED));
    let has_rule = fields.has("schedule_cron") || fields.has("schedule_interval_seconds");
    for name in ["schedule_start", "schedule_end"].into_iter().filter(|name| !has_rule && fields.has(name)) {
        let message = "has no effect without `schedule_cron` or `schedule_interval_seconds`";
        report.warning(fields.place_of(name), name, message);
    }
    let policy = policy::policy(report, fields, &SchedulePolicy::default());
    TopSchedule { rule, window, run_once_at, policy }
}

fn rule(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<ScheduleRule> {
    let cron = fields.take("schedule_cron");
    let interval = fields.take("schedule_interval_seconds");
    if let (Some(_), Some(second)) = (&cron, &interval) {
        let message = "found beside `schedule_cron`, expected only one of them";
        report.error(fields.place_of("schedule_interval_seconds"), &second.path, message);
    }
    let cron =
        cron.and_then(|field| field.parsed::<CronText>(report, CronText::EXPECTED)).map(ScheduleRule::Cron);
    let interval = interval
        .and_then(|field| field.whole(report, 1..=Seconds::MAX.0, "seconds"))
        .and_then(NonZeroU32::new)
        .map(ScheduleRule::IntervalSeconds);
    cron.or(interval)
}

fn window(report: &mut Report<'_>, fields: &mut Fields<'_>) -> ScheduleWindow {
    let mut moment = |name| -> Option<Moment> {
        let field: Field<'_> = fields.take(name)?;
        field.parsed(report, Moment::EXPECTED)
    };
    let window = ScheduleWindow { start: moment("schedule_start"), end: moment("schedule_end") };
    if let (Some(start), Some(end)) = (window.start, window.end)
        && start.first_instant() > end.last_instant()
    {
        let message = format!("found {end}, expected a moment after `schedule_start` ({start})");
        report.error(fields.place_of("schedule_end"), &fields.path_of("schedule_end"), message);
    }
    window
}

/// The entries of `schedules`, with the policy `base` where they do not say one.
pub(super) fn entries(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    base: &SchedulePolicy,
) -> Vec<ScheduleEntry> {
    let Some(field) = fields.take("schedules") else { return Vec::new() };
    let mut ids = BTreeSet::new();
    let mut entries = Vec::new();
    for item in field.list(report, Definition::MAX_LIST_ENTRIES, "a list of objects") {
        let Some(mut fields) = Fields::open(report, &item.path, item.node) else { continue };
        let read = entry(report, &mut fields, base);
        fields.finish(report);
        let Some(read) = read else { continue };
        if !ids.insert(read.id.clone()) {
            let message = format!("found \"{}\" twice, expected an id that no other entry has", read.id);
            report.error(fields.place_of("id"), &fields.path_of("id"), message);
        }
        entries.push(read);
    }
    entries
}

/// Every field is taken, and so checked, before a missing one ends the entry.
pub(super) fn entry(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    base: &SchedulePolicy,
) -> Option<ScheduleEntry> {
    let id = fields.take("id");
    if id.is_none() {
        let message = format!("missing, expected {}", ConfigName::EXPECTED);
        report.error(fields.place, &fields.path_of("id"), message);
    }
    let id = id.and_then(|field| field.parsed(report, ConfigName::EXPECTED));
    let rule = rule(report, fields);
    if !fields.has("schedule_cron") && !fields.has("schedule_interval_seconds") {
        let message = format!("missing, expected it or `schedule_interval_seconds`: {}", CronText::EXPECTED);
        report.error(fields.place, &fields.path_of("schedule_cron"), message);
    }
    let window = window(report, fields);
    let max_instances = read::positive(report, fields, "max_instances", "runs");
    let policy = SchedulePolicy { max_instances, ..policy::policy(report, fields, base) };
    let enabled = read::flag(report, fields, "enabled", true);
    let default_env = env::env(report, fields, "default_env");
    let encrypted_env = secret::sealed_env(report, fields);
    let limits = read::limits(report, fields);
    let retry_attempts = retry::attempts(report, fields);
    let retry_strategy = retry::strategy(report, fields);
    let webhook_key = env::webhook_key(report, fields);
    Some(ScheduleEntry {
        window,
        policy,
        enabled,
        default_env,
        encrypted_env,
        limits,
        retry_attempts,
        retry_strategy,
        webhook_key,
        ..ScheduleEntry::new(id?, rule?)
    })
}

/// The rules between the top of the file and its `schedules`.
pub(super) fn check(report: &mut Report<'_>, fields: &Fields<'_>, definition: &Definition) {
    let top = &definition.schedule;
    let starts = top.rule.is_some() || top.run_once_at.is_some() || !definition.schedules.is_empty();
    let required = definition.parameters.declared.iter().find(|(_, declaration)| declaration.required);
    if let Some((name, _)) = required.filter(|_| starts) {
        let message =
            format!("a schedule gives no parameters, so it can start nothing while `{name}` is required");
        report.warning(fields.place_of("parameters"), "parameters", message);
    }
    if definition.schedules.is_empty() {
        let top = &definition.schedule;
        let is_idle = top.rule.is_none() && top.run_once_at.is_none();
        // A file that only spells out the defaults asks for nothing.
        if is_idle && top.policy != SchedulePolicy::default() {
            for name in policy::FIELDS.into_iter().filter(|name| fields.has(name)) {
                report.warning(fields.place_of(name), name, "has no effect without a schedule");
            }
        }
        return;
    }
    for name in ["schedule_cron", "schedule_interval_seconds", "schedule_start", "schedule_end"] {
        if fields.has(name) {
            let message = "has no effect because `schedules` is not empty; make it an entry there";
            report.warning(fields.place_of(name), name, message);
        }
    }
    let mut keys: Vec<_> = definition.webhook_key.iter().map(|key| (key, "webhook_key".to_owned())).collect();
    for entry in &definition.schedules {
        let Some(key) = &entry.webhook_key else { continue };
        let field = format!("schedules (id {}).webhook_key", entry.id);
        if let Some((_, other)) = keys.iter().find(|(known, _)| *known == key) {
            let message = format!("found the same key as in {other}, expected a key of its own");
            report.error(fields.place_of("schedules"), &field, message);
        }
        keys.push((key, field));
    }
}
