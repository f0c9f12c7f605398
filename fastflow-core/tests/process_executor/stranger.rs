//! Process ids that mean somebody else, and shims that are killed from outside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use fastflow_core::{
    AttemptId, Clock, OwnerId, SystemClock,
    executor::{
        AttemptRef, AttemptSpec, Ended, Execution, Executor, ProcessConfig, ProcessExecutor, Reattached,
        Start, process::CgroupMode,
    },
    run::{LostCause, StopCause},
};
use fastflow_shim::{Guard, guard, proc};

/// The longest wait for what happens at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn attempt() -> AttemptId {
    "019aa2f0-7c3c-7def-8000-000000000001-1".parse().unwrap()
}

/// Control groups are the machine's: another run of these tests has others.
fn owner() -> OwnerId {
    format!("stranger-{}", std::process::id()).parse().unwrap()
}

fn executor(dir: &Path, cgroups: CgroupMode) -> ProcessExecutor {
    let mut config = ProcessConfig::new(dir.join("state"));
    config.cgroups = cgroups;
    ProcessExecutor::new(&config, Arc::new(SystemClock::new())).unwrap()
}

fn stranger() -> Child {
    Command::new("/bin/sleep").arg("1000").spawn().unwrap()
}

fn take(run_dir: &Path, pid: u32, start_time_ticks: u64, boot_id: String) {
    fs::create_dir_all(run_dir).unwrap();
    let at = SystemClock::new().now();
    let mine = Guard::Taken { attempt: attempt().to_string(), pid, start_time_ticks, boot_id, at };
    assert_eq!(guard::take(run_dir, &mine).unwrap(), None);
}

/// The id of a shim that is gone was given to a stranger: the attempt is lost, and the stranger lives.
#[tokio::test]
async fn a_stranger_with_the_same_process_id_is_not_touched() {
    let mut stranger = stranger();
    let ticks = proc::start_time_ticks(stranger.id()).unwrap();
    for (start, boot, expected) in [
        (ticks - 1, proc::boot_id().unwrap(), LostCause::MonitorDied),
        (ticks, "another-boot".to_owned(), LostCause::MachineRestarted),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let run_dir: PathBuf = dir.path().join("run");
        take(&run_dir, stranger.id(), start, boot);
        let executor = executor(dir.path(), CgroupMode::Auto);
        let reference = AttemptRef { id: attempt(), owner: owner(), run_dir, handle: None };
        let reattached = executor.reattach(&reference).await.unwrap();
        assert!(matches!(reattached, Reattached::Lost(cause) if cause == expected), "{reattached:?}");
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger was killed");
    }
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// Nobody can know how the program ended whose shim was killed; but nothing of it runs on.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_leaves_no_process_behind() {
    let with_daemon = "setsid sh -c 'while :; do echo >> beat; sleep 0.01; done' & while :; do echo >> beat; sleep 0.01; done";
    let without = "(while :; do echo >> beat; sleep 0.01; done) & while :; do echo >> beat; sleep 0.01; done";
    for (mode, script, by_wait) in [
        (CgroupMode::Auto, with_daemon, true),
        (CgroupMode::Auto, with_daemon, false),
        (CgroupMode::Off, without, true),
        (CgroupMode::Off, without, false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let executor = executor(dir.path(), mode);
        let run_dir = dir.path().join("run");
        fs::create_dir(&run_dir).unwrap();
        let argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
        let mut spec = AttemptSpec::new(attempt(), owner(), argv, run_dir.clone());
        spec.env.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
        let Start::Started(execution) = executor.start(spec).await.unwrap() else { panic!("not started") };
        let beat = || fs::metadata(run_dir.join("beat")).map_or(0, |metadata| metadata.len());
        let clock = SystemClock::new();
        while beat() < 20 {
            assert!(clock.elapsed() < PATIENCE, "the program does not write");
            clock.sleep(Duration::from_millis(5)).await;
        }
        let shim = execution.handle().native_id.parse().unwrap();
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(shim).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
        if by_wait {
            assert_eq!(execution.wait().await.unwrap(), Ended::Lost(LostCause::MonitorDied));
        } else {
            let reference =
                AttemptRef { id: attempt(), owner: owner(), run_dir: run_dir.clone(), handle: None };
            // The kill takes effect when it does.
            while matches!(executor.reattach(&reference).await.unwrap(), Reattached::Found(_)) {
                assert!(clock.elapsed() < PATIENCE, "the killed one is still found");
                clock.sleep(Duration::from_millis(5)).await;
            }
        }
        let before = beat();
        clock.sleep(Duration::from_millis(300)).await;
        assert_eq!(beat(), before, "{mode:?}: something still writes");
        execution.remove().await.unwrap();
        assert_eq!(executor.list(&owner()).await.unwrap(), []);
    }
}

/// A running attempt without control groups that writes to `beat` in a directory that is not the run's.
async fn beating(dir: &Path, executor: &ProcessExecutor) -> Box<dyn Execution> {
    let run_dir = dir.join("run");
    fs::create_dir(&run_dir).unwrap();
    let script = format!("cd {}; while :; do echo >> beat; sleep 0.01; done", dir.display());
    let argv = ["/bin/sh", "-c", &script].map(String::from).to_vec();
    let mut spec = AttemptSpec::new(attempt(), owner(), argv, run_dir);
    spec.env.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    let Start::Started(execution) = executor.start(spec).await.unwrap() else { panic!("not started") };
    let clock = SystemClock::new();
    while beats(dir) < 5 {
        assert!(clock.elapsed() < PATIENCE, "the program does not write");
        clock.sleep(Duration::from_millis(5)).await;
    }
    execution
}

fn beats(dir: &Path) -> u64 {
    fs::metadata(dir.join("beat")).map_or(0, |metadata| metadata.len())
}

async fn assert_beats_no_more(dir: &Path) {
    let before = beats(dir);
    SystemClock::new().sleep(Duration::from_millis(200)).await;
    assert_eq!(beats(dir), before, "something still writes");
}

fn kill_shim(execution: &dyn Execution) {
    let shim = rustix::process::Pid::from_raw(execution.handle().native_id.parse().unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let clock = SystemClock::new();
    tokio::select! {
        value = future => value,
        () = clock.sleep(PATIENCE) => panic!("not within {PATIENCE:?}"),
    }
}

/// An exit record that says nothing, or is somebody else's, counts as none: the end is unknown, not pending.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_exit_record_is_no_record() {
    let foreign = r#"{"attempt":"another","outcome":{"kind":"exited","code":0},"stopped_by":null,"oom_kills":0,
        "cpu_user_us":0,"cpu_system_us":0,"peak_memory_bytes":null,"started_at":"2026-11-20T20:06:16.000001Z",
        "ended_at":"2026-11-20T20:06:17.000001Z","duration_us":1000000,"log":{"records":0,"bytes":0,
        "dropped_records":0,"dropped_bytes":0,"complete":true,"error":null,"masked":0}}"#;
    for content in [Some("{\"attempt\":"), Some(foreign), None] {
        for by_wait in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let executor = executor(dir.path(), CgroupMode::Off);
            let execution = beating(dir.path(), &executor).await;
            let exit = dir.path().join("run/exit.json");
            match content {
                Some(content) => fs::write(&exit, content).unwrap(),
                None => fs::create_dir(&exit).unwrap(),
            }
            kill_shim(&*execution);
            if by_wait {
                assert_eq!(in_time(execution.wait()).await.unwrap(), Ended::Lost(LostCause::MonitorDied));
            } else {
                let lost = in_time(async {
                    loop {
                        match executor.reattach(&reference(dir.path())).await.unwrap() {
                            // The kill takes effect when it does.
                            Reattached::Found(_) => SystemClock::new().sleep(Duration::from_millis(5)).await,
                            other => break other,
                        }
                    }
                });
                let lost = lost.await;
                assert!(matches!(lost, Reattached::Lost(LostCause::MonitorDied)), "{lost:?}");
            }
            assert_beats_no_more(dir.path()).await;
            execution.remove().await.unwrap();
            assert_eq!(executor.list(&owner()).await.unwrap(), []);
        }
    }
}

fn reference(dir: &Path) -> AttemptRef {
    AttemptRef { id: attempt(), owner: owner(), run_dir: dir.join("run"), handle: None }
}

/// A guard that names another attempt tells nothing of this one, and what it names is not this one's to end.
#[tokio::test(flavor = "multi_thread")]
async fn the_guard_of_another_attempt_is_nobodys() {
    let mut stranger = stranger();
    let dir = tempfile::tempdir().unwrap();
    let executor = executor(dir.path(), CgroupMode::Auto);
    let execution = beating(dir.path(), &executor).await;
    let guard = dir.path().join("run/guard.json");
    let theirs = Guard::Taken {
        attempt: "another".to_owned(),
        pid: stranger.id(),
        start_time_ticks: proc::start_time_ticks(stranger.id()).unwrap(),
        boot_id: proc::boot_id().unwrap(),
        at: SystemClock::new().now(),
    };
    fs::write(&guard, serde_json::to_vec(&theirs).unwrap()).unwrap();
    let listed = executor.list(&owner()).await.unwrap();
    assert_eq!(
        listed.iter().map(|handle| (handle.attempt, &*handle.native_id)).collect::<Vec<_>>(),
        [(attempt(), "unknown")]
    );
    // What the handle remembers is still enough.
    let known = AttemptRef { handle: Some(execution.handle().clone()), ..reference(dir.path()) };
    let found = executor.reattach(&known).await.unwrap();
    assert!(matches!(found, Reattached::Found(_)), "{found:?}");
    kill_shim(&*execution);
    let ended = in_time(execution.wait()).await.unwrap();
    assert_eq!(ended, Ended::Lost(LostCause::MonitorDied));
    let lost = executor.reattach(&reference(dir.path())).await.unwrap();
    assert!(matches!(lost, Reattached::Lost(_)), "{lost:?}");
    assert_beats_no_more(dir.path()).await;
    assert_eq!(executor.list(&owner()).await.unwrap(), []);
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// A stop needs no file.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_directory_is_gone_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let executor = executor(dir.path(), CgroupMode::Off);
    let execution = beating(dir.path(), &executor).await;
    fs::remove_dir_all(dir.path().join("run")).unwrap();
    execution.stop(Duration::from_secs(1), StopCause::Cancelled).await.unwrap();
    assert_eq!(in_time(execution.wait()).await.unwrap(), Ended::Lost(LostCause::Removed));
    assert_beats_no_more(dir.path()).await;
    execution.remove().await.unwrap();
}

/// A note of a stop that a full disk left empty is none: the next one counts, and stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_note_of_a_stop_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let executor = executor(dir.path(), CgroupMode::Off);
    let execution = beating(dir.path(), &executor).await;
    fs::write(dir.path().join("run/stop.json"), "").unwrap();
    execution.stop(Duration::from_secs(10), StopCause::TimedOut).await.unwrap();
    execution.stop(Duration::from_secs(10), StopCause::Cancelled).await.unwrap();
    match in_time(execution.wait()).await.unwrap() {
        Ended::Exited(report) => assert_eq!(report.stopped_by, Some(StopCause::TimedOut)),
        other => panic!("{other:?}"),
    }
    let names = fs::read_dir(dir.path().join("run")).unwrap().flatten().map(|entry| entry.file_name());
    assert!(
        !names.into_iter().any(|name| name.to_string_lossy().starts_with('.')),
        "something is left aside"
    );
    execution.remove().await.unwrap();
}

/// The host died before it wrote down the session, and the shim dies later: still nothing runs on.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_not_written_down_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = executor(dir.path(), CgroupMode::Off);
    let started = beating(dir.path(), &first).await;
    let entry = dir.path().join("state/live").join(owner().as_str()).join(attempt().to_string());
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&entry).unwrap()).unwrap();
    assert!(value.as_object_mut().unwrap().remove("session").is_some());
    fs::write(&entry, value.to_string()).unwrap();

    let second = executor(dir.path(), CgroupMode::Off);
    let found = second.reattach(&reference(dir.path())).await.unwrap();
    assert!(matches!(found, Reattached::Found(_)), "{found:?}");
    kill_shim(&*started);
    // By the entry alone: this host dies, too.
    drop(found);
    let lost = in_time(async {
        loop {
            match executor(dir.path(), CgroupMode::Off).reattach(&reference(dir.path())).await.unwrap() {
                Reattached::Found(_) => SystemClock::new().sleep(Duration::from_millis(5)).await,
                other => break other,
            }
        }
    });
    let lost = lost.await;
    assert!(matches!(lost, Reattached::Lost(LostCause::MonitorDied)), "{lost:?}");
    assert_beats_no_more(dir.path()).await;
}
