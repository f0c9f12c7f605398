//! What may happen to the file.

use std::{os::unix::fs::FileExt, path::Path, sync::Arc};

use fastflow_core::{
    ErrorKind, Result, SystemClock,
    schedule::EndReason,
    source::{SyncId, SyncOutcome, SyncRecord, SyncTrigger},
    store::{Publication, RemoveSchedule, ScheduleChange, SqliteOptions, SqliteStore, Store},
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::child::new_run;

async fn open(path: &Path) -> Result<SqliteStore> {
    SqliteStore::open(path, SqliteOptions::default(), Arc::new(SystemClock::new())).await
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path).create_if_missing(true))
        .await
        .unwrap()
}

pub(crate) async fn check_integrity(path: &Path) {
    let mut connection = connect(path).await;
    let found: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(found, "ok");
    let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await.unwrap();
    assert!(broken.is_empty());
}

/// A store with a few runs, closed.
async fn filled(path: &Path) {
    let store = open(path).await.unwrap();
    for _ in 0..50 {
        store.create_run(new_run(&SystemClock::new(), &"x".repeat(500))).await.unwrap();
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_by_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    filled(&path).await;
    let mut connection = connect(&path).await;
    sqlx::query("UPDATE schema_version SET version = 99, min_reader = 98")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let error = open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let facts: Vec<_> = error.context().collect();
    assert!(facts.contains(&("schema_of_database", "99")), "{error}");
    assert!(facts.contains(&("schema_of_this_version", "6")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_program_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    let mut connection = connect(&path).await;
    sqlx::query("CREATE TABLE theirs (id INTEGER)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(open(&path).await.unwrap_err().kind(), ErrorKind::Invalid);
    let text = dir.path().join("text.db");
    std::fs::write(&text, "not a database at all, but long enough to look like one\n".repeat(100)).unwrap();
    assert_eq!(open(&text).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(open(dir.path()).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(open(&dir.path().join("no/such/x.db")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_is_found_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    filled(&path).await;
    let pages = std::fs::metadata(&path).unwrap().len() / 4096;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for page in pages / 2..pages {
        file.write_all_at(&[0xff; 100], page * 4096).unwrap();
    }
    drop(file);
    let before = std::fs::read(&path).unwrap();
    let error = open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(std::fs::read(&path).unwrap() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_takes_no_more_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).await.unwrap();
    let clock = SystemClock::new();
    store.create_run(new_run(&clock, "a")).await.unwrap();
    std::fs::rename(&path, dir.path().join("moved.db")).unwrap();
    assert_eq!(store.create_run(new_run(&clock, "b")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::write(&path, "").unwrap();
    assert_eq!(store.create_run(new_run(&clock, "c")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let at = fastflow_core::Clock::now(&clock);
    let publication = Publication {
        pipelines: Vec::new(),
        schedules: ScheduleChange::default(),
        sync: SyncRecord {
            id: SyncId::default(),
            started_at: at,
            since: at,
            repeated: 1,
            duration_micros: 0,
            trigger: SyncTrigger::Call,
            branch: None,
            outcome: SyncOutcome::Unchanged,
            previous: None,
            commit: None,
            distance: None,
            bytes: 0,
        },
    };
    assert_eq!(store.publish(publication).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let gone = RemoveSchedule { id: "etl/a".parse().unwrap(), generation: 1, at, reason: EndReason::Removed };
    let unknown = ScheduleChange { put: Vec::new(), remove: vec![gone] };
    assert_eq!(store.put_schedules(unknown).await.unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::rename(dir.path().join("moved.db"), &path).unwrap();
    store.create_run(new_run(&clock, "d")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_every_clone_lets_go_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).await.unwrap();
    store.create_run(new_run(&SystemClock::new(), "a")).await.unwrap();
    store.host(None).await.unwrap();
    let clone = store.clone();
    drop(store);
    let other = open(&path).await.unwrap();
    assert_eq!(other.host(None).await.unwrap_err().kind(), ErrorKind::Conflict, "a clone still has it");
    drop(clone);
    let mut tries = 0;
    while let Err(error) = other.host(None).await {
        assert_eq!(error.kind(), ErrorKind::Conflict);
        tries += 1;
        assert!(tries < 100_000, "it is let go of");
        tokio::task::yield_now().await;
    }
}
