//! Ending a run before it ends by itself.

use std::time::Duration;

use fastflow_core::{Clock, ErrorKind, SystemClock, journal::LogStream, run::Status};

use crate::{
    kit::{EndlessBuild, Place, attempts, count, ended, lines, processes_of, refused, run, started, until},
    queue::GATE,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_is_cancelled_at_once_and_never_starts() {
    let place = Place::new();
    place
        .pipeline("gate", GATE)
        .pipeline("touch", "import os; open(os.environ['TMP_DIR'] + '/touched', 'w').write('x')");
    let flow = started(place.builder().max_concurrent_runs(count(1))).await;
    let gate = flow.submit(place.ask("gate")).await.unwrap();
    place.until_said("waiting").await;
    let queued = flow.submit(place.ask("touch")).await.unwrap();
    let cancelled = flow.runs().cancel(queued.id).await.unwrap();
    assert_eq!(cancelled.status(), Status::Cancelled);
    assert!(cancelled.finished_at.is_some());
    place.write("go", "go");
    assert_eq!(ended(&flow, gate.id).await.status(), Status::Success);
    // Another that came later has had its turn: the cancelled one did not start.
    run(&flow, place.ask("gate")).await;
    assert_eq!(flow.runs().get(queued.id).await.unwrap(), cancelled);
    assert_eq!((attempts(&flow, queued.id).await.len(), place.said("touched").as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_cancelled_while_its_environment_is_built() {
    let place = Place::new();
    place.pipeline("hello", "print('hello')");
    let flow = started(place.bare_builder().environments(EndlessBuild)).await;
    let starting = flow.submit("hello").await.unwrap();
    until("the run to be claimed", || async { flow.runs().get(starting.id).await.unwrap().attempt == 1 })
        .await;
    flow.runs().cancel(starting.id).await.unwrap();
    assert_eq!(ended(&flow, starting.id).await.status(), Status::Cancelled);
    assert_eq!(attempts(&flow, starting.id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_program_gets_its_chance_to_say_goodbye() {
    let place = Place::new();
    place.pipeline(
        "polite",
        "import os, signal, sys, time\n\
         def bye(*_):\n    print('bye')\n    sys.exit(0)\n\
         signal.signal(signal.SIGTERM, bye)\n\
         open(os.environ['TMP_DIR'] + '/ready', 'w').write('x')\n\
         time.sleep(600)\n",
    );
    let flow = place.start().await;
    let running = flow.submit(place.ask("polite")).await.unwrap();
    place.until_said("ready").await;
    flow.runs().cancel(running.id).await.unwrap();
    flow.runs().cancel(running.id).await.unwrap_or_else(|error| {
        // The second wish may come after the end.
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        running.clone()
    });
    // It exits with 0 and is cancelled all the same: it did not do its work.
    assert_eq!(ended(&flow, running.id).await.status(), Status::Cancelled);
    assert_eq!(lines(&flow, running.id, LogStream::Out).await, ["bye"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ignores_the_wish_is_gone_within_its_grace_and_a_bound() {
    let place = Place::new();
    place
        .pipeline(
            "stubborn",
            "import os, signal, subprocess, sys, time\n\
             signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
             subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n\
             open(os.environ['TMP_DIR'] + '/ready', 'w').write('x')\n\
             time.sleep(600)\n",
        )
        .file("stubborn/pipeline.json", r#"{"stop_grace": 1, "retry_attempts": 3, "retry_strategy": {"type": "fixed_delay", "delay": 0}}"#);
    let flow = place.start().await;
    let running = flow.submit(place.ask("stubborn")).await.unwrap();
    place.until_said("ready").await;
    let clock = SystemClock::new();
    flow.runs().cancel(running.id).await.unwrap();
    let done = ended(&flow, running.id).await;
    let took = clock.elapsed();
    assert_eq!((done.status(), done.attempt), (Status::Cancelled, 1), "and it is not tried again");
    assert!(took >= Duration::from_secs(1), "it had its grace: {took:?}");
    assert!(took < Duration::from_secs(16), "{took:?}");
    until("all processes of the run to be gone", || async {
        processes_of(&running.id.to_string()).is_empty()
    })
    .await;
    refused(flow.runs().cancel(running.id).await, ErrorKind::Conflict, &[]);
    assert_eq!(flow.runs().get(running.id).await.unwrap(), done, "it is final");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_its_retry_is_cancelled_at_once() {
    let place = Place::new();
    place.pipeline("bad", "raise SystemExit(1)").file(
        "bad/pipeline.json",
        r#"{"retry_attempts": 3, "retry_strategy": {"type": "fixed_delay", "delay": 3600}}"#,
    );
    let flow = place.start().await;
    let bad = flow.submit("bad").await.unwrap();
    until("the first attempt to fail", || async {
        let run = flow.runs().get(bad.id).await.unwrap();
        run.failed_attempts == 1 && run.status() == Status::Pending
    })
    .await;
    assert_eq!(flow.runs().cancel(bad.id).await.unwrap().status(), Status::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_ended_cannot_be_cancelled() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    let flow = place.start().await;
    let done = run(&flow, "hello").await;
    refused(flow.runs().cancel(done.id).await, ErrorKind::Conflict, &[]);
    assert_eq!(flow.runs().get(done.id).await.unwrap(), done);
    let nobody = "019aa2f0-7c3c-7def-8000-000000000001".parse().unwrap();
    refused(flow.runs().cancel(nobody).await, ErrorKind::NotFound, &[]);
}
