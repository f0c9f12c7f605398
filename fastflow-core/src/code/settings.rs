//! Which settings code may have.

use crate::pipeline::{Diagnostic, Pipeline};

/// Why code has no such setting, and the fields that this is true of.
const REFUSED: [(&str, &[&str]); 6] = [
    (
        "code is run when it is submitted, and by no schedule",
        &[
            "blackouts",
            "catch_up",
            "catch_up_window",
            "daylight",
            "jitter",
            "overlap",
            "run_once_at",
            "schedule_cron",
            "schedule_end",
            "schedule_interval_seconds",
            "schedule_start",
            "schedules",
            "timezone",
        ],
    ),
    ("code is run when it is submitted, and by no webhook", &["webhook_key"]),
    ("nothing is kept warm for code, since nobody knows when it is submitted again", &["warm"]),
    (
        "code is run once, and not kept running",
        &[
            "restart_cooldown",
            "restart_healthy_after",
            "restart_interval",
            "restart_limit",
            "restart_max_cooldown",
            "restart_on_crash",
        ],
    ),
    ("nothing follows code, and it follows nothing", &["after", "downstream_triggers"]),
    (
        "a value is sealed for a pipeline, and code is none; store a global secret and name it in `secrets`",
        &["encrypted_env"],
    ),
];

/// What is wrong with the settings of code, beside what would be wrong with those of a pipeline.
pub(super) fn check(pipeline: &Pipeline) -> Result<(), Vec<Diagnostic>> {
    let mut findings = Vec::new();
    for (why, fields) in REFUSED {
        for field in fields {
            let Some(place) = pipeline.locations.get(*field) else { continue };
            let message = format!("{why}; take it out, or make this a pipeline");
            findings.push(Diagnostic::error(place.file.clone(), *field, message).at(place.position));
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Those that code may have.
    const ALLOWED: [&str; 36] = [
        "cells",
        "cpu_hard_limit",
        "cpu_soft_limit",
        "default_env",
        "description",
        "enabled",
        "executor",
        "heartbeat_timeout",
        "image",
        "log_max_size",
        "max_instances",
        "max_processes",
        "mem_hard_limit",
        "mem_soft_limit",
        "network",
        "no_output_timeout",
        "parameters",
        "pools",
        "priority",
        "python_version",
        "retry_attempts",
        "retry_exit_codes",
        "retry_jitter_percent",
        "retry_max_delay",
        "retry_memory",
        "retry_on",
        "retry_strategy",
        "secrets",
        "secrets_as",
        "soft_limit_action",
        "stop_grace",
        "tags",
        "timeout",
        "type",
        "undeclared_parameters",
        "when_full",
    ];

    /// A new field is decided on here before it means anything for code.
    #[test]
    fn every_field_is_allowed_or_refused() {
        let schema = crate::pipeline::manifest_schema();
        let fields = schema["properties"].as_object().unwrap().keys().map(String::as_str);
        let refused = REFUSED.iter().flat_map(|(_, fields)| fields.iter().copied());
        let decided: Vec<&str> = refused.chain(ALLOWED).collect();
        assert_eq!(decided.iter().copied().collect::<BTreeSet<_>>(), fields.collect::<BTreeSet<_>>());
        assert_eq!(decided.len(), decided.iter().collect::<BTreeSet<_>>().len(), "decided twice");
    }
}
