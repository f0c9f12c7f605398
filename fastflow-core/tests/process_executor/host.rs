//! Hosts that die, and hosts that embed this crate in odd surroundings. Each is a real process: this test
//! program, started again.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use fastflow_core::{
    AttemptId, Clock, OwnerId, SystemClock,
    executor::{
        AttemptRef, AttemptSpec, Ended, Execution, Executor, ProcessConfig, ProcessExecutor, Reattached,
        Start,
    },
    journal::{Follower, Journal, LogLine, LogStream, Offset},
    run::{Exit, StopCause},
    secret::Secret,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// What a host is told to do, in its current directory.
const PLAN: &str = "plan.json";

/// Where secrets can be.
const MEMORY: &str = "/dev/shm";

/// How long anything here may take.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Deserialize, Serialize)]
enum Plan {
    /// Start the attempt and do nothing more.
    Start,
    /// Start it, ask it to stop, and do nothing more.
    StartAndStop,
    /// Run some attempts to their end and check their exit codes.
    RunSome,
    /// The same, while another part of the program collects every child it can get.
    RunSomeAndCollectChildren,
    /// The same, as the process that orphans are given to, which is what the first one of a container is.
    RunSomeAsReaper,
}

/// One installation, with one attempt.
struct Scene {
    dir: TempDir,
    /// Where its secrets are; found by the name of the other one.
    memory: TempDir,
    attempt: AttemptId,
}

impl Scene {
    fn new(number: u64) -> Self {
        let attempt = format!("019aa2f0-7c3c-7def-8000-{number:012x}-1").parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().file_name().unwrap();
        let memory = tempfile::Builder::new().prefix(name).rand_bytes(0).tempdir_in(MEMORY).unwrap();
        let scene = Self { dir, memory, attempt };
        fs::create_dir(scene.run_dir()).unwrap();
        scene
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn witnesses(&self) -> usize {
        fs::read_to_string(self.run_dir().join("witness")).map_or(0, |text| text.lines().count())
    }

    /// The folders of attempts that have secrets as files.
    fn secrets(&self) -> Vec<PathBuf> {
        let entries = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries(self.memory.path()).flat_map(|folder| entries(&folder).collect::<Vec<_>>()).collect()
    }

    fn executor(&self) -> ProcessExecutor {
        executor(self.dir.path())
    }

    fn reference(&self) -> AttemptRef {
        AttemptRef { id: self.attempt, owner: owner(), run_dir: self.run_dir(), handle: None }
    }

    /// Starts a host for it.
    fn host(&self, plan: &Plan, script: &str, signals: &str) -> Child {
        fs::write(self.dir.path().join(PLAN), serde_json::to_vec(&(plan, self.attempt, script)).unwrap())
            .unwrap();
        Command::new("/bin/sh")
            .args(["-c", &format!("{signals} exec \"$@\""), "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "host::a_host", "--ignored", "--nocapture"])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }
}

fn owner() -> OwnerId {
    "host-test".parse().unwrap()
}

fn executor(dir: &Path) -> ProcessExecutor {
    let mut config = ProcessConfig::new(dir.join("state"));
    config.secrets_dir = Some(Path::new(MEMORY).join(dir.file_name().unwrap()));
    ProcessExecutor::new(&config, Arc::new(SystemClock::new())).unwrap()
}

fn spec(dir: &Path, attempt: AttemptId, script: &str) -> AttemptSpec {
    let argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
    let mut spec = AttemptSpec::new(attempt, owner(), argv, dir.join("run"));
    spec.env.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    spec.limits.stop_grace = Duration::from_millis(300);
    spec.secrets.files.insert("KEY".parse().unwrap(), Secret::new("a value of some length"));
    spec
}

async fn start(executor: &dyn Executor, spec: AttemptSpec) -> Box<dyn Execution> {
    match executor.start(spec).await.unwrap() {
        Start::Started(execution) => execution,
        Start::Failed(failure) => panic!("{failure:?}"),
    }
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let clock = SystemClock::new();
    tokio::select! {
        value = future => value,
        () = clock.sleep(TIMEOUT) => panic!("not within {TIMEOUT:?}: {what}"),
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    in_time(what, async {
        while !condition() {
            clock.sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Not a test: a host, when there is a plan for it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests of this file"]
async fn a_host() {
    let dir = std::env::current_dir().unwrap();
    let Ok(plan) = fs::read(dir.join(PLAN)) else { return };
    let (plan, attempt, script): (Plan, AttemptId, String) = serde_json::from_slice(&plan).unwrap();
    let executor = executor(&dir);
    fs::write(dir.join("ready"), "").unwrap();
    match plan {
        Plan::Start => drop(start(&executor, spec(&dir, attempt, &script)).await),
        Plan::StartAndStop => {
            let execution = start(&executor, spec(&dir, attempt, &script)).await;
            until("the program runs", || dir.join("run/witness").exists()).await;
            execution.stop(Duration::from_secs(1000), StopCause::Cancelled).await.unwrap();
        }
        Plan::RunSome => run_some(&executor, &dir).await,
        Plan::RunSomeAndCollectChildren => {
            std::thread::spawn(|| {
                loop {
                    if rustix::process::wait(rustix::process::WaitOptions::NOHANG).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            run_some(&executor, &dir).await;
        }
        Plan::RunSomeAsReaper => {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
            run_some(&executor, &dir).await;
        }
    }
    fs::write(dir.join("done"), "").unwrap();
    std::future::pending::<()>().await;
}

async fn run_some(executor: &ProcessExecutor, dir: &Path) {
    executor.probe().await.unwrap();
    for number in 1..=5 {
        let attempt = format!("019aa2f0-7c3c-7def-9000-{number:012x}-1").parse().unwrap();
        let mut spec = spec(dir, attempt, &format!("exit {number}"));
        spec.run_dir = dir.join(format!("run-{number}"));
        fs::create_dir(&spec.run_dir).unwrap();
        let execution = start(executor, spec).await;
        match execution.wait().await.unwrap() {
            Ended::Exited(report) => assert_eq!(report.exit, Exit::Code(number)),
            other => panic!("{other:?}"),
        }
        execution.remove().await.unwrap();
    }
    let attempt = "019aa2f0-7c3c-7def-9000-000000000006-1".parse().unwrap();
    let mut spec = spec(dir, attempt, "");
    spec.argv = vec!["/nonexistent".to_owned()];
    spec.run_dir = dir.join("run-6");
    fs::create_dir(&spec.run_dir).unwrap();
    let started = executor.start(spec).await.unwrap();
    assert!(matches!(started, Start::Failed(_)), "{started:?}");
}

fn kill(host: &mut Child) {
    host.kill().unwrap();
    host.wait().unwrap();
}

/// The host is killed while its attempt runs; the next one gets the exit code and the whole log.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_outlives_its_host() {
    let scene = Scene::new(1);
    let script = "i=0; while [ ! -e go ]; do i=$((i + 1)); echo line $i; sleep 0.005; done; echo $i > witness; exit 11";
    let mut host = scene.host(&Plan::Start, script, "");
    until("the attempt is started", || scene.dir.path().join("done").exists()).await;
    kill(&mut host);
    let log = scene.run_dir().join("log.ndjson");
    let size = || fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let at_kill = size();
    until("the log goes on without a host", || size() > at_kill + 500).await;

    let executor = scene.executor();
    let listed = executor.list(&owner()).await.unwrap();
    assert_eq!(listed.iter().map(|handle| handle.attempt).collect::<Vec<_>>(), [scene.attempt]);
    let Reattached::Found(execution) = executor.reattach(&scene.reference()).await.unwrap() else {
        panic!("not found")
    };
    fs::write(scene.run_dir().join("go"), "").unwrap();
    match in_time("the end", execution.wait()).await.unwrap() {
        Ended::Exited(report) => assert_eq!((report.exit, report.log.complete), (Exit::Code(11), true)),
        other => panic!("{other:?}"),
    }
    let lines: usize = fs::read_to_string(scene.run_dir().join("witness")).unwrap().trim().parse().unwrap();
    let mut follower = Follower::new(
        Journal::<LogLine>::new(&log),
        Offset::START,
        Arc::new(SystemClock::new()),
        std::future::ready(()),
    );
    let mut seen = Vec::new();
    while let Some(batch) = follower.next_batch().await.unwrap() {
        let out = batch.records.iter().filter(|(_, line)| line.stream == LogStream::Out);
        seen.extend(out.map(|(_, line)| line.text().into_owned()));
    }
    assert_eq!(seen, (1..=lines).map(|number| format!("line {number}")).collect::<Vec<_>>());
    execution.remove().await.unwrap();
    assert_eq!(executor.list(&owner()).await.unwrap(), []);
}

/// The host is killed at many moments of a start. What the next one then finds out is true.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_while_it_starts_leaves_nothing_unknown() {
    let clock = SystemClock::new();
    let (mut found, mut never) = (0, 0);
    for round in 0..16 {
        let scene = Scene::new(100 + round);
        let mut host = scene.host(&Plan::Start, "echo started >> witness; exec sleep 1000", "");
        until("the host is about to start it", || scene.dir.path().join("ready").exists()).await;
        clock.sleep(Duration::from_micros(400 * round)).await;
        kill(&mut host);
        let executor = scene.executor();
        match executor.reattach(&scene.reference()).await.unwrap() {
            Reattached::Found(execution) => {
                found += 1;
                assert_eq!(executor.list(&owner()).await.unwrap(), [execution.handle().clone()]);
                until("the program runs", || scene.witnesses() == 1).await;
                assert_eq!(scene.secrets().len(), 1);
                execution.remove().await.unwrap();
            }
            Reattached::NeverStarted => {
                never += 1;
                clock.sleep(Duration::from_millis(100)).await;
                assert_eq!(scene.witnesses(), 0);
            }
            Reattached::Lost(cause) => panic!("{cause:?}"),
        }
        assert!(scene.witnesses() <= 1);
        assert_eq!(scene.secrets(), Vec::<PathBuf>::new());
        assert_eq!(executor.list(&owner()).await.unwrap(), []);
    }
    println!("{found} were started, {never} were not");
}

/// The host is killed right after it asked for a stop; the stubborn program is killed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_outlives_its_host() {
    let scene = Scene::new(2);
    let script = "trap '' TERM; echo started >> witness; while :; do echo >> beat; sleep 0.01; done";
    let mut host = scene.host(&Plan::StartAndStop, script, "");
    until("the stop is asked for", || scene.dir.path().join("done").exists()).await;
    kill(&mut host);
    let Reattached::Found(execution) = scene.executor().reattach(&scene.reference()).await.unwrap() else {
        panic!("not found")
    };
    match in_time("the kill", execution.wait()).await.unwrap() {
        Ended::Exited(report) => {
            assert_eq!((report.exit, report.stopped_by), (Exit::Signal(9), Some(StopCause::Cancelled)));
        }
        other => panic!("{other:?}"),
    }
}

/// Programs that embed this crate may ignore SIGCHLD, or collect every child there is.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_may_do_with_their_children_as_they_like() {
    for (number, plan, signals) in [
        (3, Plan::RunSome, "trap '' CHLD;"),
        (4, Plan::RunSomeAndCollectChildren, ""),
        (5, Plan::RunSome, ""),
        (6, Plan::RunSomeAsReaper, ""),
    ] {
        let scene = Scene::new(number);
        let mut host = scene.host(&plan, "", signals);
        until("all have run", || {
            scene.dir.path().join("done").exists() || host.try_wait().unwrap().is_some()
        })
        .await;
        assert!(scene.dir.path().join("done").exists(), "{plan:?} with {signals:?}");
        let children = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            fastflow_shim::proc::Stat::read(entry.file_name().to_str()?.parse().ok()?).ok()
        });
        let of_host: Vec<_> = children.filter(|stat| stat.parent == host.id()).collect();
        assert!(of_host.is_empty(), "{plan:?} leaves {of_host:?}");
        kill(&mut host);
    }
}
