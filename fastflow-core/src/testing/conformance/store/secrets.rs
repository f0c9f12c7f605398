//! Cases on sealed values and parameters.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use super::{at, claimed, end, exited, handle, many, spec};
use crate::{
    ErrorKind, Result,
    run::{Exit, Run, RunEvent, Setup, StopCause},
    secret::{Envelope, MasterKeyId, SecretName, SecretScope, SecretUse},
    store::{
        PutSecret, ResealSecret, SecretContent, SecretLastUse, SecretQuery, SecretRecord, SecretVersion,
        Step, Store,
    },
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

/// All pages, each of `limit` but for the last.
async fn pages(store: &Arc<dyn Store>, mut query: SecretQuery, limit: u32) -> Vec<(String, String)> {
    query.limit = many(limit);
    let mut all = Vec::new();
    loop {
        let page = store.secrets(&query).await.unwrap();
        assert!(page.len() <= limit as usize);
        query.after = page.last().map(|last| (last.scope.clone(), last.name.clone()));
        let is_last = page.len() < limit as usize;
        all.extend(page.into_iter().map(|record| (record.scope.to_string(), record.name.to_string())));
        if is_last {
            return all;
        }
    }
}

/// The places of values in some scopes under some keys, in their order. The numbers are those of their keys, 0 for
/// parameters.
async fn many_secrets(store: &Arc<dyn Store>) -> BTreeMap<(String, String), u8> {
    let mut all = BTreeMap::new();
    let scopes =
        ["schedule:etl@nightly", "global", "pipeline:etl-2", "pipeline:etl", "schedule:etl-2@nightly"];
    for (number, of) in scopes.iter().enumerate() {
        for index in 0..12 {
            let key = u8::try_from((index * 5 + number) % 4).unwrap();
            let content = if key == 0 { parameter("x") } else { sealed(key, 1) };
            let named = format!("N{}", 99 - index * 7);
            put(store, of, &named, 1, content).await;
            all.insert(((*of).to_owned(), named), key);
        }
    }
    all
}

/// Kills: pages that lose or repeat a value, are in an order of their own, or go beyond their scope.
pub async fn secrets_are_read_in_pages(store: Arc<dyn Store>) {
    let all = many_secrets(&store).await;
    let places = |wanted: &dyn Fn(&str, u8) -> bool| {
        let wanted = all.iter().filter(|((of, _), key)| wanted(of, **key));
        wanted.map(|(place, _)| place.clone()).collect::<Vec<_>>()
    };
    for limit in [1, 7, 12, 1000] {
        assert_eq!(pages(&store, SecretQuery::default(), limit).await, places(&|_, _| true));
        for of in ["global", "pipeline:etl", "schedule:etl-2@nightly", "pipeline:nobody"] {
            let query = SecretQuery { scope: Some(scope(of)), ..SecretQuery::default() };
            assert_eq!(pages(&store, query, limit).await, places(&|scope, _| scope == of), "{of} {limit}");
        }
    }
    let beyond = |of: &str, after: &str| SecretQuery {
        scope: Some(scope(of)),
        after: Some((scope(after), name("N50"))),
        ..SecretQuery::default()
    };
    assert!(pages(&store, beyond("global", "pipeline:etl"), 5).await.is_empty(), "all of it comes before");
    let later = pages(&store, beyond("pipeline:etl", "global"), 5).await;
    assert_eq!(later, places(&|of, _| of == "pipeline:etl"), "all of it comes after");
    let mut by_key = BTreeMap::new();
    for number in all.values().filter(|number| **number > 0) {
        *by_key.entry(key(*number)).or_insert(0) += 1;
    }
    assert_eq!(store.secrets_by_key().await.unwrap(), by_key);
}

/// Kills: a rotation that misses a value, takes up a parameter, or comes upon what it has done already.
pub async fn those_not_under_a_key_are_read_in_pages(store: Arc<dyn Store>) {
    let all = many_secrets(&store).await;
    for under in [1, 2, 3, 9] {
        for limit in [1, 7, 1000] {
            let wanted = |of: Option<&str>| {
                let is_wanted = |place: &(String, String), key: u8| {
                    key != 0 && key != under && of.is_none_or(|of| place.0 == of)
                };
                let wanted = all.iter().filter(|(place, key)| is_wanted(place, **key));
                wanted.map(|(place, _)| place.clone()).collect::<Vec<_>>()
            };
            let query = SecretQuery { not_under: Some(key(under)), ..SecretQuery::default() };
            assert_eq!(pages(&store, query.clone(), limit).await, wanted(None), "{under} {limit}");
            let query = SecretQuery { scope: Some(scope("pipeline:etl")), ..query };
            assert_eq!(pages(&store, query, limit).await, wanted(Some("pipeline:etl")), "{under} {limit}");
        }
    }
}

/// Kills: a rotation that brings back what was replaced or removed, or that makes a version of it.
pub async fn a_secret_is_sealed_anew_only_as_it_was_read(store: Arc<dyn Store>) {
    let reseal = async |number: u32, from: Envelope, to: Envelope| {
        let (scope, name) = (scope("global"), name("TOKEN"));
        store.reseal_secret(ResealSecret { scope, name, version: many(number), from, to }).await.unwrap()
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
    put(&store, "global", "TOKEN", 4, sealed(1, 10)).await;

    let racers = (2..10).map(|number| {
        let (scope, name) = (scope("global"), name("TOKEN"));
        let (from, to) = (envelope(1, 10), envelope(number, 10));
        let reseal = ResealSecret { scope, name, version: many(4), from, to: to.clone() };
        let store = Arc::clone(&store);
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

fn used(of: Option<&str>, named: &str, version: Option<u32>) -> SecretUse {
    let version = version.map(many);
    SecretUse { name: name(named), store: "sealed".into(), scope: of.map(scope), version }
}

/// A step that says which secrets the attempt gets.
fn with_secrets(run: &Run, event: RunEvent, second: i64, secrets: Vec<SecretUse>) -> Step {
    let duration = Duration::from_millis(5);
    Step {
        setup: Some(Setup { duration, environment: None, image: None, secrets }),
        ..Step::new(run.id, Some(run.epoch), event, at(second))
    }
}

/// Kills: a last use that is missing after the start, is another value's, another scope's or another version's, or is said
/// of an attempt that did not start.
pub async fn the_last_use_of_a_secret_is_kept_with_its_start(store: Arc<dyn Store>) {
    let last = async |of: &str, named: &str| found(&store, of, named).await.last_use;
    let start =
        |run: &Run, second, secrets| with_secrets(run, RunEvent::Started(handle(run)), second, secrets);
    for of in ["global", "pipeline:etl"] {
        put(&store, of, "A", 1, sealed(1, 1)).await;
        put(&store, of, "B", 1, parameter("eu")).await;
    }
    let spec = spec("etl", 0);
    let first = claimed(&store, 1, &spec).await;
    let stop = RunEvent::StopRequested(StopCause::TimedOut);
    store.advance(with_secrets(&first, stop, 2, vec![used(Some("global"), "A", Some(1))])).await.unwrap();
    assert_eq!(last("global", "A").await, None, "nothing has started");
    let stale =
        Step { epoch: Some(first.epoch + 1), ..start(&first, 3, vec![used(Some("global"), "A", Some(1))]) };
    store.advance(stale).await.unwrap_err();
    assert_eq!(last("global", "A").await, None, "a refused step notes nothing");
    let got = vec![
        used(Some("global"), "A", Some(1)),
        used(Some("pipeline:etl"), "B", Some(1)),
        used(Some("global"), "B", Some(2)),
        used(Some("pipeline:etl"), "A", None),
        used(None, "A", Some(1)),
        used(Some("global"), "NONE", Some(1)),
    ];
    store.advance(start(&first, 3, got)).await.unwrap();
    let use_of = |run: &Run, second| Some(SecretLastUse { at: at(second), run: run.id });
    assert_eq!(last("global", "A").await, use_of(&first, 3));
    assert_eq!(last("pipeline:etl", "B").await, use_of(&first, 3));
    assert_eq!(last("global", "B").await, None, "another version");
    assert_eq!(last("pipeline:etl", "A").await, None, "another scope");
    let ended = with_secrets(&first, exited(Exit::Code(0)), 4, vec![used(Some("global"), "A", Some(1))]);
    store.advance(ended).await.unwrap();
    assert_eq!(last("global", "A").await, use_of(&first, 3), "an end is no use");

    let second = claimed(&store, 2, &spec).await;
    store.advance(start(&second, 9, vec![used(Some("global"), "A", Some(1))])).await.unwrap();
    let third = claimed(&store, 3, &spec).await;
    store.advance(start(&third, 8, vec![used(Some("global"), "A", Some(1))])).await.unwrap();
    assert_eq!(
        last("global", "A").await,
        use_of(&second, 9),
        "a late word of an earlier use changes nothing"
    );
    let whole = found(&store, "global", "A").await;
    assert_eq!((whole.version, whole.content), (many(1), sealed(1, 1)));

    put(&store, "global", "A", 2, sealed(1, 2)).await;
    assert_eq!(last("global", "A").await, None, "nobody got the new value");
    let fourth = claimed(&store, 4, &spec).await;
    store.advance(start(&fourth, 12, vec![used(Some("global"), "A", Some(1))])).await.unwrap();
    assert_eq!(last("global", "A").await, None, "it got the one before");
    let fifth = claimed(&store, 5, &spec).await;
    store.advance(start(&fifth, 13, vec![used(Some("global"), "A", Some(2))])).await.unwrap();
    assert_eq!(last("global", "A").await, use_of(&fifth, 13));
    let resealed = ResealSecret {
        scope: scope("global"),
        name: name("A"),
        version: many(2),
        from: envelope(1, 2),
        to: envelope(2, 2),
    };
    assert!(store.reseal_secret(resealed).await.unwrap());
    assert_eq!(last("global", "A").await, use_of(&fifth, 13), "it is the same value");
    for run in [&second, &third, &fourth, &fifth] {
        end(&store, run, Exit::Code(0), 20).await;
    }
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
    assert_eq!(kept.len() as u32, VERSIONS);
    assert!(kept.iter().skip(1).all(|version| version.ended_at.is_some()) && kept[0].ended_at.is_none());
}
