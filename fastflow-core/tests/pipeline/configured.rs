//! A pipeline as its run configurations run it.

use fastflow_core::{ErrorKind, pipeline::*};

fn pipeline(manifest: &str) -> Pipeline {
    let texts = PipelineTexts {
        script: Some(("main.py", "")),
        manifest: Some(("pipeline.json", manifest)),
        ..PipelineTexts::default()
    };
    texts.assemble("etl".parse().unwrap()).unwrap()
}

fn env(definition: &Definition) -> Vec<(&str, &str)> {
    let all = definition.default_env.iter().chain(&definition.encrypted_env);
    all.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn an_entry_wins_over_the_pipeline_field_by_field() {
    let pipeline = pipeline(
        r#"{"default_env": {"A": "1", "B": "2"}, "encrypted_env": {"S": "ff1.x", "T": "ff1.y"}, "timeout": 60,
            "cpu_hard_limit": 1, "mem_hard_limit": "64m", "retry_attempts": 3, "retry_jitter_percent": 5,
            "retry_strategy": {"type": "fixed_delay", "delay": 7}, "priority": 4, "schedules": [
            {"id": "full", "schedule_cron": "@daily", "enabled": false, "default_env": {"B": "3", "C": "4"},
             "encrypted_env": {"T": "ff1.z"}, "timeout": 0, "mem_hard_limit": "128m", "cpu_soft_limit": 0.5,
             "retry_attempts": 0, "retry_strategy": {"type": "custom_schedule", "delays": [1]}},
            {"id": "bare", "schedule_interval_seconds": 5}]}"#,
    );
    let full = pipeline.configured(&"full".parse().unwrap()).unwrap();
    assert_eq!(env(&full.definition), [("A", "1"), ("B", "3"), ("C", "4"), ("S", "ff1.x"), ("T", "ff1.z")]);
    let limits = Limits {
        cpu: Some(CpuMillis(1000)),
        memory: Some(ByteSize(128 << 20)),
        soft_cpu: Some(CpuMillis(500)),
        soft_memory: None,
        timeout: Some(Timeout::Unlimited),
    };
    assert_eq!(full.definition.limits, limits);
    let retry = RetryPolicy {
        attempts: 0,
        strategy: RetryStrategy::Custom { delays: vec![Seconds(1)] },
        ..pipeline.definition.retry.clone()
    };
    assert_eq!(full.definition.retry, retry);
    assert_eq!((full.definition.retry.jitter_percent, full.definition.queue.priority), (5, 4));
    assert!(full.definition.enabled, "whether the schedule fires is not whether the pipeline may start");
    assert_eq!(pipeline.configured(&"bare".parse().unwrap()).unwrap(), pipeline);
}

#[test]
fn an_unknown_entry_is_told_with_those_that_there_are() {
    let entry = |id: usize| format!(r#"{{"id": "e{id}", "schedule_cron": "@daily"}}"#);
    let refused = |count: usize| {
        let entries: Vec<String> = (0..count).map(entry).collect();
        let pipeline = pipeline(&format!(r#"{{"schedules": [{}]}}"#, entries.join(",")));
        let error = pipeline.configured(&"nightly".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        error.to_string()
    };
    assert!(refused(2).ends_with("(pipeline: etl, found: nightly, expected: e0, e1)"), "{}", refused(2));
    assert!(refused(0).contains("expected: none"), "{}", refused(0));
    assert!(refused(100).ends_with("e19 and 80 others)"), "{}", refused(100));
}
