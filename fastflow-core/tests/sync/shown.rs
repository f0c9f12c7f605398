//! What is shown after a sync, and what becomes of what was shown before.

use std::{collections::BTreeSet, fs, num::NonZeroU32, path::Path, time::Duration};

use async_trait::async_trait;

use fastflow_core::{
    Clock, Orchestrator, OrchestratorBuilder, SystemClock, Timestamp,
    journal::LogStream,
    orchestrator::Rerun,
    run::{Run, Status},
    schedule::{EndReason, TickOutcome},
    source::{ChangeKind, Distance, SourceEvent, SyncOutcome, SyncRequest, SyncTrigger},
    store::TickQuery,
};
use futures::StreamExt as _;

use crate::{
    kit::{attempts, ended, lines, run, started_after, until, within},
    place::{Place, changes, sync},
};

async fn said(flow: &Orchestrator, run: &Run) -> Vec<String> {
    assert_eq!(run.status(), Status::Success, "{:?}", run.state);
    lines(flow, run.id, LogStream::Out).await
}

fn many(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_a_deployment_and_every_run_knows_its_commit() {
    let Some(place) = Place::new() else { return };
    place.repository.write("etl/main.py", "print('one')");
    place.repository.write("other.py", "print('other')");
    let first = place.repository.commit("Add etl | and \"other\"");
    let flow = place.start().await;
    let old = run(&flow, "etl").await;
    assert_eq!(said(&flow, &old).await, ["one"]);
    let provenance = old.spec.provenance.as_ref().unwrap();
    assert_eq!((provenance.commit.id.as_str(), provenance.path.as_str()), (&*first, "etl"));
    assert_eq!(provenance.commit.subject, "Add etl | and \"other\"");
    assert_eq!((provenance.commit.branch(), &*provenance.commit.author), (Some("main"), "Ada Lovelace"));
    let setup = attempts(&flow, old.id).await[0].setup.clone().unwrap().environment.unwrap();
    assert!(!setup.python_version.is_empty() && setup.lock_hash.len() == 64);

    place.repository.write("etl/main.py", "print('two')");
    place.repository.write("new/main.py", "print('new')");
    place.repository.write("bad/pipeline.json", "{");
    place.repository.remove("other.py");
    let second = place.repository.commit("Say two");
    assert_eq!(said(&flow, &run(&flow, "etl").await).await, ["one"], "until it is synced");
    let record = sync(&flow).await;
    let expected = [
        ("bad", ChangeKind::Broken),
        ("etl", ChangeKind::Changed),
        ("new", ChangeKind::Added),
        ("other", ChangeKind::Removed),
    ];
    assert_eq!(changes(&record), expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(record.previous.unwrap().as_str(), first);
    assert_eq!(record.commit.unwrap().id.as_str(), second);
    assert!(record.bytes > 0 && record.duration_micros > 0);
    let distance = record.distance.unwrap();
    assert_eq!((distance.ahead, distance.behind, distance.is_rewritten()), (0, 1, false));
    let new = run(&flow, "etl").await;
    assert_eq!(said(&flow, &new).await, ["two"]);
    assert_eq!(new.spec.provenance.as_ref().unwrap().commit.id.as_str(), second);
    // The other one has the commit that is shown, too, though nothing in it has changed.
    let again = flow.runs().rerun(old.id, Rerun::SameRevision).await.unwrap();
    let again = ended(&flow, again.id).await;
    assert_eq!(said(&flow, &again).await, ["one"]);

    let nothing = sync(&flow).await;
    assert_eq!((nothing.outcome, nothing.bytes > 100_000), (SyncOutcome::Unchanged, false));
    let log = flow.source().syncs(None, many(10)).await.unwrap();
    assert_eq!(log.len(), 3);
    assert_eq!((log[2].trigger, log[1].trigger), (SyncTrigger::Start, SyncTrigger::Call));
    let status = flow.source().status().await.unwrap();
    assert_eq!((status.commit.unwrap().id.as_str(), status.pipelines, status.broken), (&*second, 3, 1));
    assert_eq!(status.last_failure, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_collected_is_made_again_from_the_commit_it_ran_at() {
    let Some(place) = Place::new() else { return };
    place.repository.write("jobs/etl/main.py", "import lib; print(lib.WORD)");
    place.repository.write("jobs/etl/lib.py", "WORD = 'one'");
    place.repository.commit("One");
    let mut config = crate::place::config(place.root());
    config.subdirectory = Some("jobs".into());
    let builder = || crate::kit::configured(Orchestrator::builder(place.data()).git(config.clone()));
    let flow = crate::kit::started(builder()).await;
    let old = run(&flow, "etl").await;
    assert_eq!(old.spec.provenance.as_ref().unwrap().path, "jobs/etl");
    // A rewritten history: the commit it ran at is on no branch any more.
    place.repository.write("jobs/etl/lib.py", "WORD = 'two'");
    place.repository.git(&["commit", "--quiet", "--all", "--amend", "--message", "Two"]);
    let record = sync(&flow).await;
    assert!(record.distance.is_none_or(Distance::is_rewritten), "{record:?}");
    assert_eq!(said(&flow, &run(&flow, "etl").await).await, ["two"]);
    flow.shutdown(fastflow_core::Shutdown::Detach).await.unwrap();
    drop(flow);

    // As the janitor would, once nobody needs it.
    let snapshot = place.data().join("snapshots").join(old.spec.revision.as_str());
    remove(&snapshot);
    let flow = started_after(builder).await;
    let again = flow.runs().rerun(old.id, Rerun::SameRevision).await.unwrap();
    let again = ended(&flow, again.id).await;
    assert_eq!(said(&flow, &again).await, ["one"]);
    let newest = flow.runs().rerun(old.id, Rerun::NewestRevision).await.unwrap();
    let newest = ended(&flow, newest.id).await;
    assert_eq!(said(&flow, &newest).await, ["two"]);
}

/// Removes a snapshot, whose folders nobody may write.
fn remove(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_dir_all(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_disappears_leaves_its_history_and_its_run_goes_on() {
    let Some(place) = Place::new() else { return };
    let wait = format!(
        "import os, time\nopen('{0}/began', 'w').close()\nwhile not os.path.exists('{0}/go'): time.sleep(0.01)\n\
         print(open(os.path.join(os.path.dirname(__file__), 'word.txt')).read())",
        place.tmp().display()
    );
    place.repository.write("etl/main.py", wait);
    place.repository.write("etl/word.txt", "kept");
    place.repository.write("etl/pipeline.json", r#"{"schedule_cron": "0 3 * * *"}"#);
    place.repository.write("stays/main.py", "pass");
    place.repository.commit("Add");
    let flow = place.start().await;
    let run = flow.submit("etl").await.unwrap();
    until("the program to begin", || async { place.tmp().join("began").exists() }).await;
    place.repository.remove("etl");
    place.repository.commit("Remove etl");
    assert_eq!(changes(&sync(&flow).await), [("etl".to_owned(), ChangeKind::Removed)]);
    assert_eq!(flow.submit("etl").await.unwrap_err().kind(), fastflow_core::ErrorKind::NotFound);
    assert!(flow.schedules().list().await.unwrap().is_empty());
    let ticks = flow.schedules().ticks(&TickQuery::default()).await.unwrap();
    let ends: Vec<_> = ticks.iter().map(|(id, tick)| (id.to_string(), tick.outcome.clone())).collect();
    let end = TickOutcome::Ended { reason: EndReason::PipelineRemoved };
    assert_eq!(ends, [("etl/schedule".to_owned(), end)]);
    fs::write(place.tmp().join("go"), "").unwrap();
    let ended = ended(&flow, run.id).await;
    assert_eq!(said(&flow, &ended).await, ["kept"]);
    let info = flow.pipelines().get(&"etl".parse().unwrap()).await.unwrap();
    assert_eq!((info.present, info.counters.succeeded), (false, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_a_caller_names_is_followed_until_another_is() {
    let Some(place) = Place::new() else { return };
    place.repository.write("etl/main.py", "print('main')");
    place.repository.commit("On main");
    place.repository.branch("release");
    place.repository.write("etl/main.py", "print('release')");
    place.repository.commit("On release");
    place.repository.branch("main");
    let flow = place.start().await;
    assert_eq!(said(&flow, &run(&flow, "etl").await).await, ["main"]);
    let release = || SyncRequest::default().branch("release");
    let record = flow.source().sync(release()).await.unwrap();
    assert_eq!(
        (record.branch.as_deref(), record.commit.unwrap().branch()),
        (Some("release"), Some("release"))
    );
    assert_eq!(said(&flow, &run(&flow, "etl").await).await, ["release"]);
    assert_eq!(sync(&flow).await.outcome, SyncOutcome::Unchanged, "it is followed");
    // One that is not there changes nothing, and is not followed.
    let error = flow.source().sync(SyncRequest::default().branch("nowhere")).await.unwrap_err();
    assert_eq!(error.kind(), fastflow_core::ErrorKind::NotFound);
    assert_eq!(sync(&flow).await.commit.unwrap().branch(), Some("release"));
    flow.source().sync(SyncRequest::default().branch("main")).await.unwrap();
    assert_eq!(said(&flow, &run(&flow, "etl").await).await, ["main"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_one_time_share_a_sync_and_see_what_was_pushed_before_they_called() {
    let Some(place) = Place::new() else { return };
    place.repository.write("etl/main.py", "print(0)");
    place.repository.commit("0");
    let flow = place.start().await;
    let before = place.server.received().len();
    let mut syncs = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let flow = flow.clone();
        syncs.spawn(async move { sync(&flow).await });
    }
    let records = within("all syncs to end", syncs.join_all()).await;
    let different: BTreeSet<_> = records.iter().map(|record| record.id).collect();
    assert!(different.len() <= 3, "40 callers had {} syncs", different.len());
    let requests = place.server.received().len() - before;
    assert!(requests <= 3 * 4, "40 callers made {requests} requests");
    // However busy it is: who has pushed before calling sees what was pushed.
    for number in 1..=5 {
        let busy = tokio::spawn({
            let flow = flow.clone();
            async move { sync(&flow).await }
        });
        place.repository.write("etl/main.py", format!("print({number})"));
        let commit = place.repository.commit(&number.to_string());
        assert_eq!(sync(&flow).await.commit.unwrap().id.as_str(), commit);
        busy.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_is_told_of_each_sync() {
    let Some(place) = Place::new() else { return };
    place.repository.write("etl/main.py", "pass");
    let commit = place.repository.commit("Add etl");
    let flow = place.builder().build().await.unwrap();
    let mut events = flow.source().events();
    flow.start().await.unwrap();
    let first = within("an event", events.next()).await.unwrap();
    assert_eq!(first, SourceEvent::SyncStarted { trigger: SyncTrigger::Start, branch: None });
    let SourceEvent::SyncEnded(record) = within("an event", events.next()).await.unwrap() else { panic!() };
    assert_eq!(record.commit.clone().unwrap().id.as_str(), commit);
    assert_eq!(vec![*record], flow.source().syncs(None, many(5)).await.unwrap());
    let probe = flow.source().probe().await.unwrap();
    assert_eq!((probe.commit.unwrap().as_str(), &probe.branches[..]), (&*commit, &["main".to_owned()][..]));
}

/// The machine's clock, for somebody who cannot wait: a minute passes in a moment.
#[derive(Debug)]
struct Hasty(SystemClock);

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        let is_pause = duration >= OrchestratorBuilder::MIN_SYNC_INTERVAL;
        self.0.sleep(if is_pause { Duration::from_millis(50) } else { duration }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_interval_what_was_pushed_is_shown_without_anybody_asking() {
    let Some(place) = Place::new() else { return };
    place.repository.write("etl/main.py", "print(1)");
    place.repository.commit("One");
    let builder = place.builder().clock(Hasty(SystemClock::new()));
    let flow = crate::kit::started(builder.sync_interval(Duration::from_mins(5))).await;
    place.repository.write("etl/main.py", "print(2)");
    let pushed = place.repository.commit("Two");
    let shown = async || flow.source().status().await.unwrap().commit.unwrap().id.to_string();
    until("the push to be shown", || async { shown().await == pushed }).await;
    let log = flow.source().syncs(None, many(1000)).await.unwrap();
    let published = log.iter().find(|sync| !matches!(sync.outcome, SyncOutcome::Unchanged)).unwrap();
    assert_eq!(published.trigger, SyncTrigger::Interval);
    // It goes on through failures.
    place.server.answer_with(503);
    let is_well = async || flow.source().status().await.unwrap().is_well();
    until("a sync to fail", || async { !is_well().await }).await;
    place.server.serve();
    until("a sync to be well again", || async { is_well().await }).await;

    let often = place.builder().sync_interval(Duration::from_secs(59)).build().await.unwrap_err();
    assert_eq!(often.kind(), fastflow_core::ErrorKind::Invalid);
}
