//! The contract of [`Executor`](crate::executor::Executor) as tests.
//!
//! Each case is one sentence of the contract. It proves an effect by something that the executor does not
//! report: files that the program writes, processes in `/proc`, the bytes of the log. What an executor claims
//! in its [`Capabilities`](crate::executor::Capabilities) selects the cases that apply to it. Each case says
//! which mutant it kills: the mistake in an executor that no other case need find.
//!
//! The programs are POSIX shell scripts. The executor and the suite must see the same files and, for the
//! cases that look for processes, the same `/proc`.
//!
//! ```no_run
//! # // The macro makes tests, which a documentation test cannot hold.
//! use std::{path::PathBuf, sync::Arc};
//! use fastflow_core::{AttemptId, OwnerId, executor::{AttemptSpec, Executor}, testing::conformance::executor::ExecutorFixture};
//!
//! struct Mine;
//!
//! #[async_trait::async_trait]
//! impl ExecutorFixture for Mine {
//!     fn name(&self) -> &'static str {
//!         "mine"
//!     }
//!     async fn executor(&self) -> Option<Arc<dyn Executor>> {
//!         None // None where it cannot be had
//!     }
//!     fn spec(&self, id: AttemptId, owner: OwnerId, script: &str, run_dir: PathBuf) -> AttemptSpec {
//!         let argv = ["/bin/sh", "-c", script, "sh"].map(String::from).to_vec();
//!         AttemptSpec::new(id, owner, argv, run_dir)
//!     }
//! }
//!
//! fastflow_core::executor_conformance!(Mine);
//! # fn main() {}
//! ```

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a case fails by a panic, and an error it does not expect is one"
)]

mod bench;
pub mod exit;
mod fixture;
pub mod isolation;
pub mod leak;
pub mod limit;
pub mod output;
mod outside;
pub mod reconcile;
pub mod secrets;
pub mod start;
pub mod stop;
pub mod warm;

use std::panic::AssertUnwindSafe;

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::RwLock;

pub use self::{
    bench::Bench,
    fixture::{ExecutorFixture, Interference},
};
use crate::{Clock as _, SystemClock, testing::tool};

/// Shared by the cases of a process, but for those that count what the whole process has: they hold it alone.
/// Test runners differ in whether they run tests as threads of one process, and only a static is seen by all of
/// these. It orders, and carries nothing from one case to another.
static PROCESS: RwLock<()> = RwLock::const_new(());

/// A case: a sentence of the contract.
pub type Case = for<'a> fn(&'a Bench<'a>) -> BoxFuture<'a, ()>;

/// A case by its name, for runners of tests that are not Rust's.
///
/// ```
/// use fastflow_core::testing::conformance::executor::NamedCase;
///
/// assert!(NamedCase::all().iter().any(|case| case.name() == "exit_codes_are_reported"));
/// assert!(NamedCase::find("no_such_case").is_none());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NamedCase {
    name: &'static str,
    case: Case,
    company: Company,
}

/// Whether other cases may run in the process at the same time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Company {
    Others,
    None,
}

impl NamedCase {
    /// All of them: the same that [`executor_conformance!`](crate::executor_conformance) makes tests of.
    pub fn all() -> &'static [Self] {
        CASES
    }

    /// The one of this name.
    pub fn find(name: &str) -> Option<Self> {
        CASES.iter().copied().find(|case| case.name == name)
    }

    /// Its name, which is its sentence of the contract.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Runs it, as [`check`] and [`check_alone`] do.
    ///
    /// # Panics
    ///
    /// When the executor does not keep the contract.
    pub async fn check(self, fixture: &dyn ExecutorFixture) {
        match self.company {
            Company::Others => check(fixture, self.case).await,
            Company::None => check_alone(fixture, self.case).await,
        }
    }
}

/// Runs one case, in its own time limit, and ends whatever it has left running.
///
/// # Panics
///
/// When the executor does not keep the contract, or is missing where it is required.
pub async fn check(fixture: &dyn ExecutorFixture, case: Case) {
    let _others = PROCESS.read().await;
    run(fixture, case).await;
}

/// The same while no other case runs in this process.
///
/// # Panics
///
/// As [`check`].
pub async fn check_alone(fixture: &dyn ExecutorFixture, case: Case) {
    let _alone = PROCESS.write().await;
    run(fixture, case).await;
}

async fn run(fixture: &dyn ExecutorFixture, case: Case) {
    let (Some(executor), Some(other)) = (fixture.executor().await, fixture.executor().await) else {
        tool::require(fixture.name(), "there is no such executor here");
        return;
    };
    let bench = Bench::new(fixture, executor, other);
    let clock = SystemClock::new();
    let limit = fixture.case_timeout();
    let outcome = tokio::select! {
        outcome = AssertUnwindSafe(case(&bench)).catch_unwind() => outcome,
        () = clock.sleep(limit) => Err(Box::new(format!("not ended within {limit:?}")) as _),
    };
    tokio::select! {
        () = bench.clear() => {}
        () = clock.sleep(limit) => {}
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Makes one test of each case for the given [`ExecutorFixture`]. The crate that uses it depends on `tokio`.
#[macro_export]
macro_rules! executor_conformance {
    ({ @tests $fixture:expr } $($check:ident { $($group:ident { $($case:ident)+ })+ })+) => {
        $($crate::executor_conformance! { @tests $check $fixture; $($group { $($case)+ })+ })+
    };
    (@tests $check:ident $fixture:expr; $($group:ident { $($case:ident)+ })+) => {
        $($(
            #[::tokio::test(flavor = "multi_thread")]
            async fn $case() {
                $crate::testing::conformance::executor::$check(&$fixture, |bench| {
                    ::std::boxed::Box::pin($crate::testing::conformance::executor::$group::$case(bench))
                })
                .await;
            }
        )+)+
    };
    // Behind the others: what begins like no expression fails here, and is not tried on.
    ($fixture:expr) => {
        $crate::executor_cases! { executor_conformance { @tests $fixture } }
    };
}

/// The list of all cases, given to a macro of this crate: those that run beside others, and those that run alone.
#[doc(hidden)]
#[macro_export]
macro_rules! executor_cases {
    ($macro:ident $arguments:tt) => {
        $crate::$macro! { $arguments
            check {
                exit {
                    exit_codes_are_reported
                    a_signal_is_told_apart_from_a_code
                    out_of_memory_is_told_apart
                    a_child_out_of_memory_is_counted_and_does_not_fail_the_program
                    a_kill_below_the_memory_limit_is_not_out_of_memory
                    a_missing_program_is_a_typed_failure
                    a_program_that_cannot_be_executed_is_a_typed_failure
                    a_start_that_never_ran_is_not_a_success
                    times_are_reported
                    the_peak_of_memory_is_that_of_the_whole_program
                }
                start {
                    the_same_attempt_cannot_start_twice
                    sixteen_starts_at_once_run_once
                    dropping_a_start_leaves_nothing_untracked
                    reattach_before_start_fences
                    a_fence_and_a_start_at_once_agree
                    unmet_requirements_are_refused_before_any_effect
                    arguments_arrive_unchanged
                    the_environment_is_exactly_what_was_given
                    the_program_starts_in_its_working_directory
                    the_program_finds_its_files_where_the_executor_says
                    standard_input_is_at_its_end
                    thirty_two_at_once
                }
                stop {
                    stop_lets_the_program_finish
                    a_plain_program_hears_the_stop
                    stop_escalates_to_kill
                    stop_kills_what_left_the_session
                    stop_does_not_wait_for_the_end
                    stop_after_the_end_is_fine
                    stopping_twice_is_fine
                    a_reattached_execution_can_be_stopped
                    the_cause_of_a_stop_is_kept
                    the_time_limit_needs_no_host
                    the_time_limit_escalates_to_kill
                    a_daemon_ends_with_its_program
                }
                output {
                    output_is_tagged
                    output_is_byte_identical
                    a_burst_is_complete
                    the_output_of_a_short_program_is_there_at_its_end
                    a_log_above_its_limit_keeps_both_ends_and_says_so
                    closing_its_output_does_not_end_a_program
                    usage_flows
                }
                limit {
                    the_cpu_limit_holds
                    the_memory_limit_leaves_what_it_allows
                    the_process_limit_holds
                    the_cpu_limit_is_neither_above_nor_below_what_was_asked_for
                    a_fork_bomb_is_contained
                    no_core_is_dumped_and_few_files_are_open
                }
                reconcile {
                    list_and_reattach_agree
                    list_shows_only_its_owner
                    another_executor_takes_over
                    an_ended_attempt_is_found_with_its_end
                    never_started_is_repeatable
                    wait_is_cancel_safe_and_repeatable
                    dropping_an_execution_leaves_it_running
                    remove_kills_and_is_repeatable
                    a_removed_attempt_is_not_listed_and_not_started_again
                    an_attempt_whose_files_are_gone_is_lost
                    an_attempt_killed_from_outside_is_told
                    a_sandbox_removed_from_outside_is_lost
                    a_paused_sandbox_can_be_stopped
                    a_restarted_sandbox_does_not_run_again
                }
                secrets {
                    what_was_given_shows_nowhere_outside
                    the_order_is_gone_once_read
                    secrets_reach_the_program_as_variables
                    secrets_reach_the_program_as_files
                    secret_files_are_gone_when_the_attempt_is_over
                    secret_files_are_gone_when_nobody_watched_their_end
                    secrets_are_masked_in_the_log
                    secrets_are_masked_in_the_files_that_others_read
                }
                isolation {
                    privileges_are_dropped
                    privileges_cannot_be_gained
                    programs_make_no_namespaces
                    the_root_file_system_is_read_only
                    tmp_is_small_and_not_executable
                    what_is_mounted_read_only_stays_unchanged
                    other_attempts_are_invisible
                    without_a_network_nothing_is_reached
                    attempts_do_not_reach_each_other
                    the_process_limit_holds_without_being_asked_for
                }
                warm {
                    a_warm_sandbox_is_used_once
                    a_warm_sandbox_waits_without_running_anything
                    a_warm_sandbox_has_the_secrets_of_its_attempt_alone
                    warm_sandboxes_are_used_by_attempts_like_them_only
                    warm_sandboxes_of_a_dead_host_are_found_or_swept
                    what_led_to_a_sandbox_that_is_gone_is_swept
                    as_many_sandboxes_wait_as_were_asked_for
                }
            }
            check_alone {
                leak {
                    a_hundred_runs_leave_nothing_behind
                }
            }
        }
    };
}

/// A table of all cases.
#[doc(hidden)]
#[macro_export]
macro_rules! executor_case_table {
    ({ $table:ident } $($check:ident { $($group:ident { $($case:ident)+ })+ })+) => {
        static $table: &[NamedCase] = &[$($($(NamedCase {
            name: stringify!($case),
            case: |bench| Box::pin($group::$case(bench)),
            company: $crate::executor_case_table!(@company $check),
        },)+)+)+];
    };
    (@company check) => { Company::Others };
    (@company check_alone) => { Company::None };
}

crate::executor_cases! { executor_case_table { CASES } }
