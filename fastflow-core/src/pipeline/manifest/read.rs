//! The walk over a whole definition, field by field.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Report,
    field::{Field, Fields},
    schedule,
};
use crate::pipeline::{
    ByteSize, CellPolicy, ConfigName, CpuMillis, CronText, DaemonPolicy, Definition, DownstreamTrigger,
    EnvName, ImageName, Limits, MAX_ENV_VALUE_BYTES, Network, PipelineKind, PythonRequest, QueuePolicy,
    RestartInterval, RetryPolicy, RetryStrategy, Seconds, Timeout, WebhookKey, check_env_value,
};

/// The definition as far as its fields are right; what is wrong keeps its default, and the report says so.
pub(super) fn definition(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Definition {
    let default = Definition::default();
    let kind = fields.take("type").and_then(|field| kind(report, &field)).unwrap_or_default();
    let definition = Definition {
        description: fields
            .take("description")
            .and_then(|field| bounded_text(report, &field, Definition::MAX_DESCRIPTION_CHARS)),
        tags: fields.take("tags").map(|field| tags(report, &field)).unwrap_or_default(),
        enabled: flag(report, fields, "enabled", default.enabled),
        kind,
        python_version: fields
            .take("python_version")
            .and_then(|field| field.parsed(report, PythonRequest::EXPECTED)),
        executor: fields
            .take("executor")
            .and_then(|field| field.parsed(report, "the name of an executor, such as \"process\"")),
        image: fields.take("image").and_then(|field| field.parsed(report, ImageName::EXPECTED)),
        network: fields.take("network").and_then(|field| network(report, &field)).unwrap_or_default(),
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
        retry: RetryPolicy {
            attempts: retry_attempts(report, fields).unwrap_or_default(),
            strategy: retry_strategy(report, fields).unwrap_or_default(),
            ..RetryPolicy::default()
        },
        default_env: env(report, fields, "default_env"),
        encrypted_env: env(report, fields, "encrypted_env"),
        secrets: secrets(report, fields),
        webhook_key: webhook_key(report, fields),
        schedule: schedule::top(report, fields),
        schedules: schedule::entries(report, fields),
        daemon: daemon(report, fields),
        queue: QueuePolicy {
            max_instances: positive(report, fields, "max_instances", "runs"),
            ..QueuePolicy::default()
        },
        downstream_triggers: triggers(report, fields),
        cells: cells(report, fields),
        ..default
    };
    if kind == PipelineKind::Script && !definition.cells.is_empty() {
        let message = "this has an effect only for notebooks; set `type` to \"notebook\" or remove it";
        report.warning(fields.place_of("cells"), "cells", message);
    }
    schedule::check(report, fields, &definition);
    definition
}

fn kind(report: &mut Report<'_>, field: &Field<'_>) -> Option<PipelineKind> {
    let expected = "\"script\" or \"notebook\"";
    match field.text(report, expected)? {
        "script" => Some(PipelineKind::Script),
        "notebook" => Some(PipelineKind::Notebook),
        _ => {
            field.wrong(report, expected);
            None
        }
    }
}

fn network(report: &mut Report<'_>, field: &Field<'_>) -> Option<Network> {
    let expected = "\"bridge\" or \"none\"";
    match field.text(report, expected)? {
        "bridge" => Some(Network::Bridge),
        "none" => Some(Network::None),
        _ => {
            field.wrong(report, expected);
            None
        }
    }
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

fn positive(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    name: &'static str,
    what: &str,
) -> Option<std::num::NonZeroU32> {
    let number = fields.take(name)?.whole(report, 1..=u32::MAX, what)?;
    std::num::NonZeroU32::new(number)
}

fn seconds(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    name: &'static str,
    range: std::ops::RangeInclusive<u32>,
) -> Option<Seconds> {
    fields.take(name)?.whole(report, range, "seconds").map(Seconds)
}

fn byte_size(
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

pub(super) fn retry_attempts(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<u32> {
    fields.take("retry_attempts")?.whole(report, 0..=RetryPolicy::MAX_ATTEMPTS, "further attempts")
}

pub(super) fn retry_strategy(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<RetryStrategy> {
    const TYPES: &str = "\"fixed_delay\", \"exponential_backoff\" or \"custom_schedule\"";
    let field = fields.take("retry_strategy")?;
    let mut inner = Fields::open(report, &field.path, field.node)?;
    let any = 0..=Seconds::MAX.0;
    let Some(kind) = inner.take("type") else {
        report.error(field.node.place, &inner.path_of("type"), format!("missing, expected {TYPES}"));
        return None;
    };
    let strategy = match kind.text(report, TYPES)? {
        "fixed_delay" => RetryStrategy::Fixed {
            delay: seconds(report, &mut inner, "delay", any).unwrap_or(RetryStrategy::DEFAULT_DELAY),
        },
        "exponential_backoff" => exponential(report, &mut inner),
        "custom_schedule" => RetryStrategy::Custom { delays: delays(report, &mut inner) },
        _ => {
            kind.wrong(report, TYPES);
            return None;
        }
    };
    inner.finish(report);
    Some(strategy)
}

fn exponential(report: &mut Report<'_>, fields: &mut Fields<'_>) -> RetryStrategy {
    let any = 0..=Seconds::MAX.0;
    let initial_delay =
        seconds(report, fields, "initial_delay", any.clone()).unwrap_or(RetryStrategy::DEFAULT_DELAY);
    let max_delay = seconds(report, fields, "max_delay", any).unwrap_or(RetryStrategy::DEFAULT_MAX_DELAY);
    let multiplier = fields.take("multiplier").and_then(|field| {
        let number = field.number().filter(|number| (1.0..=RetryStrategy::MAX_MULTIPLIER).contains(number));
        if number.is_none() {
            field.wrong(report, format!("a number from 1 to {}", RetryStrategy::MAX_MULTIPLIER));
        }
        number
    });
    if initial_delay > max_delay {
        let message = "is below `initial_delay`, so every wait is this long";
        report.warning(fields.place_of("max_delay"), &fields.path_of("max_delay"), message);
    }
    let multiplier = multiplier.unwrap_or(RetryStrategy::DEFAULT_MULTIPLIER);
    RetryStrategy::Exponential { initial_delay, max_delay, multiplier }
}

fn delays(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Vec<Seconds> {
    let expected = "a list of at least one wait in seconds, such as [10, 60, 600]";
    let Some(field) = fields.take("delays") else {
        report.error(fields.place, &fields.path_of("delays"), format!("missing, expected {expected}"));
        return Vec::new();
    };
    if matches!(&field.node.kind, super::node::Kind::List(nodes) if nodes.is_empty()) {
        report.error(field.node.place, &field.path, format!("found an empty list, expected {expected}"));
    }
    let items = field.list(report, RetryStrategy::MAX_DELAYS, expected);
    let wait = |item: Field<'_>| item.whole(report, 0..=Seconds::MAX.0, "seconds").map(Seconds);
    items.into_iter().filter_map(wait).collect()
}

pub(super) fn env(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    name: &'static str,
) -> BTreeMap<EnvName, String> {
    let mut env = BTreeMap::new();
    let Some(field) = fields.take(name) else { return env };
    let entries = field.entries(report);
    if entries.len() > Definition::MAX_ENV_ENTRIES {
        let message =
            format!("found {} entries, expected at most {}", entries.len(), Definition::MAX_ENV_ENTRIES);
        report.error(field.node.place, &field.path, message);
        return env;
    }
    for (name, place, value) in entries {
        let name = env_name(report, place, &value.path, name);
        let super::node::Kind::Text(text) = &value.node.kind else {
            value.wrong_unseen(report, "a string; put the value in quotes");
            continue;
        };
        if check_env_value(text).is_err() {
            value
                .wrong_unseen(report, format!("a string without NUL of at most {MAX_ENV_VALUE_BYTES} bytes"));
        } else if let Some(name) = name {
            env.insert(name, text.clone());
        }
    }
    env
}

fn env_name(report: &mut Report<'_>, place: super::Place, path: &str, name: &str) -> Option<EnvName> {
    let parsed = name.parse();
    parsed.map_err(|error: crate::Error| report.error(place, path, error.message().to_owned())).ok()
}

fn secrets(report: &mut Report<'_>, fields: &mut Fields<'_>) -> BTreeSet<EnvName> {
    let Some(field) = fields.take("secrets") else { return BTreeSet::new() };
    let expected = "a list of names of stored secrets";
    let mut names = BTreeSet::new();
    for item in field.list(report, Definition::MAX_ENV_ENTRIES, expected) {
        let Some(text) = item.text(report, "the name of a stored secret") else { continue };
        let name = env_name(report, item.node.place, &item.path, text);
        if name.is_some_and(|name| !names.insert(name)) {
            report.warning(item.node.place, &item.path, "found this name twice; it counts once");
        }
    }
    names
}

/// An empty key means that there is no webhook.
pub(super) fn webhook_key(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<WebhookKey> {
    let field = fields.take("webhook_key")?;
    let expected = format!(
        "a key of at most {} letters, digits, `_`, `-`, `.` or `~`, or \"\" for none",
        WebhookKey::MAX_CHARS
    );
    let super::node::Kind::Text(text) = &field.node.kind else {
        field.wrong_unseen(report, expected);
        return None;
    };
    if text.is_empty() {
        return None;
    }
    if text.len() > WebhookKey::MAX_CHARS
        || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte))
    {
        field.wrong_unseen(report, expected);
        return None;
    }
    if text.len() < WebhookKey::SAFE_CHARS {
        let message = format!("is short enough to be guessed; take at least {}", WebhookKey::SAFE_CHARS);
        report.warning(field.node.place, &field.path, format!("{message} random characters"));
    }
    Some(WebhookKey::new(text.as_str()))
}

fn daemon(report: &mut Report<'_>, fields: &mut Fields<'_>) -> DaemonPolicy {
    let default = DaemonPolicy::default();
    DaemonPolicy {
        restart_on_crash: flag(report, fields, "restart_on_crash", default.restart_on_crash),
        restart_cooldown: seconds(report, fields, "restart_cooldown", 0..=Seconds::MAX.0)
            .unwrap_or(default.restart_cooldown),
        restart_interval: fields.take("restart_interval").and_then(|field| restart_interval(report, &field)),
        ..default
    }
}

fn restart_interval(report: &mut Report<'_>, field: &Field<'_>) -> Option<RestartInterval> {
    let expected = format!("seconds from 1 to {}, or {}", Seconds::MAX.0, CronText::EXPECTED);
    let in_range = |seconds: &std::num::NonZeroU32| seconds.get() <= Seconds::MAX.0;
    let interval = if let super::node::Kind::Text(text) = &field.node.kind {
        match text.trim().parse::<std::num::NonZeroU32>() {
            Ok(seconds) => Some(seconds).filter(in_range).map(RestartInterval::Seconds),
            Err(_) => text.parse().ok().map(RestartInterval::Cron),
        }
    } else {
        return field
            .whole(report, 1..=Seconds::MAX.0, "seconds, or a cron expression,")
            .and_then(std::num::NonZeroU32::new)
            .map(RestartInterval::Seconds);
    };
    if interval.is_none() {
        field.wrong(report, expected);
    }
    interval
}

fn triggers(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Vec<DownstreamTrigger> {
    let Some(field) = fields.take("downstream_triggers") else { return Vec::new() };
    let items = field.list(report, Definition::MAX_LIST_ENTRIES, "a list of objects");
    items.iter().filter_map(|item| trigger(report, item)).collect()
}

fn trigger(report: &mut Report<'_>, item: &Field<'_>) -> Option<DownstreamTrigger> {
    let mut fields = Fields::open(report, &item.path, item.node)?;
    let expected = "the name of a pipeline";
    let pipeline = fields.take("pipeline");
    if pipeline.is_none() {
        report.error(item.node.place, &fields.path_of("pipeline"), format!("missing, expected {expected}"));
    }
    let pipeline = pipeline.and_then(|field| field.parsed(report, expected));
    let on_success = flag(report, &mut fields, "on_success", true);
    let on_failure = flag(report, &mut fields, "on_failure", false);
    let on_route = fields.take("on_route").and_then(|field| {
        let text = bounded_text(report, &field, DownstreamTrigger::MAX_ROUTE_CHARS)?;
        if text.trim().is_empty() {
            field.wrong(report, "the name of a route");
        }
        Some(text)
    });
    let run_config_id =
        fields.take("run_config_id").and_then(|field| field.parsed(report, ConfigName::EXPECTED));
    if !on_success && !on_failure && on_route.is_none() {
        let message = "starts nothing: set `on_success`, `on_failure` or `on_route`";
        report.warning(item.node.place, &item.path, message);
    }
    fields.finish(report);
    let triggered = DownstreamTrigger::on_success_of(pipeline?);
    Some(DownstreamTrigger { on_success, on_failure, on_route, run_config_id, ..triggered })
}

fn cells(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Vec<CellPolicy> {
    let Some(field) = fields.take("cells") else { return Vec::new() };
    let default = CellPolicy::default();
    let mut cells = Vec::new();
    for item in field.list(report, Definition::MAX_LIST_ENTRIES, "a list of objects") {
        let Some(mut fields) = Fields::open(report, &item.path, item.node) else { continue };
        let retries = fields
            .take("retries")
            .and_then(|field| field.whole(report, 0..=RetryPolicy::MAX_ATTEMPTS, "further tries"));
        let delay = seconds(report, &mut fields, "delay_seconds", 0..=Seconds::MAX.0);
        fields.finish(report);
        cells.push(CellPolicy {
            retries: retries.unwrap_or(default.retries),
            delay: delay.unwrap_or(default.delay),
        });
    }
    cells
}
