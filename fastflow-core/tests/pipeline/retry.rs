//! The rules of retries: which failures, after which wait, with how much memory.

use std::{num::NonZeroU32, time::Duration};

use fastflow_core::{
    environment::{EnvironmentFailure, EnvironmentFailureKind},
    pipeline::*,
    run::{Exit, Failure, LostCause, StartFailure, StartFailureKind, Symptom},
};
use proptest::prelude::*;

fn failures() -> Vec<(RetryReason, Failure)> {
    let start = StartFailure { kind: StartFailureKind::CommandNotFound, message: String::new() };
    let environment = EnvironmentFailure::new(EnvironmentFailureKind::ToolMissing, "");
    vec![
        (RetryReason::Exit, Failure::Exit(Exit::Code(1))),
        (RetryReason::Exit, Failure::Exit(Exit::Code(75))),
        (RetryReason::Signal, Failure::Exit(Exit::Signal(9))),
        (RetryReason::OutOfMemory, Failure::Exit(Exit::OutOfMemory)),
        (RetryReason::TimedOut, Failure::TimedOut),
        (RetryReason::Unhealthy, Failure::Unhealthy(Symptom::NoOutput)),
        (RetryReason::Interrupted, Failure::Interrupted),
        (RetryReason::EnvironmentFailed, Failure::EnvironmentFailed(environment)),
        (RetryReason::StartFailed, Failure::StartFailed(start)),
        (RetryReason::Lost, Failure::Lost(LostCause::Removed)),
    ]
}

fn policy(reasons: &[RetryReason], exit_codes: &[u8]) -> RetryPolicy {
    let when = RetryWhen {
        reasons: reasons.iter().copied().collect(),
        exit_codes: exit_codes.iter().copied().collect(),
    };
    RetryPolicy { when, ..RetryPolicy::default() }
}

#[test]
fn only_what_is_named_is_followed_and_all_is_where_nothing_is() {
    for (reason, failure) in failures() {
        assert_eq!(RetryReason::of(&failure), reason, "{failure}");
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        assert!(policy(&[], &[]).follows(&failure), "{failure}");
        for (named, _) in failures() {
            assert_eq!(policy(&[named], &[]).follows(&failure), named == reason, "{named:?}: {failure}");
        }
        let is_75 = failure == Failure::Exit(Exit::Code(75));
        assert_eq!(policy(&[], &[75]).follows(&failure), is_75, "{failure}");
        let both = policy(&[RetryReason::Lost], &[75]);
        assert_eq!(both.follows(&failure), is_75 || reason == RetryReason::Lost, "{failure}");
    }
    // Only what fits a code is one.
    assert!(!policy(&[], &[1]).follows(&Failure::Exit(Exit::Code(257))));
}

#[test]
fn a_bound_cuts_waits_and_adds_no_attempt() {
    let strategy = RetryStrategy::Custom { delays: vec![Seconds(1), Seconds(100)] };
    let policy = RetryPolicy { attempts: 2, strategy, max_delay: Some(Seconds(9)), ..RetryPolicy::default() };
    let waits = [1, 2, 3].map(|n| policy.delay(NonZeroU32::new(n).unwrap()).map(|wait| wait.as_secs()));
    assert_eq!(waits, [Some(1), Some(9), None]);
}

#[test]
fn without_a_rule_the_memory_stays() {
    assert_eq!(RetryPolicy::default().memory_limit(ByteSize(5), 100), ByteSize(5));
}

proptest! {
    #[test]
    fn a_spread_wait_is_within_its_part_of_chance(
        seconds in 0..=u64::MAX, nanos in 0..1_000_000_000_u32, percent in 0..=100_u8, random: u32,
    ) {
        let wait = Duration::new(seconds, nanos);
        let policy = RetryPolicy { jitter_percent: percent, ..RetryPolicy::default() };
        let spread = policy.spread(wait, random);
        let least = wait.as_nanos() * u128::from(100 - percent) / 100;
        prop_assert!(spread <= wait && spread.as_nanos() >= least, "{spread:?}");
        prop_assert!(spread <= policy.spread(wait, random / 2), "more chance is never a longer wait");
        prop_assert_eq!(policy.spread(wait, 0), wait);
        // Divisions lose less than a nanosecond each.
        prop_assert!(policy.spread(wait, u32::MAX).as_nanos() <= least + 1);
    }

    #[test]
    fn chance_is_even(random: u32) {
        let policy = RetryPolicy { jitter_percent: 100, ..RetryPolicy::default() };
        let spread = policy.spread(Duration::from_nanos(u64::from(u32::MAX)), random);
        prop_assert_eq!(spread, Duration::from_nanos(u64::from(u32::MAX - random)));
    }

    #[test]
    fn memory_grows_from_the_base_to_the_highest(
        base in 0..=ByteSize::MAX.0, max in 0..=ByteSize::MAX.0, factor in 1.0..=16.0_f64, n in 0..u32::MAX,
    ) {
        let memory = Some(MemoryEscalation { factor, max: ByteSize(max) });
        let policy = RetryPolicy { memory, ..RetryPolicy::default() };
        let limit = |n| policy.memory_limit(ByteSize(base), n);
        prop_assert_eq!(limit(0), ByteSize(base));
        prop_assert!(limit(n) >= ByteSize(base) && limit(n) <= ByteSize(base.max(max)));
        prop_assert!(limit(n + 1) >= limit(n), "{} {}", limit(n), limit(n + 1));
    }

    #[test]
    fn memory_grows_by_its_factor(base in 1..1_u64 << 20, n in 0..30_u32) {
        let memory = Some(MemoryEscalation { factor: 2.0, max: ByteSize::MAX });
        let policy = RetryPolicy { memory, ..RetryPolicy::default() };
        prop_assert_eq!(policy.memory_limit(ByteSize(base), n), ByteSize(base << n));
    }
}
