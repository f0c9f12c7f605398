//! Finding attempts again.

use std::{fs, time::Duration};

use super::{
    Interference,
    bench::{Bench, exit, file, found, lines, reference, report},
};
use crate::{
    ErrorKind,
    executor::{Ended, Reattached, Start},
    journal::LogStream,
    run::{Exit, LostCause, StopCause},
};

/// A program that shows that it lives.
const BEAT: &str = "while :; do echo >> beat; sleep 0.01; done";

/// A program that shows how often it was started, and that it lives.
const WITNESS_AND_BEAT: &str = "echo started >> witness; while :; do echo >> beat; sleep 0.01; done";

/// How soon what was done from outside must have shown.
const PROMPT: Duration = Duration::from_secs(15);

/// What is listed can be taken hold of, with the same handle as at the start, with and without the handle.
///
/// Kills: an attempt missing from the list; a handle that changes.
pub async fn list_and_reattach_agree(bench: &Bench<'_>) {
    let specs = [bench.spec(BEAT), bench.spec(BEAT), bench.spec("exit 9")];
    let mut handles = Vec::new();
    for spec in &specs {
        let execution = bench.start(spec).await;
        handles.push(execution.handle().clone());
        for known in [None, Some(&*execution)] {
            let again = found(bench.executor().reattach(&reference(spec, known)).await);
            assert_eq!(again.handle(), execution.handle());
        }
    }
    let mut listed = bench.executor().list(bench.owner()).await.unwrap();
    listed.sort_by_key(|handle| handle.attempt);
    handles.sort_by_key(|handle| handle.attempt);
    assert_eq!(listed, handles);
}

/// Two installations on one machine do not see each other's attempts.
///
/// Kills: list that ignores its owner.
pub async fn list_shows_only_its_owner(bench: &Bench<'_>) {
    let spec = bench.spec(BEAT);
    let execution = bench.start(&spec).await;
    let stranger = format!("{}-2", bench.owner()).parse().expect("a name");
    assert_eq!(bench.executor().list(&stranger).await.unwrap(), []);
    assert_eq!(bench.executor().list(bench.owner()).await.unwrap(), [execution.handle().clone()]);
}

/// Another host finds what the first has started, with its end and its whole log.
///
/// Kills: a table of what was started, kept in memory.
pub async fn another_executor_takes_over(bench: &Bench<'_>) {
    if !bench.can("reattach", |can| can.reattach) {
        return;
    }
    let spec = bench.spec("echo before; while [ ! -e go ]; do sleep 0.01; done; echo after; exit 8");
    let execution = bench.start(&spec).await;
    let listed = bench.other().list(bench.owner()).await.unwrap();
    assert_eq!(listed, [execution.handle().clone()]);
    drop(execution);
    let again = found(bench.other().reattach(&reference(&spec, None)).await);
    fs::write(file(&spec, "go"), "").unwrap();
    assert_eq!(exit(again.wait().await), Exit::Code(8));
    if bench.executor().capabilities().output {
        assert_eq!(bench.stream(&spec, LogStream::Out).await, b"before\nafter\n");
    }
    again.remove().await.unwrap();
    assert_eq!(bench.executor().list(bench.owner()).await.unwrap(), []);
}

/// An attempt that ended while nobody looked is found with its end.
///
/// Kills: only living attempts found; the end of others guessed.
pub async fn an_ended_attempt_is_found_with_its_end(bench: &Bench<'_>) {
    let spec = bench.spec("exit 4");
    let execution = bench.start(&spec).await;
    let ended = execution.wait().await.unwrap();
    for known in [None, Some(&*execution)] {
        let again = found(bench.other().reattach(&reference(&spec, known)).await);
        assert_eq!(again.wait().await.unwrap(), ended);
    }
    assert_eq!(bench.other().list(bench.owner()).await.unwrap(), [execution.handle().clone()]);
}

/// What was never started stays so, whoever asks and however often.
///
/// Kills: the second question answered with `Lost`.
pub async fn never_started_is_repeatable(bench: &Bench<'_>) {
    let spec = bench.spec("exit 0");
    for executor in [&**bench.executor(), bench.other(), &**bench.executor()] {
        let reattached = executor.reattach(&reference(&spec, None)).await.unwrap();
        assert!(matches!(reattached, Reattached::NeverStarted), "{reattached:?}");
    }
    let without_directory = bench.spec("exit 0");
    fs::remove_dir_all(&without_directory.run_dir).unwrap();
    let reattached = bench.executor().reattach(&reference(&without_directory, None)).await.unwrap();
    assert!(matches!(reattached, Reattached::NeverStarted), "{reattached:?}");
}

/// Waiting can be given up and begun again, by several at a time, and the answer is always the same.
///
/// Kills: the end taken by whoever asks first.
pub async fn wait_is_cancel_safe_and_repeatable(bench: &Bench<'_>) {
    let spec = bench.spec("while [ ! -e go ]; do sleep 0.01; done; exit 3");
    let execution = bench.start(&spec).await;
    for _ in 0..10 {
        tokio::select! {
            ended = execution.wait() => panic!("it has not ended: {ended:?}"),
            () = crate::Clock::sleep(bench.clock(), Duration::from_millis(2)) => {}
        }
    }
    fs::write(file(&spec, "go"), "").unwrap();
    let (first, second) = futures::join!(execution.wait(), execution.wait());
    let first = first.unwrap();
    assert_eq!(exit(Ok(first.clone())), Exit::Code(3));
    assert_eq!(second.unwrap(), first);
    assert_eq!(execution.wait().await.unwrap(), first);
}

/// Letting go of an execution does not stop the program.
///
/// Kills: kill on drop.
pub async fn dropping_an_execution_leaves_it_running(bench: &Bench<'_>) {
    let spec = bench.spec(BEAT);
    drop(bench.start(&spec).await);
    bench.beats(&file(&spec, "beat")).await;
    bench.beats(&file(&spec, "beat")).await;
    let listed = bench.executor().list(bench.owner()).await.unwrap();
    assert_eq!(listed.iter().map(|handle| handle.attempt).collect::<Vec<_>>(), [spec.id]);
}

/// Removing kills what runs, with all its descendants, can be repeated, and leaves the files.
///
/// Kills: remove that forgets to kill; remove that fails the second time; remove that deletes the log.
pub async fn remove_kills_and_is_repeatable(bench: &Bench<'_>) {
    let spec = bench.spec(&format!("trap '' TERM; echo hello; setsid sh -c '{BEAT}' & {BEAT}"));
    let execution = bench.start(&spec).await;
    bench.beats(&file(&spec, "beat")).await;
    execution.remove().await.unwrap();
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
    execution.remove().await.unwrap();
    if bench.executor().capabilities().output {
        assert_eq!(bench.stream(&spec, LogStream::Out).await, b"hello\n");
    }
    match execution.wait().await.unwrap() {
        Ended::Exited(report) => assert_eq!(report.exit, Exit::Signal(9)),
        Ended::Lost(_) => {}
        Ended::NotExecuted(failure) => panic!("{failure:?}"),
    }
}

/// A removed attempt is not listed any more, and its number is spent.
///
/// Kills: removed attempts listed; the guard removed with the rest.
pub async fn a_removed_attempt_is_not_listed_and_not_started_again(bench: &Bench<'_>) {
    let spec = bench.spec("echo started >> witness");
    let execution = bench.start(&spec).await;
    execution.wait().await.unwrap();
    execution.remove().await.unwrap();
    assert_eq!(bench.executor().list(bench.owner()).await.unwrap(), []);
    match bench.executor().start(spec.clone()).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists),
        Ok(Start::Started(_) | Start::Failed(_)) => panic!("started again"),
    }
    bench.watch().await;
    assert_eq!(lines(&spec, "witness"), 1);
    assert_eq!(bench.executor().list(bench.owner()).await.unwrap(), []);
}

/// An attempt whose files were taken away is lost, never a success, and nothing of it runs.
///
/// Kills: an attempt without files taken for one that never started.
pub async fn an_attempt_whose_files_are_gone_is_lost(bench: &Bench<'_>) {
    let spec = bench.spec("exec sleep 1000");
    let execution = bench.start(&spec).await;
    // The sandbox may make a file while the others are being removed.
    bench.until("its files are gone", || fs::remove_dir_all(&spec.run_dir).is_ok()).await;
    let reattached = bench.other().reattach(&reference(&spec, Some(&*execution))).await.unwrap();
    assert!(matches!(reattached, Reattached::Lost(LostCause::Removed)), "{reattached:?}");
    bench.is_silent(&spec).await;
    assert_eq!(bench.executor().list(bench.owner()).await.unwrap(), []);
}

/// Whoever kills a sandbox from outside kills all of it, and nobody takes that for an end of the program's own.
///
/// Kills: wait that hangs without the one that watched; an engine's exit code taken for the program's; a kill taken
/// for a stop, or for want of memory.
pub async fn an_attempt_killed_from_outside_is_told(bench: &Bench<'_>) {
    let spec = bench.spec(WITNESS_AND_BEAT);
    let execution = bench.start(&spec).await;
    bench.beats(&file(&spec, "beat")).await;
    if !bench.interfere(&*execution, Interference::Kill).await {
        return;
    }
    let is_told = |ended: &Ended| match ended {
        Ended::Exited(report) => (report.exit, report.stopped_by) == (Exit::Signal(9), None),
        Ended::Lost(_) => true,
        Ended::NotExecuted(_) => false,
    };
    let ended = bench.within(PROMPT, "the end", execution.wait()).await.unwrap();
    assert!(is_told(&ended), "{ended:?}");
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
    for known in [None, Some(&*execution)] {
        match bench.other().reattach(&reference(&spec, known)).await.unwrap() {
            Reattached::Found(again) => assert_eq!(again.wait().await.unwrap(), ended),
            Reattached::Lost(_) => {}
            Reattached::NeverStarted => panic!("it has started"),
        }
    }
    execution.remove().await.unwrap();
    assert_eq!(bench.executor().list(bench.owner()).await.unwrap(), []);
    assert_eq!(lines(&spec, "witness"), 1);
}

/// What somebody has taken away is lost, and its number is spent.
///
/// Kills: the engine's 137 for a container that is gone; an attempt without a container taken for one that never
/// started.
pub async fn a_sandbox_removed_from_outside_is_lost(bench: &Bench<'_>) {
    let spec = bench.spec(WITNESS_AND_BEAT);
    let execution = bench.start(&spec).await;
    bench.beats(&file(&spec, "beat")).await;
    if !bench.interfere(&*execution, Interference::Remove).await {
        return;
    }
    let ended = bench.within(PROMPT, "the end", execution.wait()).await.unwrap();
    assert!(matches!(ended, Ended::Lost(_)), "{ended:?}");
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
    for known in [Some(&*execution), None] {
        let reattached = bench.other().reattach(&reference(&spec, known)).await.unwrap();
        assert!(matches!(reattached, Reattached::Lost(_)), "{reattached:?}");
    }
    assert_eq!(bench.executor().start(spec.clone()).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    execution.remove().await.unwrap();
    assert_eq!(bench.executor().list(bench.owner()).await.unwrap(), []);
    assert_eq!(lines(&spec, "witness"), 1);
}

/// What somebody holds has not ended, and can be ended.
///
/// Kills: a held sandbox taken for one that ended; a stop that waits for a program that cannot hear it.
pub async fn a_paused_sandbox_can_be_stopped(bench: &Bench<'_>) {
    let mut spec = bench.spec(&format!("trap '' TERM; {BEAT}"));
    spec.limits.stop_grace = Duration::from_millis(300);
    let execution = bench.start(&spec).await;
    bench.beats(&file(&spec, "beat")).await;
    if !bench.interfere(&*execution, Interference::Pause).await {
        return;
    }
    tokio::select! {
        ended = execution.wait() => panic!("it has not ended: {ended:?}"),
        () = bench.watch() => {}
    }
    let again = found(bench.other().reattach(&reference(&spec, None)).await);
    bench
        .within(PROMPT, "the delivery", again.stop(spec.limits.stop_grace, StopCause::Cancelled))
        .await
        .unwrap();
    let report = report(bench.within(PROMPT, "the end", execution.wait()).await);
    assert_eq!((report.exit, report.stopped_by), (Exit::Signal(9), Some(StopCause::Cancelled)));
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
}

/// Whoever starts a sandbox again does not run its program again, and does not change how it ended.
///
/// Kills: a sandbox that runs whatever it is started for; the second start taken for the first.
pub async fn a_restarted_sandbox_does_not_run_again(bench: &Bench<'_>) {
    let spec = bench.spec("echo started >> witness; exit 3");
    let execution = bench.start(&spec).await;
    let ended = execution.wait().await.unwrap();
    if !bench.interfere(&*execution, Interference::Restart).await {
        return;
    }
    bench.watch().await;
    bench.is_silent(&spec).await;
    for known in [None, Some(&*execution)] {
        let again = found(bench.other().reattach(&reference(&spec, known)).await);
        assert_eq!(again.wait().await.unwrap(), ended);
    }
    assert_eq!((exit(Ok(ended)), lines(&spec, "witness")), (Exit::Code(3), 1));

    let spec = bench.spec(WITNESS_AND_BEAT);
    let execution = bench.start(&spec).await;
    bench.beats(&file(&spec, "beat")).await;
    assert!(bench.interfere(&*execution, Interference::Restart).await);
    match bench.within(PROMPT, "the end", execution.wait()).await.unwrap() {
        Ended::Exited(report) => assert!(matches!(report.exit, Exit::Signal(_)), "{report:?}"),
        Ended::Lost(_) => {}
        Ended::NotExecuted(failure) => panic!("{failure:?}"),
    }
    bench.watch().await;
    bench.is_silent_but_for(&spec, &[&file(&spec, "beat")]).await;
    assert_eq!(lines(&spec, "witness"), 1);
}
