//! What one that does not host can do, beside one that does. Both are in this process: locks, connections and bells belong
//! to each as if they were not.

use std::time::Duration;

use fastflow_core::{
    Clock, ErrorKind, Hosting, Orchestrator, Result, Shutdown, SystemClock,
    hosting::HostPlace,
    journal::LogStream,
    orchestrator::{RunLogLine, Waiting},
    pipeline::Moment,
    run::{RunState, Status},
    schedule::Schedule,
    source::SyncRequest,
    store::{EventId, RunQuery},
};
use futures::StreamExt as _;

use crate::kit::{Place, ended, refused, started, until, within, within_time};

/// What others write is known so soon, however it is told. Far below the second after which everybody looks anyway.
const SOON: Duration = Duration::from_millis(500);

async fn guest(place: &Place) -> Orchestrator {
    started(place.builder().hosting(Hosting::Never)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_submits_is_run_at_once_and_seen_to_its_end() {
    let place = Place::new();
    place.pipeline("hello", "print('hello')");
    let host = place.start().await;
    let guest = guest(&place).await;
    let here = host.host().await.unwrap().unwrap();
    assert_eq!((here.pid, here.place), (std::process::id(), HostPlace::Here));
    let there = guest.host().await.unwrap().unwrap();
    assert_eq!((there.pid, there.since, there.place), (here.pid, here.since, HostPlace::Elsewhere));
    let mut events = guest.events(EventId::default());
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let run = guest.submit("hello").await.unwrap();
        let clock = SystemClock::new();
        let mut names = Vec::new();
        while names.last().is_none_or(|name| name != "exited") {
            let event = within("an event", events.next()).await.unwrap().unwrap();
            assert_eq!(event.run, run.id);
            if event.name == "claimed" {
                slowest = slowest.max(clock.elapsed());
            }
            names.push(event.name);
        }
        assert_eq!(names, ["submitted", "claimed", "started", "exited"]);
        assert_eq!(ended(&guest, run.id).await.status(), Status::Success);
    }
    println!("heard, claimed, and heard of that: {slowest:?} at the slowest");
    assert!(slowest < SOON, "{slowest:?}");
    guest.shutdown(Shutdown::Detach).await.unwrap();
    let run = host.submit("hello").await.unwrap();
    assert_eq!(ended(&host, run.id).await.status(), Status::Success, "the host is not disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_stops_a_program_and_follows_its_log_while_it_runs() {
    let place = Place::new();
    place.pipeline(
        "talker",
        "import time\nfor n in range(10**6):\n    print(n, flush=True)\n    time.sleep(0.02)",
    );
    let _host = place.start().await;
    let guest = guest(&place).await;
    let run = guest.submit("talker").await.unwrap();
    let is_said = |line: &Result<RunLogLine>| {
        std::future::ready(line.as_ref().is_ok_and(|entry| entry.line.stream == LogStream::Out))
    };
    let mut log = guest.runs().follow(run.id).filter(is_said);
    for number in 0..20 {
        let line = within("a line", log.next()).await.unwrap().unwrap().line;
        assert_eq!(line.text(), number.to_string());
    }
    guest.runs().cancel(run.id).await.unwrap();
    within_time("the log to end", Duration::from_secs(20), log.collect::<Vec<_>>()).await;
    assert_eq!(ended(&guest, run.id).await.state, RunState::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_replaces_is_stopped_by_the_host() {
    let place = Place::new();
    place.pipeline("single", "import time; time.sleep(600)");
    place.file("single/pipeline.json", r#"{"max_instances": 1, "when_full": "replace"}"#);
    let host = place.start().await;
    let guest = guest(&place).await;
    let first = host.submit("single").await.unwrap();
    until("the first to run", || async { host.runs().get(first.id).await.unwrap().started_at.is_some() })
        .await;
    let second = guest.submit("single").await.unwrap();
    assert_eq!(ended(&host, first.id).await.state, RunState::Cancelled);
    until("the second to run", || async { guest.runs().get(second.id).await.unwrap().started_at.is_some() })
        .await;
    host.runs().cancel(second.id).await.unwrap();
    assert_eq!(ended(&guest, second.id).await.state, RunState::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_a_guest_makes_starts_runs_at_the_host() {
    let place = Place::new();
    place.pipeline("hello", "print('hello')");
    let _host = place.start().await;
    let guest = guest(&place).await;
    let soon: Moment = (SystemClock::new().now() + Duration::from_millis(300)).to_string().parse().unwrap();
    let id = "hello@soon".parse().unwrap();
    guest.schedules().put(Schedule::new(id, soon)).await.unwrap();
    let began = SystemClock::new();
    until("the schedule's run to end", || async {
        let runs = guest.runs().list(&RunQuery::default()).await.unwrap();
        runs.items.iter().any(|run| run.status() == Status::Success)
    })
    .await;
    // Who has not heard of it looks after 15 s.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_sees_pipelines_and_refuses_what_only_the_host_does() {
    let place = Place::new();
    place.pipeline("hello", "print('hello')");
    let host = place.start().await;
    let guest = guest(&place).await;
    place.pipeline("later", "print('later')");
    let pipelines = guest.pipelines().list().await.unwrap();
    assert_eq!(pipelines.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["hello", "later"]);
    let pid = std::process::id().to_string();
    refused(guest.source().sync(SyncRequest::default()).await, ErrorKind::Conflict, &["hosts", &pid]);
    refused(guest.start().await, ErrorKind::Conflict, &["started once"]);
    host.shutdown(Shutdown::Detach).await.unwrap();
    drop(host);
    assert_eq!(guest.host().await.unwrap(), None);
    refused(guest.source().sync(SyncRequest::default()).await, ErrorKind::Conflict, &["no process hosts"]);
    let waits = guest.submit("later").await.unwrap();
    let host = place.start().await;
    assert_eq!(ended(&guest, waits.id).await.status(), Status::Success);
    assert_eq!(ended(&host, waits.id).await.status(), Status::Success);
    refused(place.builder().build().await, ErrorKind::Conflict, &["another host", &pid]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_hosts_that_is_what_runs_wait_for() {
    let place = Place::new();
    place.pipeline("long", "import time; time.sleep(600)");
    let guest = guest(&place).await;
    let explained = async |id| guest.runs().explain(id).await.unwrap().to_string();
    let queued = guest.submit("long").await.unwrap().id;
    assert_eq!(guest.runs().waiting(queued).await.unwrap(), Some(Waiting::NoHost));
    let text = explained(queued).await;
    assert!(text.contains("PENDING: waits for a host: no process hosts the data directory now\n"), "{text}");
    let later = guest.submit(place.ask("long").delay(Duration::from_hours(1))).await.unwrap().id;
    assert!(matches!(guest.runs().waiting(later).await.unwrap(), Some(Waiting::Until(_))));

    let host = place.start().await;
    until("the run to begin", || async { guest.runs().get(queued).await.unwrap().started_at.is_some() })
        .await;
    assert_eq!(guest.runs().waiting(queued).await.unwrap(), None);
    host.shutdown(Shutdown::Detach).await.unwrap();
    drop(host);
    let text = explained(queued).await;
    assert!(
        text.contains("RUNNING: waits for a host: no process hosts the data directory now, and this is as"),
        "{text}"
    );
    guest.runs().cancel(queued).await.unwrap();
    guest.runs().cancel(later).await.unwrap();
    assert_eq!(guest.runs().waiting(queued).await.unwrap(), Some(Waiting::NoHost), "it is stopping");
    assert_eq!(guest.runs().waiting(later).await.unwrap(), None, "it has ended");

    let _host = place.start().await;
    assert_eq!(ended(&guest, queued).await.status(), Status::Cancelled);
    assert_eq!(guest.runs().waiting(queued).await.unwrap(), None);
    let cancelled = guest.runs().cancel(queued).await;
    refused(cancelled, ErrorKind::Conflict, &["has ended already: its status is CANCELLED"]);
}
