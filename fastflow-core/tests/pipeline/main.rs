//! What `pipeline.json` and a script's metadata say: read in full, checked in full, and told with its place.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its input has failed")]

mod chain;
mod configured;
mod fields;
mod files;
mod findings;
mod parameters;
mod policies;
mod property;
mod retry;
mod schema;
mod secrets;
mod unsupported;

use fastflow_core::pipeline::*;

fn parse(text: &str) -> (Option<Definition>, Vec<String>) {
    let (definition, findings) = parse_manifest("pipeline.json", text);
    assert_eq!(definition.is_none(), findings.iter().any(Diagnostic::is_error), "{findings:?}");
    (definition, findings.iter().map(ToString::to_string).collect())
}

fn good(text: &str) -> Definition {
    let (definition, findings) = parse(text);
    assert_eq!(findings, Vec::<String>::new(), "{text}");
    definition.unwrap()
}

/// The findings of a text that must have an error.
fn bad(text: &str) -> Vec<String> {
    let (definition, findings) = parse(text);
    assert!(definition.is_none(), "{text} was accepted: {findings:?}");
    findings
}

const FULL: &str = r#"{
  "$schema": "x",
  "description": "all",
  "tags": ["a", "b"],
  "enabled": false,
  "type": "notebook",
  "python_version": "3.12",
  "executor": "process",
  "image": "python:3.12-slim",
  "network": "none",
  "warm": 2,
  "cpu_hard_limit": 1.5,
  "mem_hard_limit": "1.5g",
  "cpu_soft_limit": 0.5,
  "mem_soft_limit": "512Mi",
  "max_processes": 64,
  "timeout": 0,
  "stop_grace": 3,
  "log_max_size": "2GB",
  "retry_attempts": 2,
  "retry_strategy": {"type": "exponential_backoff", "initial_delay": 1, "max_delay": 9, "multiplier": 1.5},
  "default_env": {"A": "1", "EMPTY": ""},
  "encrypted_env": {"B": "gAAAAA"},
  "secrets": ["TOKEN"],
  "secrets_as": "files",
  "webhook_key": "0123456789abcdef",
  "schedule_cron": "*/5 * * * *",
  "schedule_start": "2026-01-01",
  "schedule_end": "2026-01-01",
  "run_once_at": "2026-01-01T10:00:00",
  "restart_on_crash": true,
  "restart_cooldown": 5,
  "restart_interval": "86400",
  "max_instances": 1,
  "downstream_triggers": [{"pipeline": "next", "on_failure": true, "on_route": "r", "run_config_id": "c", "parameters": {"FROM": "month"}}],
  "schedules": [],
  "retry_jitter_percent": 50,
  "retry_max_delay": 600,
  "retry_on": ["lost", "out_of_memory"],
  "retry_exit_codes": [75],
  "retry_memory": {"factor": 1.5, "max": "4g"},
  "timezone": "Europe/Berlin",
  "daylight": {"gap": "skip", "fold": "last"},
  "overlap": "queue",
  "catch_up": {"all": 3},
  "catch_up_window": 60,
  "jitter": 30,
  "blackouts": ["holidays"],
  "restart_max_cooldown": 100,
  "restart_limit": 3,
  "restart_healthy_after": 50,
  "priority": -5,
  "when_full": "replace",
  "pools": {"database": 2},
  "parameters": {"MONTH": {"type": "integer", "default": 1, "choices": [1, 2]}},
  "undeclared_parameters": "refuse",
  "no_output_timeout": 600,
  "heartbeat_timeout": 60,
  "soft_limit_action": "stop",
  "after": ["extract", "clean"],
  "cells": [{"retries": 3}, {}]
}"#;
