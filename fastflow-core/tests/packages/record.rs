//! Recording goes on behind the runs: it neither fails nor delays one, and what one host leaves the next one does.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    ErrorKind,
    environment::{
        Collected, Environment, EnvironmentBuilder, EnvironmentFailure, EnvironmentFailureKind,
        EnvironmentId, EnvironmentRequest, Package, PackageOrigin, SetupLog,
    },
    run::Status,
    store::PackageQuery,
};

use crate::{
    kit::{MachinePython, Place, environment_id, refused, run, started, started_after, until, within},
    shop::used,
};

/// What a builder answers when it is asked for packages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Packages,
    /// Only from the second time on; the first one never ends.
    PackagesLater,
    Failure,
    Never,
}

/// The Python of the machine, with packages that it says.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    answer: Answer,
    pub(crate) asked: Arc<AtomicUsize>,
}

impl Told {
    pub(crate) fn new(answer: Answer) -> Self {
        Self { answer, asked: Arc::default() }
    }
}

fn six() -> Package {
    Package {
        name: "six".parse().unwrap(),
        version: "1.17.0".into(),
        hashes: Vec::new(),
        origin: PackageOrigin::Unknown,
    }
}

#[async_trait]
impl EnvironmentBuilder for Told {
    async fn prepare(
        &self,
        request: &EnvironmentRequest,
        log: &dyn SetupLog,
    ) -> Result<Environment, EnvironmentFailure> {
        MachinePython.prepare(request, log).await
    }

    async fn find(&self, request: &EnvironmentRequest) -> Result<Option<Environment>, EnvironmentFailure> {
        MachinePython.find(request).await
    }

    async fn packages(&self, _: &EnvironmentId) -> Result<Option<Vec<Package>>, EnvironmentFailure> {
        let asked_before = self.asked.fetch_add(1, Ordering::SeqCst);
        match self.answer {
            Answer::PackagesLater if asked_before == 0 => std::future::pending().await,
            Answer::Packages | Answer::PackagesLater => Ok(Some(vec![six()])),
            Answer::Failure => {
                Err(EnvironmentFailure::new(EnvironmentFailureKind::Internal, "it is not readable"))
            }
            Answer::Never => std::future::pending().await,
        }
    }

    async fn collect(
        &self,
        keep: &BTreeSet<EnvironmentId>,
        unused_for: Duration,
        at_most: usize,
    ) -> Result<Collected, EnvironmentFailure> {
        MachinePython.collect(keep, unused_for, at_most).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_never_comes_holds_no_run_up_and_is_made_by_the_next_host() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    let endless = Told::new(Answer::Never);
    let flow = started(place.bare_builder().environments(endless.clone())).await;
    for _ in 0..3 {
        assert_eq!(run(&flow, "hello").await.status(), Status::Success);
    }
    until("the packages to be asked for", || async { endless.asked.load(Ordering::SeqCst) > 0 }).await;
    let six = PackageQuery::new("six".parse().unwrap());
    let found = flow.packages().used(&six).await.unwrap();
    assert!(found.runs.items.is_empty() && found.unknown_environments == 1, "{found:?}");
    drop(flow);

    let flow = started_after(|| place.bare_builder().environments(Told::new(Answer::Packages))).await;
    let found = used(&flow, &six).await;
    assert_eq!(found.runs.items.len(), 3, "without another run");
    assert_eq!(flow.packages().of_environment(&environment_id()).await.unwrap().packages.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_is_one_of_what_nobody_knows_until_somebody_does() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    let flow = started(place.bare_builder().environments(Told::new(Answer::Failure))).await;
    let done = run(&flow, "hello").await;
    assert_eq!(done.status(), Status::Success);
    until("the environment to be recorded", || async {
        flow.packages().of_environment(&environment_id()).await.is_ok_and(|found| found.packages.is_none())
    })
    .await;
    refused(flow.packages().sbom(done.id).await, ErrorKind::NotFound, &["packages of this environment"]);
    refused(flow.packages().audit(&environment_id()).await, ErrorKind::NotFound, &["not known"]);
    drop(flow);

    let told = Told::new(Answer::Packages);
    let flow = started_after(|| place.bare_builder().environments(told.clone())).await;
    for _ in 0..3 {
        run(&flow, "hello").await;
    }
    let found = used(&flow, &PackageQuery::new("six".parse().unwrap())).await;
    assert_eq!(found.runs.items.len(), 4);
    within("what is recorded to be remembered", run(&flow, "hello")).await;
    assert_eq!(told.asked.load(Ordering::SeqCst), 1, "it is asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_an_environment_and_no_run_have_no_packages() {
    let place = Place::new();
    place.pipeline("hello", "pass").file("hello/pipeline.json", r#"{"python_version": "3.99"}"#);
    let flow = started(place.bare_builder().uv("/nowhere/uv")).await;
    let done = run(&flow, "hello").await;
    assert_eq!(done.status(), Status::Failed);
    refused(flow.packages().of_run(done.id).await, ErrorKind::NotFound, &["no attempt"]);
    let nobody = fastflow_core::RunId::from_bytes([7; 16]);
    refused(flow.packages().of_run(nobody).await, ErrorKind::NotFound, &["no such run"]);
    refused(flow.packages().of_environment(&environment_id()).await, ErrorKind::NotFound, &["not recorded"]);
}
