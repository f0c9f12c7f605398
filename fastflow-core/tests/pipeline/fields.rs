//! Every field: what is read, and what is refused.

use std::collections::BTreeSet;

use fastflow_core::{PipelineName, pipeline::*};
use serde_json::Value;

use super::{FULL, bad, good};

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
    let retry = RetryPolicy {
        attempts: 2,
        strategy,
        jitter_percent: 50,
        max_delay: Some(Seconds(600)),
        when: RetryWhen {
            reasons: [RetryReason::Lost, RetryReason::OutOfMemory].into(),
            exit_codes: [75].into(),
        },
        memory: Some(MemoryEscalation { factor: 1.5, max: ByteSize(4 << 30) }),
    };
    assert_eq!(d.retry, retry);
    assert_eq!(d.default_env.values().collect::<Vec<_>>(), ["1", ""]);
    assert_eq!((d.encrypted_env.len(), d.secrets.len(), d.secrets_as), (1, 1, SecretDelivery::Files));
    assert_eq!(d.webhook_key.unwrap().expose(), "0123456789abcdef");
    assert!(matches!(d.schedule.rule, Some(ScheduleRule::Cron(_))));
    assert!(d.schedule.window.start.is_some() && d.schedule.window.end.is_some());
    assert_eq!(d.schedule.run_once_at.unwrap().to_string(), "2026-01-01T10:00:00Z");
    let daemon = DaemonPolicy {
        restart_on_crash: true,
        restart_cooldown: Seconds(5),
        restart_max_cooldown: Seconds(100),
        restart_limit: 3,
        restart_healthy_after: Seconds(50),
        restart_interval: Some(RestartInterval::Seconds(86_400.try_into().unwrap())),
    };
    assert_eq!(d.daemon, daemon);
    let queue = QueuePolicy {
        priority: -5,
        max_instances: 1.try_into().ok(),
        when_full: WhenFull::Replace,
        pools: [("database".parse().unwrap(), 2.try_into().unwrap())].into(),
    };
    assert_eq!(d.queue, queue);
    let health = HealthPolicy {
        no_output_timeout: Some(Seconds(600)),
        heartbeat_timeout: Some(Seconds(60)),
        soft_limit: SoftLimitAction::Stop,
    };
    assert_eq!(d.health, health);
    assert_eq!(d.after.iter().map(PipelineName::as_str).collect::<Vec<_>>(), ["clean", "extract"]);
    let trigger = &d.downstream_triggers[0];
    assert!(trigger.on_success && trigger.on_failure);
    assert_eq!(
        (trigger.on_route.as_deref(), trigger.run_config_id.as_ref().unwrap().as_str()),
        (Some("r"), "c")
    );
    assert_eq!(trigger.parameters.values().collect::<Vec<_>>(), ["month"]);
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

/// Values that a field cannot have.
const WRONG: &[(&str, &[&str])] = &[
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
    ("encrypted_env", &["[]", "{\"A\": 1}", "{\"UV_INDEX\": \"ff1.x\"}", "{\"A\": \"x\"}"]),
    ("secrets", &["\"A\"", "[1]", "[\"PYTHONPATH\"]", "{}", "[\"../A\"]", "[\"-A\"]", "[\"A=B\"]"]),
    ("secrets_as", &["\"file\"", "\"\"", "true", "[]"]),
    ("webhook_key", &["1", "\"a/b\"", "\"a b\""]),
    ("schedule_cron", &["\"0 24 * * *\"", "\"0 0 30 2 *\"", "\"@reboot\"", "\"0 0 * JANFEB *\""]),
    ("schedule_cron", &["\"\"", "\"* * *\"", "\"* * * * * * *\"", "5", "\"every day at noon ok\u{e4}\""]),
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
    ("timezone", &["\"\"", "\"+02:00\"", "\"Mars/Olympus\"", "1", "\"../etc/passwd\""]),
    ("daylight", &["\"skip\"", "{\"gap\": \"first\"}", "{\"fold\": \"shift\"}", "[]"]),
    ("overlap", &["\"Skip\"", "true", "\"\""]),
    ("catch_up", &["\"all\"", "{}", "{\"all\": 0}", "{\"all\": 1001}", "{\"all\": \"3\"}", "3"]),
    ("catch_up_window", &["-1", "\"60\"", "31622401"]),
    ("jitter", &["-1", "0.5", "true"]),
    ("blackouts", &["\"a\"", "[1]", "[\"a b\"]", "{}"]),
    ("priority", &["-32769", "32768", "\"high\"", "0.5"]),
    ("when_full", &["\"drop\"", "1"]),
    ("pools", &["\"a\"", "[\"a b\"]", "{\"a\": 0}", "{\"a\": \"1\"}", "{\"a b\": 1}", "[1]"]),
    ("retry_jitter_percent", &["-1", "101", "\"50\"", "0.5"]),
    ("retry_max_delay", &["-1", "\"60\""]),
    ("retry_on", &["\"exit\"", "[\"oom\"]", "[1]", "{}"]),
    ("retry_exit_codes", &["1", "[0]", "[256]", "[\"1\"]", "[-1]"]),
    ("retry_memory", &["\"4g\"", "{}", "{\"factor\": 2}", "{\"max\": \"1m\"}", "{\"max\": \"a lot\"}"]),
    ("retry_memory", &["{\"max\": \"4g\", \"factor\": 1}", "{\"max\": \"4g\", \"factor\": 17}"]),
    ("restart_max_cooldown", &["-1", "\"5\""]),
    ("restart_limit", &["-1", "4294967296", "\"5\""]),
    ("restart_healthy_after", &["-1", "true"]),
    ("no_output_timeout", &["0", "-1", "\"60\""]),
    ("heartbeat_timeout", &["0", "31622401"]),
    ("soft_limit_action", &["\"kill\"", "false"]),
    ("parameters", &["[]", "{\"A\": 1}", "{\"A\": null}", "{\"FASTFLOW_X\": {}}", "{\"a b\": {}}"]),
    ("undeclared_parameters", &["false", "\"deny\""]),
    ("after", &["\"a\"", "[1]", "[\"../a\"]", "{}"]),
    ("downstream_triggers", &["[{\"pipeline\": \"a\", \"parameters\": []}]"]),
    ("downstream_triggers", &["[{\"pipeline\": \"a\", \"parameters\": {\"PATH\": \"x\"}}]"]),
    ("downstream_triggers", &["[{\"pipeline\": \"a\", \"parameters\": {\"A\": \"\"}}]"]),
    ("schedules", &["[{\"id\": \"a\", \"schedule_cron\": \"@daily\", \"timezone\": \"Mars\"}]"]),
    ("schedules", &["[{\"id\": \"a\", \"schedule_cron\": \"@daily\", \"max_instances\": 0}]"]),
    ("schedules", &["{}", "[1]", "[{}]", "[{\"id\": \"a\"}]", "[{\"schedule_cron\": \"@daily\"}]"]),
    ("schedules", &["[{\"id\": \"a b\", \"schedule_cron\": \"@daily\"}]"]),
    ("schedules", &["[{\"id\": \"a\", \"schedule_cron\": \"@daily\", \"timeout\": \"1\"}]"]),
];

#[test]
fn every_field_refuses_wrong_types_and_ranges() {
    let covered: BTreeSet<&str> = WRONG.iter().map(|(field, _)| *field).collect();
    let schema = manifest_schema();
    let fields: BTreeSet<&str> =
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(covered, fields, "every field has its wrong values here");
    for (field, values) in WRONG {
        for value in *values {
            let findings = bad(&format!("{{\"{field}\": {value}}}"));
            let prefix = format!(": {field}");
            assert!(findings.iter().all(|text| text.contains(&prefix)), "{field} = {value}: {findings:?}");
        }
    }
}
