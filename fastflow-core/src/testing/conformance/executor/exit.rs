//! How ends are told.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use super::bench::{Bench, file, lines, reference};
use crate::{
    executor::{Ended, Reattached, Start},
    run::{Exit, StartFailureKind},
};

const MIB: u64 = 1024 * 1024;

/// What a program takes that stays within its limit.
const TAKEN: u64 = 100 * MIB;

/// A program that takes memory without end.
const EAT_MEMORY: &str = "tail /dev/zero";

/// Exit codes arrive as they are, those that shells and engines use for themselves, too.
///
/// Kills: exit code lost; 125 to 127 taken for a failure to start.
pub async fn exit_codes_are_reported(bench: &Bench<'_>) {
    for code in [0, 3, 125, 126, 127, 255] {
        let report = bench.run(&format!("exit {code}")).await;
        assert_eq!((report.exit, report.stopped_by), (Exit::Code(code), None));
    }
}

/// A signal that nobody here has sent is no exit code, and no stop.
///
/// Kills: 128 + signal reported as a code.
pub async fn a_signal_is_told_apart_from_a_code(bench: &Bench<'_>) {
    for (name, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11)] {
        let report = bench.run(&format!("kill -{name} $$")).await;
        assert_eq!((report.exit, report.stopped_by), (Exit::Signal(number), None));
    }
    assert_eq!(bench.run("exit 137").await.exit, Exit::Code(137));
}

/// The kernel's kill for want of memory is told apart from any other.
///
/// Kills: memory limit not set; every SIGKILL reported as a signal.
pub async fn out_of_memory_is_told_apart(bench: &Bench<'_>) {
    if !bench.can("memory_limit", |can| can.memory_limit) {
        return;
    }
    let mut spec = bench.spec(&format!("exec {EAT_MEMORY}"));
    spec.limits.memory_bytes = Some(48 * MIB);
    let report = bench.run_spec(&spec).await;
    assert_eq!(report.exit, Exit::OutOfMemory);
    assert!(report.oom_kills >= 1);
    assert!(report.peak_memory_bytes.is_some_and(|peak| peak > 16 * MIB && peak <= 48 * MIB), "{report:?}");
}

/// A program that goes on after the kernel has killed its child is judged by its own end.
///
/// Kills: any kill for want of memory taken for the program's end.
pub async fn a_child_out_of_memory_is_counted_and_does_not_fail_the_program(bench: &Bench<'_>) {
    if !bench.can("memory_limit", |can| can.memory_limit) {
        return;
    }
    let mut spec = bench.spec(&format!("{EAT_MEMORY}; echo went on >> witness; exit 0"));
    spec.limits.memory_bytes = Some(48 * MIB);
    let report = bench.run_spec(&spec).await;
    assert_eq!((report.exit, lines(&spec, "witness")), (Exit::Code(0), 1));
    assert!(report.oom_kills >= 1);
}

/// SIGKILL alone proves no want of memory.
///
/// Kills: every SIGKILL under a memory limit taken for one.
pub async fn a_kill_below_the_memory_limit_is_not_out_of_memory(bench: &Bench<'_>) {
    if !bench.can("memory_limit", |can| can.memory_limit) {
        return;
    }
    let mut spec = bench.spec("kill -KILL $$");
    spec.limits.memory_bytes = Some(64 * MIB);
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Signal(9));
}

/// A command that does not exist is no exit code of a program.
///
/// Kills: failure to start reported as exit code 127, or as an error of the machinery.
pub async fn a_missing_program_is_a_typed_failure(bench: &Bench<'_>) {
    let mut spec = bench.spec("exit 0");
    "/nonexistent/program".clone_into(&mut spec.argv[0]);
    match bench.executor().start(spec).await {
        Ok(Start::Failed(failure)) => {
            assert_eq!(failure.kind, StartFailureKind::CommandNotFound);
            assert!(failure.message.contains("/nonexistent/program"), "{}", failure.message);
        }
        other => panic!("{other:?}"),
    }
}

/// A file that is no program, or that may not be executed, is told apart from one that is not there.
///
/// Kills: every failure to start reported with the same kind.
pub async fn a_program_that_cannot_be_executed_is_a_typed_failure(bench: &Bench<'_>) {
    for name in ["program", "."] {
        let mut spec = bench.spec("exit 0");
        let program = file(&spec, "program");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
        spec.argv = vec![bench.inside(&spec, &file(&spec, name))];
        match bench.executor().start(spec).await {
            Ok(Start::Failed(failure)) => assert_eq!(failure.kind, StartFailureKind::CommandNotExecutable),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Whoever asks again about a start that failed is never told that a program ended well.
///
/// Kills: an engine's default exit code 0 for what never ran.
pub async fn a_start_that_never_ran_is_not_a_success(bench: &Bench<'_>) {
    let mut spec = bench.spec("exit 0");
    "/nonexistent/program".clone_into(&mut spec.argv[0]);
    assert!(matches!(bench.executor().start(spec.clone()).await, Ok(Start::Failed(_))));
    match bench.executor().reattach(&reference(&spec, None)).await.unwrap() {
        Reattached::Found(execution) => match execution.wait().await.unwrap() {
            Ended::NotExecuted(failure) => assert_eq!(failure.kind, StartFailureKind::CommandNotFound),
            other => panic!("{other:?}"),
        },
        Reattached::NeverStarted | Reattached::Lost(_) => {}
    }
    assert!(bench.executor().list(bench.owner()).await.unwrap().is_empty(), "nothing is left to be removed");
}

/// A report says when and how long, and what it took.
///
/// Kills: times of the report left at zero; time of the sandbox in place of the program's.
pub async fn times_are_reported(bench: &Bench<'_>) {
    let before = crate::Clock::now(bench.clock());
    let report = bench.run("i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; sleep 0.3").await;
    let after = crate::Clock::now(bench.clock());
    assert!(before <= report.started_at && report.ended_at <= after, "{report:?}");
    assert!(report.started_at < report.ended_at, "{report:?}");
    assert!(report.duration >= Duration::from_millis(300), "{report:?}");
    assert!(report.cpu_time.is_none_or(|time| time > Duration::ZERO && time < report.duration), "{report:?}");
    assert!(report.peak_memory_bytes.is_none_or(|peak| peak > 0), "{report:?}");
}

/// The peak of memory is that of everything that the program has started, in bytes, and right at the limit when the
/// limit was what ended it.
///
/// Kills: the peak of the first process only; a peak in another unit; a sample in place of the peak.
pub async fn the_peak_of_memory_is_that_of_the_whole_program(bench: &Bench<'_>) {
    if !bench.can("memory_limit", |can| can.memory_limit) {
        return;
    }
    // The one that takes it has ended long before anybody asks.
    let mut spec =
        bench.spec(&format!("head -c {TAKEN} /dev/zero | tail -c {TAKEN} | wc -c >> witness; sleep 0.5"));
    spec.limits.memory_bytes = Some(256 * MIB);
    let report = bench.run_spec(&spec).await;
    assert_eq!((report.exit, lines(&spec, "witness")), (Exit::Code(0), 1));
    assert!(
        report.peak_memory_bytes.is_some_and(|peak| (TAKEN..TAKEN + 96 * MIB).contains(&peak)),
        "{report:?}"
    );

    let mut spec = bench.spec(&format!("exec {EAT_MEMORY}"));
    spec.limits.memory_bytes = Some(64 * MIB);
    let report = bench.run_spec(&spec).await;
    assert_eq!(report.exit, Exit::OutOfMemory);
    assert!(report.peak_memory_bytes.is_some_and(|peak| (56 * MIB..=64 * MIB).contains(&peak)), "{report:?}");
}
