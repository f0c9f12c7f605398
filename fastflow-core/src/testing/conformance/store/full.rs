//! Cases on a pipeline that takes no more, and on runs that take the place of others.

use std::sync::Arc;

use super::{at, changed, end, handle, id, key, many, new_run, spec, step};
use crate::{
    ErrorKind, RunId,
    pipeline::WhenFull,
    run::{Decision, Exit, RunEvent, RunSpec, RunState, Status, StopCause},
    store::{Claim, EventId, Store},
};

fn full(pipeline: &str, max: u32, when_full: WhenFull) -> Arc<RunSpec> {
    changed(pipeline, |spec| {
        let queue = &mut spec.pipeline.definition.queue;
        (queue.max_instances, queue.when_full) = (Some(many(max)), when_full);
    })
}

/// The decisions that are noted about a run.
pub(super) async fn decisions(store: &Arc<dyn Store>, run: RunId) -> Vec<Decision> {
    store.notes(run).await.unwrap().into_iter().map(|note| note.decision).collect()
}

/// Kills: a limit that counts only what is in flight, that counts what has ended, or a refusal that leaves a trace.
pub async fn a_full_pipeline_refuses(store: Arc<dyn Store>) {
    let spec = full("etl", 2, WhenFull::Reject);
    let mut first = new_run(0, &spec);
    first.key = Some(key("first"));
    store.create_run(first.clone()).await.unwrap();
    let running = store.claim(Claim::new(at(1), many(1))).await.unwrap().remove(0);
    store.create_run(new_run(1, &spec)).await.unwrap();
    let before = store.last_event().await.unwrap();
    let refused = store.create_run(new_run(2, &spec)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "one runs and one waits: {refused}");
    assert_eq!(store.run(id(2)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.last_event().await.unwrap(), before);
    first.id = id(3);
    let again = store.create_run(first).await.unwrap();
    assert_eq!((again.id, again.existing), (id(0), true), "a known key is answered all the same");
    store.create_run(new_run(4, &full("other", 1, WhenFull::Reject))).await.unwrap();

    let cancelled = RunEvent::StopRequested(StopCause::Cancelled);
    step(&store, &running, cancelled, 2).await.unwrap();
    assert!(store.create_run(new_run(5, &spec)).await.is_err(), "it is still being stopped");
    end(&store, &running, Exit::Code(0), 3).await;
    store.create_run(new_run(5, &spec)).await.unwrap();
    assert!(store.create_run(new_run(6, &spec)).await.is_err());
    let mut instead = new_run(6, &spec);
    instead.replaces = vec![id(5)];
    let created = store.create_run(instead).await.unwrap();
    assert_eq!(created.cancelled, [id(5)], "there is a place where it takes one's");
}

/// Kills: check-then-insert.
pub async fn a_race_for_the_last_places_has_exactly_so_many_winners(store: Arc<dyn Store>) {
    const MAX: u32 = 3;
    for round in 0..10 {
        let spec = full(&format!("etl-{round}"), MAX, WhenFull::Reject);
        let racers: Vec<_> = (0..50)
            .map(|racer| {
                let (store, spec) = (Arc::clone(&store), Arc::clone(&spec));
                tokio::spawn(async move { store.create_run(new_run(round * 100 + racer, &spec)).await })
            })
            .collect();
        let mut won = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Ok(created) => won += u32::from(!created.existing),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
            }
        }
        assert_eq!(won, MAX, "round {round}");
    }
}

/// Kills: a replacement that cancels the newest, too many or too few, tells nobody, or starts before there is a place.
pub async fn a_full_pipeline_gives_up_its_oldest(store: Arc<dyn Store>) {
    let spec = full("etl", 2, WhenFull::Replace);
    let other = full("other", 1, WhenFull::Replace);
    store.create_run(new_run(9, &other)).await.unwrap();
    store.claim(Claim::new(at(1), many(1))).await.unwrap();
    store.create_run(new_run(0, &spec)).await.unwrap();
    let oldest = store.claim(Claim::new(at(1), many(1))).await.unwrap().remove(0);
    step(&store, &oldest, RunEvent::Started(handle(&oldest)), 2).await.unwrap();
    assert!(store.create_run(new_run(1, &spec)).await.unwrap().cancelled.is_empty(), "there is room for two");

    let created = store.create_run(new_run(2, &spec)).await.unwrap();
    assert_eq!(created.cancelled, [id(0)]);
    let stopping = RunState::Stopping { handle: Some(handle(&oldest)), cause: StopCause::Cancelled };
    assert_eq!(store.run(id(0)).await.unwrap().state, stopping, "what runs is stopped, not ended");
    assert_eq!(decisions(&store, id(0)).await, [Decision::ReplacedBy { run: id(2) }]);
    assert_eq!(decisions(&store, id(2)).await, [Decision::Replaces { run: id(0) }]);

    // The oldest of the three that have not ended is stopping already; the next one is given up.
    let created = store.create_run(new_run(3, &spec)).await.unwrap();
    assert_eq!(created.cancelled, [id(1)]);
    let queued = store.run(id(1)).await.unwrap();
    assert_eq!((queued.state, queued.finished_at), (RunState::Cancelled, Some(at(0))), "it had not begun");
    let last = store.events(EventId(0), many(100)).await.unwrap().pop().unwrap();
    assert_eq!((created.event, last.id, last.run), (last.id, last.id, id(3)));
    assert_eq!(
        store.run(id(9)).await.unwrap().state,
        RunState::Starting,
        "others have nothing to do with it"
    );

    let taken = store.claim(Claim::new(at(3), many(9))).await.unwrap();
    assert_eq!(taken.len(), 1, "one place is free, the other is that of a run that is being stopped");
    end(&store, &oldest, Exit::Code(0), 4).await;
    assert_eq!(store.run(id(0)).await.unwrap().status(), Status::Cancelled);
    assert_eq!(store.claim(Claim::new(at(3), many(9))).await.unwrap().len(), 1);
}

/// Kills: a replacement that fails for what has ended, that writes into it, or that says it cancelled what it did not.
pub async fn replacing_what_has_ended_is_harmless(store: Arc<dyn Store>) {
    let spec = spec("etl", 0);
    let ended = super::claimed(&store, 0, &spec).await;
    end(&store, &ended, Exit::Code(0), 2).await;
    let running = super::claimed(&store, 1, &spec).await;
    store.create_run(new_run(2, &spec)).await.unwrap();
    let before = store.run(id(0)).await.unwrap();
    let mut new = new_run(3, &spec);
    new.replaces = vec![id(0), id(77), id(1), id(2), id(1)];
    let created = store.create_run(new.clone()).await.unwrap();
    assert_eq!(created.cancelled, [id(1), id(2)]);
    assert_eq!(store.run(id(0)).await.unwrap(), before);
    assert!(decisions(&store, id(0)).await.is_empty());
    assert_eq!(decisions(&store, id(1)).await, [Decision::ReplacedBy { run: id(3) }]);
    let replaced = [Decision::Replaces { run: id(1) }, Decision::Replaces { run: id(2) }];
    assert_eq!(decisions(&store, id(3)).await, replaced);

    // One that is being cancelled already is not cancelled again.
    (new.id, new.replaces) = (id(4), vec![id(1)]);
    assert!(store.create_run(new).await.unwrap().cancelled.is_empty());
    assert!(decisions(&store, id(4)).await.is_empty());
    end(&store, &running, Exit::Code(0), 3).await;
    assert_eq!(store.run(id(1)).await.unwrap().state, RunState::Cancelled);
}

/// Kills: a run that is cancelled for one that is then not created.
pub async fn what_is_not_created_replaces_nothing(store: Arc<dyn Store>) {
    let spec = full("etl", 1, WhenFull::Reject);
    store.create_run(new_run(0, &spec)).await.unwrap();
    let mut keyed = new_run(1, &super::spec("victim", 0));
    keyed.key = Some(key("k"));
    store.create_run(keyed.clone()).await.unwrap();
    let mut refused = new_run(2, &spec);
    refused.replaces = vec![id(1)];
    assert_eq!(store.create_run(refused).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let mut known = keyed.clone();
    (known.id, known.replaces) = (id(3), vec![id(0)]);
    assert!(store.create_run(known).await.unwrap().existing);
    let mut taken = new_run(1, &super::spec("another", 0));
    taken.replaces = vec![id(0)];
    assert_eq!(store.create_run(taken).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    for number in [0, 1] {
        assert_eq!(store.run(id(number)).await.unwrap().state, RunState::Queued { not_before: at(0) });
        assert!(decisions(&store, id(number)).await.is_empty());
    }
}
