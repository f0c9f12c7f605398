//! Cases on sealed values and parameters.

mod pages;
mod reseal;
mod uses;

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc};

pub use self::{pages::*, reseal::*, uses::*};
use super::{at, many};
use crate::{
    ErrorKind, Result,
    secret::{Envelope, MasterKeyId, SecretName, SecretScope},
    store::{PutSecret, SecretContent, SecretQuery, SecretRecord, SecretVersion, Store},
};

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn scope(text: &str) -> SecretScope {
    text.parse().unwrap()
}

/// The key with this number.
fn key(number: u8) -> MasterKeyId {
    format!("{number:032x}").parse().unwrap()
}

/// What looks like a value sealed with that key; `value` tells it from others.
fn envelope(number: u8, value: u8) -> Envelope {
    let mut bytes = vec![1];
    bytes.extend_from_slice(key(number).as_bytes());
    bytes.extend(std::iter::repeat_n(value, 60 + usize::from(value) * 100));
    Envelope::from_bytes(bytes).unwrap()
}

fn sealed(number: u8, value: u8) -> SecretContent {
    SecretContent::Sealed(envelope(number, value))
}

fn parameter(text: &str) -> SecretContent {
    SecretContent::Parameter(text.into())
}

fn put_at(second: i64, of: &str, named: &str, version: u32, content: SecretContent) -> PutSecret {
    PutSecret { scope: scope(of), name: name(named), version: many(version), content, at: at(second) }
}

async fn put(store: &Arc<dyn Store>, of: &str, named: &str, version: u32, content: SecretContent) {
    store.put_secret(put_at(i64::from(version), of, named, version, content)).await.unwrap();
}

async fn try_put(store: &Arc<dyn Store>, version: u32) -> Result<()> {
    store.put_secret(put_at(9, "global", "TOKEN", version, sealed(1, 99))).await
}

async fn find(store: &Arc<dyn Store>, scopes: &[&str], names: &[&str]) -> Vec<SecretRecord> {
    let scopes: Vec<SecretScope> = scopes.iter().map(|text| scope(text)).collect();
    let names: BTreeSet<SecretName> = names.iter().map(|text| name(text)).collect();
    store.find_secrets(&scopes, &names).await.unwrap()
}

/// The one value of this scope and name.
async fn found(store: &Arc<dyn Store>, of: &str, named: &str) -> SecretRecord {
    let mut found = find(store, &[of], &[named]).await;
    assert_eq!(found.len(), 1, "{of} {named}");
    found.remove(0)
}

async fn versions(store: &Arc<dyn Store>) -> Vec<SecretVersion> {
    store.secret_versions(&scope("global"), &name("TOKEN")).await.unwrap()
}

fn version(number: u32, is_sealed: bool, put: i64, ended: Option<i64>) -> SecretVersion {
    SecretVersion { version: many(number), is_sealed, put_at: at(put), ended_at: ended.map(at) }
}

/// Kills: a value that loses a field or is mixed up with another one's, a version that comes twice after a removal, and a
/// history that ends with it.
pub async fn a_secret_is_replaced_and_removed_and_its_versions_go_on(store: Arc<dyn Store>) {
    let (global, token) = (scope("global"), name("TOKEN"));
    assert!(versions(&store).await.is_empty());
    put(&store, "global", "TOKEN", 1, sealed(1, 10)).await;
    put(&store, "global", "OTHER", 1, parameter("eu")).await;
    let first = SecretRecord {
        scope: global.clone(),
        name: token.clone(),
        version: NonZeroU32::MIN,
        content: sealed(1, 10),
        put_at: at(1),
        last_use: None,
        is_newest: true,
    };
    assert_eq!(found(&store, "global", "TOKEN").await, first);
    put(&store, "global", "TOKEN", 2, parameter("plain, \"quoted\"\nand long")).await;
    let second = found(&store, "global", "TOKEN").await;
    assert_eq!((second.version, second.put_at), (many(2), at(2)));
    assert_eq!(second.content, parameter("plain, \"quoted\"\nand long"));
    assert_eq!(versions(&store).await, [version(2, false, 2, None), version(1, true, 1, Some(2))]);

    store.remove_secret(&global, &token, at(5)).await.unwrap();
    assert!(find(&store, &["global"], &["TOKEN"]).await.is_empty());
    let listed = store.secrets(&SecretQuery::default()).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["OTHER"]);
    assert_eq!(versions(&store).await, [version(2, false, 2, Some(5)), version(1, true, 1, Some(2))]);
    let again = store.remove_secret(&global, &token, at(6)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    let elsewhere = store.remove_secret(&scope("pipeline:etl"), &name("OTHER"), at(6)).await.unwrap_err();
    assert_eq!(elsewhere.kind(), ErrorKind::NotFound);
    assert_eq!(versions(&store).await[0], version(2, false, 2, Some(5)), "it ended once");

    store.put_secret(put_at(7, "global", "TOKEN", 3, sealed(2, 11))).await.unwrap();
    assert_eq!(found(&store, "global", "TOKEN").await.content, sealed(2, 11));
    let all = [version(3, true, 7, None), version(2, false, 2, Some(5)), version(1, true, 1, Some(2))];
    assert_eq!(versions(&store).await, all);
    assert_eq!(found(&store, "global", "OTHER").await.content, parameter("eu"), "the other one is as it was");
}

/// Kills: a value that takes the place of one that its writer has not seen.
pub async fn a_secret_that_somebody_put_meanwhile_is_not_replaced(store: Arc<dyn Store>) {
    for wrong in [2, 9] {
        assert_eq!(try_put(&store, wrong).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert!(versions(&store).await.is_empty(), "a refused one leaves nothing");
    put(&store, "global", "TOKEN", 1, sealed(1, 10)).await;
    put(&store, "global", "TOKEN", 2, sealed(1, 11)).await;
    let before = (found(&store, "global", "TOKEN").await, versions(&store).await);
    for wrong in [1, 2, 4, u32::MAX] {
        let refused = try_put(&store, wrong).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{wrong}");
        assert!(refused.context().any(|fact| fact == ("name", "TOKEN")), "{refused}");
    }
    assert_eq!((found(&store, "global", "TOKEN").await, versions(&store).await), before);
    store.remove_secret(&scope("global"), &name("TOKEN"), at(5)).await.unwrap();
    for wrong in [1, 2, 4] {
        assert_eq!(try_put(&store, wrong).await.unwrap_err().kind(), ErrorKind::Conflict, "{wrong}");
    }
    try_put(&store, 3).await.unwrap();
}

/// Kills: a pipeline that gets what is for another one, by its scope or its name.
pub async fn secrets_are_found_by_their_scopes_and_names(store: Arc<dyn Store>) {
    let places = [
        ("global", "A"),
        ("global", "B"),
        ("pipeline:etl", "A"),
        ("pipeline:etl-2", "A"),
        ("schedule:etl@nightly", "A"),
        ("schedule:etl@nightly", "a"),
    ];
    for (number, (of, named)) in (0..).zip(places) {
        put(&store, of, named, 1, sealed(1, number)).await;
    }
    let found = async |scopes: &[&str], names: &[&str]| {
        let found = find(&store, scopes, names).await;
        let mut values: Vec<(String, String)> = Vec::new();
        for record in found {
            let number = places.iter().position(|(of, named)| {
                (*of, *named) == (record.scope.to_string().as_str(), record.name.as_str())
            });
            assert_eq!(record.content, sealed(1, u8::try_from(number.unwrap()).unwrap()));
            values.push((record.scope.to_string(), record.name.to_string()));
        }
        values.sort();
        values
    };
    let expected = |of: &[(&str, &str)]| {
        of.iter().map(|(of, named)| ((*of).into(), (*named).into())).collect::<Vec<_>>()
    };
    let scopes = ["schedule:etl@nightly", "pipeline:etl", "global"];
    assert_eq!(
        found(&scopes, &["A", "NONE"]).await,
        expected(&[("global", "A"), ("pipeline:etl", "A"), ("schedule:etl@nightly", "A")])
    );
    assert_eq!(found(&["pipeline:etl"], &["A", "B"]).await, expected(&[("pipeline:etl", "A")]));
    assert_eq!(found(&["global", "global"], &["B"]).await, expected(&[("global", "B")]));
    assert!(found(&["pipeline:et"], &["A", "B"]).await.is_empty());
    assert!(found(&scopes, &[]).await.is_empty());
    assert!(found(&[], &["A"]).await.is_empty());
}

/// Kills: check-then-insert: two writers that put the same version, or one that puts over another's.
pub async fn each_version_of_a_secret_is_put_once(store: Arc<dyn Store>) {
    const TASKS: u8 = 8;
    const VERSIONS: u32 = 20;
    let writers = (0..TASKS).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut mine = Vec::new();
            let mut next = 1;
            while next <= VERSIONS {
                let put = put_at(i64::from(next), "global", "TOKEN", next, sealed(1, writer));
                match store.put_secret(put).await {
                    Ok(()) => mine.push(next),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                }
                let newest = store.secret_versions(&scope("global"), &name("TOKEN")).await.unwrap();
                next = newest.first().unwrap().version.get() + 1;
            }
            mine
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut all = Vec::new();
    for (number, writer) in (0..).zip(writers) {
        all.extend(writer.await.unwrap().into_iter().map(|version| (version, number)));
    }
    all.sort_unstable();
    let numbers: Vec<u32> = all.iter().map(|(version, _)| *version).collect();
    assert_eq!(numbers, (1..=VERSIONS).collect::<Vec<_>>(), "each has one winner");
    let newest = found(&store, "global", "TOKEN").await;
    assert_eq!(newest.version, many(VERSIONS));
    assert_eq!(newest.content, sealed(1, all.last().unwrap().1), "and it is the winner's");
    let kept = versions(&store).await;
    assert_eq!(kept.len(), numbers.len());
    assert!(kept.iter().skip(1).all(|version| version.ended_at.is_some()) && kept[0].ended_at.is_none());
}
