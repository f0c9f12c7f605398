//! The processes of these tests: this test program, started again to be killed.

use std::{
    fs,
    io::Write as _,
    os::fd::AsRawFd as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use fastflow_core::{
    Clock as _, Hosting, Orchestrator, OrchestratorBuilder, RunId, Shutdown, Submission, SystemClock,
    run::Status,
    store::{SqliteOptions, SqliteStore, Store as _},
    testing::torture::{HostProcess, Part},
};

use crate::{
    forked, keys,
    kit::{configured, until, within},
};

/// Starts one.
pub(crate) fn start(role: &str, root: &Path) -> HostProcess {
    HostProcess::start(concat!(module_path!(), "::as_another_process"), role, root, 0)
}

/// Not a test of its own: what the others start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process of other tests"]
async fn as_another_process() {
    let Some(part) = Part::of_this_process() else { return };
    match part.role.as_str() {
        "worker" => work(&part.stage).await,
        "idle" => idle(&part.stage).await,
        "parent-of-keeper" => parent(&part.stage, KEEPS).await,
        "parent-of-careful" => parent(&part.stage, LETS_GO).await,
        "forker" => forked::fork_often(&part.stage).await,
        "opener" => open(&part.stage).await,
        "submitter" => keys::submit_all(&part.stage).await,
        other => panic!("no such role: {other}"),
    }
}

/// What is left of a fork in a child: the files that it shares with its parent, by their numbers.
const KEEPS: &str = "
import os, sys, time
with open('child.new', 'w') as file:
    file.write(str(os.getpid()))
os.rename('child.new', 'child')
time.sleep(600)
";
const LETS_GO: &str = "
import os, sys, time
nothing = os.open('/dev/null', os.O_RDWR)
for number in sys.argv[1:]:
    os.dup2(nothing, int(number))
with open('child.new', 'w') as file:
    file.write(str(os.getpid()))
os.rename('child.new', 'child')
time.sleep(600)
";

/// Hosts, and has a child that inherits its locks.
async fn parent(root: &Path, child: &str) {
    let flow = builder(root).build().await.unwrap();
    flow.start().await.unwrap();
    let mut command = Command::new("python3");
    command.current_dir(root).args(["-c", child]);
    for lock in flow.inherited_locks() {
        rustix::io::fcntl_setfd(lock, rustix::io::FdFlags::empty()).unwrap();
        command.arg(lock.as_raw_fd().to_string());
    }
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    until("the child", || async { root.join("child").exists() }).await;
    tell(root, "started");
    // It is killed before its child.
    tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
}

pub(crate) fn builder(root: &Path) -> OrchestratorBuilder {
    configured(Orchestrator::builder(root.join("data")).pipelines(root.join("pipelines")))
        .hosting(Hosting::WhenFree)
}

/// The file by which a process says that it has come so far.
pub(crate) fn sign(root: &Path, what: &str, pid: u32) -> std::path::PathBuf {
    root.join(format!("{what}-{pid}"))
}

pub(crate) fn tell(root: &Path, what: &str) {
    fs::write(sign(root, what, std::process::id()), "").unwrap();
}

async fn begin(root: &Path) -> Orchestrator {
    let flow = builder(root).build().await.unwrap();
    flow.start().await.unwrap();
    tell(root, "started");
    flow
}

async fn idle(root: &Path) {
    let _flow = begin(root).await;
    std::future::pending::<()>().await;
}

/// Submits one run after the other and sees each to its end, until it is told to stop, or killed.
async fn work(root: &Path) {
    let flow = begin(root).await;
    let pid = std::process::id();
    for number in 0.. {
        if root.join("stop").exists() {
            break;
        }
        let key = format!("{pid}-{number}");
        // Some are still running when their host is killed.
        let seconds = if number % 3 == 0 { "0.5" } else { "0" };
        let submission = Submission::new("once")
            .key(&key)
            .parameter("KEY", &key)
            .parameter("SECONDS", seconds)
            .parameter("TMP_DIR", root.join("tmp").display().to_string());
        let run = flow.submit(submission).await.unwrap();
        accept(root, &key, run.id);
        let run = within("a run to end", flow.runs().wait(run.id)).await.unwrap();
        assert_eq!(run.status(), Status::Success, "{run:?}");
    }
    within("the others to come to their ends", async {
        let clock = SystemClock::new();
        while !root.join("over").exists() {
            clock.sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    flow.shutdown(Shutdown::Drain { patience: Duration::from_mins(1), grace: Duration::ZERO }).await.unwrap();
}

fn accept(root: &Path, key: &str, id: RunId) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(root.join("accepted")).unwrap();
    file.write_all(format!("{key} {id}\n").as_bytes()).unwrap();
}

/// Opens a store at the moment that everybody is told to.
async fn open(root: &Path) {
    tell(root, "ready");
    let clock = SystemClock::new();
    while !root.join("go").exists() {
        tokio::task::yield_now().await;
    }
    let store = SqliteStore::open(root.join("new.db"), SqliteOptions::default(), std::sync::Arc::new(clock))
        .await
        .unwrap();
    assert!(store.pipelines().await.unwrap().is_empty());
    store.close().await.unwrap();
}
