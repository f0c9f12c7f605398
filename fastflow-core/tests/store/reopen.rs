//! What a host finds again that comes after another, or after itself.

use std::{path::Path, sync::Arc};

use fastflow_core::{
    RunId, ScheduleId, SystemClock, Timestamp,
    run::{Decision, Exit, NewRun, Note, Origin, Run, RunEvent, RunSpec},
    schedule::{NextTick, Schedule, Tick, TickOutcome},
    store::{
        Claim, Fire, Fired, FollowOn, FollowUp, FollowUpAction, PutSchedule, ScheduleChange, ScheduleRecord,
        SqliteOptions, SqliteStore, Step, Store, TickQuery,
    },
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn id(number: u64) -> RunId {
    format!("01800000-0000-7000-8000-{number:012x}").parse().unwrap()
}

fn spec(pipeline: &str, change: impl FnOnce(&mut RunSpec)) -> Arc<RunSpec> {
    let mut spec = RunSpec::clone(&crate::spec());
    spec.pipeline.name = pipeline.parse().unwrap();
    change(&mut spec);
    Arc::new(spec)
}

fn new_run(number: u64, spec: &Arc<RunSpec>) -> NewRun {
    NewRun::new(id(number), Arc::clone(spec), Origin::Manual, at(0))
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default(), Arc::new(SystemClock::new())).await.unwrap()
}

async fn reopened(store: SqliteStore, path: &Path) -> SqliteStore {
    store.close().await.unwrap();
    open(path).await
}

async fn claim(store: &SqliteStore, limit: u32) -> Vec<Run> {
    store.claim(Claim::new(at(1), limit.try_into().unwrap())).await.unwrap()
}

fn exited(run: &Run) -> Step {
    let exit = RunEvent::Exited { exit: Exit::Code(0), stopped_by: None };
    Step::new(run.id, Some(run.epoch), exit, at(2))
}

/// Kills: a schedule, a row, a note or an unfinished run that lives in memory only.
#[tokio::test(flavor = "multi_thread")]
async fn schedules_and_their_ledger_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).await;
    let name: ScheduleId = "etl@nightly".parse().unwrap();
    let record = ScheduleRecord {
        schedule: Schedule::cron(name.clone(), "@daily").unwrap(),
        generation: 0,
        anchor: at(0),
        cursor: at(0),
        next: Some(NextTick { nominal: at(60), due: at(61) }),
        problem: None,
    };
    let put = vec![PutSchedule { replaces: None, record }];
    store.put_schedules(ScheduleChange { put, remove: Vec::new() }).await.unwrap();
    let origin = Origin::Schedule { schedule: name.clone(), nominal: at(60) };
    let fire = Fire {
        schedule: name.clone(),
        generation: 1,
        from: at(0),
        to: at(60),
        ticks: vec![Tick::new(at(60), TickOutcome::Run(id(1)), at(62))],
        runs: vec![NewRun { origin, ..new_run(1, &crate::spec()) }],
        next: Some(NextTick { nominal: at(120), due: at(121) }),
    };
    assert!(matches!(store.fire(vec![fire.clone()]).await.unwrap()[..], [Fired::Done(_)]));
    let run = claim(&store, 1).await.remove(0);
    let note = Note { at: at(2), attempt: 1, decision: Decision::MoreMemory { bytes: 7 } };
    store.note(run.id, run.epoch, note.clone()).await.unwrap();
    let before = (
        store.schedules(None).await.unwrap(),
        store.ticks(&TickQuery::default()).await.unwrap(),
        store.run(run.id).await.unwrap(),
        store.last_event().await.unwrap(),
    );

    let store = reopened(store, &path).await;
    let after = (
        store.schedules(None).await.unwrap(),
        store.ticks(&TickQuery::default()).await.unwrap(),
        store.run(run.id).await.unwrap(),
        store.last_event().await.unwrap(),
    );
    assert_eq!(after, before);
    assert_eq!(store.notes(run.id).await.unwrap(), [note]);
    assert_eq!(store.next_tick().await.unwrap(), Some(at(121)));
    let due = store.due_schedules(at(121), 9.try_into().unwrap()).await.unwrap();
    assert_eq!((due.len(), due[0].unfinished.as_slice()), (1, &[run.id][..]));
    assert!(matches!(store.fire(vec![fire]).await.unwrap()[..], [Fired::Stale]));
    store.advance(exited(&run)).await.unwrap();
    assert!(store.due_schedules(at(121), 9.try_into().unwrap()).await.unwrap()[0].unfinished.is_empty());
    store.close().await.unwrap();
    crate::file::check_integrity(&path).await;
}

/// Kills: turns, limits and positions that begin anew with each host.
#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).await;
    let (a, b) = (spec("a", |_| {}), spec("b", |_| {}));
    let one = spec("one", |spec| spec.pipeline.definition.queue.max_instances = Some(1.try_into().unwrap()));
    for number in 0..100 {
        store.create_run(new_run(number, &a)).await.unwrap();
    }
    claim(&store, 50).await;
    for number in 100..103 {
        store.create_run(new_run(number, &one)).await.unwrap();
    }
    let mut urgent = new_run(103, &one);
    urgent.priority = 1;
    store.create_run(urgent).await.unwrap();
    assert_eq!(claim(&store, 1).await[0].id, id(103));
    let position = store.queue_position(id(99)).await.unwrap();

    let store = reopened(store, &path).await;
    assert_eq!(store.queue_position(id(99)).await.unwrap(), position);
    for number in 200..240 {
        store.create_run(new_run(number, &b)).await.unwrap();
    }
    let taken = claim(&store, 20).await;
    let of_b = taken.iter().filter(|run| run.pipeline().as_str() == "b").count();
    assert!((9..=11).contains(&of_b), "each has its turn: {of_b} of 20");
    assert!(taken.iter().all(|run| run.pipeline().as_str() != "one"), "its one place is still taken");
    for number in 300..330 {
        store.create_run(new_run(number, &a)).await.unwrap();
    }
    let place = |number| {
        let store = &store;
        async move { store.queue_position(id(number)).await.unwrap().unwrap() }
    };
    assert!(place(99).await < place(300).await, "a newer run of the same pipeline stays behind the older");
    store.close().await.unwrap();
}

/// Kills: a chain that is known only to the host that began it.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_comes_after_the_host_that_began_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).await;
    let [root, a, b, joined] = ["root", "a", "b", "joined"].map(|name| spec(name, |_| {}));
    let start = |new: NewRun, after: &[&str]| FollowUp {
        on: FollowOn::Success,
        after: after.iter().map(|name| name.parse().unwrap()).collect(),
        action: FollowUpAction::Start(Box::new(new)),
    };
    store.create_run(new_run(0, &root)).await.unwrap();
    let mut end = exited(&claim(&store, 1).await[0]);
    end.follow_ups = vec![start(new_run(1, &a), &[]), start(new_run(2, &b), &[])];
    store.advance(end).await.unwrap();
    let mut both = claim(&store, 2).await;
    both.sort_by_key(|run| run.id);
    let ending = |run: &Run, number| {
        let origin = Origin::Join { last: run.id };
        let new = NewRun { origin, ..new_run(number, &joined) };
        Step { follow_ups: vec![start(new, &["a", "b"])], ..exited(run) }
    };
    assert!(store.advance(ending(&both[0], 3)).await.unwrap().created.is_empty());
    let store = reopened(store, &path).await;
    assert_eq!(store.advance(ending(&both[1], 4)).await.unwrap().created[0].id, id(4));
    let store = reopened(store, &path).await;
    assert_eq!(store.run(id(4)).await.unwrap().chain, id(0));
    let again = NewRun { chain: Some(id(0)), ..new_run(5, &a) };
    store.create_run(again).await.unwrap();
    let again = claim(&store, 9).await.into_iter().find(|run| run.id == id(5)).unwrap();
    assert!(store.advance(ending(&again, 6)).await.unwrap().created.is_empty(), "it came already");
    store.close().await.unwrap();
}
