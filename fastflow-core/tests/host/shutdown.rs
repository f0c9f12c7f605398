//! Letting go: with patience, at once, by accident; and taking hold again.

use std::{num::NonZeroU32, process::Command, time::Duration};

use fastflow_core::{
    Clock, ErrorKind, Orchestrator, Shutdown, Submission, SystemClock,
    executor::{ProcessConfig, ProcessExecutor},
    journal::LogStream,
    run::{Exit, Failure, RunState, Status},
    store::RunQuery,
};
use futures::{TryStreamExt, future};
use tokio::sync::mpsc;

use crate::{
    kit::{
        Place, attempt, attempts, bytes, clock, count, ended, log, processes_of, refused, run, started,
        started_after, until, within,
    },
    queue::GATE,
};

/// Waits for everything.
pub(crate) const DRAIN: Shutdown =
    Shutdown::Drain { patience: Duration::from_mins(1), grace: Duration::from_secs(1) };

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_what_runs_and_leaves_the_queue_for_the_next_start() {
    let place = Place::new();
    place.pipeline("gate", GATE).pipeline("hello", "pass");
    let flow = started(place.builder().max_concurrent_runs(count(1))).await;
    let running = flow.submit(place.ask("gate")).await.unwrap();
    place.until_said("waiting").await;
    let queued = flow.submit("hello").await.unwrap();
    let drain = tokio::spawn({
        let flow = flow.clone();
        async move { flow.shutdown(DRAIN).await }
    });
    let wall = SystemClock::new();
    wall.sleep(Duration::from_millis(200)).await;
    assert!(!drain.is_finished(), "it waits");
    place.write("go", "go");
    within("the drain", drain).await.unwrap().unwrap();
    refused(flow.submit("hello").await, ErrorKind::Unavailable, &[]);
    let flow = started_after(|| place.builder()).await;
    assert_eq!(flow.runs().get(running.id).await.unwrap().status(), Status::Success);
    assert_eq!(ended(&flow, queued.id).await.status(), Status::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_cancels_what_does_not_end_in_time() {
    let place = Place::new();
    place.pipeline(
        "stubborn",
        &format!("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{GATE}"),
    );
    let flow = place.start().await;
    let running = flow.submit(place.ask("stubborn")).await.unwrap();
    place.until_said("waiting").await;
    let how = Shutdown::Drain { patience: Duration::from_millis(100), grace: Duration::from_millis(500) };
    within("the drain", flow.shutdown(how)).await.unwrap();
    assert_eq!(processes_of(&running.id.to_string()), Vec::<u32>::new());
    let flow = place.start().await;
    assert_eq!(flow.runs().get(running.id).await.unwrap().status(), Status::Cancelled);
}

/// Counts, waits for the test, counts on, ends with 7.
fn counting() -> String {
    format!(
        "for i in range(3): print('before', i)\n{GATE}\nfor i in range(3): print('after', i)\nraise SystemExit(7)\n"
    )
}

/// Whether the next orchestrator on the same directory sees the run to its own end.
async fn goes_on(place: &Place, flow: &Orchestrator, running: fastflow_core::RunId) {
    until("the run to be known as running", || async {
        matches!(flow.runs().get(running).await.unwrap().state, RunState::Running { .. })
    })
    .await;
    let followed = tokio::spawn({
        let lines = flow.runs().follow(running);
        async move { lines.try_collect::<Vec<_>>().await }
    });
    place.write("go", "go");
    let done = ended(flow, running).await;
    assert_eq!((done.failure(), done.attempt), (Some(&Failure::Exit(Exit::Code(7))), 1));
    let log = log(flow, attempt(running, 1)).await;
    let said = String::from_utf8(bytes(&log, LogStream::Out)).unwrap();
    assert_eq!(said, "before 0\nbefore 1\nbefore 2\nafter 0\nafter 1\nafter 2\n");
    let followed = within("the follower to end", followed).await.unwrap().unwrap();
    assert_eq!(followed.len(), log.len());
    let report = attempts(flow, running).await.remove(0).report.unwrap();
    assert!(report.log.complete && report.cpu_time.is_some(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_detach_a_program_lives_on_and_the_next_start_takes_it_over() {
    let place = Place::new();
    place.pipeline("counting", &counting());
    let flow = place.start().await;
    let running = flow.submit(place.ask("counting")).await.unwrap().id;
    place.until_said("waiting").await;
    within("the detach", flow.shutdown(Shutdown::Detach)).await.unwrap();
    assert!(!processes_of(&running.to_string()).is_empty(), "it lives on");
    let flow = place.start().await;
    goes_on(&place, &flow, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_an_orchestrator_lets_go_like_a_detach() {
    let place = Place::new();
    place.pipeline("counting", &counting());
    let flow = place.start().await;
    let running = flow.submit(place.ask("counting")).await.unwrap().id;
    place.until_said("waiting").await;
    drop(flow);
    let flow = started_after(|| place.builder()).await;
    goes_on(&place, &flow, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_nobody_looked_is_known_at_the_next_start() {
    let place = Place::new();
    place.pipeline("counting", &counting());
    let flow = place.start().await;
    let running = flow.submit(place.ask("counting")).await.unwrap().id;
    place.until_said("waiting").await;
    within("the detach", flow.shutdown(Shutdown::Detach)).await.unwrap();
    place.write("go", "go");
    until("the program to end", || async { processes_of(&running.to_string()).is_empty() }).await;
    let flow = place.start().await;
    let done = ended(&flow, running).await;
    assert_eq!((done.failure(), done.attempt), (Some(&Failure::Exit(Exit::Code(7))), 1));
    let said = String::from_utf8(bytes(&log(&flow, attempt(running, 1)).await, LogStream::Out)).unwrap();
    assert!(said.starts_with("before 0") && said.ends_with("after 2\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_holds_for_whoever_takes_over() {
    let place = Place::new();
    place
        .pipeline(
            "stubborn",
            &format!("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{GATE}"),
        )
        .file("stubborn/pipeline.json", r#"{"stop_grace": 2, "retry_attempts": 2}"#);
    let flow = place.start().await;
    let running = flow.submit(place.ask("stubborn")).await.unwrap().id;
    place.until_said("waiting").await;
    flow.runs().cancel(running).await.unwrap();
    within("the detach", flow.shutdown(Shutdown::Detach)).await.unwrap();
    let flow = place.start().await;
    let done = ended(&flow, running).await;
    assert_eq!((done.status(), done.attempt), (Status::Cancelled, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detach_during_a_drain_lets_go_and_cancels_nothing() {
    let place = Place::new();
    place.pipeline("counting", &counting());
    let flow = place.start().await;
    let running = flow.submit(place.ask("counting")).await.unwrap().id;
    place.until_said("waiting").await;
    let drain = flow.shutdown(DRAIN);
    tokio::pin!(drain);
    // It asks when it is looked at first, and who asks first is heard first.
    assert!(futures::poll!(&mut drain).is_pending(), "it waits");
    within("the detach", flow.shutdown(Shutdown::Detach)).await.unwrap();
    within("the drain", drain).await.unwrap();
    let flow = started_after(|| place.builder()).await;
    goes_on(&place, &flow, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_ever_at_an_orchestrator_that_was_shut_down() {
    let place = Place::new();
    place.pipeline("gate", &format!("print('before', flush=True)\n{GATE}"));
    let flow = place.start().await;
    let running = flow.submit(place.ask("gate")).await.unwrap().id;
    let runs = flow.runs();
    let waiting = runs.wait(running);
    tokio::pin!(waiting);
    let (an_event, mut first_event) = mpsc::channel(1);
    let (a_line, mut first_line) = mpsc::channel(1);
    let tell = |first: mpsc::Sender<()>| {
        move || {
            // Only the first one counts.
            let _ = first.try_send(());
        }
    };
    let (an_event, a_line) = (tell(an_event), tell(a_line));
    let events = flow.events(fastflow_core::store::EventId(0)).inspect_ok(move |_| an_event());
    let events = tokio::spawn(events.try_collect::<Vec<_>>());
    let lines = runs.follow(running).inspect_ok(move |_| a_line());
    let lines = tokio::spawn(lines.try_collect::<Vec<_>>());
    tokio::select! {
        biased;
        done = &mut waiting => panic!("it has not ended: {done:?}"),
        told = within("an event and a line", future::join(first_event.recv(), first_line.recv())) => {
            assert_eq!(told, (Some(()), Some(())));
        }
    }
    within("the detach", flow.shutdown(Shutdown::Detach)).await.unwrap();
    refused(within("the waiter", waiting).await, ErrorKind::Unavailable, &[]);
    refused(within("the events", events).await.unwrap(), ErrorKind::Unavailable, &[]);
    // The log's reader is told that there may be more.
    refused(within("the log", lines).await.unwrap(), ErrorKind::Unavailable, &[]);
    place.write("go", "go");
    until("the program to end", || async { processes_of(&running.to_string()).is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_whose_executor_is_gone_fails_and_stops_nothing() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    let shared = ProcessConfig::new(place.root().join("elsewhere"));
    let elsewhere = ProcessExecutor::new(&shared, clock()).unwrap();
    let here = ProcessExecutor::new(&ProcessConfig::new(place.root().join("here")), clock()).unwrap();
    let flow = place.builder().executor("here", here).executor("elsewhere", elsewhere).build().await.unwrap();
    let orphan = flow.submit(Submission::new("hello").executor("elsewhere".parse().unwrap())).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let here = ProcessExecutor::new(&ProcessConfig::new(place.root().join("here")), clock()).unwrap();
    let flow = started(place.builder().executor("here", here)).await;
    let done = ended(&flow, orphan.id).await;
    assert!(
        matches!(done.failure(), Some(Failure::StartFailed(why)) if why.message.contains("elsewhere")),
        "{done:?}"
    );
    assert_eq!(run(&flow, "hello").await.status(), Status::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_orchestrators_with_two_directories_do_not_meet() {
    let (one, two) = (Place::new(), Place::new());
    for place in [&one, &two] {
        place.pipeline("gate", &format!("{GATE}\nprint(os.environ['TMP_DIR'])"));
    }
    let (first, second) = (one.start().await, two.start().await);
    assert_ne!(first.owner(), second.owner());
    let a = first.submit(one.ask("gate")).await.unwrap();
    let b = second.submit(two.ask("gate")).await.unwrap();
    one.until_said("waiting").await;
    two.until_said("waiting").await;
    refused(first.runs().get(b.id).await, ErrorKind::NotFound, &[]);
    // Ending one, and its clean-up, does not touch the other's programs.
    within("a drain", first.shutdown(Shutdown::Drain { patience: Duration::ZERO, grace: Duration::ZERO }))
        .await
        .unwrap();
    let first = started_after(|| one.builder()).await;
    assert_eq!(first.runs().get(a.id).await.unwrap().status(), Status::Cancelled);
    two.write("go", "go");
    assert_eq!(ended(&second, b.id).await.status(), Status::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_outlives_its_host_for_a_moment_is_waited_for() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    place.start().await.shutdown(Shutdown::Detach).await.unwrap();
    let lock = place.data().join("fastflow.db.lock");
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let held_for = |seconds: &str, owner: u32| {
        std::fs::write(&lock, format!(r#"{{"pid": {owner}, "since": "2026-11-20T20:06:16Z"}}"#)).unwrap();
        let holder =
            Command::new("flock").arg("--no-fork").arg(&lock).args(["sleep", seconds]).spawn().unwrap();
        (holder, std::fs::File::open(&lock).unwrap())
    };
    // A process of a dead host that is only just becoming another program.
    let (mut holder, file) = held_for("0.5", ended.id());
    until("the lock to be held", || async { file.try_lock_shared().map(|()| file.unlock()).is_err() }).await;
    let flow = place.start().await;
    assert_eq!(run(&flow, "hello").await.status(), Status::Success);
    flow.shutdown(Shutdown::Detach).await.unwrap();
    holder.wait().unwrap();
    // One that lives is not waited for.
    let (mut holder, file) = held_for("600", std::process::id());
    until("the lock to be held", || async { file.try_lock_shared().map(|()| file.unlock()).is_err() }).await;
    let wall = SystemClock::new();
    refused(place.builder().build().await, ErrorKind::Conflict, &[&std::process::id().to_string()]);
    assert!(wall.elapsed() < Duration::from_secs(3), "{:?}", wall.elapsed());
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_starts_once_and_a_directory_has_one_host() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    let flow = place.start().await;
    refused(flow.start().await, ErrorKind::Conflict, &[]);
    refused(place.builder().build().await, ErrorKind::Conflict, &[&std::process::id().to_string()]);
    assert_eq!(run(&flow, "hello").await.status(), Status::Success, "the first one is not disturbed");
    assert_eq!(
        NonZeroU32::new(flow.runs().list(&RunQuery::default()).await.unwrap().items[0].attempt),
        NonZeroU32::new(1)
    );
    flow.shutdown(Shutdown::Detach).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    refused(flow.start().await, ErrorKind::Conflict, &[]);
}
