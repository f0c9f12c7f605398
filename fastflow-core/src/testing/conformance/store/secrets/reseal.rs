//! Cases on values that come under another key.

use std::{collections::BTreeMap, sync::Arc};

use super::{at, envelope, find, found, key, many, name, parameter, put, scope, sealed, versions};
use crate::{
    secret::Envelope,
    store::{ResealSecret, SecretContent, SecretRecord, Store},
};

fn reseal(number: u32, from: Envelope, to: Envelope) -> ResealSecret {
    ResealSecret { scope: scope("global"), name: name("TOKEN"), version: many(number), from, to }
}

/// Kills: a rotation that brings back what was replaced or removed, or that makes a version of it.
pub async fn a_secret_is_sealed_anew_only_as_it_was_read(store: Arc<dyn Store>) {
    let reseal = async |number: u32, from: Envelope, to: Envelope| {
        store.reseal_secret(reseal(number, from, to)).await.unwrap()
    };
    assert!(!reseal(1, envelope(1, 10), envelope(2, 10)).await, "there is none");
    put(&store, "global", "TOKEN", 1, sealed(1, 10)).await;
    put(&store, "pipeline:etl", "TOKEN", 1, sealed(1, 10)).await;
    let before = (found(&store, "global", "TOKEN").await, versions(&store).await);
    assert!(!reseal(2, envelope(1, 10), envelope(2, 10)).await, "another version");
    assert!(!reseal(1, envelope(1, 11), envelope(2, 10)).await, "another value");
    assert_eq!((found(&store, "global", "TOKEN").await, versions(&store).await), before);

    assert!(reseal(1, envelope(1, 10), envelope(2, 10)).await);
    assert!(!reseal(1, envelope(1, 10), envelope(3, 10)).await, "somebody was there before");
    let after = found(&store, "global", "TOKEN").await;
    assert_eq!(after, SecretRecord { content: sealed(2, 10), ..before.0 });
    assert_eq!(versions(&store).await, before.1, "it is the same value");
    assert_eq!(found(&store, "pipeline:etl", "TOKEN").await.content, sealed(1, 10));
    assert_eq!(store.secrets_by_key().await.unwrap(), BTreeMap::from([(key(1), 1), (key(2), 1)]));

    put(&store, "global", "TOKEN", 2, sealed(2, 11)).await;
    assert!(!reseal(1, envelope(2, 10), envelope(3, 10)).await, "it was replaced");
    assert_eq!(found(&store, "global", "TOKEN").await.content, sealed(2, 11));
    put(&store, "global", "TOKEN", 3, parameter("eu")).await;
    assert!(!reseal(3, envelope(2, 11), envelope(3, 11)).await, "nobody sealed that");
    store.remove_secret(&scope("global"), &name("TOKEN"), at(9)).await.unwrap();
    assert!(!reseal(3, envelope(2, 11), envelope(3, 11)).await, "it was removed");
    assert!(find(&store, &["global"], &["TOKEN"]).await.is_empty());
}

/// Kills: two rotations at one time that both believe that theirs is what is kept.
pub async fn a_race_to_seal_a_secret_anew_has_one_winner(store: Arc<dyn Store>) {
    put(&store, "global", "TOKEN", 1, sealed(1, 10)).await;
    let racers = (2..10).map(|number| {
        let to = envelope(number, 10);
        let (store, reseal) = (Arc::clone(&store), reseal(1, envelope(1, 10), to.clone()));
        tokio::spawn(async move { store.reseal_secret(reseal).await.unwrap().then_some(to) })
    });
    let racers: Vec<_> = racers.collect();
    let mut winners = Vec::new();
    for racer in racers {
        winners.extend(racer.await.unwrap());
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(found(&store, "global", "TOKEN").await.content, SecretContent::Sealed(winners.remove(0)));
}
