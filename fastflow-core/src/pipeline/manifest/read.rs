//! The walk over a whole definition, field by field.

use std::{num::NonZeroU32, ops::RangeInclusive};

use super::{
    Report, chain, daemon, env,
    field::{Field, Fields},
    parameter, queue, retry, schedule, secret,
};
use crate::{
    PipelineName,
    pipeline::{
        ByteSize, CellPolicy, CpuMillis, Definition, ImageName, Limits, Network, PipelineKind, PythonRequest,
        RetryPolicy, Seconds, SoftLimitAction, Timeout,
    },
};

/// The definition as far as its fields are right; what is wrong keeps its default, and the report says so. `itself`
/// is the pipeline's name, which its own triggers may not have, where that is known.
pub(super) fn definition(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    itself: Option<&PipelineName>,
) -> Definition {
    let default = Definition::default();
    let kinds = [("script", PipelineKind::Script), ("notebook", PipelineKind::Notebook)];
    let networks = [("bridge", Network::Bridge), ("none", Network::None)];
    let schedule = schedule::top(report, fields);
    let definition = Definition {
        description: fields
            .take("description")
            .and_then(|field| bounded_text(report, &field, Definition::MAX_DESCRIPTION_CHARS)),
        tags: fields.take("tags").map(|field| tags(report, &field)).unwrap_or_default(),
        enabled: flag(report, fields, "enabled", default.enabled),
        kind: fields.take("type").and_then(|field| field.choice(report, &kinds)).unwrap_or_default(),
        python_version: fields
            .take("python_version")
            .and_then(|field| field.parsed(report, PythonRequest::EXPECTED)),
        executor: fields
            .take("executor")
            .and_then(|field| field.parsed(report, "the name of an executor, such as \"process\"")),
        image: fields.take("image").and_then(|field| field.parsed(report, ImageName::EXPECTED)),
        network: fields.take("network").and_then(|field| field.choice(report, &networks)).unwrap_or_default(),
        warm: fields
            .take("warm")
            .and_then(|field| field.whole(report, 0..=Definition::MAX_WARM, "sandboxes"))
            .unwrap_or_default(),
        limits: limits(report, fields),
        max_processes: positive(report, fields, "max_processes", "processes"),
        log_max_size: byte_size(report, fields, "log_max_size", Definition::MIN_LOG_MAX_SIZE)
            .unwrap_or(default.log_max_size),
        stop_grace: seconds(report, fields, "stop_grace", 0..=Definition::MAX_STOP_GRACE.0)
            .unwrap_or(default.stop_grace),
        retry: retry::policy(report, fields),
        default_env: env::env(report, fields, "default_env"),
        encrypted_env: secret::sealed_env(report, fields),
        secrets: secret::named(report, fields),
        secrets_as: secret::delivery(report, fields),
        webhook_key: env::webhook_key(report, fields),
        schedules: schedule::entries(report, fields, &schedule.policy),
        schedule,
        daemon: daemon::policy(report, fields),
        queue: queue::policy(report, fields),
        parameters: parameter::parameters(report, fields),
        health: daemon::health(report, fields),
        downstream_triggers: chain::triggers(report, fields, itself),
        after: chain::after(report, fields, itself),
        cells: cells(report, fields),
    };
    check(report, fields, &definition);
    definition
}

/// The rules between fields.
fn check(report: &mut Report<'_>, fields: &Fields<'_>, definition: &Definition) {
    if definition.kind == PipelineKind::Script && !definition.cells.is_empty() {
        let message = "this has an effect only for notebooks; set `type` to \"notebook\" or remove it";
        report.warning(fields.place_of("cells"), "cells", message);
    }
    let entries = definition.schedules.iter().map(|entry| &entry.limits);
    let is_soft = |limits: &Limits| limits.soft_cpu.is_some() || limits.soft_memory.is_some();
    if definition.health.soft_limit != SoftLimitAction::Record
        && !entries.chain([&definition.limits]).any(is_soft)
    {
        let message = "has no effect without `cpu_soft_limit` or `mem_soft_limit`";
        report.warning(fields.place_of("soft_limit_action"), "soft_limit_action", message);
    }
    retry::check(report, fields, definition);
    schedule::check(report, fields, definition);
    secret::check(report, fields, definition);
}

/// A string of at most `max` characters without control characters other than line breaks and tabs.
pub(super) fn bounded_text(report: &mut Report<'_>, field: &Field<'_>, max: usize) -> Option<String> {
    let expected = format!("a string of at most {max} characters without control characters");
    let text = field.text(report, &expected)?;
    if text.chars().count() > max || text.chars().any(|c| c.is_control() && !"\n\r\t".contains(c)) {
        field.wrong(report, expected);
        return None;
    }
    Some(text.to_owned())
}

fn tags(report: &mut Report<'_>, field: &Field<'_>) -> Vec<String> {
    let max = Definition::MAX_TAG_CHARS;
    let mut tags = Vec::new();
    for item in field.list(report, Definition::MAX_TAGS, "a list of strings") {
        let Some(tag) = bounded_text(report, &item, max) else { continue };
        if tag.trim().is_empty() || tag.contains(',') || tag.contains(char::is_control) {
            item.wrong(report, format!("a tag of 1 to {max} characters on one line without commas"));
        } else if tags.contains(&tag) {
            report.warning(item.node.place, &item.path, "found this tag twice; it counts once");
        } else {
            tags.push(tag);
        }
    }
    tags
}

pub(super) fn flag(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    name: &'static str,
    default: bool,
) -> bool {
    fields.take(name).and_then(|field| field.bool(report)).unwrap_or(default)
}

pub(super) fn positive(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    name: &'static str,
    what: &str,
) -> Option<NonZeroU32> {
    let number = fields.take(name)?.whole(report, 1..=u32::MAX, what)?;
    NonZeroU32::new(number)
}

pub(super) fn seconds(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    name: &'static str,
    range: RangeInclusive<u32>,
) -> Option<Seconds> {
    fields.take(name)?.whole(report, range, "seconds").map(Seconds)
}

pub(super) fn byte_size(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    name: &'static str,
    least: ByteSize,
) -> Option<ByteSize> {
    let field = fields.take(name)?;
    let size = if let Some(number) = field.number() {
        // A whole number below 2^53 is exact; more is written with a unit.
        format!("{number:.0}").parse().ok().filter(|_| number.fract() == 0.0)
    } else {
        field.parsed(report, ByteSize::EXPECTED)
    };
    match size {
        None if field.number().is_some() => field.wrong(report, ByteSize::EXPECTED),
        Some(ByteSize(bytes)) if bytes < least.0 => {
            field.wrong(report, format!("at least {least} (a number without a unit is bytes)"));
            return None;
        }
        _ => {}
    }
    size
}

pub(super) fn limits(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Limits {
    let limits = Limits {
        cpu: cpu(report, fields, "cpu_hard_limit"),
        memory: byte_size(report, fields, "mem_hard_limit", Limits::MIN_MEMORY),
        soft_cpu: cpu(report, fields, "cpu_soft_limit"),
        soft_memory: byte_size(report, fields, "mem_soft_limit", ByteSize(1)),
        timeout: fields.take("timeout").and_then(|field| {
            field.whole(report, 0..=Seconds::MAX.0, "seconds (0 is no limit)").map(Timeout::from)
        }),
    };
    let never = "is above the hard limit, so it is never reached";
    if limits.cpu.zip(limits.soft_cpu).is_some_and(|(hard, soft)| soft > hard) {
        report.warning(fields.place_of("cpu_soft_limit"), &fields.path_of("cpu_soft_limit"), never);
    }
    if limits.memory.zip(limits.soft_memory).is_some_and(|(hard, soft)| soft > hard) {
        report.warning(fields.place_of("mem_soft_limit"), &fields.path_of("mem_soft_limit"), never);
    }
    limits
}

fn cpu(report: &mut Report<'_>, fields: &mut Fields<'_>, name: &'static str) -> Option<CpuMillis> {
    let field = fields.take(name)?;
    let millis = field.number().and_then(CpuMillis::from_cores);
    if millis.is_none() {
        field.wrong(
            report,
            format!("a number of cores from {} to {}, such as 0.5", CpuMillis::MIN, CpuMillis::MAX),
        );
    }
    millis
}

fn cells(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Vec<CellPolicy> {
    let Some(field) = fields.take("cells") else { return Vec::new() };
    let mut cells = Vec::new();
    for item in field.list(report, Definition::MAX_LIST_ENTRIES, "a list of objects") {
        let Some(mut fields) = Fields::open(report, &item.path, item.node) else { continue };
        cells.push(cell(report, &mut fields));
        fields.finish(report);
    }
    cells
}

pub(super) fn cell(report: &mut Report<'_>, fields: &mut Fields<'_>) -> CellPolicy {
    let default = CellPolicy::default();
    let retries = fields
        .take("retries")
        .and_then(|field| field.whole(report, 0..=RetryPolicy::MAX_ATTEMPTS, "further tries"));
    let delay = seconds(report, fields, "delay_seconds", 0..=Seconds::MAX.0);
    CellPolicy { retries: retries.unwrap_or(default.retries), delay: delay.unwrap_or(default.delay) }
}
