//! The death of the host.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use fastflow_core::{
    ErrorKind, SystemClock,
    hosting::HostPlace,
    run::{RunState, Status},
    secret::{SecretName, SecretScope},
    store::{EventId, RunQuery, SecretContent, SqliteOptions, SqliteStore, Store},
};

use crate::child::Host;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_is_refused_until_the_first_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let host = Host::start(&path, false);
    let open = || SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock::new()));
    let guest = open().await.unwrap();
    let error = guest.host(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let pid = host.pid().to_string();
    assert!(error.context().any(|fact| fact == ("pid", &pid)), "{error}");
    assert!(error.context().any(|(key, _)| key == "since"), "{error}");
    let known = guest.hosted_by().await.unwrap().unwrap();
    assert_eq!((known.pid, known.place), (host.pid(), HostPlace::Elsewhere));
    host.kill();
    assert_eq!(guest.hosted_by().await.unwrap(), None);
    let store = open().await.unwrap();
    store.host(None).await.unwrap();
    store.host(None).await.unwrap();
    assert_eq!(store.hosted_by().await.unwrap().unwrap().place, HostPlace::Here);
    assert_eq!(guest.host(None).await.unwrap_err().kind(), ErrorKind::Conflict, "also within one process");
    store.close().await.unwrap();
    assert_eq!(store.host(None).await.unwrap_err().kind(), ErrorKind::Unavailable, "it is closed");
    guest.host(None).await.unwrap();
    guest.step_down().await.unwrap();
    open().await.unwrap().host(None).await.unwrap();
}

/// The name and the version of a line that was not cut off.
fn said_version(said: &str) -> Option<(SecretName, u32)> {
    let (name, version) = said.split_once(' ')?;
    Some((name.parse().ok()?, version.parse().ok()?))
}

/// Each value is the newest of its versions, none of which is missing, and no older than what was said.
async fn check_secrets(store: &SqliteStore, said: &BTreeMap<SecretName, u32>) {
    let names = said.keys().cloned().collect();
    let found = store.find_secrets(&[SecretScope::Global], &names).await.unwrap();
    assert_eq!(found.len(), said.len());
    for record in found {
        let version = record.version.get();
        assert!(version >= said[&record.name], "{}: {version} of {}", record.name, said[&record.name]);
        assert_eq!(record.content, SecretContent::Parameter(version.to_string()));
        let versions = store.secret_versions(&SecretScope::Global, &record.name).await.unwrap();
        let numbers: Vec<u32> = versions.iter().map(|kept| kept.version.get()).collect();
        assert_eq!(numbers, (1..=version).rev().take(1000).collect::<Vec<_>>());
        assert!(versions.iter().all(|kept| kept.ended_at.is_none() == (kept.version == record.version)));
    }
}

/// The promise of durable acceptance: what was answered is there, whenever the host is killed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_kill_9() {
    const ROUNDS: usize = 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let (mut created, mut succeeded) = (HashSet::new(), HashSet::new());
    let mut put = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut host = Host::start(&path, true);
        let mut lines: Vec<_> = (0..=round * 37 % 400).map_while(|_| host.line()).collect();
        lines.extend(host.kill());
        for line in lines {
            // The last line may be cut off in its middle; then it was not said.
            match line.split_once(' ') {
                Some(("created", id)) => drop(id.parse().map(|id| created.insert(id))),
                Some(("succeeded", id)) => drop(id.parse().map(|id| succeeded.insert(id))),
                Some(("put", said)) => put.extend(said_version(said)),
                _ => {}
            }
        }
        let store =
            SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock::new())).await.unwrap();
        for id in &created {
            assert_eq!(store.run(*id).await.unwrap().id, *id, "round {round}");
        }
        for id in &succeeded {
            assert_eq!(store.run(*id).await.unwrap().state, RunState::Succeeded, "round {round}");
        }
        check_secrets(&store, &put).await;
        // Every state has its events, and none is missing.
        let last = store.last_event().await.unwrap();
        let events = store.events(EventId(0), 10_000.try_into().unwrap()).await.unwrap();
        assert_eq!(events.len() as u64, last.0.min(10_000));
        for run in store.take_over().await.unwrap() {
            assert_eq!(store.attempts(run.id).await.unwrap().len(), 1);
        }
        let mut query = RunQuery::default();
        query.statuses = vec![Status::Running];
        assert!(store.runs(&query).await.unwrap().items.is_empty());
        store.close().await.unwrap();
        crate::file::check_integrity(&path).await;
    }
    assert!(created.len() > ROUNDS && succeeded.len() > ROUNDS && put.len() > 1, "the children did work");
}
