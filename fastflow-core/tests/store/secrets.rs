//! What may happen to secrets in the file.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroU32,
    path::Path,
    sync::Arc,
};

use fastflow_core::{
    ErrorKind, RunId, SystemClock, Timestamp,
    run::{Exit, NewRun, Origin, RunEvent, Setup},
    secret::{Envelope, SecretName, SecretScope, SecretUse},
    store::{
        Claim, PutSecret, ResealSecret, SecretContent, SecretQuery, SecretRecord, SqliteOptions, SqliteStore,
        Step, Store,
    },
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default(), Arc::new(SystemClock::new())).await.unwrap()
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

async fn execute(path: &Path, sql: &'static str) {
    let mut connection = connect(path).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A text of each value that is in no other one.
fn text(tag: u64) -> [u8; 8] {
    tag.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}

/// What looks like a sealed value: the text of `tag`, over and over.
fn envelope(tag: u64, bytes: usize) -> Envelope {
    let sealed = std::iter::once(1).chain([7; 16]).chain(text(tag).into_iter().cycle().take(60.max(bytes)));
    Envelope::from_bytes(sealed.collect()).unwrap()
}

fn sealed(tag: u64, bytes: usize) -> SecretContent {
    SecretContent::Sealed(envelope(tag, bytes))
}

async fn put(store: &SqliteStore, name: &str, version: u32, content: SecretContent) {
    let name = name.parse().unwrap();
    let version = version.try_into().unwrap();
    let put = PutSecret { scope: SecretScope::Global, name, version, content, at: at(1) };
    store.put_secret(put).await.unwrap();
}

async fn find(store: &SqliteStore, names: &[&str]) -> fastflow_core::Result<Vec<SecretRecord>> {
    let names: BTreeSet<SecretName> = names.iter().map(|name| name.parse().unwrap()).collect();
    store.find_secrets(&[SecretScope::Global], &names).await
}

/// Kills: a store that takes a row for the value in force because it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_put_back_is_refused() {
    let older = "CREATE TABLE kept AS SELECT id, scope, name, version, put_at, sealed, plain FROM secrets";
    let back = "INSERT OR REPLACE INTO secrets (id, scope, name, version, put_at, sealed, plain)
                SELECT id, scope, name, version, put_at, sealed, plain FROM kept WHERE name = 'TOKEN'; DROP TABLE kept";
    let replace = Some(sealed(2, 100));
    for (what, before, after, rolled_back) in [
        ("the one that was replaced", older, replace.clone(), back),
        ("the one that was removed", older, None, back),
        (
            "one whose history is gone",
            "",
            replace.clone(),
            "DELETE FROM secret_versions WHERE name = 'TOKEN'",
        ),
        (
            "one of another kind",
            "",
            replace.clone(),
            "UPDATE secrets SET sealed = NULL, plain = 'x' WHERE name = 'TOKEN'",
        ),
        ("one from nowhere", "", replace, "UPDATE secrets SET version = 3 WHERE name = 'TOKEN'"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = open(&path).await;
        put(&store, "TOKEN", 1, sealed(1, 100)).await;
        put(&store, "OTHER", 1, sealed(3, 100)).await;
        execute(&path, before).await;
        match after {
            Some(content) => put(&store, "TOKEN", 2, content).await,
            None => {
                store.remove_secret(&SecretScope::Global, &"TOKEN".parse().unwrap(), at(2)).await.unwrap();
            }
        }
        find(&store, &["OTHER", "TOKEN"]).await.unwrap();
        execute(&path, rolled_back).await;

        // Lists show it for what it is, so that it can be removed and keys can be rotated.
        let listed = store.secrets(&SecretQuery::default()).await.unwrap();
        let shown: Vec<_> = listed.iter().map(|record| (record.name.as_str(), record.is_newest)).collect();
        assert_eq!(shown, [("OTHER", true), ("TOKEN", false)], "{what}");
        for refused in [find(&store, &["OTHER", "TOKEN"]).await, find(&store, &["TOKEN"]).await] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error}");
            let facts: Vec<_> = error.context().collect();
            assert!(
                facts.contains(&("scope", "global")) && facts.contains(&("name", "TOKEN")),
                "{what}: {error}"
            );
        }
        assert_eq!(find(&store, &["OTHER"]).await.unwrap().len(), 1, "{what}: the others can be had");
        let versions = store.secret_versions(&SecretScope::Global, &"TOKEN".parse().unwrap()).await.unwrap();
        let next = versions.first().map_or(1, |newest| newest.version.get() + 1);
        put(&store, "TOKEN", next, sealed(9, 100)).await;
        assert_eq!(find(&store, &["TOKEN"]).await.unwrap()[0].content, sealed(9, 100), "{what}: put anew");
    }
}

/// Those of the values that can be read in the bytes of the file, or in its log.
fn in_file(path: &Path, tags: &[u64]) -> BTreeSet<u64> {
    // Wherever a piece of a value lies, eight bytes in their place are its text, begun at any of its bytes.
    let turned = |tag: u64, by: usize| {
        let mut text = text(tag);
        text.rotate_left(by);
        (text, tag)
    };
    let wanted: HashMap<[u8; 8], u64> =
        tags.iter().flat_map(|tag| (0..8).map(|by| turned(*tag, by))).collect();
    let read = ["", "-wal"].map(|end| {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        std::fs::read(file).unwrap_or_default()
    });
    let parts = read.iter().flat_map(|bytes| bytes.chunks_exact(8));
    parts.filter_map(|part| wanted.get(part)).copied().collect()
}

/// Notes a use of every value, which writes the row anew.
async fn use_all(store: &SqliteStore, number: u32, names: &[String], version: u32) {
    let run: RunId = format!("01800000-0000-7000-8000-{number:012x}").parse().unwrap();
    store.create_run(NewRun::new(run, crate::spec(), Origin::Manual, at(0))).await.unwrap();
    let run = store.claim(Claim::new(at(1), NonZeroU32::MIN)).await.unwrap().remove(0);
    let secrets = names.iter().map(|name| SecretUse {
        name: name.parse().unwrap(),
        store: "sealed".into(),
        scope: Some(SecretScope::Global),
        version: version.try_into().ok(),
    });
    let setup = Setup {
        duration: std::time::Duration::ZERO,
        environment: None,
        image: None,
        secrets: secrets.collect(),
    };
    let handle = fastflow_core::executor::ExecutionHandle {
        attempt: run.attempt_id().unwrap(),
        native_id: "1".into(),
        detail: serde_json::Value::Null,
    };
    let started = Step::new(run.id, Some(run.epoch), RunEvent::Started(handle), at(2));
    store.advance(Step { setup: Some(setup), ..started }).await.unwrap();
    let exit = RunEvent::Exited { exit: Exit::Code(0), stopped_by: None };
    store.advance(Step::new(run.id, Some(run.epoch), exit, at(3))).await.unwrap();
}

/// Kills: a replaced, removed or newly sealed value that stays in pages of which the database has no use, also where
/// rows were moved between pages before.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_secret_was_is_wiped_from_the_file() {
    const SECRETS: u32 = 120;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).await;
    let names: Vec<String> = (0..SECRETS).map(|number| format!("N{}", number * 7919 % 997)).collect();
    let size = |number: u64| [100, 700, 3_900, 20_000, 65_536][usize::try_from(number % 5).unwrap()];
    for (tag, name) in (1..).zip(&names) {
        put(&store, name, 1, sealed(tag, size(tag))).await;
    }
    use_all(&store, 1, &names, 1).await;
    let (mut live, mut gone) = (Vec::new(), Vec::new());
    for (tag, name) in (1..).zip(&names) {
        let new = tag + 1000;
        let scope = SecretScope::Global;
        let name: SecretName = name.parse().unwrap();
        match tag % 4 {
            0 => {
                live.push(tag);
                continue;
            }
            1 => {
                put(&store, name.as_str(), 2, sealed(new, size(tag / 5))).await;
                live.push(new);
            }
            2 => {
                let (from, to) = (envelope(tag, size(tag)), envelope(new, size(tag)));
                let reseal = ResealSecret { scope, name, version: NonZeroU32::MIN, from, to };
                assert!(store.reseal_secret(reseal).await.unwrap());
                live.push(new);
            }
            _ => store.remove_secret(&scope, &name, at(2)).await.unwrap(),
        }
        gone.push(tag);
    }
    assert!(!in_file(&path, &gone).is_empty(), "until then, they are in the log");
    execute(&path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    let check = || {
        assert_eq!(in_file(&path, &live).len(), live.len(), "what is kept can be read");
        let left = in_file(&path, &gone);
        assert!(left.is_empty(), "{left:?} of {}", gone.len());
    };
    check();
    store.close().await.unwrap();
    check();
    crate::file::check_integrity(&path).await;
}

/// Two that read the same version, and put the next one, do so one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_put_one_version_one_is_late() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let (one, other) = (open(&path).await, open(&path).await);
    for version in 1..=40 {
        let new = |content| PutSecret {
            scope: SecretScope::Global,
            name: "A".parse().unwrap(),
            version: NonZeroU32::new(version).unwrap(),
            content,
            at: at(1),
        };
        let (here, there) = (one.clone(), other.clone());
        let (first, second) = (new(sealed(1, 100)), new(sealed(2, 100)));
        let first = tokio::spawn(async move { here.put_secret(first).await });
        let second = tokio::spawn(async move { there.put_secret(second).await });
        let answers = [first.await.unwrap(), second.await.unwrap()];
        let late: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert_eq!(late.len(), 1, "{late:?}");
        assert_eq!(late[0].kind(), ErrorKind::Conflict, "{late:?}");
    }
}
