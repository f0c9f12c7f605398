//! The pure parts: the state machine and the reading of `pipeline.json`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fastflow_core::{
    AttemptId, OsEntropy, RunId, SystemClock,
    executor::ExecutionHandle,
    pipeline::parse_manifest,
    run::{Exit, Retry, RunEvent, RunState},
};

const MANIFEST: &str = r#"{
  "description": "A daily report",
  "tags": ["finance", "daily"],
  "timeout": 3600,
  "retry_attempts": 3,
  "mem_hard_limit": "512Mi",
  "cpu_hard_limit": 1.5,
  "default_env": {"REGION": "eu", "LEVEL": "info"},
  "python_version": "3.12"
}"#;

/// The life of a run that ends well: three events.
fn apply(criterion: &mut Criterion) {
    let handle = ExecutionHandle {
        attempt: AttemptId {
            run: RunId::new(&SystemClock::new(), &OsEntropy),
            number: std::num::NonZeroU32::MIN,
        },
        native_id: "4711".into(),
        detail: serde_json::Value::Null,
    };
    let events = [
        RunEvent::Claimed,
        RunEvent::Started(handle),
        RunEvent::Exited { exit: Exit::Code(0), stopped_by: None },
    ];
    let queued = RunState::Queued { not_before: fastflow_core::Timestamp::UNIX_EPOCH };
    let mut group = criterion.benchmark_group("state");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("apply", |bencher| {
        bencher.iter(|| {
            let mut state = queued.clone();
            for event in &events {
                match state.apply(black_box(event), Retry::Exhausted) {
                    Ok(next) => state = next,
                    Err(illegal) => panic!("{illegal:?}"),
                }
            }
            state
        });
    });
    group.finish();
}

/// Against the floor of reading the same text as JSON of any form.
fn manifest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("manifest");
    group.throughput(Throughput::Bytes(MANIFEST.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| parse_manifest("pipeline.json", black_box(MANIFEST)));
    });
    group.bench_function("floor: any JSON", |bencher| {
        bencher.iter(|| serde_json::from_str::<serde_json::Value>(black_box(MANIFEST)));
    });
    group.finish();
}

criterion_group!(benches, apply, manifest);
criterion_main!(benches);
