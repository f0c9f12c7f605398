//! What `pipeline.json` and a script's metadata say: read in full, checked in full, and told with its place.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its input has failed")]

use std::{collections::BTreeSet, fs, path::Path};

use fastflow_core::pipeline::*;
use proptest::prelude::*;
use serde_json::{Value, json};

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
  "webhook_key": "0123456789abcdef",
  "schedule_cron": "*/5 * * * *",
  "schedule_start": "2026-01-01",
  "schedule_end": "2026-01-01",
  "run_once_at": "2026-01-01T10:00:00",
  "restart_on_crash": true,
  "restart_cooldown": 5,
  "restart_interval": "86400",
  "max_instances": 1,
  "downstream_triggers": [{"pipeline": "next", "on_failure": true, "on_route": "r", "run_config_id": "c"}],
  "schedules": [],
  "cells": [{"retries": 3}, {}]
}"#;

#[test]
fn every_field_is_read() {
    let d = good(FULL);
    assert_eq!((d.description.as_deref(), d.tags.len(), d.enabled), (Some("all"), 2, false));
    assert_eq!((d.kind, d.max_processes.unwrap().get()), (PipelineKind::Notebook, 64));
    assert_eq!(d.python_version.unwrap().as_str(), "3.12");
    assert_eq!(d.executor.unwrap().as_str(), "process");
    assert_eq!((d.image.unwrap().as_str(), d.network, d.warm), ("python:3.12-slim", Network::None, 2));
    assert_eq!(
        d.limits,
        Limits {
            cpu: Some(CpuMillis(1500)),
            memory: Some(ByteSize(3 << 29)),
            soft_cpu: Some(CpuMillis(500)),
            soft_memory: Some(ByteSize(512 << 20)),
            timeout: Some(Timeout::Unlimited),
        }
    );
    assert_eq!((d.stop_grace, d.log_max_size), (Seconds(3), ByteSize(2 << 30)));
    let (initial_delay, max_delay) = (Seconds(1), Seconds(9));
    let strategy = RetryStrategy::Exponential { initial_delay, max_delay, multiplier: 1.5 };
    assert_eq!(d.retry, RetryPolicy { attempts: 2, strategy, ..RetryPolicy::default() });
    assert_eq!(d.default_env.values().collect::<Vec<_>>(), ["1", ""]);
    assert_eq!((d.encrypted_env.len(), d.secrets.len()), (1, 1));
    assert_eq!(d.webhook_key.unwrap().expose(), "0123456789abcdef");
    assert!(matches!(d.schedule.rule, Some(ScheduleRule::Cron(_))));
    assert!(d.schedule.window.start.is_some() && d.schedule.window.end.is_some());
    assert_eq!(d.schedule.run_once_at.unwrap().to_string(), "2026-01-01T10:00:00Z");
    assert!(d.daemon.restart_on_crash);
    assert_eq!(d.daemon.restart_cooldown, Seconds(5));
    assert!(matches!(d.daemon.restart_interval, Some(RestartInterval::Seconds(n)) if n.get() == 86_400));
    assert_eq!(d.queue.max_instances.unwrap().get(), 1);
    let trigger = &d.downstream_triggers[0];
    assert!(trigger.on_success && trigger.on_failure);
    assert_eq!(
        (trigger.on_route.as_deref(), trigger.run_config_id.as_ref().unwrap().as_str()),
        (Some("r"), "c")
    );
    let cell = |retries| CellPolicy { retries, delay: Seconds(1) };
    assert_eq!(d.cells, [cell(3), cell(0)]);
}

#[test]
fn an_empty_file_and_nulls_are_the_defaults() {
    assert_eq!(good("{}"), Definition::default());
    assert_eq!(good("\u{feff}{}"), Definition::default());
    let all: Value = serde_json::from_str(FULL).unwrap();
    let nulls: Value = all.as_object().unwrap().keys().map(|key| (key.clone(), Value::Null)).collect();
    assert_eq!(good(&nulls.to_string()), Definition::default());
}

#[test]
fn every_field_refuses_wrong_types_and_ranges() {
    let cases: &[(&str, &[&str])] = &[
        ("description", &["1", "[]", "\"a\\u0000b\""]),
        ("tags", &["\"a\"", "[1]", "[\"\"]", "[\"a,b\"]", "{}"]),
        ("enabled", &["\"true\"", "1"]),
        ("type", &["\"daemon\"", "1", "\"Script\""]),
        ("python_version", &["3.10", "\"/usr/bin/python\"", "\"-c\"", "\"\"", "\"latest\""]),
        ("executor", &["\"../x\"", "\"\"", "1"]),
        ("image", &["\"--privileged\"", "\"\"", "1", "\"a b\""]),
        ("network", &["\"host\"", "\"\"", "1", "\"None\""]),
        ("warm", &["-1", "65", "1.5", "\"1\"", "true"]),
        ("cpu_hard_limit", &["0", "-1", "\"1\"", "20000", "1e400", "true"]),
        ("cpu_soft_limit", &["0", "\"half\""]),
        ("mem_hard_limit", &["\"lots\"", "0", "-5", "1.5", "512", "\"1m\"", "\"99999999t\"", "true", "[]"]),
        ("mem_soft_limit", &["\"\"", "0", "{}"]),
        ("max_processes", &["0", "-1", "1.5", "\"1\"", "4294967296"]),
        ("timeout", &["-1", "1.5", "\"60\"", "31622401", "true", "[60]"]),
        ("stop_grace", &["-1", "3601", "\"10\""]),
        ("log_max_size", &["\"1k\"", "0", "\"big\""]),
        ("retry_attempts", &["-1", "1001", "\"2\"", "0.5"]),
        ("default_env", &["[]", "{\"A\": 1}", "{\"A\": null}", "{\"\": \"\"}", "{\"A=B\": \"\"}"]),
        ("default_env", &["{\"PATH\": \"x\"}", "{\"LD_PRELOAD\": \"x\"}", "{\"A\": \"\\u0000\"}"]),
        ("encrypted_env", &["[]", "{\"A\": 1}", "{\"UV_INDEX\": \"x\"}"]),
        ("secrets", &["\"A\"", "[1]", "[\"PYTHONPATH\"]", "{}"]),
        ("webhook_key", &["1", "\"a/b\"", "\"a b\""]),
        ("schedule_cron", &["\"\"", "\"* * *\"", "\"* * * * * * *\"", "5", "\"every day at noon ok\u{e4}\""]),
        ("schedule_cron", &["\"0 24 * * *\"", "\"0 0 30 2 *\"", "\"@reboot\"", "\"0 0 * JANFEB *\""]),
        ("schedule_interval_seconds", &["0", "-5", "1.5", "\"60\""]),
        ("schedule_start", &["\"soon\"", "20260101", "\"2026-13-01\""]),
        ("schedule_end", &["\"2026-02-30\"", "true"]),
        ("run_once_at", &["\"\"", "\"noon\"", "1767225600"]),
        ("restart_on_crash", &["\"yes\"", "0"]),
        ("restart_cooldown", &["-1", "\"5\""]),
        ("restart_interval", &["0", "\"0\"", "\"often\"", "true", "99999999"]),
        ("max_instances", &["0", "\"1\"", "2.5"]),
        ("downstream_triggers", &["{}", "[1]", "[{}]", "[{\"pipeline\": \"../x\"}]"]),
        ("downstream_triggers", &["[{\"pipeline\": \"a\", \"on_route\": \" \"}]"]),
        ("cells", &["1", "[1]", "[{\"retries\": -1}]", "[{\"delay_seconds\": \"1\"}]"]),
        ("retry_strategy", &["\"fixed\"", "{}", "{\"type\": \"linear\"}", "{\"type\": 1}", "[]"]),
        ("retry_strategy", &["{\"type\": \"fixed_delay\", \"delay\": -1}"]),
        ("retry_strategy", &["{\"type\": \"exponential_backoff\", \"multiplier\": 0.5}"]),
        ("retry_strategy", &["{\"type\": \"custom_schedule\"}"]),
        ("retry_strategy", &["{\"type\": \"custom_schedule\", \"delays\": []}"]),
        ("retry_strategy", &["{\"type\": \"custom_schedule\", \"delays\": [1, \"2\"]}"]),
        ("schedules", &["{}", "[1]", "[{}]", "[{\"id\": \"a\"}]", "[{\"schedule_cron\": \"@daily\"}]"]),
        ("schedules", &["[{\"id\": \"a b\", \"schedule_cron\": \"@daily\"}]"]),
        ("schedules", &["[{\"id\": \"a\", \"schedule_cron\": \"@daily\", \"timeout\": \"1\"}]"]),
    ];
    let covered: BTreeSet<&str> = cases.iter().map(|(field, _)| *field).collect();
    let schema = manifest_schema();
    let fields: BTreeSet<&str> =
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(covered, fields, "every field has its wrong values here");
    for (field, values) in cases {
        for value in *values {
            let findings = bad(&format!("{{\"{field}\": {value}}}"));
            let prefix = format!(": {field}");
            assert!(findings.iter().all(|text| text.contains(&prefix)), "{field} = {value}: {findings:?}");
        }
    }
}

#[test]
fn all_errors_of_a_file_are_told_at_once_with_their_places() {
    let text = "{\n  \"timeout\": \"abc\",\n  \"tags\": [\"ä\", 5],\n  \"descripton\": \"x\",\n  \
                \"retry_strategy\": {\"type\": \"fixed_delay\", \"delay\": \"1m\"},\n  \"schedules\": [\n    \
                {\"id\": \"a\", \"schedule_cron\": \"@daily\"},\n    {\"id\": \"a\", \"schedule_cron\": \
                \"@daily\", \"enbled\": true}\n  ]\n}";
    let found = bad(text);
    let expected = [
        "pipeline.json:2:14: timeout: found \"abc\", expected seconds (0 is no limit) as a whole number from 0",
        "pipeline.json:3:17: tags[1]: found 5, expected a string",
        "pipeline.json:4:3: descripton: unknown field: did you mean `description`?",
        "pipeline.json:5:54: retry_strategy.delay: found \"1m\", expected seconds as a whole number",
        "pipeline.json:8:6: schedules[1].id: found \"a\" twice",
        "pipeline.json:8:44: schedules[1].enbled: unknown field: did you mean `enabled`?",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn only_strict_json_is_json() {
    for (text, place) in [
        ("", "1:1"),
        ("{", "1:1"),
        ("{\"timeout\": 5,}", "1:1"),
        ("{\"timeout\": 5} // no", "1:1"),
        ("/* no */ {}", "1:1"),
        ("{'timeout': 5}", "1:2"),
        ("{timeout: 5}", "1:2"),
        ("{\"timeout\": 0x10}", "1:13"),
        ("{\"timeout\": +1}", "1:13"),
        ("{\"timeout\": .5}", "1:13"),
        ("{\"timeout\": NaN}", "1:13"),
        ("{\"timeout\": 01}", "1:1"),
        ("{\"a\": \"\n\"}", "1:1"),
        ("{\"a\": \"\\x41\"}", "1:1"),
        ("{} {}", "1:1"),
        ("{\"a\": 1 \"b\": 2}", "1:1"),
        ("{\n\n  \"timeout\": x\n}", "3:14"),
    ] {
        let found = bad(text);
        assert_eq!(found.len(), 1, "{found:?}");
        // Where a reader notices is its own affair for some; the line is right for all.
        let line = place.split(':').next().unwrap();
        assert!(found[0].starts_with(&format!("pipeline.json:{line}:")), "{text}: {found:?}");
    }
    for text in ["[]", "1", "null", "\"x\""] {
        assert!(bad(text)[0].contains("expected an object"), "{text}");
    }
}

#[test]
fn doubles_depth_and_size_are_refused() {
    let doubled = bad("{\"timeout\": 1,\n \"timeout\": 2}");
    assert_eq!(
        doubled,
        [
            "pipeline.json:2:2: timeout: found twice; the first one stands at pipeline.json:1:2. Keep one of them"
        ]
    );
    assert!(bad("{\"default_env\": {\"A\": \"1\", \"A\": \"2\"}}")[0].contains("default_env.A: found twice"));
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(bad(&deep)[0].contains("levels"));
    for depth in [600, 100_000] {
        assert_eq!(bad(&"[".repeat(depth)).len(), 1);
        assert_eq!(bad(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))).len(), 1);
    }
    let large = format!("{{\"description\": \"{}\"}}", "x".repeat(MAX_FILE_BYTES));
    assert!(bad(&large)[0].contains("bytes, expected at most 1048576"));
    let many = (0..5000).map(|n| format!("\"f{n}\": 1")).collect::<Vec<_>>().join(",");
    let found = bad(&format!("{{{many}}}"));
    assert_eq!(found.len(), 201, "a flood is cut, and the cut is an error");
}

#[test]
fn fields_that_contradict_each_other_are_told() {
    let entry = |rest: &str| format!("{{\"schedules\": [{{\"id\": \"a\", {rest}}}]}}");
    for (text, part) in [
        (r#"{"schedule_cron": "@daily", "schedule_interval_seconds": 5}"#.to_owned(), "only one of them"),
        (entry(r#""schedule_cron": "@daily", "schedule_interval_seconds": 5"#), "only one of them"),
        (entry(r#""enabled": true"#), "schedules[0].schedule_cron: missing"),
        (
            r#"{"schedule_cron": "@daily", "schedule_start": "2026-01-02", "schedule_end": "2026-01-01"}"#
                .to_owned(),
            "schedule_end: found 2026-01-01, expected a moment after",
        ),
        (
            r#"{"webhook_key": "0123456789abcdef", "schedules": [{"id": "a", "schedule_cron": "@daily",
               "webhook_key": "0123456789abcdef"}]}"#
                .to_owned(),
            "the same key",
        ),
    ] {
        let found = bad(&text);
        assert!(found.len() == 1 && found[0].contains(part), "{text}: {found:?}");
    }
    for (text, part) in [
        (r#"{"schedule_start": "2026-01-02"}"#, "no effect without"),
        (r#"{"cpu_hard_limit": 1, "cpu_soft_limit": 2}"#, "above the hard limit"),
        (r#"{"mem_hard_limit": "64m", "mem_soft_limit": "65m"}"#, "above the hard limit"),
        (r#"{"webhook_key": "short"}"#, "guessed"),
        (r#"{"tags": ["a", "a"]}"#, "twice"),
        (r#"{"cells": [{}]}"#, "only for notebooks"),
        (
            r#"{"retry_strategy": {"type": "fixed_delay", "delays": [1]}}"#,
            "retry_strategy.delays: unknown field",
        ),
        (
            r#"{"schedule_cron": "@daily", "schedules": [{"id": "a", "schedule_cron": "@daily"}]}"#,
            "`schedules` is not",
        ),
        (r#"{"downstream_triggers": [{"pipeline": "a", "on_success": false}]}"#, "starts nothing"),
    ] {
        let (definition, found) = parse(text);
        assert!(definition.is_some() && found.len() == 1 && found[0].contains(part), "{text}: {found:?}");
    }
}

#[test]
fn secret_values_are_in_no_message() {
    let text = r#"{"default_env": {"A": 987654321, "B": ["hunter2"]}, "webhook_key": "hunter2/", "encrypted_env":
                  {"C": "hunter2\u0000"}}"#;
    let found = bad(text).join("\n");
    assert!(!found.contains("hunter2") && !found.contains("987654321"), "{found}");
}

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
            "webhook_key",
            "encrypted_env",
            "secrets",
            "restart_on_crash",
            "restart_cooldown",
            "restart_interval",
            "max_instances",
            "cells",
        ]
    );
    let acted_on = r#"{"timeout": 1, "retry_attempts": 1, "default_env": {"A": "1"}, "cpu_hard_limit": 1,
        "mem_hard_limit": "64m", "cpu_soft_limit": 0.5, "mem_soft_limit": "32m", "enabled": false, "tags": ["a"],
        "description": "x", "python_version": "3.12", "executor": "process", "stop_grace": 1, "max_processes": 9}"#;
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

#[test]
fn inline_metadata_follows_pep_723() {
    let read = |text: &str| parse_script("main.py", text);
    let packages = |text: &str| read(text).0.and_then(|metadata| metadata.dependencies);
    assert_eq!(read("print()").0, None);
    assert_eq!(
        packages("#!/usr/bin/env python\n# /// script\n# dependencies = ['a']\n# ///"),
        Some(vec!["a".into()])
    );
    assert_eq!(packages("# /// script\r\n# dependencies = ['a']\r\n# ///\r\n"), Some(vec!["a".into()]));
    assert_eq!(
        packages("x = 1\n# /// script\n#\n# dependencies = [\n#   'a',\n# ]\n# ///\n"),
        Some(vec!["a".into()])
    );
    // The last end of the run of comments counts, and what is no comment ends it.
    let inner = "# /// script\n# dependencies = ['''\n# ///\n# ''']\n# ///\n# more\n";
    assert_eq!(packages(inner), Some(vec!["///\n".into()]));
    for none in [
        "#/// script\n# dependencies = ['a']\n# ///\n",
        "# ///script\n# dependencies = ['a']\n# ///\n",
        " # /// script\n# dependencies = ['a']\n# ///\n",
        "# /// script \n# dependencies = ['a']\n# ///\n",
        "# /// pyproject\n# dependencies = ['a']\n# ///\n",
    ] {
        assert_eq!(read(none).0, None, "{none}");
    }
    let (metadata, findings) = read("# /// script\n# dependencies = ['a']\n\n# ///\n");
    assert!(metadata.is_none() && findings[0].message.contains("no end"), "{findings:?}");
    let place = |text: &str| {
        let (metadata, findings) = read(text);
        assert!(metadata.is_none());
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let block = "# /// script\n# dependencies = ['a']\n# ///\n";
    assert!(place(&format!("{block}\n{block}")).starts_with("main.py:5:1: found a second"));
    assert!(place("# /// script\n# dependencies = [\n# ///\n").starts_with("main.py:2:"));
    assert!(
        place("# /// script\n#\n# requires-python = '/x'\n# ///\n")
            .starts_with("main.py:3:21: requires-python")
    );
    assert!(
        place("# /// script\n# dependencies = [1]\n# ///\n")
            .contains("main.py:2:19: dependencies[0]: found 1")
    );
    let fields = "# /// script\n# [tool.fastflow]\n# timeout = 'x'\n# tags = ['a', 1]\n# schedule_start = 2026-01-01\n# ///\n";
    let found = place(fields);
    assert!(
        found.contains("main.py:3:13: timeout: found \"x\"") && found.contains("main.py:4:16: tags[1]"),
        "{found}"
    );
    assert!(!found.contains("schedule_start: found"), "a TOML date is a date: {found}");
}

#[test]
fn a_manifest_and_a_script_are_merged_field_by_field() {
    let assemble = |manifest: &'static str, script: &'static str| {
        let texts = PipelineTexts {
            script: Some(("main.py", script)),
            manifest: Some(("pipeline.json", manifest)),
            ..PipelineTexts::default()
        };
        texts.assemble("etl".parse().unwrap())
    };
    let script = "# /// script\n# [tool.fastflow]\n# timeout = 5\n# limits = 3\n# ///\n";
    let pipeline = assemble(r#"{"retry_attempts": 2}"#, script).unwrap();
    assert_eq!(pipeline.definition.limits.timeout, Some(Timeout::from(5)));
    assert_eq!(pipeline.definition.retry.attempts, 2);
    assert_eq!(pipeline.warnings.len(), 1, "an unknown field warns: {:?}", pipeline.warnings);
    let both = assemble("{\"timeout\": 5}", script).unwrap_err();
    let text: Vec<String> = both.iter().map(ToString::to_string).collect();
    assert!(
        text.iter().any(|text| text.starts_with("main.py:3:3: timeout: is also set at pipeline.json:1:2")),
        "{text:?}"
    );
    // What is wrong in both files is told at once.
    let broken = assemble("{", "# /// script\n# [tool.fastflow]\n# timeout = -1\n# ///\n").unwrap_err();
    assert_eq!(broken.iter().filter(|found| found.is_error()).count(), 2, "{broken:?}");
}

#[test]
fn one_source_of_packages_is_used_and_the_others_are_named() {
    const BLOCK: &str = "# /// script\n# dependencies = ['a']\n# ///\n";
    let assemble = |script: &'static str, files: &[&str], project: Option<&'static str>| {
        let texts = PipelineTexts {
            script: Some(("main.py", script)),
            files: files.iter().map(ToString::to_string).collect(),
            project: project.map(|text| ("pyproject.toml", text)),
            ..PipelineTexts::default()
        };
        texts.assemble("etl".parse().unwrap()).unwrap()
    };
    let all = ["uv.lock", "pyproject.toml", "pylock.toml", "requirements.txt.lock", "requirements.txt"];
    let project = Some("[project]\nname = 'x'\nrequires-python = '>=3.11'\n");
    let expected = [
        DependencySource::UvLock { dir: "".into() },
        DependencySource::Project { dir: "".into() },
        DependencySource::Pylock { path: "pylock.toml".into() },
        DependencySource::RequirementsLock { path: "requirements.txt.lock".into() },
        DependencySource::Requirements { path: "requirements.txt".into() },
    ];
    assert_eq!(
        assemble(BLOCK, &all, project).dependencies,
        DependencySource::Script { path: "main.py".into() }
    );
    let full = assemble("", &all, project);
    assert_eq!((&full.dependencies, full.warnings.len()), (&expected[0], 1));
    assert_eq!(full.requires_python.unwrap().as_str(), ">=3.11");
    for (index, name) in all.iter().enumerate().skip(2) {
        assert_eq!(assemble("", &all[index..], None).dependencies, expected[index], "{name}");
    }
    assert_eq!(assemble("", &["pyproject.toml"], project).dependencies, expected[1]);
    assert_eq!(assemble("", &["pyproject.toml"], Some("[tool.ruff]\n")).dependencies, DependencySource::None);
    assert_eq!(assemble("", &["requirements.txt", "requirements.txt.lock"], None).warnings, []);
    assert_eq!(assemble("", &["uv.lock"], None).warnings.len(), 1);
    let none = assemble("# /// script\n# dependencies = []\n# ///\n", &["requirements.txt"], None);
    assert_eq!((none.dependencies, none.warnings.len()), (DependencySource::None, 1));
}

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
  "a/b", "a b", "ä", "0123456789abcdef", " 3.12 ", " @daily "
]"#;

fn values() -> Vec<Value> {
    let mut values: Vec<Value> = serde_json::from_str(VALUES).unwrap();
    values.extend([json!("x".repeat(64)), json!("x".repeat(10_001)), json!(vec!["x"; 1001])]);
    values
}

/// Whatever the reader takes, the schema takes; and whatever the schema takes, the reader takes, apart from what a
/// schema cannot say.
#[test]
fn the_schema_and_the_reader_agree() {
    // The calendar; what a cron expression comes to; sizes after their unit is applied; at least a digit; a number of seconds or a cron
    // expression; a route or a tag of blanks only; an entry with exactly one of two fields.
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
    ];
    let schema = manifest_schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for field in schema["properties"].as_object().unwrap().keys() {
        for value in values() {
            let document = json!({ field: value });
            let read = parse_manifest("pipeline.json", &document.to_string()).0.is_some();
            let valid = validator.is_valid(&document);
            if read {
                accepted += 1;
                assert!(valid, "the reader takes {document}, the schema does not");
            } else {
                refused += 1;
                let beyond = BEYOND_SCHEMA.contains(&field.as_str());
                assert!(!valid || beyond, "the schema takes {document}, the reader does not");
            }
        }
        for example in schema["properties"][field]["examples"].as_array().into_iter().flatten() {
            let (definition, found) = parse(&json!({ field: example }).to_string());
            assert!(definition.is_some(), "{field}: {found:?}");
        }
        if let Some(default) = schema["properties"][field].get("default") {
            assert_eq!(good(&json!({ field: default }).to_string()), Definition::default(), "{field}");
        }
    }
    assert!(accepted > 200 && refused > 1000, "{accepted} {refused}");
    assert!(validator.is_valid(&serde_json::from_str::<Value>(FULL).unwrap()));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        parse_manifest("pipeline.json", &text);
        parse_script("main.py", &text);
    }

    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic(
        at in 0..FULL.len(), length in 0..40_usize, with in "[\\[\\]{}\",:0-9a-zä\\\\\u{0}\n ]{0,6}",
    ) {
        let end = (at + length).min(FULL.len());
        let text = format!("{}{with}{}", &FULL[..at], &FULL[end..]);
        let (definition, findings) = parse_manifest("pipeline.json", &text);
        prop_assert_eq!(definition.is_none(), findings.iter().any(Diagnostic::is_error));
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok() || definition.is_none());
    }

    #[test]
    fn no_script_makes_the_reader_panic(lines in prop::collection::vec(
        prop_oneof![
            Just("# /// script"), Just("# ///"), Just("#"), Just("# dependencies = ['a']"), Just("# ["),
            Just("# [tool.fastflow]"), Just("# timeout = 5"), Just("# timeout.x = 'ä'"), Just("x"), Just("\r"),
            Just("# [tool]"), Just("# tool = 3"), Just("#\u{a0}x"),
        ], 0..12))
    {
        let text = lines.join("\n");
        let (_, findings) = parse_script("main.py", &text);
        let count = u32::try_from(text.lines().count()).unwrap() + 1;
        prop_assert!(findings.iter().all(|found| found.position.is_some_and(|place| place.line <= count)));
    }

    #[test]
    fn sizes_read_back(bytes in 0..=ByteSize::MAX.0) {
        prop_assert_eq!(ByteSize(bytes).to_string().parse::<ByteSize>().unwrap(), ByteSize(bytes));
    }

    #[test]
    fn a_wait_is_never_above_its_bound(
        initial in 0..Seconds::MAX.0, max in 0..Seconds::MAX.0, multiplier in 1.0..1000.0, n in 1..u32::MAX,
    ) {
        let strategy = RetryStrategy::Exponential {
            initial_delay: Seconds(initial), max_delay: Seconds(max), multiplier,
        };
        let policy = RetryPolicy { attempts: u32::MAX, strategy, ..RetryPolicy::default() };
        let wait = policy.delay(std::num::NonZeroU32::new(n).unwrap()).unwrap();
        prop_assert!(wait <= Seconds(max).duration());
        prop_assert!(wait >= Seconds(initial.min(max)).duration());
    }
}
