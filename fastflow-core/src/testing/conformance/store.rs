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

mod chain;
mod concurrency;
mod full;
mod ledger;
mod life;
mod model;
mod packages;
mod publication;
mod queries;
mod queue;
mod retry;
mod secrets;

use std::{num::NonZeroU32, sync::Arc};

use async_trait::async_trait;

pub use self::{
    chain::*, concurrency::*, full::*, ledger::*, life::*, model::*, packages::*, publication::*, queries::*,
    queue::*, retry::*, secrets::*,
};
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
            pipelines_take_turns,
            turns_of_one_priority_do_not_move_those_of_another,
            a_full_pipeline_is_passed_by,
            pools_are_shared_between_pipelines,
            a_large_run_is_not_overtaken_for_ever,
            a_place_is_held_behind_many_that_must_wait,
            claims_at_one_time_hold_a_large_runs_place,
            budgets_are_kept,
            a_schedule_has_its_own_limit,
            runs_that_are_left_out_hold_nothing,
            limits_hold_for_many_claims_at_one_time,
            the_position_is_how_many_come_before,
            a_full_pipeline_refuses,
            an_end_makes_room_for_what_follows_it,
            a_race_for_the_last_places_has_exactly_so_many_winners,
            a_full_pipeline_gives_up_its_oldest,
            replacing_what_has_ended_is_harmless,
            what_is_not_created_replaces_nothing,
            an_end_starts_what_follows_it,
            only_the_last_end_is_followed_and_a_cancel_never,
            an_end_stands_whatever_follows_it,
            a_join_comes_once_and_after_all,
            a_join_comes_when_a_failed_run_is_made_good,
            ends_at_one_time_make_one_join,
            notes_are_kept_in_their_order,
            schedules_change_all_or_not_at_all,
            a_cursor_never_goes_back,
            what_is_due_comes_with_what_is_unfinished,
            an_instant_is_fired_once_however_many_try,
            a_fire_is_written_whole_or_not_at_all,
            the_ledger_says_what_became_of_a_refused_run,
            the_ledger_is_read_in_pages,
            a_fire_that_contradicts_itself_is_refused,
            an_environment_is_read_as_it_was_recorded,
            who_used_a_package_is_found,
            the_users_of_a_package_are_read_in_pages,
            what_ran_and_is_not_recorded_is_known,
            the_newest_audits_of_each_environment_are_kept,
            an_environment_is_unaudited_until_there_is_an_answer,
            a_secret_is_replaced_and_removed_and_its_versions_go_on,
            a_secret_that_somebody_put_meanwhile_is_not_replaced,
            secrets_are_found_by_their_scopes_and_names,
            secrets_are_read_in_pages,
            those_not_under_a_key_are_read_in_pages,
            a_secret_is_sealed_anew_only_as_it_was_read,
            a_race_to_seal_a_secret_anew_has_one_winner,
            the_last_use_of_a_secret_is_kept_with_its_start,
            the_last_use_is_of_the_value_in_force,
            each_version_of_a_secret_is_put_once,
            random_operations_agree_with_a_model,
            a_publication_is_shown_whole_or_not_at_all,
            the_log_of_syncs_is_read_in_pages,
            the_log_of_syncs_keeps_its_newest_lines,
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
        provenance: None,
        executor: executor.parse().unwrap(),
        config: None,
        schedule_limit: None,
    })
}

/// The same for a pipeline without retries, and changed.
pub(crate) fn changed(pipeline: &str, change: impl FnOnce(&mut RunSpec)) -> Arc<RunSpec> {
    let mut spec = RunSpec::clone(&spec(pipeline, 0));
    change(&mut spec);
    Arc::new(spec)
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

/// Ends a run that was taken on.
pub(crate) async fn end(store: &Arc<dyn Store>, run: &Run, exit: Exit, second: i64) {
    step(store, run, exited(exit), second).await.unwrap();
}

/// Creates a run and takes it on.
pub(crate) async fn claimed(store: &Arc<dyn Store>, number: u64, spec: &Arc<RunSpec>) -> Run {
    store.create_run(new_run(number, spec)).await.unwrap();
    let mut runs = store.claim(Claim::new(at(1), many(1))).await.unwrap();
    assert_eq!(runs.len(), 1, "the one run that is due is claimed");
    runs.remove(0)
}
