//! Cases on which failures are followed by another attempt, and when.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc};

use super::{at, claimed, exited, step};
use crate::{
    pipeline::{RetryPolicy, RetryReason, RetryStrategy, RetryWhen, Seconds},
    run::{Decision, Exit, Failure, LostCause, RunEvent, RunSpec, RunState, StopCause, Symptom},
    store::Store,
};

fn spec(policy: RetryPolicy) -> Arc<RunSpec> {
    let mut spec = RunSpec::clone(&super::spec("etl", 0));
    spec.pipeline.definition.retry = policy;
    Arc::new(spec)
}

fn again_after(delay: u32, when: RetryWhen) -> RetryPolicy {
    let strategy = RetryStrategy::Fixed { delay: Seconds(delay) };
    RetryPolicy { attempts: 3, strategy, when, ..RetryPolicy::default() }
}

/// The newest attempt fails at `at(2)`: the state that comes of it, and the last thing that was noted.
async fn fail(
    store: &Arc<dyn Store>,
    number: u64,
    spec: &Arc<RunSpec>,
    event: RunEvent,
) -> (RunState, Option<Decision>) {
    let run = claimed(store, number, spec).await;
    let state = step(store, &run, event, 2).await.unwrap().state;
    (state, store.notes(run.id).await.unwrap().pop().map(|note| note.decision))
}

/// Kills: a policy that is not asked for the failure; a name that stands for others; a refusal that nobody explains.
pub async fn only_failures_that_the_policy_names_are_tried_again(store: Arc<dyn Store>) {
    let unhealthy = StopCause::Unhealthy(Symptom::NoOutput);
    let events = [
        (RetryReason::Exit, exited(Exit::Code(1))),
        (RetryReason::Exit, exited(Exit::Code(75))),
        (RetryReason::Signal, exited(Exit::Signal(11))),
        (RetryReason::OutOfMemory, exited(Exit::OutOfMemory)),
        (
            RetryReason::TimedOut,
            RunEvent::Exited { exit: Exit::Signal(15), stopped_by: Some(StopCause::TimedOut) },
        ),
        (RetryReason::Unhealthy, RunEvent::Exited { exit: Exit::Code(0), stopped_by: Some(unhealthy) }),
        (
            RetryReason::Interrupted,
            RunEvent::Exited { exit: Exit::Signal(15), stopped_by: Some(StopCause::Cancelled) },
        ),
        (RetryReason::Lost, RunEvent::Lost(LostCause::MonitorDied)),
    ];
    let reasons = |reasons: &[RetryReason]| reasons.iter().copied().collect::<BTreeSet<_>>();
    let whens = [
        (RetryWhen::default(), RetryReason::ALL.to_vec()),
        (RetryWhen { exit_codes: [75].into(), ..RetryWhen::default() }, vec![]),
        (
            RetryWhen {
                reasons: reasons(&[RetryReason::Lost, RetryReason::Unhealthy]),
                exit_codes: [75].into(),
            },
            vec![RetryReason::Lost, RetryReason::Unhealthy],
        ),
        (
            RetryWhen { reasons: reasons(&[RetryReason::Exit]), ..RetryWhen::default() },
            vec![RetryReason::Exit],
        ),
    ];
    let mut number = 0;
    for (when, named) in whens {
        let spec = spec(again_after(10, when.clone()));
        for (reason, event) in &events {
            number += 1;
            let by_code = *event == exited(Exit::Code(75)) && when.exit_codes.contains(&75);
            let (state, decision) = fail(&store, number, &spec, event.clone()).await;
            if named.contains(reason) || by_code {
                assert_eq!(state, RunState::Queued { not_before: at(12) }, "{event:?} by {when:?}");
                assert_eq!(decision, Some(Decision::Retry { at: at(12), failed_attempts: 1 }));
            } else {
                assert!(matches!(state, RunState::Failed(_)), "{event:?} by {when:?}: {state:?}");
                assert_eq!(decision, Some(Decision::NotRetried { reason: *reason }));
            }
        }
    }
    // What is exhausted is told as that, whatever the policy names; without a policy there is nothing to tell.
    let lost = RetryWhen { reasons: reasons(&[RetryReason::Lost]), ..RetryWhen::default() };
    let never = RetryPolicy { attempts: 0, ..again_after(10, lost) };
    let (state, decision) = fail(&store, number + 1, &spec(never), exited(Exit::Code(1))).await;
    assert_eq!((state, decision), (RunState::Failed(Failure::Exit(Exit::Code(1))), None));
}

/// Kills: a wait without its part of chance, or with more of it than the policy leaves; chance that is the same for all
/// runs, or for all attempts of one; a longest wait that does not hold.
pub async fn a_wait_keeps_between_the_bounds_of_its_policy(store: Arc<dyn Store>) {
    const RUNS: u64 = 20;
    let policy = RetryPolicy {
        jitter_percent: 50,
        max_delay: Some(Seconds(1000)),
        ..again_after(9999, RetryWhen::default())
    };
    let (mut firsts, mut both) = (BTreeSet::new(), BTreeSet::new());
    for number in 1..=RUNS {
        let mut run = claimed(&store, number, &spec(policy.clone())).await;
        let mut failed_at = 2;
        for attempt in 1..=2 {
            let state = step(&store, &run, exited(Exit::Code(1)), failed_at).await.unwrap().state;
            let RunState::Queued { not_before } = state else { panic!("{state:?}") };
            let wait = not_before.duration_since(at(failed_at));
            assert!((500..=1000).contains(&wait.as_secs()) && wait.as_millis() <= 1_000_000, "{wait:?}");
            both.insert(wait);
            if attempt == 1 {
                firsts.insert(wait);
                failed_at = 2000;
                let claim = crate::store::Claim::new(at(1999), NonZeroU32::MIN);
                run = store.claim(claim).await.unwrap().remove(0);
            }
        }
    }
    assert!(firsts.len() as u64 > RUNS / 2, "runs are spread: {firsts:?}");
    assert!(both.len() > firsts.len(), "and so are the attempts of one: {both:?}");
    assert!(firsts.last().unwrap().as_secs() - firsts.first().unwrap().as_secs() > 100, "{firsts:?}");
}
