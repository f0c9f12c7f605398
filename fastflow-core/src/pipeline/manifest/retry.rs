//! Whether and when a failed attempt is followed by another.

use std::{collections::BTreeSet, ops::RangeInclusive};

use super::{
    Report,
    field::{Field, Fields},
    node::Kind,
    read,
};
use crate::pipeline::{
    Definition, Limits, MemoryEscalation, RetryPolicy, RetryReason, RetryStrategy, RetryWhen, Seconds,
};

const ANY: RangeInclusive<u32> = 0..=Seconds::MAX.0;

pub(super) fn policy(report: &mut Report<'_>, fields: &mut Fields<'_>) -> RetryPolicy {
    RetryPolicy {
        attempts: attempts(report, fields).unwrap_or_default(),
        strategy: strategy(report, fields).unwrap_or_default(),
        jitter_percent: fields
            .take("retry_jitter_percent")
            .and_then(|field| field.whole(report, 0..=100, "percent of each wait"))
            .unwrap_or_default(),
        max_delay: read::seconds(report, fields, "retry_max_delay", ANY),
        when: when(report, fields),
        memory: fields.take("retry_memory").and_then(|field| {
            let mut inner = Fields::open(report, &field.path, field.node)?;
            let memory = memory(report, &mut inner);
            inner.finish(report);
            memory
        }),
    }
}

fn when(report: &mut Report<'_>, fields: &mut Fields<'_>) -> RetryWhen {
    let reasons = fields.take("retry_on").map(|field| reasons(report, &field)).unwrap_or_default();
    let exit_codes =
        fields.take("retry_exit_codes").map(|field| exit_codes(report, &field)).unwrap_or_default();
    if reasons.contains(&RetryReason::Exit) && !exit_codes.is_empty() {
        let message = "has no effect because `retry_on` has \"exit\", which is every exit code other than 0";
        report.warning(fields.place_of("retry_exit_codes"), "retry_exit_codes", message);
    }
    RetryWhen { reasons, exit_codes }
}

fn reasons(report: &mut Report<'_>, field: &Field<'_>) -> BTreeSet<RetryReason> {
    let choices = RetryReason::ALL.map(|reason| (reason.as_str(), reason));
    let mut reasons = BTreeSet::new();
    for item in field.list(report, Definition::MAX_LIST_ENTRIES, "a list of reasons, such as [\"lost\"]") {
        let Some(reason) = item.choice(report, &choices) else { continue };
        if !reasons.insert(reason) {
            report.warning(item.node.place, &item.path, "found this reason twice; it counts once");
        }
    }
    reasons
}

fn exit_codes(report: &mut Report<'_>, field: &Field<'_>) -> BTreeSet<u8> {
    let mut codes = BTreeSet::new();
    for item in field.list(report, Definition::MAX_LIST_ENTRIES, "a list of exit codes, such as [75]") {
        let Some(code) = item.whole(report, 1..=u8::MAX, "an exit code") else { continue };
        if !codes.insert(code) {
            report.warning(item.node.place, &item.path, "found this exit code twice; it counts once");
        }
    }
    codes
}

pub(super) fn memory(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<MemoryEscalation> {
    let factor = fields.take("factor").and_then(|field| {
        let number = field.number().filter(|number| *number > 1.0 && *number <= MemoryEscalation::MAX_FACTOR);
        if number.is_none() {
            field.wrong(report, format!("a number above 1, at most {}", MemoryEscalation::MAX_FACTOR));
        }
        number
    });
    if !fields.has("max") {
        let message = "missing, expected the highest limit, such as \"4g\"";
        report.error(fields.place, &fields.path_of("max"), message);
    }
    let max = read::byte_size(report, fields, "max", Limits::MIN_MEMORY)?;
    Some(MemoryEscalation { factor: factor.unwrap_or(MemoryEscalation::DEFAULT_FACTOR), max })
}

/// The rules between `retry_memory` and the limit that it raises, which may stand in an entry of `schedules`.
pub(super) fn check(report: &mut Report<'_>, fields: &Fields<'_>, definition: &Definition) {
    let Some(memory) = &definition.retry.memory else { return };
    let entries = definition.schedules.iter().map(|entry| &entry.limits);
    let limits = entries.chain([&definition.limits]).filter_map(|limits| limits.memory);
    let when = &definition.retry.when;
    let message = match limits.min() {
        None => "has no effect without `mem_hard_limit`: there is no limit to raise",
        Some(least) if memory.max <= least => "has no effect because its `max` is not above `mem_hard_limit`",
        _ if *when != RetryWhen::default() && !when.reasons.contains(&RetryReason::OutOfMemory) => {
            "has no effect because `retry_on` does not have \"out_of_memory\""
        }
        _ => return,
    };
    report.warning(fields.place_of("retry_memory"), "retry_memory", message);
}

pub(super) fn attempts(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<u32> {
    fields.take("retry_attempts")?.whole(report, 0..=RetryPolicy::MAX_ATTEMPTS, "further attempts")
}

pub(super) fn strategy(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<RetryStrategy> {
    const TYPES: &str = "\"fixed_delay\", \"exponential_backoff\" or \"custom_schedule\"";
    let field = fields.take("retry_strategy")?;
    let mut inner = Fields::open(report, &field.path, field.node)?;
    let Some(kind) = inner.take("type") else {
        report.error(field.node.place, &inner.path_of("type"), format!("missing, expected {TYPES}"));
        return None;
    };
    let strategy = match kind.text(report, TYPES)? {
        "fixed_delay" => RetryStrategy::Fixed {
            delay: read::seconds(report, &mut inner, "delay", ANY).unwrap_or(RetryStrategy::DEFAULT_DELAY),
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
    let initial_delay =
        read::seconds(report, fields, "initial_delay", ANY).unwrap_or(RetryStrategy::DEFAULT_DELAY);
    let max_delay =
        read::seconds(report, fields, "max_delay", ANY).unwrap_or(RetryStrategy::DEFAULT_MAX_DELAY);
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
    if matches!(&field.node.kind, Kind::List(nodes) if nodes.is_empty()) {
        report.error(field.node.place, &field.path, format!("found an empty list, expected {expected}"));
    }
    let items = field.list(report, RetryStrategy::MAX_DELAYS, expected);
    let wait = |item: Field<'_>| item.whole(report, 0..=Seconds::MAX.0, "seconds").map(Seconds);
    items.into_iter().filter_map(wait).collect()
}
