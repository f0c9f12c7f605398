//! A process that is forked and goes on by itself.

use std::{fs, path::Path, sync::Arc, time::Duration};

use fastflow_core::{
    SystemClock,
    store::{SqliteOptions, SqliteStore, Store as _},
};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};

use crate::{kit::Place, role};

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_was_forked_while_a_database_was_open_opens_none() {
    let place = Place::new();
    let root = place.root().canonicalize().unwrap();
    role::start("forker", &root).ended(Duration::from_mins(1)).await;
    let said = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    assert!(said("same").contains("Unsupported"), "{}", said("same"));
    assert!(said("same").contains("forked"), "{}", said("same"));
    assert!(said("other").contains("Unsupported"), "{}", said("other"));
    assert_eq!(said("after"), "opened", "nothing is inherited from a store that is closed");
}

/// Forks children, with a database open and without, that open one and write down what comes of it.
pub(crate) async fn fork_often(root: &Path) {
    let store = opened(&root.join("one.db")).await.unwrap();
    fork(root, "same", "one.db").await;
    fork(root, "other", "two.db").await;
    store.close().await.unwrap();
    drop(store);
    fork(root, "after", "one.db").await;
    // The parent is not held up by what its children did.
    opened(&root.join("one.db")).await.unwrap().close().await.unwrap();
}

async fn opened(path: &Path) -> fastflow_core::Result<SqliteStore> {
    SqliteStore::open(path, SqliteOptions::default(), Arc::new(SystemClock::new())).await
}

async fn fork(root: &Path, name: &'static str, database: &'static str) {
    let root = root.to_owned();
    // In a thread of no runtime: what is forked makes one of its own.
    let child = std::thread::spawn(move || {
        if let Some(child) = forked() {
            return child;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let said = runtime.block_on(async {
            match opened(&root.join(database)).await {
                Ok(store) => store.close().await.map(|()| "opened".to_owned()),
                Err(error) => Ok(format!("{:?}: {error}", error.kind())),
            }
        });
        fs::write(root.join(name), said.unwrap()).unwrap();
        // Nothing of what it shares with its parent is its own to end.
        kill_process(getpid(), Signal::KILL).unwrap();
        unreachable!("it is killed")
    });
    tokio::task::spawn_blocking(move || {
        let child = child.join().unwrap();
        waitpid(Some(child), WaitOptions::empty()).unwrap();
    })
    .await
    .unwrap();
}

/// The child, in the parent.
#[expect(unsafe_code, reason = "fork has no safe form")]
fn forked() -> Option<Pid> {
    unsafe extern "C" {
        fn fork() -> i32;
    }
    // SAFETY: what the child does next it does in its only thread.
    let pid = unsafe { fork() };
    assert!(pid >= 0, "no fork");
    Pid::from_raw(pid)
}
