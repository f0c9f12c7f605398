//! Cases on lists of values.

use std::{collections::BTreeMap, sync::Arc};

use super::{key, many, name, parameter, put, scope, sealed};
use crate::store::{SecretQuery, Store};

/// All pages, each of `limit` but for the last.
async fn pages(store: &Arc<dyn Store>, mut query: SecretQuery, limit: u32) -> Vec<(String, String)> {
    query.limit = many(limit);
    let mut all = Vec::new();
    loop {
        let page = store.secrets(&query).await.unwrap();
        assert!(page.len() <= limit as usize && all.len() <= 1000, "pages come to an end");
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
