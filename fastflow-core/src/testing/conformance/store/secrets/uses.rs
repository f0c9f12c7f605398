//! Cases on who got a value last.

use std::{sync::Arc, time::Duration};

use super::{
    super::{claimed, end, exited, handle, spec},
    at, envelope, found, many, name, parameter, put, scope, sealed,
};
use crate::{
    run::{Exit, Run, RunEvent, Setup, StopCause},
    secret::SecretUse,
    store::{ResealSecret, SecretLastUse, Step, Store},
};

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

fn start(run: &Run, second: i64, secrets: Vec<SecretUse>) -> Step {
    with_secrets(run, RunEvent::Started(handle(run)), second, secrets)
}

fn use_of(run: &Run, second: i64) -> SecretLastUse {
    SecretLastUse { at: at(second), run: run.id }
}

async fn last(store: &Arc<dyn Store>, of: &str, named: &str) -> Option<SecretLastUse> {
    found(store, of, named).await.last_use
}

/// Kills: a last use that is missing after the start, is another scope's or another version's, or is said of an
/// attempt that did not start.
pub async fn the_last_use_of_a_secret_is_kept_with_its_start(store: Arc<dyn Store>) {
    for of in ["global", "pipeline:etl"] {
        put(&store, of, "A", 1, sealed(1, 1)).await;
        put(&store, of, "B", 1, parameter("eu")).await;
    }
    let spec = spec("etl", 0);
    let first = claimed(&store, 1, &spec).await;
    let stop = RunEvent::StopRequested(StopCause::TimedOut);
    store.advance(with_secrets(&first, stop, 2, vec![used(Some("global"), "A", Some(1))])).await.unwrap();
    assert_eq!(last(&store, "global", "A").await, None, "nothing has started");
    let stale =
        Step { epoch: Some(first.epoch + 1), ..start(&first, 3, vec![used(Some("global"), "A", Some(1))]) };
    store.advance(stale).await.unwrap_err();
    assert_eq!(last(&store, "global", "A").await, None, "a refused step notes nothing");
    let got = vec![
        used(Some("global"), "A", Some(1)),
        used(Some("pipeline:etl"), "B", Some(1)),
        used(Some("global"), "B", Some(2)),
        used(Some("pipeline:etl"), "A", None),
        used(None, "A", Some(1)),
        used(Some("global"), "NONE", Some(1)),
    ];
    store.advance(start(&first, 3, got)).await.unwrap();
    assert_eq!(last(&store, "global", "A").await, Some(use_of(&first, 3)));
    assert_eq!(last(&store, "pipeline:etl", "B").await, Some(use_of(&first, 3)));
    assert_eq!(last(&store, "global", "B").await, None, "another version");
    assert_eq!(last(&store, "pipeline:etl", "A").await, None, "another scope");
    let ended = with_secrets(&first, exited(Exit::Code(0)), 4, vec![used(Some("global"), "A", Some(1))]);
    store.advance(ended).await.unwrap();
    assert_eq!(last(&store, "global", "A").await, Some(use_of(&first, 3)), "an end is no use");
}

/// Kills: a use that is said of a value that came after it, is undone by a late word, or is forgotten with a rotation.
pub async fn the_last_use_is_of_the_value_in_force(store: Arc<dyn Store>) {
    let spec = spec("etl", 0);
    put(&store, "global", "A", 1, sealed(1, 1)).await;
    let second = claimed(&store, 2, &spec).await;
    store.advance(start(&second, 9, vec![used(Some("global"), "A", Some(1))])).await.unwrap();
    let third = claimed(&store, 3, &spec).await;
    store.advance(start(&third, 8, vec![used(Some("global"), "A", Some(1))])).await.unwrap();
    assert_eq!(last(&store, "global", "A").await, Some(use_of(&second, 9)), "a late word changes nothing");
    let whole = found(&store, "global", "A").await;
    assert_eq!((whole.version, whole.content), (many(1), sealed(1, 1)));

    put(&store, "global", "A", 2, sealed(1, 2)).await;
    assert_eq!(last(&store, "global", "A").await, None, "nobody got the new value");
    let fourth = claimed(&store, 4, &spec).await;
    store.advance(start(&fourth, 12, vec![used(Some("global"), "A", Some(1))])).await.unwrap();
    assert_eq!(last(&store, "global", "A").await, None, "it got the one before");
    let fifth = claimed(&store, 5, &spec).await;
    store.advance(start(&fifth, 13, vec![used(Some("global"), "A", Some(2))])).await.unwrap();
    assert_eq!(last(&store, "global", "A").await, Some(use_of(&fifth, 13)));
    let resealed = ResealSecret {
        scope: scope("global"),
        name: name("A"),
        version: many(2),
        from: envelope(1, 2),
        to: envelope(2, 2),
    };
    assert!(store.reseal_secret(resealed).await.unwrap());
    assert_eq!(last(&store, "global", "A").await, Some(use_of(&fifth, 13)), "it is the same value");
    for run in [&second, &third, &fourth, &fifth] {
        end(&store, run, Exit::Code(0), 20).await;
    }
}
