//! What is read and kept, and not acted on.

use fastflow_core::pipeline::*;

use super::{FULL, good, parse};

#[test]
fn what_is_not_acted_on_is_named() {
    let names: Vec<String> = good(FULL).unsupported().iter().map(|field| field.name().to_owned()).collect();
    assert_eq!(
        names,
        [
            "type",
            "schedule_cron",
            "schedule_start",
            "schedule_end",
            "run_once_at",
            "downstream_triggers",
            "after",
            "webhook_key",
            "encrypted_env",
            "secrets",
            "restart_on_crash",
            "restart_cooldown",
            "restart_max_cooldown",
            "restart_limit",
            "restart_healthy_after",
            "restart_interval",
            "priority",
            "max_instances",
            "when_full",
            "pools",
            "parameters",
            "undeclared_parameters",
            "cells",
        ]
    );
    let acted_on = r#"{"timeout": 1, "retry_attempts": 1, "default_env": {"A": "1"}, "cpu_hard_limit": 1,
        "mem_hard_limit": "64m", "cpu_soft_limit": 0.5, "mem_soft_limit": "32m", "enabled": false, "tags": ["a"],
        "description": "x", "python_version": "3.12", "executor": "process", "stop_grace": 1, "max_processes": 9,
        "retry_max_delay": 5, "retry_jitter_percent": 50, "retry_on": ["lost"], "retry_exit_codes": [75],
        "retry_memory": {"max": "4g"}, "no_output_timeout": 5, "heartbeat_timeout": 5, "soft_limit_action": "stop"}"#;
    assert_eq!(good(acted_on).unsupported(), []);
    let interval =
        r#"{"schedules": [{"id": "a", "schedule_interval_seconds": 5}], "schedule_interval_seconds": 5}"#;
    let (definition, _) = parse(interval);
    let pointers: Vec<_> = definition.unwrap().unsupported().into_iter().map(|field| field.pointer).collect();
    assert_eq!(pointers, ["/schedule_interval_seconds", "/schedules"]);
    let texts = PipelineTexts {
        script: Some(("main.py", "# /// script\n# [tool.fastflow]\n# max_instances = 1\n# ///\n")),
        manifest: Some(("pipeline.json", "{\n  \"schedule_cron\": \"@daily\"\n}")),
        ..PipelineTexts::default()
    };
    let pipeline = texts.assemble("etl".parse().unwrap()).unwrap();
    let shown: Vec<String> = pipeline.unsupported().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["schedule_cron (pipeline.json:2:3)", "max_instances (main.py:3:3)"]);
}
