//! Others than the store who have secrets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use fastflow_core::{
    Clock, Error, ErrorKind, Result, SystemClock, Timestamp,
    run::Status,
    secret::{FoundSecret, Secret, SecretName, SecretReader, SecretScope, SecretStore},
};
use serde_json::json;

use super::{TELL, declared, done, found, key, keyed, name};
use crate::kit::{Place, attempts, ended, started};

/// Does not answer at first.
#[derive(Debug)]
struct Slow(Arc<AtomicU32>);

#[async_trait::async_trait]
impl SecretStore for Slow {
    fn kind(&self) -> &'static str {
        "slow"
    }

    async fn find(
        &self,
        names: &BTreeSet<SecretName>,
        _: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>> {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            return Err(Error::new(ErrorKind::Unavailable, "the vault is sealed"));
        }
        let found = |name: &SecretName| FoundSecret::secret("slow", name.clone(), Secret::new("slow-value"));
        Ok(names.iter().map(|name| (name.clone(), found(name))).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_those_who_have_secrets_and_takes_the_stores_own_first() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A", "B"]}));
    let asked = Arc::new(AtomicU32::new(0));
    let flow = started(keyed(&place, &key()).secret_store(Slow(Arc::clone(&asked)))).await;
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("stored-value")).await.unwrap();
    let ran = done(&place, &flow, "etl").await;
    assert_eq!(
        found(&place),
        [("A", "stored-value"), ("B", "slow-value")].map(|(a, b)| (a.into(), b.into())).into()
    );
    assert_eq!((asked.load(Ordering::Relaxed), ran.attempt, ran.failed_attempts), (2, 2, 0));
}

/// Never answers.
#[derive(Debug)]
struct Deaf;

#[async_trait::async_trait]
impl SecretStore for Deaf {
    fn kind(&self) -> &'static str {
        "deaf"
    }

    async fn find(
        &self,
        _: &BTreeSet<SecretName>,
        _: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>> {
        std::future::pending().await
    }
}

/// The machine's clock, for somebody who cannot wait: the time that stores have passes in a moment.
#[derive(Debug)]
struct Hasty(SystemClock);

#[async_trait::async_trait]
impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        let is_patience = duration == Duration::from_mins(5);
        self.0.sleep(if is_patience { Duration::from_millis(20) } else { duration }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_holds_a_run_for_a_while_and_not_for_ever() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    place.pipeline("other", TELL);
    let builder = keyed(&place, &key()).secret_store(Deaf).clock(Hasty(SystemClock::new()));
    let flow = started(builder.max_concurrent_runs(std::num::NonZeroU32::MIN)).await;
    let held = flow.submit(place.ask("etl")).await.unwrap();
    // There is one place, which the other one needs.
    crate::kit::until("the run to be tried", || async {
        flow.runs().get(held.id).await.unwrap().attempt > 0
    })
    .await;
    done(&place, &flow, "other").await;
    let first = attempts(&flow, held.id).await.remove(0);
    let said = format!("{:?}", first.end);
    assert!(said.contains("SecretsUnavailable") || said.contains("NeverStarted"), "{said}");
    flow.runs().cancel(held.id).await.unwrap();
    assert_eq!(ended(&flow, held.id).await.status(), Status::Cancelled);
}
