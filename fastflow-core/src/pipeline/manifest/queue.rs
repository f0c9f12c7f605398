//! How runs stand in the queue.

use std::{collections::BTreeMap, num::NonZeroU32};

use super::{
    Report,
    field::{Field, Fields},
    node::Kind,
    read,
};
use crate::pipeline::{ConfigName, QueuePolicy, WhenFull};

pub(super) fn policy(report: &mut Report<'_>, fields: &mut Fields<'_>) -> QueuePolicy {
    let choices = [("queue", WhenFull::Queue), ("reject", WhenFull::Reject), ("replace", WhenFull::Replace)];
    let policy = QueuePolicy {
        priority: fields
            .take("priority")
            .and_then(|field| field.whole(report, i16::MIN..=i16::MAX, "a priority"))
            .unwrap_or_default(),
        max_instances: read::positive(report, fields, "max_instances", "runs"),
        when_full: fields
            .take("when_full")
            .and_then(|field| field.choice(report, &choices))
            .unwrap_or_default(),
        pools: fields.take("pools").map(|field| pools(report, &field)).unwrap_or_default(),
    };
    if policy.when_full != WhenFull::default() && !fields.has("max_instances") {
        let message = "has no effect without `max_instances`: the queue is never full";
        report.warning(fields.place_of("when_full"), "when_full", message);
    }
    policy
}

/// A list of names, of each of which a run holds one slot, or an object with the slots of each.
fn pools(report: &mut Report<'_>, field: &Field<'_>) -> BTreeMap<ConfigName, NonZeroU32> {
    let mut pools = BTreeMap::new();
    if !matches!(field.node.kind, Kind::Object(_)) {
        let expected = "a list of names of pools, or an object with the slots of each, such as {\"db\": 2}";
        for item in field.list(report, QueuePolicy::MAX_POOLS, expected) {
            let Some(name) = item.parsed(report, ConfigName::EXPECTED) else { continue };
            if pools.insert(name, NonZeroU32::MIN).is_some() {
                let message = "found this name twice; it counts once: write {\"name\": 2} for two slots";
                report.warning(item.node.place, &item.path, message);
            }
        }
        return pools;
    }
    let entries = field.entries(report);
    if entries.len() > QueuePolicy::MAX_POOLS {
        let message = format!("found {} entries, expected at most {}", entries.len(), QueuePolicy::MAX_POOLS);
        report.error(field.node.place, &field.path, message);
        return pools;
    }
    for (name, place, slots) in entries {
        let parsed = name.parse::<ConfigName>();
        if parsed.is_err() {
            let message = format!("found \"{}\", expected {}", name.escape_debug(), ConfigName::EXPECTED);
            report.error(place, &field.path, message);
        }
        let slots = slots.whole(report, 1..=u32::MAX, "slots").and_then(NonZeroU32::new);
        pools.extend(parsed.ok().zip(slots));
    }
    pools
}
