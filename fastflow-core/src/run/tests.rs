use std::{collections::BTreeSet, fmt::Write, num::NonZeroU32, path::Path};

use proptest::prelude::*;

use super::{
    Exit, Failure, LostCause, Retry, RunEvent, RunState, StartFailure, StartFailureKind, Status, StopCause,
    Symptom,
};
use crate::{AttemptId, RunId, Timestamp, executor::ExecutionHandle};

const LATER: Timestamp = Timestamp::constant(1_800_000_000, 0);
const UNHEALTHY: StopCause = StopCause::Unhealthy(Symptom::NoOutput);
const AFTER_CRASH: Timestamp = Timestamp::constant(1_900_000_000, 0);

fn handle() -> ExecutionHandle {
    let attempt = AttemptId { run: RunId::from_bytes([7; 16]), number: NonZeroU32::MIN };
    ExecutionHandle { attempt, native_id: "4711".into(), detail: serde_json::Value::Null }
}

fn not_started() -> Failure {
    Failure::StartFailed(StartFailure { kind: StartFailureKind::Denied, message: "no".into() })
}

/// Every state, with every part of it that a transition looks at.
fn states() -> Vec<(&'static str, RunState)> {
    let stopping = |handle, cause| RunState::Stopping { handle, cause };
    vec![
        ("queued", RunState::Queued { not_before: Timestamp::UNIX_EPOCH }),
        ("starting", RunState::Starting),
        ("running", RunState::Running { handle: handle() }),
        ("stopping (cancelled), not started", stopping(None, StopCause::Cancelled)),
        ("stopping (cancelled)", stopping(Some(handle()), StopCause::Cancelled)),
        ("stopping (timed out), not started", stopping(None, StopCause::TimedOut)),
        ("stopping (timed out)", stopping(Some(handle()), StopCause::TimedOut)),
        ("stopping (unhealthy), not started", stopping(None, UNHEALTHY)),
        ("stopping (unhealthy)", stopping(Some(handle()), UNHEALTHY)),
        ("succeeded", RunState::Succeeded),
        ("failed", RunState::Failed(Failure::Exit(Exit::Code(1)))),
        ("cancelled", RunState::Cancelled),
    ]
}

/// Every event, with every part of it that a transition looks at.
fn events() -> Vec<(&'static str, RunEvent)> {
    let exited = |code, stopped_by| RunEvent::Exited { exit: Exit::Code(code), stopped_by };
    let failed = |transient| RunEvent::StartFailed { failure: not_started(), transient };
    vec![
        ("claimed", RunEvent::Claimed),
        ("started", RunEvent::Started(handle())),
        ("start failed, for good", failed(false)),
        ("start failed, for now", failed(true)),
        ("never started", RunEvent::NeverStarted { not_before: AFTER_CRASH }),
        ("exited with 0", exited(0, None)),
        ("exited otherwise", exited(1, None)),
        ("exited with 0, sandbox told to stop", exited(0, Some(StopCause::Cancelled))),
        ("exited otherwise, sandbox told to stop", exited(1, Some(StopCause::Cancelled))),
        ("exited with 0, sandbox timed out", exited(0, Some(StopCause::TimedOut))),
        ("exited otherwise, sandbox timed out", exited(1, Some(StopCause::TimedOut))),
        ("exited with 0, sandbox stopped as unhealthy", exited(0, Some(UNHEALTHY))),
        ("exited otherwise, sandbox stopped as unhealthy", exited(1, Some(UNHEALTHY))),
        ("stop requested (cancelled)", RunEvent::StopRequested(StopCause::Cancelled)),
        ("stop requested (timed out)", RunEvent::StopRequested(StopCause::TimedOut)),
        ("stop requested (unhealthy)", RunEvent::StopRequested(UNHEALTHY)),
        ("lost", RunEvent::Lost(LostCause::MonitorDied)),
    ]
}

/// What stands in the table for a state that was reached.
fn word(state: &RunState) -> String {
    match state {
        RunState::Queued { not_before } if *not_before == AFTER_CRASH => "queued, uncounted".into(),
        RunState::Stopping { handle, cause } => {
            let cause = match cause {
                StopCause::Cancelled => "cancelled",
                StopCause::TimedOut => "timed out",
                StopCause::Unhealthy(_) => "unhealthy",
            };
            let started = if handle.is_some() { "" } else { ", not started" };
            format!("stopping ({cause}){started}")
        }
        RunState::Failed(failure) => {
            let failure = match failure {
                Failure::Exit(_) => "exit",
                Failure::TimedOut => "timed out",
                Failure::Unhealthy(_) => "unhealthy",
                Failure::Interrupted => "interrupted",
                Failure::EnvironmentFailed(_) => "environment failed",
                Failure::StartFailed(_) => "start failed",
                Failure::Lost(_) => "lost",
            };
            format!("failed ({failure})")
        }
        other => other.name().to_owned(),
    }
}

/// The table and the diagram, from the function itself.
fn printed() -> String {
    let mut table = String::from("| in the state | comes the event | then it is |\n| --- | --- | --- |\n");
    let mut arrows = BTreeSet::new();
    let (mut legal, mut refused) = (0, 0);
    for (state_word, state) in states() {
        for (event_word, event) in events() {
            let last = state.apply(&event, Retry::Exhausted);
            let again = state.apply(&event, Retry::At(LATER));
            assert_eq!(last.is_ok(), again.is_ok(), "{state_word} / {event_word}: legality hangs on retry");
            let (Ok(last), Ok(again)) = (last, again) else {
                refused += 1;
                continue;
            };
            legal += 1;
            for next in [&last, &again] {
                arrows.insert((state.name(), next.name(), event.name()));
            }
            let outcome = if last == again {
                word(&last)
            } else {
                assert_eq!(again, RunState::Queued { not_before: LATER }, "{state_word} / {event_word}");
                format!("queued again, or {} when no retry is left", word(&last))
            };
            writeln!(table, "| {state_word} | {event_word} | {outcome} |").unwrap();
        }
    }
    let mut diagram = String::from("```mermaid\nstateDiagram-v2\n    [*] --> queued : submitted\n");
    let ends: BTreeSet<_> = arrows.iter().map(|(from, to, _)| (*from, *to)).collect();
    for (from, to) in ends {
        let names: Vec<_> =
            arrows.iter().filter(|(a, b, _)| (*a, *b) == (from, to)).map(|(.., event)| *event).collect();
        writeln!(diagram, "    {from} --> {to} : {}", names.join(", ")).unwrap();
    }
    for (_, state) in states() {
        if state.is_terminal() {
            writeln!(diagram, "    {} --> [*]", state.name()).unwrap();
        }
    }
    format!(
        "{diagram}```\n\n{table}\nThese are {legal} pairs. The other {refused} are refused with `Conflict` and \
         change nothing.\n"
    )
}

/// The page cannot say anything else than the code does. Rewrite its table with
/// `FASTFLOW_WRITE_DOCS=1 cargo test -p fastflow-core the_page_shows_the_whole_table`.
#[test]
#[expect(clippy::disallowed_methods, reason = "whoever runs the test asks it to write the page")]
fn the_page_shows_the_whole_table() {
    const BEGIN: &str = "<!-- printed by the_page_shows_the_whole_table -->\n";
    const END: &str = "<!-- end of what is printed -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/state-machine.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let expected = format!("{head}{BEGIN}\n{}\n{END}{tail}", printed());
    if std::env::var_os("FASTFLOW_WRITE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    assert!(
        page == expected,
        "docs/state-machine.md differs from the code; look at the change, then run \
         `FASTFLOW_WRITE_DOCS=1 cargo test -p fastflow-core the_page_shows_the_whole_table`"
    );
    for (_, state) in states() {
        let heading = format!("### {}\n", state.name());
        assert!(page.contains(&heading), "a paragraph on `{}` is missing", state.name());
    }
}

#[test]
fn a_final_state_refuses_everything() {
    for (_, state) in states() {
        for (event_word, event) in events() {
            let refused = state.apply(&event, Retry::At(LATER)).is_err();
            assert!(refused || !state.is_terminal(), "{} / {event_word}", state.name());
        }
        assert_eq!(state.is_terminal(), state.status().is_terminal());
    }
}

#[test]
fn only_an_exit_with_0_that_nobody_asked_for_is_a_success() {
    for (state_word, state) in states() {
        for (event_word, event) in events() {
            let next = state.apply(&event, Retry::Exhausted).ok();
            let asked = matches!(state, RunState::Stopping { .. });
            let clean = matches!(event, RunEvent::Exited { exit: Exit::Code(0), stopped_by: None });
            if next == Some(RunState::Succeeded) {
                assert!(clean && !asked, "{state_word} / {event_word}");
            }
        }
    }
}

fn any_event() -> impl Strategy<Value = RunEvent> {
    let events: Vec<_> = events().into_iter().map(|(_, event)| event).collect();
    let exits =
        prop_oneof![(0..256).prop_map(Exit::Code), (1..65).prop_map(Exit::Signal), Just(Exit::OutOfMemory)];
    let causes = prop_oneof![
        Just(None),
        Just(Some(StopCause::Cancelled)),
        Just(Some(StopCause::TimedOut)),
        Just(Some(UNHEALTHY))
    ];
    prop_oneof![
        proptest::sample::select(events),
        (exits, causes).prop_map(|(exit, stopped_by)| RunEvent::Exited { exit, stopped_by }),
    ]
}

fn any_retry() -> impl Strategy<Value = Retry> {
    prop_oneof![Just(Retry::Exhausted), Just(Retry::At(LATER))]
}

proptest! {
    /// A life of random events, of which those that are refused are left out.
    #[test]
    fn every_life_keeps_the_promises(life in proptest::collection::vec((any_event(), any_retry()), 1..60)) {
        let mut state = RunState::Queued { not_before: Timestamp::UNIX_EPOCH };
        let mut cancelled = false;
        let mut stopping = false;
        for (event, retry) in life {
            let next = state.apply(&event, retry);
            let legal = state.apply(&event, Retry::Exhausted).is_ok();
            prop_assert_eq!(next.is_ok(), legal, "legality hangs on retry");
            if state.is_terminal() {
                prop_assert!(next.is_err(), "{} moved", state.name());
            }
            let Ok(next) = next else { continue };
            cancelled |= event == RunEvent::StopRequested(StopCause::Cancelled);
            if cancelled {
                let ends_so = matches!(next, RunState::Cancelled)
                    || matches!(next, RunState::Stopping { cause: StopCause::Cancelled, .. });
                prop_assert!(ends_so, "a cancel was lost: {}", next.name());
            }
            if stopping {
                prop_assert_ne!(&next, &RunState::Succeeded, "a run that was asked to stop succeeded");
            }
            stopping = matches!(next, RunState::Stopping { .. });
            if let (Some(before), Some(after)) = (state.handle(), next.handle()) {
                prop_assert_eq!(before, after, "a handle never changes within an attempt");
            }
            if next.status() == Status::Pending && state.status() == Status::Running {
                let queued = matches!(next, RunState::Queued { .. });
                prop_assert!(queued, "{} after running", next.name());
            }
            state = next;
        }
    }
}
