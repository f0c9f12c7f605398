//! The suite of [`Store`]: what every store must do, whatever it keeps its rows in.
//!
//! ```ignore
//! struct MyFixture { store: MyStore, dir: tempfile::TempDir }
//!
//! #[async_trait::async_trait]
//! impl fastflow_core::testing::conformance::store::StoreFixture for MyFixture {
//!     async fn open() -> Self { /* an empty store of its own */ }
//!     fn store(&self) -> std::sync::Arc<dyn Store> { /* … */ }
//! }
//!
//! fastflow_core::store_conformance!(MyFixture);
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a case fails by panicking, as every test does"
)]

mod concurrency;
mod life;
mod model;
mod queries;
mod retry;

use std::{num::NonZeroU32, sync::Arc};

use async_trait::async_trait;

pub use self::{concurrency::*, life::*, model::*, queries::*, retry::*};
use crate::{
    AttemptId, RunId, Timestamp,
    executor::ExecutionHandle,
    pipeline::{Definition, DependencySource, Pipeline, Program, RetryPolicy, RetryStrategy, Seconds},
    run::{Exit, IdempotencyKey, NewRun, Origin, Run, RunEvent, RunSpec},
    source::Revision,
    store::{Advanced, Claim, Step, Store},
};

/// Makes stores for the suite.
#[async_trait]
pub trait StoreFixture: Send + Sync + 'static {
    /// An empty store that nobody else uses.
    async fn open() -> Self;
    /// The store.
    fn store(&self) -> Arc<dyn Store>;
}

/// Makes one test of each case of the suite.
#[macro_export]
macro_rules! store_conformance {
    ($fixture:ty) => {
        $crate::store_conformance!(
            $fixture:
            a_run_is_read_as_it_was_created,
            a_key_is_good_for_one_run,
            an_id_is_good_for_one_run,
            what_does_not_exist_is_not_found,
            a_run_goes_its_whole_way,
            a_failed_attempt_is_tried_again,
            only_failures_that_the_policy_names_are_tried_again,
            a_wait_keeps_between_the_bounds_of_its_policy,
            an_unreachable_executor_is_tried_again_beside_the_policy,
            a_start_that_never_was_does_not_count,
            a_stale_epoch_is_refused,
            a_final_state_never_changes,
            a_refused_step_leaves_nothing,
            taking_over_fences_out_the_earlier_host,
            claims_go_by_priority_then_by_age,
            what_is_not_due_is_not_claimed,
            runs_that_are_left_out_stay_queued_in_their_order,
            the_next_due_run_is_found,
            pages_hold_every_run_once,
            pages_are_complete_while_runs_arrive,
            the_catalog_is_replaced,
            counters_are_what_a_recount_gives,
            every_run_is_claimed_once,
            a_key_race_has_one_winner,
            events_have_no_gap_for_a_follower,
            random_operations_agree_with_a_model,
            a_closed_store_says_so
        );
    };
    ($fixture:ty: $($case:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                use $crate::testing::conformance::store::{self, StoreFixture};
                let fixture = <$fixture as StoreFixture>::open().await;
                store::$case(fixture.store()).await;
            }
        )+
    };
}

/// The suite's own time: it begins here, and only moves by what a case says.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// An id whose place in the order is `number`.
pub(crate) fn id(number: u64) -> RunId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&((number >> 12) << 16 | 0x7000 | (number & 0xfff)).to_be_bytes());
    bytes[8] = 0x80;
    bytes[8..].copy_from_slice(&(number ^ 0x8000_0000_0000_0000).to_be_bytes());
    RunId::from_bytes(bytes)
}

/// A spec of a pipeline that gets `retries` further attempts, 10 s apart.
pub(crate) fn spec(pipeline: &str, retries: u32) -> Arc<RunSpec> {
    spec_on("process", pipeline, retries)
}

/// The same on an executor.
pub(crate) fn spec_on(executor: &str, pipeline: &str, retries: u32) -> Arc<RunSpec> {
    let strategy = RetryStrategy::Fixed { delay: Seconds(10) };
    let retry = RetryPolicy { attempts: retries, strategy, ..RetryPolicy::default() };
    let definition = Definition { retry, ..Definition::default() };
    Arc::new(RunSpec {
        pipeline: Pipeline {
            name: pipeline.parse().unwrap(),
            definition,
            program: Program::script("main.py"),
            dependencies: DependencySource::None,
            requires_python: None,
            warnings: Vec::new(),
            locations: std::collections::BTreeMap::new(),
        },
        revision: revision(),
        executor: executor.parse().unwrap(),
        config: None,
        schedule_limit: None,
    })
}

pub(crate) fn revision() -> Revision {
    "0".repeat(64).parse().unwrap()
}

/// A plain run of `spec`, submitted and due at `at(0)`.
pub(crate) fn new_run(number: u64, spec: &Arc<RunSpec>) -> NewRun {
    NewRun::new(id(number), Arc::clone(spec), Origin::Manual, at(0))
}

pub(crate) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

pub(crate) fn handle(run: &Run) -> ExecutionHandle {
    handle_of(run.attempt_id().unwrap())
}

pub(crate) fn handle_of(attempt: AttemptId) -> ExecutionHandle {
    ExecutionHandle { attempt, native_id: "4711".into(), detail: serde_json::json!({"boot": "b"}) }
}

pub(crate) fn exited(exit: Exit) -> RunEvent {
    RunEvent::Exited { exit, stopped_by: None }
}

pub(crate) fn many(limit: u32) -> NonZeroU32 {
    NonZeroU32::new(limit).unwrap()
}

pub(crate) async fn step(
    store: &Arc<dyn Store>,
    run: &Run,
    event: RunEvent,
    second: i64,
) -> crate::Result<Advanced> {
    store.advance(Step::new(run.id, Some(run.epoch), event, at(second))).await
}

/// Creates a run and takes it on.
pub(crate) async fn claimed(store: &Arc<dyn Store>, number: u64, spec: &Arc<RunSpec>) -> Run {
    store.create_run(new_run(number, spec)).await.unwrap();
    let mut runs = store.claim(Claim::new(at(1), many(1))).await.unwrap();
    assert_eq!(runs.len(), 1, "the one run that is due is claimed");
    runs.remove(0)
}
