//! What is read and kept, and not acted on.

use fastflow_core::pipeline::*;

use super::{FULL, good};

#[test]
fn what_is_not_acted_on_is_named() {
    let names: Vec<String> = good(FULL).unsupported().iter().map(|field| field.name().to_owned()).collect();
    assert_eq!(names, ["type", "webhook_key", "cells"]);
    let acted_on = r#"{"timeout": 1, "retry_attempts": 1, "default_env": {"A": "1"}, "cpu_hard_limit": 1,
        "mem_hard_limit": "64m", "cpu_soft_limit": 0.5, "mem_soft_limit": "32m", "enabled": false, "tags": ["a"],
        "description": "x", "python_version": "3.12", "executor": "process", "stop_grace": 1, "max_processes": 9,
        "retry_max_delay": 5, "retry_jitter_percent": 50, "retry_on": ["out_of_memory"], "retry_exit_codes": [75],
        "retry_memory": {"max": "4g"}, "no_output_timeout": 5, "heartbeat_timeout": 5, "soft_limit_action": "stop",
        "schedule_cron": "@daily", "run_once_at": "2026-01-01", "overlap": "queue",
        "downstream_triggers": [{"pipeline": "b"}], "after": ["c"], "restart_on_crash": true, "restart_limit": 1,
        "restart_interval": 60, "max_instances": 1, "when_full": "reject", "pools": ["db"], "priority": 1,
        "parameters": {"P": {}}, "undeclared_parameters": "refuse",
        "encrypted_env": {"S": "ff1.c2VhbGVk"}, "secrets": ["TOKEN"], "secrets_as": "files"}"#;
    assert_eq!(good(acted_on).unsupported(), []);
    let entry =
        |more: &str| format!(r#"{{"schedules": [{{"id": "a", "schedule_interval_seconds": 5{more}}}]}}"#);
    for acted_on in ["", r#", "encrypted_env": {"A": "ff1.c2VhbGVk"}"#] {
        assert_eq!(good(&entry(acted_on)).unsupported(), []);
    }
    let keyed = good(&entry(r#", "webhook_key": "0123456789abcdef""#));
    let pointers: Vec<_> = keyed.unsupported().into_iter().map(|field| field.pointer).collect();
    assert_eq!(pointers, ["/schedules"]);
    let texts = PipelineTexts {
        script: Some(("main.py", "# /// script\n# [tool.fastflow]\n# type = \"notebook\"\n# ///\n")),
        manifest: Some(("pipeline.json", "{\n  \"webhook_key\": \"0123456789abcdef\"\n}")),
        files: ["main.ipynb".to_owned()].into(),
        ..PipelineTexts::default()
    };
    let pipeline = texts.assemble("etl".parse().unwrap()).unwrap();
    let shown: Vec<String> = pipeline.unsupported().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["type (main.py:3:3)", "webhook_key (pipeline.json:2:3)"]);
}
