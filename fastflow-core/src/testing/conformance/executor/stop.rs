//! Stops, time limits, and what is left afterwards.

use std::time::Duration;

use super::{
    bench::{Bench, file, found, lines, reference, report},
    outside::processes,
};
use crate::run::{Exit, StopCause, Symptom};

/// More than any program here needs to end by itself.
const GRACE: Duration = Duration::from_secs(20);

/// Less than any of them would wait.
const SHORT_GRACE: Duration = Duration::from_millis(300);

/// How soon a program that hears the stop must be gone: long before the grace.
const PROMPT: Duration = Duration::from_secs(10);

/// A program that does not want to end.
const STUBBORN: &str = "trap '' TERM; while :; do echo >> beat; sleep 0.01; done";

/// The program hears the stop, does what it must, and its own exit code counts.
///
/// Kills: SIGKILL in place of SIGTERM; the exit code of a stopped program lost.
pub async fn stop_lets_the_program_finish(bench: &Bench<'_>) {
    let mut spec =
        bench.spec("trap 'echo bye >> witness; exit 7' TERM; while :; do echo >> beat; sleep 0.01; done");
    spec.limits.stop_grace = GRACE;
    let execution = bench.start(&spec).await;
    bench.beats(&file(&spec, "beat")).await;
    execution.stop(GRACE, StopCause::Cancelled).await.unwrap();
    let report = report(bench.within(PROMPT, "a prompt end", execution.wait()).await);
    assert_eq!((report.exit, report.stopped_by), (Exit::Code(7), Some(StopCause::Cancelled)));
    assert_eq!(lines(&spec, "witness"), 1);
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
}

/// A program without handlers ends by SIGTERM, not after the whole grace.
///
/// Kills: the program as process 1, for which the kernel drops signals; SIGTERM inherited as ignored.
pub async fn a_plain_program_hears_the_stop(bench: &Bench<'_>) {
    let mut spec = bench.spec("echo >> witness; exec sleep 1000");
    spec.limits.stop_grace = GRACE;
    let execution = bench.start(&spec).await;
    bench.until("the program runs", || lines(&spec, "witness") == 1).await;
    execution.stop(GRACE, StopCause::Cancelled).await.unwrap();
    let report = report(bench.within(PROMPT, "a prompt end", execution.wait()).await);
    assert_eq!((report.exit, report.stopped_by), (Exit::Signal(15), Some(StopCause::Cancelled)));
    bench.is_silent(&spec).await;
}

/// A program that ignores the stop is killed after the grace.
///
/// Kills: kill deleted; an end reported while the program lives on.
pub async fn stop_escalates_to_kill(bench: &Bench<'_>) {
    // The sandbox' own grace is long: it is the one that was asked for that counts.
    let mut spec = bench.spec(STUBBORN);
    spec.limits.stop_grace = GRACE;
    let execution = bench.start(&spec).await;
    bench.beats(&file(&spec, "beat")).await;
    execution.stop(SHORT_GRACE, StopCause::Cancelled).await.unwrap();
    bench.beats(&file(&spec, "beat")).await;
    let report = report(bench.within(PROMPT, "a kill", execution.wait()).await);
    assert_eq!((report.exit, report.stopped_by), (Exit::Signal(9), Some(StopCause::Cancelled)));
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
}

/// A stop reaches what the program has started, wherever that has gone.
///
/// Kills: only the program, or only its process group, killed.
pub async fn stop_kills_what_left_the_session(bench: &Bench<'_>) {
    let mut spec = bench.spec(&format!("setsid sh -c \"{STUBBORN}\" & exec sleep 1000"));
    spec.limits.stop_grace = SHORT_GRACE;
    let execution = bench.start(&spec).await;
    bench.beats(&file(&spec, "beat")).await;
    execution.stop(SHORT_GRACE, StopCause::Cancelled).await.unwrap();
    bench.within(PROMPT, "the end of all", execution.wait()).await.unwrap();
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
}

/// A stop returns when it is delivered, and the caller can do something else for the grace.
///
/// Kills: stop that waits for the grace.
pub async fn stop_does_not_wait_for_the_end(bench: &Bench<'_>) {
    let mut spec = bench.spec(STUBBORN);
    spec.limits.stop_grace = GRACE;
    let execution = bench.start(&spec).await;
    bench.beats(&file(&spec, "beat")).await;
    bench.within(GRACE / 4, "the delivery", execution.stop(GRACE, StopCause::Cancelled)).await.unwrap();
    bench.beats(&file(&spec, "beat")).await;
    execution.remove().await.unwrap();
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
}

/// Stopping what has ended changes nothing.
///
/// Kills: an error for an ended attempt; a stop that rewrites the end.
pub async fn stop_after_the_end_is_fine(bench: &Bench<'_>) {
    let spec = bench.spec("exit 3");
    let execution = bench.start(&spec).await;
    let before = execution.wait().await.unwrap();
    execution.stop(SHORT_GRACE, StopCause::Cancelled).await.unwrap();
    assert_eq!(execution.wait().await.unwrap(), before);
    execution.remove().await.unwrap();
    execution.stop(SHORT_GRACE, StopCause::Cancelled).await.unwrap();
}

/// A second stop with less patience counts, and its cause does not replace the first.
///
/// Kills: a second stop ignored.
pub async fn stopping_twice_is_fine(bench: &Bench<'_>) {
    let mut spec = bench.spec(STUBBORN);
    spec.limits.stop_grace = GRACE;
    let execution = bench.start(&spec).await;
    bench.beats(&file(&spec, "beat")).await;
    execution.stop(GRACE, StopCause::Cancelled).await.unwrap();
    execution.stop(SHORT_GRACE, StopCause::TimedOut).await.unwrap();
    let report = report(bench.within(PROMPT, "a kill", execution.wait()).await);
    assert_eq!((report.exit, report.stopped_by), (Exit::Signal(9), Some(StopCause::Cancelled)));
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
}

/// An execution that was found again can be stopped like the one that was started.
///
/// Kills: a stop that needs what only the starter has.
pub async fn a_reattached_execution_can_be_stopped(bench: &Bench<'_>) {
    let mut spec = bench.spec(STUBBORN);
    spec.limits.stop_grace = GRACE;
    drop(bench.start(&spec).await);
    bench.beats(&file(&spec, "beat")).await;
    let execution = found(bench.other().reattach(&reference(&spec, None)).await);
    execution.stop(SHORT_GRACE, StopCause::Cancelled).await.unwrap();
    let report = report(bench.within(PROMPT, "a kill", execution.wait()).await);
    assert_eq!(report.stopped_by, Some(StopCause::Cancelled));
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
}

/// Why an attempt was stopped is still known to whoever finds it later.
///
/// Kills: every stop reported as a cancel; the cause kept in memory only.
pub async fn the_cause_of_a_stop_is_kept(bench: &Bench<'_>) {
    let unhealthy = [Symptom::NoOutput, Symptom::NoHeartbeat, Symptom::SoftCpu, Symptom::SoftMemory];
    let causes = unhealthy.map(StopCause::Unhealthy).into_iter();
    for cause in causes.chain([StopCause::Cancelled, StopCause::TimedOut]) {
        let spec = bench.spec("exec sleep 1000");
        let execution = bench.start(&spec).await;
        execution.stop(GRACE, cause).await.unwrap();
        assert_eq!(report(execution.wait().await).stopped_by, Some(cause));
        let later = found(bench.other().reattach(&reference(&spec, Some(&*execution))).await);
        assert_eq!(report(later.wait().await).stopped_by, Some(cause));
    }
}

/// The time limit is kept by the sandbox, whether or not a host is there.
///
/// Kills: time limit left to the host.
pub async fn the_time_limit_needs_no_host(bench: &Bench<'_>) {
    let mut spec = bench.spec("trap 'echo late >> witness; exit 4' TERM; while :; do sleep 0.01; done");
    spec.limits.timeout = Some(Duration::from_millis(400));
    spec.limits.stop_grace = GRACE;
    drop(bench.start(&spec).await);
    bench.until("the program is told", || lines(&spec, "witness") == 1).await;
    let execution = found(bench.executor().reattach(&reference(&spec, None)).await);
    let report = report(execution.wait().await);
    assert_eq!((report.exit, report.stopped_by), (Exit::Code(4), Some(StopCause::TimedOut)));
    assert!(report.duration >= Duration::from_millis(400), "{report:?}");
}

/// A program that ignores its time limit is killed after the grace, without a host.
///
/// Kills: SIGTERM at the time limit and nothing after it.
pub async fn the_time_limit_escalates_to_kill(bench: &Bench<'_>) {
    let mut spec = bench.spec(STUBBORN);
    spec.limits.timeout = Some(Duration::from_millis(300));
    spec.limits.stop_grace = SHORT_GRACE;
    drop(bench.start(&spec).await);
    bench.beats(&file(&spec, "beat")).await;
    bench.until("everything is killed", || processes(&spec).is_empty()).await;
    let execution = found(bench.executor().reattach(&reference(&spec, None)).await);
    let report = report(execution.wait().await);
    assert_eq!((report.exit, report.stopped_by), (Exit::Signal(9), Some(StopCause::TimedOut)));
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
}

/// What a program leaves behind ends with it, even if it has left the session and has another parent.
///
/// Kills: only the program waited for; only its session killed.
pub async fn a_daemon_ends_with_its_program(bench: &Bench<'_>) {
    let spec = bench.spec(&format!(
        "(setsid sh -c \"{STUBBORN}\" >/dev/null 2>&1 & ); while [ ! -s beat ]; do sleep 0.01; done; exit 5"
    ));
    let execution = bench.start(&spec).await;
    let report = report(bench.within(PROMPT, "an end in spite of the daemon", execution.wait()).await);
    assert_eq!(report.exit, Exit::Code(5));
    assert!(lines(&spec, "beat") > 0, "the daemon ran");
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
}
