//! How a pipeline is kept running, and when its program counts as healthy.

use std::{num::NonZeroU32, ops::RangeInclusive};

use super::{
    Report,
    field::{Field, Fields},
    node::Kind,
    read,
};
use crate::pipeline::{CronText, DaemonPolicy, HealthPolicy, RestartInterval, Seconds, SoftLimitAction};

const ANY: RangeInclusive<u32> = 0..=Seconds::MAX.0;

pub(super) fn policy(report: &mut Report<'_>, fields: &mut Fields<'_>) -> DaemonPolicy {
    let default = DaemonPolicy::default();
    let restart_cooldown =
        read::seconds(report, fields, "restart_cooldown", ANY).unwrap_or(default.restart_cooldown);
    let max_cooldown = read::seconds(report, fields, "restart_max_cooldown", ANY);
    if max_cooldown.is_some_and(|max| max < restart_cooldown) {
        let message = "is below `restart_cooldown`, so every pause is this long";
        report.warning(fields.place_of("restart_max_cooldown"), "restart_max_cooldown", message);
    }
    DaemonPolicy {
        restart_on_crash: read::flag(report, fields, "restart_on_crash", default.restart_on_crash),
        restart_cooldown,
        // A long pause that somebody asked for is not cut by a bound that nobody did.
        restart_max_cooldown: max_cooldown.unwrap_or(default.restart_max_cooldown.max(restart_cooldown)),
        restart_limit: fields
            .take("restart_limit")
            .and_then(|field| field.whole(report, 0..=u32::MAX, "restarts (0 is no limit)"))
            .unwrap_or(default.restart_limit),
        restart_healthy_after: read::seconds(report, fields, "restart_healthy_after", ANY)
            .unwrap_or(default.restart_healthy_after),
        restart_interval: fields.take("restart_interval").and_then(|field| restart_interval(report, &field)),
    }
}

fn restart_interval(report: &mut Report<'_>, field: &Field<'_>) -> Option<RestartInterval> {
    let expected = format!("seconds from 1 to {}, or {}", Seconds::MAX.0, CronText::EXPECTED);
    let in_range = |seconds: &NonZeroU32| seconds.get() <= Seconds::MAX.0;
    let interval = if let Kind::Text(text) = &field.node.kind {
        match text.trim().parse::<NonZeroU32>() {
            Ok(seconds) => Some(seconds).filter(in_range).map(RestartInterval::Seconds),
            Err(_) => text.parse().ok().map(RestartInterval::Cron),
        }
    } else {
        return field
            .whole(report, 1..=Seconds::MAX.0, "seconds, or a cron expression,")
            .and_then(NonZeroU32::new)
            .map(RestartInterval::Seconds);
    };
    if interval.is_none() {
        field.wrong(report, expected);
    }
    interval
}

pub(super) fn health(report: &mut Report<'_>, fields: &mut Fields<'_>) -> HealthPolicy {
    let some = 1..=Seconds::MAX.0;
    let actions = [("record", SoftLimitAction::Record), ("stop", SoftLimitAction::Stop)];
    HealthPolicy {
        no_output_timeout: read::seconds(report, fields, "no_output_timeout", some.clone()),
        heartbeat_timeout: read::seconds(report, fields, "heartbeat_timeout", some),
        soft_limit: fields
            .take("soft_limit_action")
            .and_then(|field| field.choice(report, &actions))
            .unwrap_or_default(),
    }
}
