//! What the tests of stores have in common.

use std::{collections::BTreeMap, future::Future, time::Duration};

use fastflow_core::{
    Clock, Error, Result, SystemClock,
    secret::{FoundSecret, SecretReader, SecretStore, SecretValue},
};

/// How long anything may take that is sure to come.
const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) fn reader() -> SecretReader {
    SecretReader { pipeline: "etl".parse().unwrap(), schedules: Vec::new() }
}

/// What a store has of these names: the values, each with the kind of the store that had it.
pub(crate) async fn find(
    store: &dyn SecretStore,
    names: &[&str],
) -> Result<BTreeMap<String, (String, String)>> {
    let names = names.iter().map(|name| name.parse().unwrap()).collect();
    let found = store.find(&names, &reader()).await?;
    Ok(found.into_iter().map(|(name, found)| (name.to_string(), shown(&found))).collect())
}

fn shown(found: &FoundSecret) -> (String, String) {
    let SecretValue::Secret(secret) = &found.value else { panic!("{} is no secret", found.used) };
    assert_eq!((&found.used.scope, found.used.version), (&None, None));
    (secret.expose().to_owned(), found.used.store.to_string())
}

/// The value of one name, if there is one.
pub(crate) async fn value(store: &dyn SecretStore, name: &str) -> Result<Option<String>> {
    Ok(find(store, &[name]).await?.remove(name).map(|(value, _)| value))
}

/// All that an error says to anybody.
pub(crate) fn words(error: &Error) -> String {
    format!("{error} {error:?} {}", error.chain())
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let clock = SystemClock::new();
    while !holds() {
        assert!(clock.elapsed() < DEADLINE, "waited in vain until {what}");
        clock.sleep(Duration::from_millis(2)).await;
    }
}

/// What comes of it, which has to be soon.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    let clock = SystemClock::new();
    tokio::select! {
        done = work => done,
        () = clock.sleep(DEADLINE) => panic!("this takes for ever"),
    }
}
