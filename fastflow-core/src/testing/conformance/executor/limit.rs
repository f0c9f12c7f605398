//! Limits, as programs feel them.

use std::{fs, time::Duration};

use fastflow_shim::layout;

use super::{
    bench::{Bench, file, lines, report},
    outside::{idle_and_all_ticks, limit, processes},
};
use crate::{
    journal::UsageSample,
    run::{Exit, StopCause},
};

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

/// A program that wants the CPU gets what it may have, within a tenth.
///
/// Kills: a quota over the wrong period; cores rounded to whole ones.
pub async fn the_cpu_limit_is_neither_above_nor_below_what_was_asked_for(bench: &Bench<'_>) {
    if !bench.can("cpu_limit", |can| can.cpu_limit && can.output) {
        return;
    }
    let mut spec = bench.spec("(while :; do :; done) & while :; do :; done");
    // So little that a busy machine has it, too.
    spec.limits.cpu_millis = Some(200);
    spec.limits.usage_interval = Duration::from_secs(1);
    spec.limits.timeout = Some(Duration::from_secs(4));
    spec.limits.stop_grace = Duration::ZERO;
    let before = idle_and_all_ticks();
    let report = bench.run_spec(&spec).await;
    let after = idle_and_all_ticks();
    let used = report.cpu_time.expect("what keeps a limit on CPU knows what was used");
    let share = used.div_duration_f64(report.duration);
    assert!(share <= 0.22, "{share} of a core");
    let samples: Vec<UsageSample> = bench.journal(&spec, layout::USAGE).await;
    let seconds = samples.windows(2).filter_map(|pair| {
        let seconds = pair[1].time.duration_since(pair[0].time).as_secs_f64();
        let used = pair[1].cpu_time.saturating_sub(pair[0].cpu_time).as_secs_f64();
        // The last one is taken early, at the end.
        (seconds >= 0.9).then_some(used / seconds)
    });
    let best = seconds.fold(0.0, f64::max);
    // A second may hold what eleven tenths of one may have.
    assert!(best <= 0.24, "{best} of a core: {samples:?}");
    // What a machine that has nothing left does not give is not held back by the limit.
    let (idle, all) = (after.0 - before.0, after.1 - before.1);
    assert!(
        best >= 0.18 || idle * 10 < all,
        "at most {best} of a core, {idle} of {all} ticks idle: {samples:?}"
    );
}

/// Processes that make processes without end do not get beyond their limit, and end with their attempt.
///
/// Kills: process limit of the first process only; a kill of the tree that new processes outrun.
pub async fn a_fork_bomb_is_contained(bench: &Bench<'_>) {
    if !bench.can("process_limit", |can| can.process_limit) {
        return;
    }
    // Without a limit it comes to some thousand at most, which stay: this machine is not what is tested.
    let mut spec = bench.spec(
        "bomb() { [ $1 -le 8 ] || exec sleep 1000; bomb $(($1 + 1)) | bomb $(($1 + 1)) & }
        (for _ in 1 2 3 4; do bomb 0; done; while :; do (:); done) 2>> refused &
        exec sleep 1000",
    );
    spec.limits.max_processes = Some(64);
    spec.limits.timeout = Some(Duration::from_secs(2));
    spec.limits.stop_grace = Duration::from_millis(200);
    let execution = bench.start(&spec).await;
    let mut most = 0;
    let report = tokio::select! {
        ended = bench.within(Duration::from_secs(15), "the end of the bomb", execution.wait()) => report(ended),
        () = async {
            loop {
                most = most.max(processes(&spec).len());
                tokio::task::yield_now().await;
            }
        } => unreachable!("it looks for ever"),
    };
    bench.is_silent(&spec).await;
    assert_eq!((report.exit, report.stopped_by), (Exit::Signal(15), Some(StopCause::TimedOut)));
    assert!(most <= 64, "{most} processes at one time");
    assert!(lines(&spec, "refused") > 0, "it was no bomb");
}

/// A program that crashes leaves no core, and where programs are confined none has more files open than a machine
/// can give to many.
///
/// Kills: the limits of the host passed on.
pub async fn no_core_is_dumped_and_few_files_are_open(bench: &Bench<'_>) {
    let spec = bench.spec("echo >> ready; exec sleep 1000");
    let (_execution, program) = bench.start_and_find(&spec).await;
    assert_eq!(limit(program, "Max core file size"), ("0".to_owned(), "0".to_owned()));
    if bench.executor().capabilities().isolation {
        let (soft, hard) = limit(program, "Max open files");
        let few = |limit: &str| limit.parse::<u32>().is_ok_and(|files| (256..=65_536).contains(&files));
        assert!(few(&soft) && few(&hard), "{soft} to {hard} open files");
    }
}
