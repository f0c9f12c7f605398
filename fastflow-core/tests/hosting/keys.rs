//! Processes that write at one moment.

use std::{fs, path::Path, sync::Arc, time::Duration};

use fastflow_core::{
    Hosting, OsEntropy, Shutdown, Submission, SystemClock,
    store::{EventId, SqliteOptions, SqliteStore, Store as _},
    testing::torture::HostProcess,
};

use crate::{
    kit::Place,
    role::{self, sign, tell},
};

const PROCESSES: usize = 4;
/// So many keys, each of which every process submits.
const KEYS: usize = 60;

/// Submits all keys, in an order of its own, when everybody is told to.
pub(crate) async fn submit_all(root: &Path) {
    let flow = role::builder(root).hosting(Hosting::Never).build().await.unwrap();
    tell(root, "ready");
    while !root.join("go").exists() {
        tokio::task::yield_now().await;
    }
    let mut random = [0; 1];
    fastflow_core::Entropy::fill(&OsEntropy, &mut random);
    let mut lines = Vec::new();
    for number in 0..KEYS {
        let key = (number + usize::from(random[0])) % KEYS;
        let run = flow.submit(Submission::new("hello").key(format!("key-{key}"))).await.unwrap();
        lines.push(format!("{key} {}", run.id));
    }
    flow.shutdown(Shutdown::Detach).await.unwrap();
    fs::write(sign(root, "submitted", std::process::id()), lines.join("\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_run_whichever_process_submits_it() {
    let place = Place::new();
    let root = place.root().canonicalize().unwrap();
    place.pipeline("hello", "print('hello')");
    let mut processes: Vec<HostProcess> = (0..PROCESSES).map(|_| role::start("submitter", &root)).collect();
    let pids: Vec<u32> = processes.iter().map(HostProcess::id).collect();
    for process in &mut processes {
        process.until_there(&sign(&root, "ready", process.id())).await;
    }
    fs::write(root.join("go"), "").unwrap();
    for process in processes {
        process.ended(Duration::from_mins(1)).await;
    }
    let mut answers = pids.iter().map(|pid| {
        let text = fs::read_to_string(sign(&root, "submitted", *pid)).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    });
    let first = answers.next().unwrap();
    assert_eq!(first.len(), KEYS);
    for other in answers {
        assert_eq!(other, first, "every process got the same run for a key");
    }
    let path = place.data().join("fastflow.db");
    let store =
        SqliteStore::open(path, SqliteOptions::default(), Arc::new(SystemClock::new())).await.unwrap();
    let events = store.events(EventId::default(), 1000.try_into().unwrap()).await.unwrap();
    let ids: Vec<u64> = events.iter().map(|event| event.id.0).collect();
    assert_eq!(ids, (1..=KEYS as u64).collect::<Vec<_>>(), "one event each, and no gap");
}
