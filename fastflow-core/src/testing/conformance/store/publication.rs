//! Cases on what is shown of the source, and on the log of its syncs.

use std::sync::Arc;

use super::{at, many, new_run, spec};
use crate::{
    ErrorKind,
    schedule::{EndReason, NextTick, Schedule},
    source::{Commit, SyncFailure, SyncFailureKind, SyncId, SyncOutcome, SyncRecord, SyncTrigger},
    store::{PipelineState, Publication, PutSchedule, RemoveSchedule, ScheduleChange, ScheduleRecord, Store},
};

/// One that shows nothing.
pub(crate) fn publication(second: i64) -> Publication {
    Publication { pipelines: Vec::new(), schedules: ScheduleChange::default(), sync: sync(second) }
}

fn sync(second: i64) -> SyncRecord {
    SyncRecord {
        id: SyncId::default(),
        started_at: at(second),
        since: at(second),
        repeated: 1,
        duration_micros: 1500,
        trigger: SyncTrigger::Interval,
        branch: None,
        outcome: SyncOutcome::Published { changes: Vec::new() },
        previous: None,
        commit: None,
        distance: None,
        bytes: 12,
    }
}

fn commit(digit: char) -> Commit {
    let id = digit.to_string().repeat(40).parse().unwrap();
    Commit::new(id, "refs/heads/main", "Ada", "Say \"yes\" | ' to it", at(0))
}

fn state(name: &str) -> PipelineState {
    PipelineState { name: name.parse().unwrap(), revision: None, diagnostics: Vec::new() }
}

fn schedule(name: &str) -> PutSchedule {
    let record = ScheduleRecord {
        schedule: Schedule::cron(name.parse().unwrap(), "* * * * *").unwrap(),
        generation: 0,
        anchor: at(0),
        cursor: at(0),
        next: Some(NextTick { nominal: at(60), due: at(60) }),
        problem: None,
    };
    PutSchedule { replaces: None, record }
}

/// Kills: a catalog that is shown without its commit, its schedules or its line in the log, or they without it.
pub async fn a_publication_is_shown_whole_or_not_at_all(store: Arc<dyn Store>) {
    assert_eq!(store.published().await.unwrap(), None);
    let shown = async || {
        let pipelines = store.pipelines().await.unwrap().into_iter().filter(|record| record.present);
        let names: Vec<String> = pipelines.map(|record| record.state.name.to_string()).collect();
        let schedules = store.schedules(None).await.unwrap();
        let ids: Vec<String> = schedules.iter().map(|record| record.schedule.id.to_string()).collect();
        let syncs = store.syncs(None, many(9)).await.unwrap();
        (names, ids, store.published().await.unwrap(), syncs)
    };
    let one = Publication {
        pipelines: vec![state("a"), state("b")],
        schedules: ScheduleChange { put: vec![schedule("a/x")], remove: Vec::new() },
        sync: SyncRecord { commit: Some(commit('1')), ..sync(1) },
    };
    let id = store.publish(one.clone()).await.unwrap();
    let first = shown().await;
    assert_eq!(
        (&first.0[..], &first.1[..]),
        (&["a".to_owned(), "b".to_owned()][..], &["a/x".to_owned()][..])
    );
    assert_eq!(first.2, Some(commit('1')));
    assert_eq!(first.3, [SyncRecord { id, ..one.sync }]);

    // Whoever has not seen the schedule as it is shows nothing.
    let gone = |generation| RemoveSchedule {
        id: "a/x".parse().unwrap(),
        generation,
        at: at(2),
        reason: EndReason::PipelineRemoved,
    };
    let two = |generation| Publication {
        pipelines: vec![state("c")],
        schedules: ScheduleChange { put: vec![schedule("c/y")], remove: vec![gone(generation)] },
        sync: SyncRecord { commit: Some(commit('2')), ..sync(2) },
    };
    let generation = store.schedule(&"a/x".parse().unwrap()).await.unwrap().generation;
    assert_eq!(store.publish(two(generation + 1)).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(shown().await, first);
    // It goes on as if nothing had been.
    store.create_run(new_run(1, &spec("d", 0))).await.unwrap();
    store.publish(two(generation)).await.unwrap();
    let second = shown().await;
    assert_eq!((&second.0[..], &second.1[..]), (&["c".to_owned()][..], &["c/y".to_owned()][..]));
    assert_eq!((second.2, second.3.len()), (Some(commit('2')), 2));
    store.create_run(new_run(2, &spec("c", 0))).await.unwrap();

    // A source without commits takes the place of one that has them.
    store.publish(publication(3)).await.unwrap();
    assert_eq!(store.published().await.unwrap(), None);
}

/// Kills: a log that loses what failed, or forgets its order.
pub async fn the_log_of_syncs_is_read_in_pages(store: Arc<dyn Store>) {
    let failure = SyncFailure::new(SyncFailureKind::HostKey, "not the key that is trusted");
    let mut written = Vec::new();
    for second in 0..5 {
        let record = match second {
            2 => SyncRecord { outcome: SyncOutcome::Failed(failure.clone()), ..sync(second) },
            _ => SyncRecord { outcome: SyncOutcome::Unchanged, ..sync(second) },
        };
        let id = store.record_sync(record.clone()).await.unwrap();
        written.insert(0, SyncRecord { id, ..record });
    }
    assert!(written.is_sorted_by(|newer, older| newer.id > older.id));
    let newest = store.syncs(None, many(2)).await.unwrap();
    assert_eq!(newest, written[..2]);
    assert_eq!(store.syncs(Some(newest[1].id), many(9)).await.unwrap(), written[2..]);
    assert_eq!(store.published().await.unwrap(), None, "a sync that shows nothing shows nothing");

    // One that came to the same stands in the place of the last.
    let again = SyncRecord { id: newest[0].id, repeated: 2, since: at(4), ..sync(9) };
    assert_eq!(store.record_sync(again.clone()).await.unwrap(), newest[0].id);
    written[0] = again;
    assert_eq!(store.syncs(None, many(9)).await.unwrap(), written);
    assert!(store.record_sync(sync(10)).await.unwrap() > newest[0].id);
}

/// Kills: a log that grows without end.
pub async fn the_log_of_syncs_keeps_its_newest_lines(store: Arc<dyn Store>) {
    let kept = i64::from(SyncRecord::MAX_KEPT);
    for second in 0..kept + 3 {
        store.record_sync(sync(second)).await.unwrap();
    }
    let log = store.syncs(None, many(5000)).await.unwrap();
    assert_eq!(i64::try_from(log.len()).unwrap(), kept);
    assert_eq!(log[0].started_at, at(kept + 2));
}
