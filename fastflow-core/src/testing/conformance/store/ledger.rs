//! Cases on schedules and their ledger: each instant has one row, and at most one run.

use std::{sync::Arc, time::Duration};

use super::{at, changed, claimed, end, id, key, many, new_run, spec};
use crate::{
    ErrorKind, ScheduleId,
    pipeline::WhenFull,
    run::{Exit, NewRun, Origin, RunSpec},
    schedule::{EndReason, NextTick, Schedule, Tick, TickOutcome},
    store::{
        Claim, Fire, Fired, PutSchedule, RemoveSchedule, ScheduleChange, ScheduleRecord, Store, TickQuery,
    },
};

fn tick_at(second: i64) -> NextTick {
    NextTick { nominal: at(second), due: at(second) }
}

/// A schedule that is due at `due` and has its instants up to `cursor`.
fn record(name: &str, cursor: i64, due: i64) -> ScheduleRecord {
    ScheduleRecord {
        schedule: Schedule::cron(name.parse().unwrap(), "* * * * *").unwrap(),
        generation: 0,
        anchor: at(0),
        cursor: at(cursor),
        next: Some(tick_at(due)),
        problem: None,
    }
}

fn put(replaces: Option<u64>, record: ScheduleRecord) -> PutSchedule {
    PutSchedule { replaces, record }
}

/// The end of a schedule.
fn gone(id: &ScheduleId, generation: u64, second: i64) -> RemoveSchedule {
    RemoveSchedule { id: id.clone(), generation, at: at(second), reason: EndReason::PipelineRemoved }
}

async fn change(
    store: &Arc<dyn Store>,
    put: Vec<PutSchedule>,
    remove: Vec<RemoveSchedule>,
) -> crate::Result<()> {
    store.put_schedules(ScheduleChange { put, remove }).await
}

/// Puts a new schedule and reads it.
async fn made(store: &Arc<dyn Store>, name: &str, cursor: i64, due: i64) -> ScheduleRecord {
    change(store, vec![put(None, record(name, cursor, due))], Vec::new()).await.unwrap();
    store.schedule(&name.parse().unwrap()).await.unwrap()
}

/// A run of a schedule's instant.
fn run_at(number: u64, of: &ScheduleRecord, nominal: i64, spec: &Arc<RunSpec>) -> NewRun {
    let origin = Origin::Schedule { schedule: of.schedule.id.clone(), nominal: at(nominal) };
    NewRun { origin, ..new_run(number, spec) }
}

/// One instant of a schedule and the run that it makes.
fn fire(of: &ScheduleRecord, nominal: i64, run: NewRun) -> Fire {
    Fire {
        schedule: of.schedule.id.clone(),
        generation: of.generation,
        from: of.cursor,
        to: at(nominal),
        ticks: vec![Tick::new(at(nominal), TickOutcome::Run(run.id), at(nominal + 1))],
        runs: vec![run],
        next: Some(tick_at(nominal + 60)),
    }
}

fn done(fired: &Fired) -> bool {
    matches!(fired, Fired::Done(_))
}

async fn ledger(store: &Arc<dyn Store>) -> Vec<(ScheduleId, Tick)> {
    store.ticks(&TickQuery::default()).await.unwrap()
}

/// Kills: a lost field, a change by somebody who has not seen the last one, and half a change.
pub async fn schedules_change_all_or_not_at_all(store: Arc<dyn Store>) {
    let mut first = record("etl/a", 5, 60);
    first.schedule.parameters.insert("DAY".parse().unwrap(), "\u{1F600} '\"".into());
    first.problem = Some("no such zone".into());
    let puts =
        vec![put(None, first.clone()), put(None, record("etl@b", 0, 50)), put(None, record("x/c", 0, 40))];
    change(&store, puts, Vec::new()).await.unwrap();
    let read = store.schedule(&first.schedule.id).await.unwrap();
    assert_eq!(read, ScheduleRecord { generation: read.generation, ..first.clone() });
    let names = |records: &[ScheduleRecord]| {
        records.iter().map(|record| record.schedule.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&store.schedules(None).await.unwrap()), ["etl/a", "etl@b", "x/c"]);
    let of_etl = store.schedules(Some(&"etl".parse().unwrap())).await.unwrap();
    assert_eq!(names(&of_etl), ["etl/a", "etl@b"]);

    let (id, generation) = (first.schedule.id.clone(), read.generation);
    let mut second = ScheduleRecord { problem: None, anchor: at(1), next: None, ..first };
    second.schedule.enabled = false;
    change(&store, vec![put(Some(generation), second.clone())], Vec::new()).await.unwrap();
    let read = store.schedule(&id).await.unwrap();
    assert_eq!(read, ScheduleRecord { generation: generation + 1, ..second.clone() });

    let before = store.schedules(None).await.unwrap();
    let other = |name: &str| put(None, record(name, 0, 60));
    let x = store.schedule(&"x/c".parse().unwrap()).await.unwrap();
    let (changed_x, gone_x) =
        (put(Some(x.generation), record("x/c", 0, 90)), gone(&x.schedule.id, x.generation, 10));
    for (puts, remove) in [
        (vec![changed_x.clone(), other("x/new"), put(Some(generation), second.clone())], vec![]),
        (vec![changed_x.clone(), other("x/new"), other("etl/a")], vec![]),
        (vec![other("x/new"), put(Some(1), record("x/unknown", 0, 60))], vec![gone_x.clone()]),
        (vec![other("x/new")], vec![gone_x.clone(), gone(&id, generation, 10)]),
        (vec![changed_x], vec![gone_x.clone(), gone(&"x/unknown".parse().unwrap(), 1, 10)]),
    ] {
        assert_eq!(change(&store, puts, remove).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(store.schedules(None).await.unwrap(), before);
    }
    change(&store, vec![other("x/new")], vec![gone_x]).await.unwrap();
    assert_eq!(names(&store.schedules(None).await.unwrap()), ["etl/a", "etl@b", "x/new"]);
    assert_eq!(store.schedule(&x.schedule.id).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Kills: a schedule that goes back in time when it is changed or made again, so that an instant comes twice; a host
/// that fires by a rule that is no more.
pub async fn a_cursor_never_goes_back(store: Arc<dyn Store>) {
    let etl = spec("etl", 0);
    let first = made(&store, "etl/a", 0, 60).await;
    assert!(done(&store.fire(vec![fire(&first, 60, run_at(0, &first, 60, &etl))]).await.unwrap()[0]));
    let id = first.schedule.id.clone();
    change(&store, vec![put(Some(first.generation), record("etl/a", 30, 90))], Vec::new()).await.unwrap();
    let second = store.schedule(&id).await.unwrap();
    assert_eq!((second.cursor, second.next), (at(60), Some(tick_at(90))), "what was given is earlier");
    let old = Fire { from: at(60), ..fire(&first, 120, run_at(1, &first, 120, &etl)) };
    assert!(!done(&store.fire(vec![old.clone()]).await.unwrap()[0]), "an older generation");
    change(&store, vec![put(Some(second.generation), record("etl/a", 100, 130))], Vec::new()).await.unwrap();
    let third = store.schedule(&id).await.unwrap();
    assert_eq!(third.cursor, at(100), "what was given is later");

    change(&store, Vec::new(), vec![gone(&id, third.generation, 90)]).await.unwrap();
    let gone = fire(&third, 160, run_at(2, &third, 160, &etl));
    assert!(!done(&store.fire(vec![gone.clone()]).await.unwrap()[0]), "it is no more");
    assert!(store.due_schedules(at(999), many(9)).await.unwrap().is_empty());
    assert_eq!(store.next_tick().await.unwrap(), None);
    let rows = ledger(&store).await;
    assert_eq!(rows.len(), 2, "its ledger stays");
    let end = at(100) + Duration::from_micros(1);
    let why = TickOutcome::Ended { reason: EndReason::PipelineRemoved };
    assert_eq!(rows[0], (id, Tick::new(end, why, at(90))), "it says why, behind the last instant");
    let again = made(&store, "etl/a", 20, 130).await;
    assert_eq!(again.cursor, end);
    assert!(again.generation > third.generation);
    assert!(!done(&store.fire(vec![gone]).await.unwrap()[0]), "who knew the one before is late");
    assert!(done(&store.fire(vec![fire(&again, 160, run_at(3, &again, 160, &etl))]).await.unwrap()[0]));
    let runs: Vec<_> = ledger(&store).await.iter().map(|(_, tick)| tick.outcome.run()).collect();
    assert_eq!(runs, [Some(super::id(3)), None, Some(super::id(0))]);
}

/// Kills: an order by name, one that is not due, and a schedule that forgets which of its runs have not ended.
pub async fn what_is_due_comes_with_what_is_unfinished(store: Arc<dyn Store>) {
    let etl = spec("etl", 0);
    assert_eq!(store.next_tick().await.unwrap(), None);
    for (name, due) in [("etl/a", 300), ("etl/b", 100), ("etl@c", 200), ("etl/d", 50)] {
        made(&store, name, 0, due).await;
    }
    let mut never = record("etl/never", 0, 1);
    never.next = None;
    change(&store, vec![put(None, never)], Vec::new()).await.unwrap();
    assert_eq!(store.next_tick().await.unwrap(), Some(at(50)));
    let names = |limit, second| {
        let store = Arc::clone(&store);
        async move {
            let due = store.due_schedules(at(second), many(limit)).await.unwrap();
            due.iter().map(|due| due.record.schedule.id.to_string()).collect::<Vec<_>>()
        }
    };
    assert!(names(9, 49).await.is_empty());
    assert_eq!(names(9, 200).await, ["etl/d", "etl/b", "etl@c"]);
    assert_eq!(names(2, 999).await, ["etl/d", "etl/b"]);

    let b = store.schedule(&"etl/b".parse().unwrap()).await.unwrap();
    let mut fires = fire(&b, 100, run_at(0, &b, 100, &etl));
    for (number, nominal) in [(1, 160), (2, 220)] {
        fires.ticks.push(Tick::new(at(nominal), TickOutcome::Run(id(number)), at(300)));
        fires.runs.push(run_at(number, &b, nominal, &etl));
    }
    (fires.to, fires.next) = (at(220), Some(tick_at(280)));
    assert!(done(&store.fire(vec![fires]).await.unwrap()[0]));
    store.create_run(new_run(3, &etl)).await.unwrap();
    let first = store.claim(Claim::new(at(0), many(1))).await.unwrap().remove(0);
    let unfinished = || async {
        let due = store.due_schedules(at(999), many(9)).await.unwrap();
        due.into_iter().map(|d| (d.record.schedule.id.to_string(), d.unfinished)).collect::<Vec<_>>()
    };
    let expected = |runs: &[u64]| {
        let of_b = runs.iter().copied().map(id).collect::<Vec<_>>();
        let all = [("etl/d", vec![]), ("etl@c", vec![]), ("etl/b", of_b), ("etl/a", vec![])];
        all.map(|(name, runs)| (name.to_owned(), runs))
    };
    assert_eq!(
        unfinished().await,
        expected(&[0, 1, 2]),
        "in flight and queued alike, and no run of anybody else"
    );
    end(&store, &first, Exit::Code(0), 5).await;
    assert_eq!(unfinished().await, expected(&[1, 2]));
    assert_eq!(store.run(id(1)).await.unwrap().schedule(), Some(&b.schedule.id));
}

/// Kills: two hosts, or one that asks again, which make two runs of one instant.
pub async fn an_instant_is_fired_once_however_many_try(store: Arc<dyn Store>) {
    let etl = spec("etl", 0);
    made(&store, "etl/a", 0, 60).await;
    for round in 0..20 {
        let nominal = 60 * (round + 1);
        let now = store.schedule(&"etl/a".parse().unwrap()).await.unwrap();
        let racers: Vec<_> = (0..20)
            .map(|racer| {
                let number = u64::try_from(round * 20 + racer).unwrap();
                let fire = fire(&now, nominal, run_at(number, &now, nominal, &etl));
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.fire(vec![fire]).await.unwrap().remove(0) })
            })
            .collect();
        let mut made = Vec::new();
        for racer in racers {
            if let Fired::Done(created) = racer.await.unwrap() {
                made.push(created);
            }
        }
        assert_eq!(made.len(), 1, "round {round}");
        let (_, tick) = ledger(&store).await.remove(0);
        assert_eq!((tick.nominal, tick.outcome), (at(nominal), TickOutcome::Run(made[0][0].id)));
    }
    let record = store.schedule(&"etl/a".parse().unwrap()).await.unwrap();
    assert_eq!((record.cursor, record.next), (at(1200), Some(tick_at(1260))));
    assert_eq!(store.runs(&crate::store::RunQuery::default()).await.unwrap().items.len(), 20);
    assert_eq!(ledger(&store).await.len(), 20);
}

/// Kills: a row without its run, a run without its row, a cursor without either; one stale fire that spoils others.
pub async fn a_fire_is_written_whole_or_not_at_all(store: Arc<dyn Store>) {
    let etl = spec("etl", 0);
    let (a, b) = (made(&store, "etl/a", 0, 60).await, made(&store, "etl/b", 0, 60).await);
    let stale = Fire { from: at(1), ..fire(&a, 60, run_at(0, &a, 60, &etl)) };
    let newer = Fire { generation: a.generation + 1, ..fire(&a, 60, run_at(1, &a, 60, &etl)) };
    let unknown = Fire { schedule: "etl/x".parse().unwrap(), ..fire(&a, 60, run_at(2, &a, 60, &etl)) };
    let event = store.last_event().await.unwrap();
    let good = fire(&b, 60, run_at(3, &b, 60, &etl));
    // The second one goes on where the first one ends.
    let good_too = Fire { from: at(60), ..fire(&b, 120, run_at(4, &b, 120, &etl)) };
    let fired = store.fire(vec![stale, good, newer, unknown, good_too]).await.unwrap();
    assert_eq!(fired.iter().map(done).collect::<Vec<_>>(), [false, true, false, false, true]);
    for number in 0..3 {
        assert_eq!(store.run(id(number)).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(store.last_event().await.unwrap().0, event.0 + 2);
    assert_eq!(store.schedule(&a.schedule.id).await.unwrap(), a);
    let b = store.schedule(&b.schedule.id).await.unwrap();
    assert_eq!((b.cursor, b.next), (at(120), Some(tick_at(180))));
    let rows = ledger(&store).await;
    assert_eq!(rows.iter().map(|(_, tick)| tick.nominal).collect::<Vec<_>>(), [at(120), at(60)]);
    assert!(rows.iter().all(|(of, _)| *of == b.schedule.id));

    // Nothing comes after the last instant there is.
    let last = Fire { next: None, ..fire(&b, 180, run_at(5, &b, 180, &etl)) };
    assert!(done(&store.fire(vec![last]).await.unwrap()[0]));
    assert_eq!(store.next_tick().await.unwrap(), Some(at(60)), "only the other one is due");
}

/// Kills: a row that names a run which is not there, and an instant that is lost because its run was refused.
pub async fn the_ledger_says_what_became_of_a_refused_run(store: Arc<dyn Store>) {
    let full = changed("etl", |spec| {
        let queue = &mut spec.pipeline.definition.queue;
        (queue.max_instances, queue.when_full) = (Some(many(1)), WhenFull::Reject);
    });
    let mut keyed = new_run(9, &spec("other", 0));
    keyed.key = Some(key("k"));
    store.create_run(keyed).await.unwrap();
    let a = made(&store, "etl/a", 0, 60).await;
    let mut many_runs = fire(&a, 60, run_at(0, &a, 60, &full));
    let again = NewRun { key: Some(key("k")), ..run_at(2, &a, 180, &spec("other", 0)) };
    let taken = run_at(9, &a, 240, &spec("other", 0));
    for (nominal, run) in [(120, run_at(1, &a, 120, &full)), (180, again), (240, taken)] {
        many_runs.ticks.push(Tick::new(at(nominal), TickOutcome::Run(run.id), at(300)));
        many_runs.runs.push(run);
    }
    (many_runs.to, many_runs.next) = (at(240), Some(tick_at(300)));
    let fired = store.fire(vec![many_runs]).await.unwrap().remove(0);
    let Fired::Done(created) = fired else { panic!("it is the first") };
    let created: Vec<_> = created.into_iter().filter(|made| !made.existing).map(|made| made.id).collect();
    assert_eq!(created, [id(0)]);
    let outcomes: Vec<_> = ledger(&store).await.into_iter().map(|(_, tick)| tick.outcome).collect();
    assert_eq!(outcomes[2..], [TickOutcome::SkippedFull, TickOutcome::Run(id(0))]);
    for outcome in &outcomes[..2] {
        assert!(matches!(outcome, TickOutcome::Refused { .. }), "{outcome:?}");
    }
    for number in [1, 2] {
        assert_eq!(store.run(id(number)).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// Kills: pages that lose or repeat a row, also where many schedules share an instant; a row of many that is taken apart.
pub async fn the_ledger_is_read_in_pages(store: Arc<dyn Store>) {
    let run = claimed(&store, 0, &spec("etl", 0)).await;
    let outcomes = |minute: i64| match minute % 4 {
        0 => TickOutcome::SkippedOverlap { unfinished: run.id },
        1 => TickOutcome::SkippedDisabled,
        2 => TickOutcome::SkippedBlackout { calendar: "holidays".parse().unwrap() },
        _ => TickOutcome::Refused { reason: "its \"files\" are broken".into() },
    };
    let mut all = Vec::new();
    for name in 0..9 {
        let of = made(&store, &format!("etl/s{name}"), 0, 60).await;
        let mut ticks: Vec<_> =
            (1..8).map(|minute| Tick::new(at(minute * 60), outcomes(minute), at(900))).collect();
        ticks.push(Tick {
            through: at(6000),
            count: 93,
            ..Tick::new(at(480), TickOutcome::Missed, at(7000))
        });
        all.extend(ticks.iter().map(|tick| (of.schedule.id.clone(), tick.clone())));
        let fire = Fire {
            to: at(6000),
            ticks,
            runs: Vec::new(),
            next: Some(tick_at(6060)),
            ..fire(&of, 60, new_run(9, &run.spec))
        };
        assert!(done(&store.fire(vec![fire]).await.unwrap()[0]));
    }
    let sorted = |mut rows: Vec<(ScheduleId, Tick)>| {
        rows.sort_by(|a, b| (b.1.nominal, &b.0).cmp(&(a.1.nominal, &a.0)));
        rows
    };
    for schedule in [None, Some("etl/s4".parse::<ScheduleId>().unwrap())] {
        for limit in [1, 4, 7, 1000] {
            let mut query =
                TickQuery { schedule: schedule.clone(), limit: Some(many(limit)), ..TickQuery::default() };
            let mut read = Vec::new();
            loop {
                let page = store.ticks(&query).await.unwrap();
                assert!(page.len() <= limit as usize);
                let Some((of, tick)) = page.last() else { break };
                query.behind = Some((tick.nominal, of.clone()));
                read.extend(page);
                assert!(read.len() <= all.len(), "it ends");
            }
            assert!(read.is_sorted_by(|a, b| a.1.nominal >= b.1.nominal), "newest first");
            let expected = all.iter().filter(|(of, _)| schedule.as_ref().is_none_or(|wanted| wanted == of));
            assert_eq!(sorted(read), sorted(expected.cloned().collect()), "{query:?}");
        }
        let (since, before) = (Some(at(120)), Some(at(240)));
        let query = TickQuery { schedule: schedule.clone(), since, before, ..TickQuery::default() };
        let read = store.ticks(&query).await.unwrap();
        let schedules = if schedule.is_some() { 1 } else { 9 };
        assert_eq!(read.len(), 2 * schedules);
        assert!(read.iter().all(|(_, tick)| [at(120), at(180)].contains(&tick.nominal)));
    }
    let nobody = TickQuery { schedule: Some("etl/nobody".parse().unwrap()), ..TickQuery::default() };
    assert!(store.ticks(&nobody).await.unwrap().is_empty());
}

/// Kills: a store that lets one caller's mistake fail everybody who asks at the same time, or writes it.
pub async fn a_fire_that_contradicts_itself_is_refused(store: Arc<dyn Store>) {
    let etl = spec("etl", 0);
    let a = made(&store, "etl/a", 0, 60).await;
    let good = || fire(&a, 60, run_at(1, &a, 60, &etl));
    let tick = |second: i64| Tick::new(at(second), TickOutcome::Missed, at(900));
    let mut wrong = Vec::new();
    for ticks in [vec![tick(0)], vec![tick(61)], vec![tick(30), tick(30)], vec![tick(40), tick(30)]] {
        wrong.push(Fire { ticks, runs: Vec::new(), ..good() });
    }
    let through = Tick { through: at(61), count: 2, ..tick(30) };
    wrong.push(Fire { ticks: vec![through.clone()], runs: Vec::new(), ..good() });
    let overlapping = vec![Tick { through: at(50), ..through }, tick(50)];
    wrong.push(Fire { ticks: overlapping, runs: Vec::new(), ..good() });
    wrong.push(Fire { ticks: vec![tick(60)], ..good() });
    wrong.push(Fire { runs: Vec::new(), ..good() });
    wrong.push(Fire { next: Some(tick_at(60)), ..good() });
    for wrong in wrong {
        let bystander = store.create_run(new_run(1000, &etl));
        let (refused, created) = futures::future::join(store.fire(vec![wrong.clone()]), bystander).await;
        let created = created.map_err(|error| error.kind());
        assert!(matches!(created, Ok(_) | Err(ErrorKind::AlreadyExists)), "{created:?} beside {wrong:?}");
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid, "{wrong:?}");
    }
    assert!(ledger(&store).await.is_empty());
    assert!(done(&store.fire(vec![good()]).await.unwrap()[0]));
}
