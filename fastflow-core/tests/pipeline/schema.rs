//! The schema of the file, held against the reader.

use std::{fs, path::Path};

use fastflow_core::pipeline::*;
use serde_json::{Value, json};

use super::{FULL, good, parse};

fn docs(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_schema_and_the_guide_are_those_of_the_types() {
    const HOW: &str = "out of date: run `cargo run -p fastflow-core --example schema`";
    let schema = serde_json::to_string_pretty(&manifest_schema()).unwrap();
    assert!(docs("pipeline.schema.json") == format!("{schema}\n"), "docs/pipeline.schema.json is {HOW}");
    let guide = docs("guide/pipeline-json.md");
    assert!(guide.contains(&manifest_table()), "the table in docs/guide/pipeline-json.md is {HOW}");
}

/// Values of all kinds, right for some field each.
const VALUES: &str = r#"[
  null, true, false, 0, 1, -1, 2.5, 60.0, 0.009, 0.01, 3600, 3601, 1000, 1001, 10000, 10001, 31622400, 31622401,
  4294967295, 4294967296, 67108864, 1e300, [], {}, [1], [60, 1], ["a"], ["A", "B"], [""], ["a,b"], [null], [{}],
  {"A": "1"}, {"A": 1}, {"": "1"}, {"a b": "1"}, {"A": null}, {"A=": "1"}, [["a"]],
  [{"id": "a", "schedule_cron": "@daily"}],
  [{"id": "a", "schedule_interval_seconds": 5, "timeout": 0, "mem_hard_limit": "64m"}],
  [{"id": "a", "schedule_cron": "@daily", "timeout": "x"}], [{"id": 5}],
  [{"pipeline": "a", "on_route": "x", "run_config_id": "b"}], [{"pipeline": "a/b"}],
  [{"retries": 1, "delay_seconds": 5}], [{"retries": -1}],
  {"type": "fixed_delay"}, {"type": "fixed_delay", "delay": 5}, {"type": "fixed_delay", "delay": "5"},
  {"type": "exponential_backoff", "multiplier": 1.5}, {"type": "exponential_backoff", "multiplier": 0.5},
  {"type": "custom_schedule"}, {"type": "custom_schedule", "delays": [1]},
  {"type": "custom_schedule", "delays": []}, {"type": "never"},
  "", "a", "process", "script", "notebook", "3.12", ">=3.11,<3.14", "pypy@3.10", "/usr/bin/python", "512m", "1.5g",
  "1.5", "512Mi", "2GB", "512 MiB", "7k", "100b", "0x10", "-1", "60", "@daily", "0 4 * * *", "0 0 4 * * *", "0 0 30 2 *", "* * *",
  "2026-01-31", "2026-01-31T08:00:00Z", "2026-01-31T08:00:00+01:00", "20260131", "2026-01-31 08:00", "tomorrow",
  "UTC", "Europe/Berlin", "Mars/Olympus", "skip", "shift", "first", "both", "allow", "latest", {"all": 3}, {"all": 0},
  "reject", "record", "stop", "refuse", -32768, 32768, 50, 101, 17, 255, [75], [0, 256], ["lost"], ["exit", "oom"],
  {"db": 2}, {"db": 0}, {"max": "4g"}, {"max": "4g", "factor": 1}, {"factor": 2}, {"max": null}, {"gap": "skip"},
  {"gap": "first"}, {"A": {}}, {"A": {"type": "date"}}, {"A": {"required": true}}, {"a b": {}}, "integer", "boolean",
  {"A": "month"}, {"A": ""}, {"A": "ff1.c2VhbGVk"}, {"A": "gAAAAABl"}, {"A": "ff1."}, {"A": " ff1.eA "}, "env", "files", ["-A"], ["_a.b-c"], [{"pipeline": "a", "parameters": {"A": "month"}}],
  "a/b", "a b", "ä", "0123456789abcdef", " 3.12 ", " @daily "
]"#;

fn values() -> Vec<Value> {
    let mut values: Vec<Value> = serde_json::from_str(VALUES).unwrap();
    values.extend([json!("x".repeat(64)), json!("x".repeat(10_001)), json!(vec!["x"; 1001])]);
    values
}

/// Where fields stand, and a file that has one of them there.
type Spot = (&'static str, fn(&str, &Value) -> Value);

/// Adds a field to an object that needs others, too.
fn with(mut object: Value, field: &str, value: &Value) -> Value {
    object[field] = value.clone();
    object
}

/// The top of the file, and the objects inside it by the names of their definitions in the schema.
const SPOTS: &[Spot] = &[
    ("", |field, value| json!({ field: value })),
    ("Daylight", |field, value| json!({ "daylight": { field: value } })),
    ("CatchUpAll", |field, value| json!({ "catch_up": with(json!({"all": 1}), field, value) })),
    ("Escalation", |field, value| json!({ "retry_memory": with(json!({"max": "4g"}), field, value) })),
    ("ParameterItem", |field, value| json!({ "parameters": { "A": { field: value } } })),
    (
        "TriggerItem",
        |field, value| json!({ "downstream_triggers": [with(json!({"pipeline": "a"}), field, value)] }),
    ),
    ("CellItem", |field, value| json!({ "type": "notebook", "cells": [{ field: value }] })),
    ("ScheduleItem", |field, value| {
        let rule =
            if field == "schedule_interval_seconds" { json!({}) } else { json!({"schedule_cron": "@daily"}) };
        json!({ "schedules": [with(with(rule, "id", &json!("a")), field, value)] })
    }),
];

/// Whatever the reader takes, the schema takes; and whatever the schema takes, the reader takes, apart from what a
/// schema cannot say.
#[test]
fn the_schema_and_the_reader_agree() {
    // The calendar; sizes after their unit is applied; at least a digit; a number of seconds or a cron
    // expression; a route or a tag of blanks only; an entry with exactly one of two fields; names of time zones;
    // values that fit another field.
    const BEYOND_SCHEMA: &[&str] = &[
        "schedule_start",
        "schedule_end",
        "schedule_cron",
        "run_once_at",
        "mem_hard_limit",
        "log_max_size",
        "python_version",
        "restart_interval",
        "schedules",
        "description",
        "timezone",
        "ParameterItem.default",
        "ParameterItem.choices",
        "ScheduleItem.schedule_cron",
        "ScheduleItem.schedule_interval_seconds",
        "ScheduleItem.schedule_start",
        "ScheduleItem.schedule_end",
        "ScheduleItem.mem_hard_limit",
        "ScheduleItem.timezone",
        "Escalation.max",
    ];
    let schema = manifest_schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for (spot, document) in SPOTS {
        let object = if spot.is_empty() { &schema } else { &schema["$defs"][spot] };
        for (field, described) in object["properties"].as_object().unwrap() {
            let name = if spot.is_empty() { field.clone() } else { format!("{spot}.{field}") };
            for value in values() {
                let document = document(field, &value);
                let (definition, found) = parse(&document.to_string());
                assert!(
                    !found.concat().contains(&format!("{field}: unknown field")),
                    "{document}: {found:?}"
                );
                let valid = validator.is_valid(&document);
                if definition.is_some() {
                    accepted += 1;
                    assert!(valid, "the reader takes {document}, the schema does not");
                } else {
                    refused += 1;
                    let beyond = BEYOND_SCHEMA.contains(&name.as_str());
                    assert!(!valid || beyond, "the schema takes {document}, the reader does not: {found:?}");
                }
            }
            for example in described["examples"].as_array().into_iter().flatten() {
                let (definition, found) = parse(&document(field, example).to_string());
                assert!(definition.is_some(), "{name}: {found:?}");
            }
            if let Some(default) = described.get("default") {
                // A default that is spelled out says no more than a field that is left out.
                let stated = parse(&document(field, default).to_string());
                assert_eq!(stated, parse(&document(field, &Value::Null).to_string()), "{name}");
            }
        }
    }
    assert!(accepted > 500 && refused > 3000, "{accepted} {refused}");
    assert!(validator.is_valid(&serde_json::from_str::<Value>(FULL).unwrap()));
    assert_eq!(good("{}"), Definition::default());
}
