//! One that waits to host, and what happens to databases that several open.

use std::{fs, sync::Arc, time::Duration};

use fastflow_core::{
    Clock as _, ErrorKind, Hosting, Shutdown, SystemClock,
    hosting::HostPlace,
    run::Status,
    store::{SqliteOptions, SqliteStore, Store as _},
    testing::torture::HostProcess,
};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection as _;

use crate::{
    kit::{Place, ended, refused, started, until, within},
    role::{self, sign},
};

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_takes_hold_of_what_a_killed_host_has_left() {
    let place = Place::new();
    let root = place.root().canonicalize().unwrap();
    place.pipeline("once", crate::storm::ONCE);
    let mut other = role::start("idle", &root);
    other.until_there(&sign(&root, "started", other.id())).await;
    let flow = started(place.builder().hosting(Hosting::WhenFree)).await;
    assert_eq!(flow.host().await.unwrap().unwrap().pid, other.id());
    let asked = place.ask("once").parameter("KEY", "a").parameter("SECONDS", "2");
    let run = flow.submit(asked).await.unwrap();
    place.until_said("ran-a").await;
    let clock = SystemClock::new();
    other.kill(false);
    until("this one to host", || async {
        flow.host().await.unwrap().is_some_and(|host| host.place == HostPlace::Here)
    })
    .await;
    println!("took over after {:?}", clock.elapsed());
    let run = ended(&flow, run.id).await;
    assert_eq!((run.status(), run.failed_attempts), (Status::Success, 0));
    assert_eq!(place.said("ran-a"), format!("{}\n", run.id), "its program was executed once");
    flow.shutdown(Shutdown::Detach).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_can_be_shut_down_and_who_cannot_begin_lets_others_try() {
    let place = Place::new();
    place.pipeline("hello", "print('hello')");
    let host = place.start().await;
    let waits = started(place.builder().hosting(Hosting::WhenFree)).await;
    within("it to shut down", waits.shutdown(Shutdown::Detach)).await.unwrap();
    host.shutdown(Shutdown::Detach).await.unwrap();
    // It gets the lock, and cannot read the pipelines.
    fs::rename(place.pipelines(), place.root().join("away")).unwrap();
    let cannot = place.builder().hosting(Hosting::WhenFree).build().await.unwrap();
    assert!(cannot.start().await.is_err());
    assert_eq!(cannot.host().await.unwrap(), None, "it lets go");
    fs::rename(place.root().join("away"), place.pipelines()).unwrap();
    let other = place.start().await;
    cannot.start().await.unwrap();
    // Its turn comes when it cannot begin: it goes on trying.
    fs::rename(place.pipelines(), place.root().join("away")).unwrap();
    let run = cannot.submit("hello").await;
    assert!(run.is_err(), "{run:?}");
    other.shutdown(Shutdown::Detach).await.unwrap();
    drop(other);
    until("it to try", || async {
        cannot.host().await.unwrap().is_some_and(|host| host.place == HostPlace::Here)
    })
    .await;
    fs::rename(place.root().join("away"), place.pipelines()).unwrap();
    until("it to host", || async {
        let run = cannot.submit("hello").await.unwrap();
        ended(&cannot, run.id).await.status() == Status::Success
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_open_a_new_database_at_one_moment_all_succeed() {
    for _ in 0..5 {
        let place = Place::new();
        let root = place.root().canonicalize().unwrap();
        let mut openers: Vec<HostProcess> = (0..4).map(|_| role::start("opener", &root)).collect();
        for opener in &mut openers {
            opener.until_there(&sign(&root, "ready", opener.id())).await;
        }
        fs::write(root.join("go"), "").unwrap();
        for opener in openers {
            opener.ended(Duration::from_mins(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_not_moved_while_another_process_has_the_database_open() {
    let place = Place::new();
    let root = place.root().canonicalize().unwrap();
    let mut other = role::start("idle", &root);
    other.until_there(&sign(&root, "started", other.id())).await;
    // As if the other one were of an earlier version.
    place.sql("UPDATE schema_version SET version = version - 1").await;
    let path = place.data().join("fastflow.db");
    let open = || SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock::new()));
    refused(open().await, ErrorKind::Conflict, &["newer schema", "another process"]);
    other.kill(false);
    // What is done to it now is wrong here, and is tried all the same.
    assert_ne!(open().await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// A child that is forked and executes nothing else shares the locks of its parent. Without what it does here, no other
/// process could take its parent's place as long as it lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_forked_child_can_let_go_of_the_locks_that_it_inherits() {
    for (role, hosts) in [("parent-of-keeper", false), ("parent-of-careful", true)] {
        let place = Place::new();
        let root = place.root().canonicalize().unwrap();
        let mut parent = role::start(role, &root);
        parent.until_there(&sign(&root, "started", parent.id())).await;
        let child: u32 = fs::read_to_string(root.join("child")).unwrap().trim().parse().unwrap();
        let flow = started(place.builder().hosting(Hosting::WhenFree)).await;
        assert_eq!(flow.host().await.unwrap().unwrap().pid, parent.id());
        parent.kill(false);
        let until_here = || {
            until("this one to host", || async {
                flow.host().await.unwrap().is_some_and(|host| host.place == HostPlace::Here)
            })
        };
        if hosts {
            until_here().await;
        } else {
            let still = flow.host().await.unwrap().unwrap();
            assert_eq!(still.place, HostPlace::Elsewhere, "the lock is held, though its process is gone");
        }
        kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::KILL).unwrap();
        until_here().await;
        flow.shutdown(Shutdown::Detach).await.unwrap();
    }
}

/// In another container the number of the host's process says nothing: no such process, or some other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_another_container_is_not_taken_for_dead() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("fastflow.db");
    let clock = SystemClock::new();
    let store = SqliteStore::open(&path, SqliteOptions::default(), Arc::new(clock)).await.unwrap();
    let lock = fs::OpenOptions::new().read(true).write(true).open(path.with_extension("db.lock")).unwrap();
    lock.lock().unwrap();
    let owner = |namespace: &str| {
        let text = format!("{{\"pid\": 4000000000, \"since\": \"{}\"{namespace}}}", clock.now());
        fs::write(path.with_extension("db.lock"), text).unwrap();
    };
    owner(", \"pid_namespace\": 1");
    let began = SystemClock::new();
    assert_eq!(store.hosted_by().await.unwrap().unwrap().pid, 4_000_000_000);
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    refused(store.host(None).await, ErrorKind::Conflict, &["4000000000"]);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // One that has ended in this very place, and whose lock a child of it keeps: who tries anyway does not wait for that.
    owner("");
    let began = SystemClock::new();
    refused(store.try_host(None).await, ErrorKind::Conflict, &["4000000000"]);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    lock.unlock().unwrap();
    store.try_host(None).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_write_is_told_which_process_hosts() {
    let place = Place::new();
    let root = place.root().canonicalize().unwrap();
    place.pipeline("hello", "print('hello')");
    let mut other = role::start("idle", &root);
    other.until_there(&sign(&root, "started", other.id())).await;
    let flow = started(place.builder().hosting(Hosting::Never)).await;
    // As the host does while it is stopped in the middle of a commit.
    let database = sqlx::sqlite::SqliteConnectOptions::new().filename(place.data().join("fastflow.db"));
    let mut writes = sqlx::SqliteConnection::connect_with(&database).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writes).await.unwrap();
    let pid = other.id().to_string();
    refused(flow.submit("hello").await, ErrorKind::Unavailable, &["host_pid", &pid]);
    sqlx::query("ROLLBACK").execute(&mut writes).await.unwrap();
    flow.submit("hello").await.unwrap();
    other.kill(false);
}
