//! Cases with many callers at one time.

use std::{collections::HashSet, sync::Arc};

use super::{at, exited, handle, id, key, many, new_run, spec, step};
use crate::{
    run::{Exit, RunEvent, Status},
    store::{Claim, EventId, Store},
};

/// Kills: a queue that gives one run to two callers, or loses one.
pub async fn every_run_is_claimed_once(store: Arc<dyn Store>) {
    const RUNS: u64 = 5_000;
    const TASKS: u32 = 64;
    let spec = spec("etl", 0);
    let creators: Vec<_> = (0..u64::from(TASKS))
        .map(|task| {
            let (store, spec) = (Arc::clone(&store), Arc::clone(&spec));
            tokio::spawn(async move {
                for number in (task..RUNS).step_by(TASKS as usize) {
                    store.create_run(new_run(number, &spec)).await.unwrap();
                }
            })
        })
        .collect();
    for creator in creators {
        creator.await.unwrap();
    }
    let claimers: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let runs =
                        store.claim(Claim::new(at(i64::from(task)), many(1 + task % 7))).await.unwrap();
                    if runs.is_empty() {
                        return mine;
                    }
                    mine.extend(runs.into_iter().map(|run| (run.id, run.epoch, run.attempt)));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.unwrap());
    }
    assert_eq!(all.len() as u64, RUNS);
    assert!(all.iter().all(|(_, epoch, attempt)| (*epoch, *attempt) == (1, 1)));
    assert_eq!(all.iter().map(|(id, ..)| *id).collect::<HashSet<_>>().len() as u64, RUNS);
}

/// Kills: check-then-insert.
pub async fn a_key_race_has_one_winner(store: Arc<dyn Store>) {
    let spec = spec("etl", 0);
    for round in 0..20 {
        let racers: Vec<_> = (0..32)
            .map(|racer| {
                let (store, spec) = (Arc::clone(&store), Arc::clone(&spec));
                tokio::spawn(async move {
                    let mut new = new_run(round * 100 + racer, &spec);
                    new.key = Some(key(&format!("round-{round}")));
                    store.create_run(new).await.unwrap()
                })
            })
            .collect();
        let mut winners = HashSet::new();
        let mut created = 0;
        for racer in racers {
            let outcome = racer.await.unwrap();
            winners.insert(outcome.id);
            created += u32::from(!outcome.existing);
        }
        assert_eq!((winners.len(), created), (1, 1), "round {round}");
    }
}

/// Kills: events that appear out of order, so that a follower steps over one.
pub async fn events_have_no_gap_for_a_follower(store: Arc<dyn Store>) {
    const RUNS: u64 = 200;
    const WRITERS: u64 = 8;
    let spec = spec("etl", 0);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, spec) = (Arc::clone(&store), Arc::clone(&spec));
            tokio::spawn(async move {
                for number in (writer..RUNS).step_by(usize::try_from(WRITERS).unwrap()) {
                    store.create_run(new_run(number, &spec)).await.unwrap();
                    for run in store.claim(Claim::new(at(0), many(1))).await.unwrap() {
                        step(&store, &run, RunEvent::Started(handle(&run)), 1).await.unwrap();
                        step(&store, &run, exited(Exit::Code(0)), 2).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let mut position = EventId(0);
    let mut ended = HashSet::new();
    let mut seen = 0;
    while (ended.len() as u64) < RUNS {
        let events = store.events(position, many(17)).await.unwrap();
        for event in &events {
            assert_eq!(event.id, EventId(position.0 + 1), "no gap, no repetition");
            position = event.id;
            seen += 1;
            if event.status == Status::Success {
                assert!(ended.insert(event.run));
            }
        }
        assert!(store.last_event().await.unwrap() >= position);
        if events.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!((seen, store.last_event().await.unwrap()), (RUNS * 4, EventId(RUNS * 4)));
    assert!((0..RUNS).all(|number| ended.contains(&id(number))));
}
