//! Trying again, and when.

use std::time::Duration;

use fastflow_core::{
    Orchestrator, RunId,
    run::{AttemptEnd, Exit, Failure, Status},
};

use crate::kit::{Place, attempts, ended, run};

/// Fails until it was started as often as the parameter says.
const THIRD_TIME: &str = r"
import os, sys
path = os.environ['TMP_DIR'] + '/tries-' + os.environ['FASTFLOW_RUN_ID']
with open(path, 'a') as tries:
    tries.write(os.environ['FASTFLOW_ATTEMPT'] + ' ')
tries = open(path).read().split()
sys.exit(0 if len(tries) >= int(os.environ['GOOD']) else 40 + len(tries))
";

/// The waits between the end of an attempt and the claim of the next.
async fn waits(flow: &Orchestrator, run: RunId) -> Vec<Duration> {
    let attempts = attempts(flow, run).await;
    let wait = |pair: &[fastflow_core::run::Attempt]| {
        Duration::try_from(pair[1].claimed_at.duration_since(pair[0].finished_at.unwrap())).unwrap()
    };
    attempts.windows(2).map(wait).collect()
}

fn assert_waits(waits: &[Duration], seconds: &[u64]) {
    assert_eq!(waits.len(), seconds.len(), "{waits:?}");
    for (wait, seconds) in waits.iter().zip(seconds) {
        let (least, most) = (Duration::from_secs(*seconds), Duration::from_secs(seconds + 4));
        assert!(*wait >= least && *wait < most, "{waits:?} instead of {seconds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_strategy_waits_as_it_says_and_attempts_are_recorded() {
    let place = Place::new();
    let strategies = [
        ("fixed", r#"{"type": "fixed_delay", "delay": 1}"#, [1, 1]),
        (
            "exponential",
            r#"{"type": "exponential_backoff", "initial_delay": 1, "max_delay": 60, "multiplier": 2.0}"#,
            [1, 2],
        ),
        ("custom", r#"{"type": "custom_schedule", "delays": [0, 2]}"#, [0, 2]),
    ];
    for (name, strategy, _) in strategies {
        place.pipeline(name, THIRD_TIME).file(
            &format!("{name}/pipeline.json"),
            format!(r#"{{"retry_attempts": 2, "retry_strategy": {strategy}}}"#),
        );
    }
    let flow = place.start().await;
    let submit = |name: &str| flow.submit(place.ask(name).parameter("GOOD", "3"));
    let mut runs = Vec::new();
    for (name, ..) in strategies {
        runs.push(submit(name).await.unwrap().id);
    }
    for (run, (_, _, seconds)) in runs.iter().zip(strategies) {
        let done = ended(&flow, *run).await;
        assert_eq!((done.status(), done.attempt, done.failed_attempts), (Status::Success, 3, 2));
        let ends: Vec<_> =
            attempts(&flow, *run).await.into_iter().map(|attempt| attempt.end.unwrap()).collect();
        let failed = |code| AttemptEnd::Failed(Failure::Exit(Exit::Code(code)));
        assert_eq!(ends, [failed(41), failed(42), AttemptEnd::Succeeded]);
        assert_waits(&waits(&flow, *run).await, &seconds);
        assert_eq!(place.said(&format!("tries-{run}")), "1 2 3 ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_nothing_is_tried_again_and_with_one_it_ends() {
    let place = Place::new();
    place.pipeline("once", THIRD_TIME).pipeline("thrice", THIRD_TIME).file(
        "thrice/pipeline.json",
        r#"{"retry_attempts": 2, "retry_strategy": {"type": "fixed_delay", "delay": 0}}"#,
    );
    let flow = place.start().await;
    for (name, attempts) in [("once", 1), ("thrice", 3)] {
        let done = run(&flow, place.ask(name).parameter("GOOD", "99")).await;
        let last = Failure::Exit(Exit::Code(40 + attempts));
        assert_eq!((done.failure(), done.attempt), (Some(&last), u32::try_from(attempts).unwrap()));
        assert_eq!(
            place.said(&format!("tries-{}", done.id)).split_whitespace().count(),
            done.attempt as usize
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_takes_too_long_is_ended_and_tried_again_by_policy() {
    let place = Place::new();
    place
        .pipeline(
            "slow",
            "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n\
             open(os.environ['TMP_DIR'] + '/starts', 'a').write('x')\ntime.sleep(600)\n",
        )
        .file(
            "slow/pipeline.json",
            r#"{"timeout": 1, "retry_attempts": 1, "retry_strategy": {"type": "fixed_delay", "delay": 0}}"#,
        );
    let flow = place.start().await;
    let done = run(&flow, place.ask("slow")).await;
    assert_eq!((done.failure(), done.attempt), (Some(&Failure::TimedOut), 2));
    for attempt in attempts(&flow, done.id).await {
        assert_eq!(attempt.end, Some(AttemptEnd::Failed(Failure::TimedOut)));
        let ran = attempt.report.unwrap().duration;
        assert!(ran >= Duration::from_secs(1) && ran < Duration::from_secs(6), "{ran:?}");
    }
    assert_eq!(place.said("starts"), "xx");
}
