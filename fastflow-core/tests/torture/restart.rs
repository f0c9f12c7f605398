//! A program that makes and drops orchestrators all day holds no more than at its beginning.

use std::{fs, path::Path, time::Duration};

use fastflow_core::{Clock, RunId, Shutdown, Submission, SystemClock, run::Status, testing::torture::Books};

use crate::{
    host,
    kit::{PATIENCE, Place, started_after, until, within},
};

const ROUNDS: usize = 30;
/// How long each orchestrator lives.
const LIFE: Duration = Duration::from_millis(300);
/// Rounds after which nothing may grow any more.
const WARM_UP: usize = 5;
/// Threads come and go with the work they do; more than so many more are a leak.
const SLACK: usize = 6;

/// What this process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    files: usize,
    threads: usize,
}

fn held() -> Held {
    let count = |dir: &str| fs::read_dir(dir).unwrap().count();
    Held { files: count("/proc/self/fd"), threads: count("/proc/self/task") }
}

/// The host: half of its orchestrators are shut down, the others are dropped.
pub(crate) async fn restart_often(root: &Path) {
    let clock = SystemClock::new();
    let mut runs: Vec<RunId> = Vec::new();
    let mut holdings = Vec::new();
    for round in 0..ROUNDS {
        let flow = started_after(|| host::builder(root)).await;
        for seconds in ["0", "0.2", "0.7"] {
            runs.push(flow.submit(Submission::new("nap").parameter("SECONDS", seconds)).await.unwrap().id);
        }
        clock.sleep(LIFE).await;
        if round % 2 == 0 {
            flow.shutdown(Shutdown::Detach).await.unwrap();
        }
        drop(flow);
        if round >= WARM_UP {
            holdings.push(held());
        }
    }
    let flow = started_after(|| host::builder(root)).await;
    for run in &runs {
        let done = within("a run to end", flow.runs().wait(*run)).await.unwrap();
        assert_eq!((done.status(), done.failed_attempts), (Status::Success, 0), "{done:?}");
    }
    flow.shutdown(Shutdown::Drain { patience: PATIENCE, grace: Duration::ZERO }).await.unwrap();
    drop(flow);
    let first = holdings[0];
    until("what was held to be let go", || async {
        let now = held();
        now.files <= first.files + SLACK && now.threads <= first.threads + SLACK
    })
    .await;
    let last: Vec<_> = holdings.iter().rev().take(3).collect();
    assert!(last.iter().any(|held| held.files <= first.files + SLACK), "files: {holdings:?}");
    assert!(last.iter().any(|held| held.threads <= first.threads + SLACK), "threads: {holdings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_orchestrators_one_after_the_other_leave_nothing() {
    let place = Place::new();
    let root = place.root().canonicalize().unwrap();
    place.pipeline("nap", "import os, time; time.sleep(float(os.environ['SECONDS']))");
    host::start("restart", &root).ended(Duration::from_mins(2)).await;
    let books = Books::open(&root).await;
    assert_eq!(books.runs.len(), ROUNDS * 3);
    books.check_machine(&root);
}
