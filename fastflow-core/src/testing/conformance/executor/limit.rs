//! Limits, as programs feel them.

use std::{fs, time::Duration};

use super::bench::{Bench, file, lines, processes};
use crate::run::{Exit, StopCause};

/// A program gets no more of the CPU than it may have.
///
/// Kills: CPU limit not set.
pub async fn the_cpu_limit_holds(bench: &Bench<'_>) {
    if !bench.can("cpu_limit", |can| can.cpu_limit) {
        return;
    }
    // Two that are busy: the limit is that of the attempt, not of a process.
    let mut spec = bench.spec("trap 'cut -d\" \" -f14,15 /proc/$$/stat >> cpu; exit 0' TERM; (while :; do :; done) & while :; do :; done");
    spec.limits.cpu_millis = Some(200);
    spec.limits.timeout = Some(Duration::from_secs(2));
    let report = bench.run_spec(&spec).await;
    assert_eq!(report.stopped_by, Some(StopCause::TimedOut));
    let seen = fs::read_to_string(file(&spec, "cpu")).unwrap();
    let ticks: u32 = seen.split_whitespace().map(|ticks| ticks.parse::<u32>().expect("ticks")).sum();
    // At most 0.2 of 2 s, and one period more: 50 ticks of 10 ms. Without a limit one of two would have at
    // least 0.5 of the 2 s even on a single core.
    assert!((2..60).contains(&ticks), "{ticks} ticks within {:?}", report.duration);
    if let Some(cpu) = report.cpu_time {
        assert!(cpu < report.duration.mul_f64(0.35), "{report:?}");
    }
}

/// A program that stays within its memory limit is not disturbed by it.
///
/// Kills: a limit in the wrong unit.
pub async fn the_memory_limit_leaves_what_it_allows(bench: &Bench<'_>) {
    if !bench.can("memory_limit", |can| can.memory_limit) {
        return;
    }
    let mut spec = bench.spec("head -c 20000000 /dev/zero | tail -c 20000000 | wc -c > size");
    spec.limits.memory_bytes = Some(96 * 1024 * 1024);
    let report = bench.run_spec(&spec).await;
    assert_eq!((report.exit, report.oom_kills), (Exit::Code(0), 0));
    assert_eq!(fs::read_to_string(file(&spec, "size")).unwrap().trim(), "20000000");
}

/// A program that forks without end has no more processes than it may.
///
/// Kills: process limit not set.
pub async fn the_process_limit_holds(bench: &Bench<'_>) {
    if !bench.can("process_limit", |can| can.process_limit) {
        return;
    }
    // A shell that cannot fork says so and ends; some try again for a while, and the time limit ends those.
    let mut spec = bench
        .spec("sleep 3 & i=0; while [ $i -lt 40 ]; do sleep 3 & echo >> forked; i=$((i + 1)); done; exit 0");
    spec.limits.max_processes = Some(8);
    spec.limits.timeout = Some(Duration::from_secs(2));
    spec.limits.stop_grace = Duration::from_millis(200);
    let execution = bench.start(&spec).await;
    let mut most = 0;
    let ended = tokio::select! {
        ended = execution.wait() => ended,
        () = async {
            loop {
                most = most.max(processes(&spec).len());
                tokio::task::yield_now().await;
            }
        } => unreachable!("it looks for ever"),
    };
    ended.unwrap();
    let forked = lines(&spec, "forked");
    assert!((3..8).contains(&forked), "{forked} of 40 could be forked");
    assert!(most <= 8, "{most} processes at one time");
    execution.remove().await.unwrap();
}
