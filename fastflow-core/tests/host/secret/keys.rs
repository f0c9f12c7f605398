//! Values and the keys that they are sealed with, over time.

use fastflow_core::{
    ErrorKind, Orchestrator, Shutdown,
    run::StartFailureKind,
    secret::{MasterKey, MasterKeySource, Secret, SecretScope},
    store::SecretQuery,
};
use serde_json::json;

use super::{declared, done, found, key, keyed, name, start_failure};
use crate::kit::{Place, refused, run, started, started_after};

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_somebody_moved_does_not_open_and_nothing_starts() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    let flow = started(keyed(&place, &key())).await;
    for secret in ["A", "B"] {
        let value = Secret::new(format!("value-of-{secret}"));
        flow.secrets().set(&SecretScope::Global, &name(secret), value).await.unwrap();
    }
    place
        .sql("UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'B') WHERE name = 'A'")
        .await;
    let run = run(&flow, place.ask("etl")).await;
    let (kind, message) = start_failure(&run);
    assert_eq!(*kind, StartFailureKind::SecretRefused);
    assert!(message.contains('A') && !message.contains("value-of"), "{message}");
    assert_eq!(place.said("found"), "", "the program ran");
    let revealed = flow.secrets().reveal(&SecretScope::Global, &name("A")).await;
    refused(revealed.map(|_| ()), ErrorKind::Corrupt, &["A"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_put_back_keeps_no_host_from_starting_and_no_key_from_going() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["B"]}));
    let (old, new) = (key(), key());
    let flow = started(keyed(&place, &old)).await;
    for (secret, value) in [("A", "the-first-value"), ("B", "value-of-B")] {
        flow.secrets().set(&SecretScope::Global, &name(secret), Secret::new(value)).await.unwrap();
    }
    place.sql("CREATE TABLE kept AS SELECT version, sealed FROM secrets WHERE name = 'A'").await;
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("the-second-value")).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    place
        .sql("UPDATE secrets SET (version, sealed) = (SELECT version, sealed FROM kept) WHERE name = 'A'")
        .await;

    let both = || keyed(&place, &new).older_master_key(MasterKeySource::Key(old.clone()));
    let flow = started_after(both).await;
    refused(
        flow.secrets().reveal(&SecretScope::Global, &name("A")).await.map(|_| ()),
        ErrorKind::Invalid,
        &["A", "older row"],
    );
    let listed = flow.secrets().list(&SecretQuery::default()).await.unwrap();
    assert_eq!(listed.iter().map(|info| info.is_newest).collect::<Vec<_>>(), [false, true]);
    done(&place, &flow, "etl").await;
    let rotation = flow.secrets().rotate().await.unwrap();
    assert_eq!((rotation.resealed, rotation.values_by_key), (2, [(new.id(), 2)].into()));
    flow.secrets().remove(&SecretScope::Global, &name("A")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_value_is_for_the_next_attempt_and_an_old_one_is_gone() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    let flow = started(keyed(&place, &key())).await;
    let secrets = flow.secrets();
    let set = secrets.set(&SecretScope::Global, &name("A"), Secret::new("the-first-value")).await.unwrap();
    assert_eq!((set.version.get(), set.is_masked), (1, true));
    done(&place, &flow, "etl").await;
    let set = secrets.set(&SecretScope::Global, &name("A"), Secret::new("short")).await.unwrap();
    assert_eq!((set.version.get(), set.is_masked), (2, false));
    done(&place, &flow, "etl").await;
    assert_eq!(found(&place)["A"], "short");
    secrets.remove(&SecretScope::Global, &name("A")).await.unwrap();
    refused(secrets.remove(&SecretScope::Global, &name("A")).await, ErrorKind::NotFound, &[]);
    let run = run(&flow, place.ask("etl")).await;
    assert_eq!(*start_failure(&run).0, StartFailureKind::SecretMissing);
    let versions = secrets.versions(&SecretScope::Global, &name("A")).await.unwrap();
    assert!(versions.len() == 2 && versions.iter().all(|version| version.ended_at.is_some()), "{versions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_key_that_is_in_use_does_not_start() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    let (old, new) = (key(), key());
    let flow = started(keyed(&place, &old)).await;
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("value-of-A")).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    for builder in [place.builder(), keyed(&place, &new)] {
        let flow = builder.build().await.unwrap();
        let id = old.id().to_string();
        refused(flow.start().await, ErrorKind::Invalid, &["master key", &id]);
        flow.shutdown(Shutdown::Detach).await.unwrap();
    }

    let both = || keyed(&place, &new).older_master_key(MasterKeySource::Key(old.clone()));
    let flow = started_after(both).await;
    done(&place, &flow, "etl").await;
    let rotation = flow.secrets().rotate().await.unwrap();
    assert_eq!((rotation.resealed, rotation.values_by_key), (1, [(new.id(), 1)].into()));
    assert_eq!(flow.secrets().rotate().await.unwrap().resealed, 0);
    let idle = flow.secrets().keys().await.unwrap();
    let idle = idle.iter().find(|key| key.key == old.id()).unwrap();
    assert!(idle.values == 0 && !idle.seals, "{idle:?}");
    flow.shutdown(Shutdown::Detach).await.unwrap();

    let flow = started_after(|| keyed(&place, &new)).await;
    done(&place, &flow, "etl").await;
    assert_eq!(found(&place)["A"], "value-of-A");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_master_key_nothing_is_sealed() {
    let place = Place::new();
    let flow = place.start().await;
    let set = flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("value-of-A")).await;
    refused(set, ErrorKind::Invalid, &["master key"]);
    assert!(flow.secrets().list(&SecretQuery::default()).await.unwrap().is_empty());
    flow.secrets().set_parameter(&SecretScope::Global, &name("REGION"), "eu").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_installation_is_refused_and_its_owner_helps() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    let key = key();
    let flow = started(keyed(&place, &key)).await;
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("value-of-A")).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let owner = place.data().join("owner");
    let kept = std::fs::read(&owner).unwrap();
    std::fs::remove_file(&owner).unwrap();
    let flow = started_nothing(&place, &key).await;
    refused(flow.start().await, ErrorKind::Invalid, &["another installation", "`owner`"]);
    flow.shutdown(Shutdown::Detach).await.unwrap();
    std::fs::write(&owner, kept).unwrap();
    let flow = started_after(|| keyed(&place, &key)).await;
    done(&place, &flow, "etl").await;
}

/// Built, and not started.
async fn started_nothing(place: &Place, key: &MasterKey) -> Orchestrator {
    keyed(place, key).build().await.unwrap()
}
