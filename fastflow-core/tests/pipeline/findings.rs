//! What is told of a file that is wrong or odd.

use fastflow_core::pipeline::*;

use super::{bad, parse};

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
        (r#"{"when_full": "reject"}"#, "no effect without `max_instances`"),
        (r#"{"timezone": "Europe/Berlin"}"#, "timezone: has no effect without a schedule"),
        (r#"{"soft_limit_action": "stop"}"#, "no effect without `cpu_soft_limit`"),
        (r#"{"retry_on": ["exit"], "retry_exit_codes": [1]}"#, "has \"exit\""),
        (r#"{"retry_on": ["lost", "lost"]}"#, "retry_on[1]: found this reason twice"),
        (r#"{"retry_exit_codes": [1, 1]}"#, "retry_exit_codes[1]: found this exit code twice"),
        (r#"{"retry_memory": {"max": "4g"}}"#, "no effect without `mem_hard_limit`"),
        (r#"{"retry_memory": {"max": "4g"}, "mem_hard_limit": "4g"}"#, "not above `mem_hard_limit`"),
        (
            r#"{"retry_memory": {"max": "4g"}, "mem_hard_limit": "1g", "retry_on": ["lost"]}"#,
            "does not have \"out_of_memory\"",
        ),
        (r#"{"restart_cooldown": 9, "restart_max_cooldown": 8}"#, "below `restart_cooldown`"),
        (r#"{"pools": ["a", "a"]}"#, "pools[1]: found this name twice"),
        (r#"{"after": ["a", "a"]}"#, "after[1]: found this name twice"),
        (r#"{"parameters": {"A": {"default": "x", "required": true}}}"#, "because `required` is true"),
        (r#"{"parameters": {"A": {"choices": ["x", "x"]}}}"#, "choices[1]: found this value twice"),
        (r#"{"parameters": {"A": {"requird": true}}}"#, "parameters.A.requird: unknown field: did you mean"),
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
