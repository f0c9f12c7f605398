use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use super::*;
use crate::store::sqlite::open;

const CHILD: &str = "FASTFLOW_TEST_MIGRATION";
const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
/// Two more steps; the second one takes for ever.
const SLOW: &[Migration] = &[
    Migration { version: 1, min_reader: 1, sql: "CREATE TABLE a (x INTEGER) STRICT" },
    Migration { version: 2, min_reader: 2, sql: "ALTER TABLE a ADD COLUMN y INTEGER" },
    Migration {
        version: 3,
        min_reader: 2,
        sql: "INSERT INTO a SELECT 1, 2;
              WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO a SELECT i, i FROM n",
    },
];

fn place() -> (tempfile::TempDir, Arc<Path>) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("store.db");
    (dir, path.into())
}

async fn columns(path: &Path) -> (i64, Vec<String>) {
    let mut connection = open::writer(path).await.unwrap();
    let version =
        sqlx::query_scalar("SELECT version FROM schema_version").fetch_one(&mut connection).await.unwrap();
    let names = sqlx::query_scalar("SELECT name FROM pragma_table_info('a')")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    (version, names)
}

#[tokio::test]
async fn the_schema_moves_forward_after_a_backup() {
    let (_dir, path) = place();
    let mut connection = open::writer(&path).await.unwrap();
    migrate(&mut connection, &SLOW[..1], &path, NOW).await.unwrap();
    sqlx::query("INSERT INTO a VALUES (42)").execute(&mut connection).await.unwrap();
    assert!(!beside(&path, ".backup-v1").exists(), "an empty file needs no backup");
    migrate(&mut connection, &SLOW[..2], &path, NOW).await.unwrap();
    migrate(&mut connection, &SLOW[..2], &path, NOW).await.unwrap();
    assert_eq!(columns(&path).await, (2, vec!["x".into(), "y".into()]));
    let backup = beside(&path, ".backup-v1");
    assert_eq!(columns(&backup).await, (1, vec!["x".into()]));
    let mut copy = open::writer(&backup).await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT x FROM a").fetch_one(&mut copy).await.unwrap();
    assert_eq!(kept, 42);
    let refused = migrate(&mut connection, &SLOW[..1], &path, NOW).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_failed_step_leaves_the_old_schema() {
    let (_dir, path) = place();
    let mut connection = open::writer(&path).await.unwrap();
    migrate(&mut connection, &SLOW[..1], &path, NOW).await.unwrap();
    let broken = [
        Migration { version: 2, min_reader: 2, sql: "ALTER TABLE a ADD COLUMN y INTEGER" },
        Migration { version: 3, min_reader: 2, sql: "CREATE TABLE b (x INTEGER) STRICT; NOT SQL" },
    ];
    assert!(migrate(&mut connection, &broken, &path, NOW).await.is_err());
    assert_eq!(columns(&path).await, (1, vec!["x".into()]));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the parent hands the path over like this")]
async fn a_killed_migration_leaves_the_old_schema() {
    if let Some(path) = std::env::var_os(CHILD) {
        let path: Arc<Path> = PathBuf::from(path).into();
        let mut connection = open::writer(&path).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nmigrating").unwrap();
        out.flush().unwrap();
        migrate(&mut connection, SLOW, &path, NOW).await.unwrap();
        return;
    }
    let (_dir, path) = place();
    let mut connection = open::writer(&path).await.unwrap();
    migrate(&mut connection, &SLOW[..1], &path, NOW).await.unwrap();
    drop(connection);
    let test = concat!(module_path!(), "::a_killed_migration_leaves_the_old_schema");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test.split_once("::").unwrap().1, "--nocapture"])
        .env(CHILD, &*path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "migrating" {}
    // It is in the middle when it has written so much that the log of the transaction reaches the disk.
    let log = beside(&path, "-wal");
    while std::fs::metadata(&log).map_or(0, |file| file.len()) < 4 << 20 {
        assert!(child.try_wait().unwrap().is_none(), "it is still at work");
        tokio::task::yield_now().await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(columns(&path).await, (1, vec!["x".into()]));
}
