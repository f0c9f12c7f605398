//! What programs say and use.

use std::{fs, time::Duration};

use fastflow_shim::layout;

use super::bench::{Bench, file, lines};
use crate::{
    journal::{LogStream, UsageSample},
    run::Exit,
};

/// The lines of a program that writes much.
const LINES: u32 = 200_000;

/// Each line has the stream it was written to, and the order within a stream is kept.
///
/// Kills: streams mixed up; standard error lost.
pub async fn output_is_tagged(bench: &Bench<'_>) {
    if !bench.can("output", |can| can.output) {
        return;
    }
    let spec = bench.spec("for i in 1 2 3; do echo out $i; echo err $i >&2; done");
    let report = bench.run_spec(&spec).await;
    assert_eq!(bench.stream(&spec, LogStream::Out).await, b"out 1\nout 2\nout 3\n");
    assert_eq!(bench.stream(&spec, LogStream::Err).await, b"err 1\nerr 2\nerr 3\n");
    assert!(report.log.complete && report.log.dropped_bytes == 0, "{report:?}");
    for line in bench.log(&spec).await {
        assert!(report.started_at <= line.time, "{line:?} after {:?}", report.started_at);
    }
}

/// The log holds exactly the bytes that were written.
///
/// Kills: invalid UTF-8 replaced; long lines cut; blank or JSON lines rewritten; a newline added at the end.
pub async fn output_is_byte_identical(bench: &Bench<'_>) {
    if !bench.can("output", |can| can.output) {
        return;
    }
    let mut payload =
        b"\xff\xfe\x00\x80 not text\n\n  \n{\"t\":\"x\",\"s\":\"out\"}\r\n\x1b[31mred\x1b[0m\n".to_vec();
    payload.extend_from_slice("é🦀".repeat(60_000).as_bytes());
    payload.push(b'\n');
    payload.extend((0..200_000_u32).map(|number| u8::try_from(number * 7 % 251).unwrap_or(0)));
    payload.extend_from_slice(b"\nwithout a newline at the end");
    let spec = bench.spec("cat payload; cat payload >&2");
    fs::write(file(&spec, "payload"), &payload).unwrap();
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(0));
    assert!(bench.stream(&spec, LogStream::Out).await == payload, "standard output differs");
    assert!(bench.stream(&spec, LogStream::Err).await == payload, "standard error differs");
}

/// Output that comes faster than anybody reads is neither lost nor torn.
///
/// Kills: a log that drops what it cannot keep up with.
pub async fn a_burst_is_complete(bench: &Bench<'_>) {
    if !bench.can("output", |can| can.output) {
        return;
    }
    let spec = bench.spec(&format!("seq {LINES}"));
    let report = bench.run_spec(&spec).await;
    assert!(report.log.complete, "{report:?}");
    let seen = bench.stream(&spec, LogStream::Out).await;
    let seen: Vec<u32> =
        String::from_utf8(seen).unwrap().lines().map(|line| line.parse().expect("a whole number")).collect();
    assert!(seen.into_iter().eq(1..=LINES), "lines are missing, torn or out of order");
}

/// When the end is known, the log is complete, however short the program.
///
/// Kills: an end reported before the output was read.
pub async fn the_output_of_a_short_program_is_there_at_its_end(bench: &Bench<'_>) {
    if !bench.can("output", |can| can.output) {
        return;
    }
    for _ in 0..bench.rounds(30) {
        let spec = bench.spec("echo first; echo last");
        let execution = bench.start(&spec).await;
        execution.wait().await.unwrap();
        assert_eq!(bench.stream(&spec, LogStream::Out).await, b"first\nlast\n");
        execution.remove().await.unwrap();
    }
}

/// A log above its limit keeps its beginning and its end, says where something is missing, and the program
/// is not held up.
///
/// Kills: log without a limit; output cut off in silence.
pub async fn a_log_above_its_limit_keeps_both_ends_and_says_so(bench: &Bench<'_>) {
    if !bench.can("output", |can| can.output) {
        return;
    }
    let mut spec = bench.spec(&format!("seq {LINES}; echo done >> witness"));
    (spec.limits.log_max_bytes, spec.limits.log_tail_bytes) = (256 * 1024, 64 * 1024);
    let report = bench.run_spec(&spec).await;
    assert_eq!((report.exit, lines(&spec, "witness")), (Exit::Code(0), 1));
    assert!(!report.log.complete && report.log.dropped_bytes > 0, "{report:?}");
    let log = bench.log(&spec).await;
    let out: Vec<_> = log.iter().filter(|line| line.stream == LogStream::Out).collect();
    assert_eq!((&*out[0].text(), &*out[out.len() - 1].text()), ("1", &*LINES.to_string()));
    let gaps: Vec<_> = log.iter().filter_map(|line| line.dropped).collect();
    let missing = gaps.last().expect("a record where lines are missing");
    assert_eq!(out.len() as u64 + missing.lines, u64::from(LINES));
    let kept = fs::metadata(spec.run_dir.join(layout::LOG)).unwrap().len();
    assert!(kept <= 300 * 1024, "{kept} bytes are kept");
}

/// A program that closes its output runs on.
///
/// Kills: the end of the output taken for the end of the program.
pub async fn closing_its_output_does_not_end_a_program(bench: &Bench<'_>) {
    let spec = bench.spec("echo before; exec >&- 2>&-; sleep 0.3; echo after >> witness; exit 6");
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(6));
    assert_eq!(lines(&spec, "witness"), 1);
}

/// Samples of usage come while the program runs, and tell what it takes.
///
/// Kills: no samples; samples of the sandbox in place of the program's; soft limits ignored.
pub async fn usage_flows(bench: &Bench<'_>) {
    if !bench.can("output", |can| can.output) {
        return;
    }
    let mut spec = bench.spec("while :; do :; done");
    spec.limits.usage_interval = Duration::from_millis(50);
    spec.limits.timeout = Some(Duration::from_millis(900));
    spec.limits.soft_memory_bytes = Some(1);
    spec.limits.soft_cpu_millis = Some(1_000_000);
    bench.run_spec(&spec).await;
    let samples: Vec<UsageSample> = bench.journal(&spec, layout::USAGE).await;
    assert!(samples.len() >= 5, "{samples:?}");
    assert!(samples.is_sorted_by_key(|sample| (sample.time, sample.cpu_time)), "{samples:?}");
    let used = samples[samples.len() - 1].cpu_time;
    assert!(used > Duration::from_millis(50) && used < Duration::from_secs(3), "{samples:?}");
    assert!(samples.iter().any(|sample| sample.cpu_millis > 100 && sample.processes == 1), "{samples:?}");
    assert!(samples.iter().any(|sample| sample.memory_bytes > 0 && sample.above_soft_memory), "{samples:?}");
    assert!(samples.iter().all(|sample| !sample.above_soft_cpu), "{samples:?}");
}
