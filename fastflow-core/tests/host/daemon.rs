//! Pipelines that are meant to run always: restarts after failures, with pauses and an end; planned restarts; and what
//! is never restarted.

use std::time::Duration;

use fastflow_core::{
    Orchestrator,
    run::{Decision, Exit, Failure, Origin, Run, Status},
};
use serde_json::{Value, json};

use crate::{
    kit::{Place, ended, until},
    stage::{FOREVER, ended_of, explained, notes, runs_of},
};

/// Fails; after as many seconds as a file says, if there is one.
const FAILS: &str = r"
import os, pathlib, time
healthy = pathlib.Path(os.environ['TMP_DIR']) / 'healthy'
time.sleep(float(healthy.read_text()) if healthy.exists() else 0)
raise SystemExit(4)
";

/// Two of it at one time are heard of.
const ALONE: &str = r"
import os, pathlib, signal, time
tmp = pathlib.Path(os.environ['TMP_DIR'])
room = tmp / 'room'
try:
    room.mkdir()
except FileExistsError:
    (tmp / 'two').write_text('two at one time')
def leave(*_):
    time.sleep(0.3)
    room.rmdir()
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
(tmp / ('began-' + os.environ['FASTFLOW_RUN_ID'])).write_text('yes')
while tmp.exists():
    time.sleep(0.01)
";

fn always(mut more: Value) -> Value {
    let fields = more.as_object_mut().unwrap();
    fields.entry("restart_on_crash").or_insert(true.into());
    fields.entry("restart_cooldown").or_insert(0.into());
    fields.entry("stop_grace").or_insert(2.into());
    more
}

fn pauses(runs: &[Run]) -> Vec<Duration> {
    let pause = |pair: &[Run]| pair[1].started_at.unwrap().duration_since(pair[0].finished_at.unwrap());
    runs.windows(2).map(|pair| Duration::try_from(pause(pair)).unwrap()).collect()
}

fn restarts(runs: &[Run]) -> Vec<Option<u32>> {
    let number = |run: &Run| match run.origin {
        Origin::Daemon { restarts, .. } => Some(restarts),
        _ => None,
    };
    runs.iter().map(number).collect()
}

async fn gave_up(flow: &Orchestrator, pipeline: &str) -> Option<u32> {
    let run = runs_of(flow, pipeline).await.pop()?;
    notes(flow, run.id).await.into_iter().find_map(|note| match note.decision {
        Decision::GaveUp { restarts } => Some(restarts),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_fails_is_restarted_with_growing_pauses_and_given_up_at_last() {
    let place = Place::new();
    let fields = always(json!({"restart_cooldown": 1, "restart_max_cooldown": 2, "restart_limit": 3}));
    place.declared("serve", FAILS, fields);
    let flow = place.start().await;
    let first = flow.submit(place.ask("serve").parameter("A", "kept").priority(3)).await.unwrap();
    until("it to be given up", || async { gave_up(&flow, "serve").await == Some(3) }).await;
    let runs = runs_of(&flow, "serve").await;
    assert_eq!(restarts(&runs), [None, Some(1), Some(2), Some(3)]);
    for (pause, (least, most)) in pauses(&runs).into_iter().zip([(1, 1.9), (2, 2.9), (2, 2.9)]) {
        let most = Duration::from_secs_f64(most) + Duration::from_secs(2);
        assert!(pause >= Duration::from_secs(least) && pause < most, "{pause:?}");
    }
    for (index, run) in runs.iter().enumerate() {
        assert_eq!(run.failure(), Some(&Failure::Exit(Exit::Code(4))));
        assert_eq!((run.priority, &run.parameters), (3, &first.parameters));
        if let Origin::Daemon { previous, .. } = run.origin {
            assert_eq!(previous, runs[index - 1].id);
        }
    }
    let text = explained(&flow, runs[3].id).await;
    assert!(text.contains("FAILED: exit code 4"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_of_health_ends_the_burst() {
    let place = Place::new();
    place.declared("serve", FAILS, always(json!({"restart_limit": 2, "restart_healthy_after": 1})));
    let flow = place.start().await;
    place.write("healthy", "1.2");
    flow.submit("serve").await.unwrap();
    until("more restarts than one burst may have", || async { runs_of(&flow, "serve").await.len() > 4 })
        .await;
    assert_eq!(
        restarts(&runs_of(&flow, "serve").await)[1..4],
        [Some(1); 3],
        "each was the first of its burst"
    );
    place.write("healthy", "0");
    until("it to be given up", || async { gave_up(&flow, "serve").await == Some(2) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn success_cancel_and_a_disabled_pipeline_end_a_daemon() {
    let place = Place::new();
    place
        .declared("done", "pass", always(json!({})))
        .declared("serve", FOREVER, always(json!({"stop_grace": 0, "restart_interval": 600})))
        .declared("off", FAILS, always(json!({"restart_cooldown": 1})))
        .declared(
            "twice",
            FAILS,
            always(json!({"retry_attempts": 1, "restart_limit": 1,
            "retry_strategy": {"type": "fixed_delay", "delay": 0}})),
        );
    let flow = place.start().await;
    let done = flow.submit("done").await.unwrap();
    assert_eq!(ended(&flow, done.id).await.status(), Status::Success);
    assert!(notes(&flow, done.id).await.is_empty());

    let served = flow.submit("serve").await.unwrap().id;
    place.until_said(&format!("began-{served}")).await;
    flow.runs().cancel(served).await.unwrap();
    assert_eq!(ended(&flow, served).await.status(), Status::Cancelled);
    assert_eq!(runs_of(&flow, "serve").await.len(), 1, "what people end stays ended");

    // A restart that waits is cancelled like any run, and is the end of it.
    flow.submit("off").await.unwrap();
    until("a restart to wait", || async { runs_of(&flow, "off").await.len() == 2 }).await;
    place.fields("off", json!({"enabled": false, "restart_on_crash": true}));
    let runs = ended_of(&flow, "off", 2).await;
    let noted = crate::stage::decided(&flow, runs[1].id).await;
    assert!(noted.iter().any(|note| note.contains("`off`") && note.contains("disabled")), "{noted:?}");
    assert_eq!(runs_of(&flow, "off").await.len(), 2);

    // Its own retries come first.
    flow.submit("twice").await.unwrap();
    until("it to be given up", || async { gave_up(&flow, "twice").await == Some(1) }).await;
    let attempts: Vec<u32> = runs_of(&flow, "twice").await.iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_restart_takes_the_place_of_the_one_before_and_never_its_side() {
    let place = Place::new();
    place.declared("serve", ALONE, always(json!({"restart_interval": 1})));
    let flow = place.start().await;
    let first = flow.submit(place.ask("serve")).await.unwrap().id;
    until("three of them, one after the other", || async {
        runs_of(&flow, "serve").await.iter().filter(|run| run.started_at.is_some()).count() >= 3
    })
    .await;
    // One more asked for by hand waits for its turn.
    let other = flow.submit("serve").await.unwrap().id;
    let waiting = flow.runs().waiting(other).await.unwrap().unwrap().to_string();
    assert!(waiting.contains("1 of 1 runs are in flight"), "{waiting}");
    flow.runs().cancel(other).await.unwrap();
    place.fields("serve", json!({"enabled": false}));
    let last = loop {
        let last = runs_of(&flow, "serve").await.into_iter().filter(|run| run.id != other).last().unwrap();
        if !last.state.is_terminal() {
            break last;
        }
    };
    flow.runs().cancel(last.id).await.unwrap();
    until("all to end", || async { runs_of(&flow, "serve").await.iter().all(|run| run.state.is_terminal()) })
        .await;
    assert_eq!(place.said("two"), "");
    let runs = runs_of(&flow, "serve").await;
    assert!(runs.iter().all(|run| run.status() == Status::Cancelled), "{runs:?}");
    assert_eq!(runs[0].id, first);
    assert_eq!(runs[1].origin, Origin::Daemon { previous: first, restarts: 0 });
    let replaced = crate::stage::decided(&flow, first).await;
    assert_eq!(replaced, [format!("run {} took its place", runs[1].id)]);
    let ran = runs[0].finished_at.unwrap().duration_since(runs[0].started_at.unwrap());
    assert!(ran.as_millis() >= 1000, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_survives_the_death_of_the_host() {
    let place = Place::new();
    place.declared("serve", ALONE, always(json!({"restart_interval": 2})));
    let flow = place.start().await;
    let first = flow.submit(place.ask("serve")).await.unwrap().id;
    place.until_said(&format!("began-{first}")).await;
    drop(flow);
    let flow = crate::kit::started_after(|| place.builder()).await;
    let replaced = ended(&flow, first).await;
    let ran = replaced.finished_at.unwrap().duration_since(replaced.started_at.unwrap());
    assert_eq!(replaced.status(), Status::Cancelled);
    assert!(ran.as_millis() >= 2000, "no sooner: {ran:?}");
    place.fields("serve", json!({"enabled": false}));
    let second = runs_of(&flow, "serve").await[1].id;
    place.until_said(&format!("began-{second}")).await;
    flow.runs().cancel(second).await.unwrap();
    ended(&flow, second).await;
    assert_eq!(place.said("two"), "");
}
