//! Hosts in processes of their own: what they hold, and under which circumstances they work.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use fastflow_core::{
    Orchestrator, Shutdown,
    journal::{LogStream, Offset},
    run::Status,
};
use futures::StreamExt;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::kit::{Place, attempt, configured, ended, run, started, variable, within_time};

/// What the child is to do, and where.
const PROGRAM: &str = "FASTFLOW_TEST_PROGRAM";
const ROOT: &str = "FASTFLOW_TEST_ROOT";
/// The most that a host may need beyond what it had, whatever a program says.
const MEMORY_BOUND_BYTES: u64 = 64 << 20;

/// What `SQLite` itself thinks of a store's file.
pub(crate) async fn integrity(file: &Path) -> String {
    let options = SqliteConnectOptions::new().filename(file);
    let mut store = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut store).await.unwrap()
}

/// Starts this test program again as a host, perhaps behind a launcher, and returns what it wrote.
fn host(program: &str, place: &Place, launcher: &[&str]) -> String {
    let this = std::env::current_exe().unwrap();
    let mut words = launcher.iter().map(std::ffi::OsStr::new).chain([this.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", "machine::as_a_host", "--ignored", "--nocapture"]);
    command.env(PROGRAM, program).env(ROOT, place.root()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {}\n{said}", String::from_utf8_lossy(&output.stdout));
    place.said("answer")
}

/// Not a test of its own: the host that others start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the host process of other tests"]
async fn as_a_host() {
    let (Some(program), Some(root)) = (variable(PROGRAM), variable(ROOT)) else { return };
    let root = Path::new(&root);
    let builder = configured(Orchestrator::builder(root.join("data")).pipelines(root.join("pipelines")));
    let flow = started(builder).await;
    let answer = match program.as_str() {
        "memory" => memory(&flow).await,
        _ => run(&flow, "hello").await.status().to_string(),
    };
    std::fs::write(root.join("tmp/answer"), answer).unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
}

/// The most memory this process needed while a program said far too much, beyond what it had before.
async fn memory(flow: &Orchestrator) -> String {
    assert_eq!(run(flow, "hello").await.status(), Status::Success);
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_bytes();
    let loud = flow.submit("loud").await.unwrap();
    within_time("the log to begin", Duration::from_mins(1), flow.runs().follow(loud.id).next()).await;
    let mut log = flow.runs().logs(attempt(loud.id, 1), Offset::START);
    let mut bytes = 0;
    let read = async {
        while let Some(line) = log.next().await {
            let (_, line) = line.unwrap();
            if line.stream == LogStream::Out {
                bytes += line.bytes.len() + usize::from(!line.continues);
            }
        }
    };
    within_time("the log to end", Duration::from_mins(4), read).await;
    assert_eq!(ended(flow, loud.id).await.status(), Status::Success);
    format!("{bytes} {}", peak_bytes() - before)
}

/// The most memory this process has had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_line_of_100_megabytes_and_binary_garbage_cost_the_host_no_memory() {
    const LINE: usize = 100_000_000;
    const GARBAGE: usize = 64 << 18;
    let place = Place::new();
    place.pipeline("hello", "print('hello')").pipeline(
        "loud",
        &format!(
            "import os, random\n\
             def say(b):\n    while b: b = b[os.write(1, b):]\n\
             block = b'x' * 1_000_000\n\
             for _ in range({LINE} // 1_000_000): say(block)\n\
             say(b'\\n')\n\
             garbage = random.Random(1).randbytes(1 << 18)\n\
             for _ in range({GARBAGE} >> 18): say(garbage)\n"
        ),
    );
    let answer = host("memory", &place, &[]);
    let (said, grown) = answer.split_once(' ').unwrap();
    assert_eq!(said.parse::<usize>().unwrap(), LINE + 1 + GARBAGE);
    let grown: u64 = grown.parse().unwrap();
    assert!(grown < MEMORY_BOUND_BYTES, "the host grew by {grown} bytes");
}

#[test]
fn a_host_that_ignores_the_end_of_children_runs_pipelines_all_the_same() {
    let place = Place::new();
    place.pipeline(
        "hello",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'pass'], check=True)\n",
    );
    let answer = host("hello", &place, &["/bin/sh", "-c", "trap '' CHLD; exec \"$@\"", "sh"]);
    assert_eq!(answer, "SUCCESS", "also for the program, which waits for a child of its own");
}
