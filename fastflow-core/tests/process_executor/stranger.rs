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
        AttemptRef, AttemptSpec, Ended, Executor, ProcessConfig, ProcessExecutor, Reattached, Start,
        process::CgroupMode,
    },
    run::LostCause,
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
