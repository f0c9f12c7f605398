//! The objects inside the file: policies of schedules, declared parameters, chains.

use fastflow_core::pipeline::*;
use serde_json::json;

use super::{bad, good};

fn only(text: &str) -> String {
    let found = bad(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.concat()
}

#[test]
fn an_entry_takes_the_policy_that_it_does_not_say_from_the_top() {
    let d = good(
        r#"{"timezone": "Europe/Berlin", "daylight": {"gap": "skip"}, "overlap": "allow", "catch_up": "none",
            "catch_up_window": 5, "jitter": 6, "blackouts": ["a"], "max_instances": 7, "schedules": [
            {"id": "same", "schedule_cron": "@daily", "jitter": null},
            {"id": "other", "schedule_cron": "@daily", "timezone": "UTC", "daylight": {"fold": "both"},
             "overlap": "replace", "catch_up": {"all": 2}, "catch_up_window": 0, "jitter": 1, "blackouts": [],
             "max_instances": 3}]}"#,
    );
    let top = SchedulePolicy {
        timezone: "Europe/Berlin".parse().unwrap(),
        daylight: DaylightPolicy { gap: Some(GapRule::Skip), fold: None },
        overlap: Overlap::Allow,
        max_instances: None,
        catch_up: CatchUp::None,
        catch_up_window: Seconds(5),
        jitter: Seconds(6),
        blackouts: ["a".parse().unwrap()].into(),
    };
    let other = SchedulePolicy {
        timezone: "UTC".parse().unwrap(),
        daylight: DaylightPolicy { gap: None, fold: Some(FoldRule::Both) },
        overlap: Overlap::Replace,
        max_instances: 3.try_into().ok(),
        catch_up: CatchUp::All { max: 2.try_into().unwrap() },
        catch_up_window: Seconds(0),
        jitter: Seconds(1),
        blackouts: [].into(),
    };
    assert_eq!((&d.schedule.policy, &d.schedules[0].policy), (&top, &top));
    assert_eq!(d.schedules[1].policy, other);
    assert_eq!(d.queue.max_instances.unwrap().get(), 7, "the pipeline's own is no schedule's");
}

#[test]
fn a_time_zone_that_nobody_knows_is_told_with_its_likely_name() {
    for (wrong, near) in [
        ("Europe/Berln", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("america/new-york", "America/New_York"),
    ] {
        let found = only(&json!({"schedule_cron": "@daily", "timezone": wrong}).to_string());
        assert!(found.contains(&format!("timezone: found \"{wrong}\"")), "{found}");
        assert!(found.ends_with(&format!("did you mean \"{near}\"?")), "{found}");
    }
    let found =
        only(r#"{"schedules": [{"id": "a", "schedule_cron": "@daily", "timezone": "Mars/Olympus"}]}"#);
    assert!(found.contains("schedules[0].timezone") && !found.contains("did you mean"), "{found}");
}

#[test]
fn pools_are_names_or_names_with_slots() {
    let pools = |text: &str| {
        let pools = good(text).queue.pools.into_iter();
        pools.map(|(name, slots)| (name.to_string(), slots.get())).collect::<Vec<_>>()
    };
    assert_eq!(pools(r#"{"pools": ["a", "b"]}"#), [("a".into(), 1), ("b".into(), 1)]);
    assert_eq!(pools(r#"{"pools": {"a": 3}}"#), [("a".into(), 3)]);
    assert!(only(r#"{"pools": {"a b": 1}}"#).contains("pools: found \"a b\", expected a name"));
    let many = |n: usize| json!({"pools": vec!["p"; n]}).to_string();
    assert!(only(&many(17)).contains("pools: found 17 entries, expected at most 16"));
}

#[test]
fn a_long_pause_is_not_cut_by_a_bound_that_nobody_asked_for() {
    assert_eq!(good(r#"{"restart_cooldown": 7200}"#).daemon.restart_max_cooldown, Seconds(7200));
    assert_eq!(good(r#"{"restart_cooldown": 5}"#).daemon.restart_max_cooldown, Seconds(3600));
}

#[test]
fn memory_may_grow_from_the_limit_of_an_entry() {
    let entry = r#"{"id": "a", "schedule_cron": "@daily", "mem_hard_limit": "64m"}"#;
    let d = good(&format!(r#"{{"retry_memory": {{"max": "4g"}}, "schedules": [{entry}]}}"#));
    assert_eq!(d.retry.memory, Some(MemoryEscalation { factor: 2.0, max: ByteSize(4 << 30) }));
}

#[test]
fn values_of_parameters_become_the_text_that_stands_in_the_file() {
    let d = good(
        r#"{"parameters": {
            "S": {"default": "x y", "choices": ["x y", "2"], "description": "which"},
            "I": {"type": "integer", "default": -5, "choices": [-5, "007"]},
            "N": {"type": "number", "default": 1.50, "choices": [1.50, 2e3, "0.1"]},
            "B": {"type": "boolean", "default": true, "choices": ["false", true]},
            "R": {"required": true}}}"#,
    );
    let text = |name: &str| {
        let declared = &d.parameters.declared[&name.parse().unwrap()];
        (declared.default.as_deref(), declared.choices.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(text("S"), (Some("x y"), vec!["x y", "2"]));
    assert_eq!(text("I"), (Some("-5"), vec!["-5", "007"]));
    assert_eq!(text("N"), (Some("1.50"), vec!["1.50", "2e3", "0.1"]));
    assert_eq!(text("B"), (Some("true"), vec!["false", "true"]));
    assert!(d.parameters.declared[&"R".parse().unwrap()].required);
}

#[test]
fn values_that_do_not_fit_their_parameter_are_refused() {
    let declared = |inner: &str| only(&format!("{{\"parameters\": {{\"A\": {{{inner}}}}}}}"));
    for (inner, part) in [
        (r#""default": 5"#, "parameters.A.default: found 5, expected a string, which is the `type`"),
        (r#""type": "integer", "default": 5.5"#, "parameters.A.default: found 5.5, expected a whole number"),
        (r#""type": "integer", "default": "+5""#, "expected a whole number"),
        (r#""type": "integer", "default": 9223372036854775808"#, "expected a whole number"),
        (r#""type": "integer", "default": true"#, "found true, expected a whole number"),
        (r#""type": "number", "default": "1,5""#, "expected a number"),
        (r#""type": "number", "default": "NaN""#, "expected a number"),
        (r#""type": "number", "default": " 1""#, "expected a number"),
        (r#""type": "boolean", "default": "yes""#, "expected true or false"),
        (r#""type": "boolean", "default": 1"#, "found 1, expected true or false"),
        (r#""choices": ["a", 1]"#, "parameters.A.choices[1]: found 1"),
        (
            r#""choices": ["a"], "default": "b""#,
            "parameters.A.default: found \"b\", expected one of its `choices`",
        ),
        (
            r#""type": "date", "default": 5, "choices": [1]"#,
            "parameters.A.type: found \"date\", expected \"string\",",
        ),
    ] {
        let found = declared(inner);
        assert!(found.contains(part), "{inner}: {found}");
    }
    let many: serde_json::Map<_, _> = (0..51).map(|n| (format!("P{n}"), json!({}))).collect();
    let found = only(&json!({"parameters": many}).to_string());
    assert!(found.contains("parameters: found 51 entries, expected at most 50"), "{found}");
}

#[test]
fn what_would_start_itself_is_refused_where_its_name_is_known() {
    const MANIFEST: &str =
        r#"{"downstream_triggers": [{"pipeline": "x"}, {"pipeline": "etl"}], "after": ["etl"]}"#;
    let assemble = |name: &str, manifest: &'static str| {
        let texts = PipelineTexts {
            script: Some(("main.py", "")),
            manifest: Some(("pipeline.json", manifest)),
            ..PipelineTexts::default()
        };
        let found = texts.assemble(name.parse().unwrap());
        found.map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert!(assemble("other", MANIFEST).is_ok());
    let found = assemble("etl", MANIFEST).unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("pipeline.json:1:58: downstream_triggers[1].pipeline: found \"etl\""),
        "{found:#?}"
    );
    assert!(found[1].contains("after[0]: found \"etl\"") && found[1].contains("another one"), "{found:#?}");
}
