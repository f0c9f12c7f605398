//! Cases on what the end of a run leads to, and on what is noted about runs.

use std::sync::Arc;

use super::{at, changed, claimed, end, exited, full::decisions, id, key, many, new_run, spec, step};
use crate::{
    ErrorKind, RunId,
    pipeline::WhenFull,
    run::{Decision, Exit, NewRun, Note, Origin, Run, RunEvent, RunSpec, RunState, StopCause},
    store::{Advanced, Claim, FollowOn, FollowUp, FollowUpAction, Step, Store},
};

/// A run that follows `upstream`.
fn after(number: u64, spec: &Arc<RunSpec>, upstream: RunId) -> NewRun {
    NewRun { origin: Origin::Trigger { upstream }, at: at(5), not_before: at(5), ..new_run(number, spec) }
}

fn start(on: FollowOn, new: NewRun) -> FollowUp {
    FollowUp { on, after: [].into(), action: FollowUpAction::Start(Box::new(new)) }
}

/// The follow-up by which a pipeline waits for `after`, whichever of them ends last.
fn join(new: NewRun, after: &[&str]) -> FollowUp {
    let after = after.iter().map(|name| name.parse().unwrap()).collect();
    FollowUp { after, ..start(FollowOn::Success, new) }
}

fn join_of(number: u64, spec: &Arc<RunSpec>, last: RunId) -> NewRun {
    NewRun { origin: Origin::Join { last }, ..after(number, spec, last) }
}

fn ending(run: &Run, code: i32, follow_ups: Vec<FollowUp>) -> Step {
    Step { follow_ups, ..Step::new(run.id, Some(run.epoch), exited(Exit::Code(code)), at(5)) }
}

async fn end_with(store: &Arc<dyn Store>, run: &Run, code: i32, follow_ups: Vec<FollowUp>) -> Advanced {
    store.advance(ending(run, code, follow_ups)).await.unwrap()
}

fn followed(pipeline: &str, number: u64) -> Decision {
    Decision::Followed { pipeline: pipeline.parse().unwrap(), run: id(number) }
}

/// Kills: a condition that is not looked at, a follow-up without its chain or origin, and one that comes later than
/// the end it follows.
pub async fn an_end_starts_what_follows_it(store: Arc<dyn Store>) {
    let (etl, next) = (spec("etl", 0), spec("next", 0));
    for (round, (code, expected)) in [(0, [1, 3]), (1, [2, 3])].into_iter().enumerate() {
        let base = round as u64 * 10;
        let run = claimed(&store, base, &etl).await;
        let follow_ups = [FollowOn::Success, FollowOn::Failure, FollowOn::Any].into_iter().zip(1..);
        let follow_ups = follow_ups.map(|(on, n)| start(on, after(base + n, &next, run.id))).collect();
        let advanced = end_with(&store, &run, code, follow_ups).await;
        let created: Vec<_> = advanced.created.iter().map(|created| created.id).collect();
        assert_eq!(created, expected.map(|number| id(base + number)));
        assert_eq!(advanced.event, store.last_event().await.unwrap());
        assert_eq!(decisions(&store, run.id).await, expected.map(|number| followed("next", base + number)));
        for number in 1..4 {
            let made = store.run(id(base + number)).await;
            if !expected.contains(&number) {
                assert_eq!(made.unwrap_err().kind(), ErrorKind::NotFound);
                continue;
            }
            let made = made.unwrap();
            assert_eq!(made.state, RunState::Queued { not_before: at(5) });
            assert_eq!((made.chain, made.origin), (run.id, Origin::Trigger { upstream: run.id }));
        }
        let taken = store.claim(Claim::new(at(5), many(9))).await.unwrap();
        assert_eq!(taken.len(), 2);
        // What follows a follow-up is of the same chain; what is submitted begins one.
        let third = vec![start(FollowOn::Any, after(base + 4, &next, taken[0].id))];
        end_with(&store, &taken[0], 0, third).await;
        assert_eq!(store.run(id(base + 4)).await.unwrap().chain, run.id);
        store.claim(Claim::new(at(5), many(9))).await.unwrap();
    }
}

/// Kills: a follow-up of an attempt that is tried again, and one of a run that somebody cancelled.
pub async fn only_the_last_end_is_followed_and_a_cancel_never(store: Arc<dyn Store>) {
    let (etl, next) = (spec("etl", 1), spec("next", 0));
    let run = claimed(&store, 0, &etl).await;
    let follow = |number: u64, run: &Run| {
        let note = FollowUpAction::Note(Decision::GaveUp { restarts: 1 });
        let note = FollowUp { on: FollowOn::Any, after: [].into(), action: note };
        vec![start(FollowOn::Any, after(number, &next, run.id)), note]
    };
    let advanced = end_with(&store, &run, 1, follow(1, &run)).await;
    assert!(matches!(advanced.state, RunState::Queued { .. }) && advanced.created.is_empty());
    let again = store.claim(Claim::new(at(15), many(9))).await.unwrap().remove(0);
    assert_eq!(end_with(&store, &again, 1, follow(2, &again)).await.created.len(), 1);
    assert_eq!(store.run(id(1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    let noted = decisions(&store, run.id).await;
    let given_up = noted.iter().filter(|decision| matches!(decision, Decision::GaveUp { .. })).count();
    assert_eq!((given_up, noted.last()), (1, Some(&Decision::GaveUp { restarts: 1 })), "{noted:?}");
    store.claim(Claim::new(at(15), many(9))).await.unwrap();

    let cancel = |run: &Run| Step {
        follow_ups: follow(4, run),
        ..Step::new(run.id, None, RunEvent::StopRequested(StopCause::Cancelled), at(5))
    };
    store.create_run(new_run(3, &etl)).await.unwrap();
    let queued = store.run(id(3)).await.unwrap();
    let advanced = store.advance(cancel(&queued)).await.unwrap();
    assert!(advanced.state == RunState::Cancelled && advanced.created.is_empty());
    let running = claimed(&store, 5, &etl).await;
    assert!(store.advance(cancel(&running)).await.unwrap().created.is_empty());
    let advanced = end_with(&store, &running, 0, follow(4, &running)).await;
    assert!(advanced.state == RunState::Cancelled && advanced.created.is_empty());
    assert!(decisions(&store, id(3)).await.is_empty() && decisions(&store, id(5)).await.is_empty());
}

/// Kills: half of an end: a follow-up of a step that was refused, or an end that is refused because of a follow-up.
pub async fn an_end_stands_whatever_follows_it(store: Arc<dyn Store>) {
    let (etl, next) = (spec("etl", 0), spec("next", 0));
    let full = changed("full", |spec| {
        let queue = &mut spec.pipeline.definition.queue;
        (queue.max_instances, queue.when_full) = (Some(many(1)), WhenFull::Reject);
    });
    let run = claimed(&store, 0, &etl).await;
    store.create_run(new_run(1, &full)).await.unwrap();
    let before = store.last_event().await.unwrap();
    let mut stale = ending(&run, 0, vec![start(FollowOn::Any, after(2, &next, run.id))]);
    stale.epoch = Some(run.epoch + 1);
    assert_eq!(store.advance(stale).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.run(id(2)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.last_event().await.unwrap(), before);

    let mut keyed = after(4, &next, run.id);
    keyed.key = Some(key("once"));
    let again = NewRun { id: id(5), ..keyed.clone() };
    let follow_ups = [after(3, &full, run.id), after(1, &next, run.id), keyed, again];
    let follow_ups = follow_ups.into_iter().map(|new| start(FollowOn::Success, new)).collect();
    let advanced = end_with(&store, &run, 0, follow_ups).await;
    assert_eq!(advanced.state, RunState::Succeeded);
    let created: Vec<_> = advanced.created.iter().map(|created| (created.id, created.existing)).collect();
    assert_eq!(created, [(id(4), false), (id(4), true)]);
    let noted = decisions(&store, run.id).await;
    let refused = |decision: &Decision, of: &str| matches!(decision, Decision::NotFollowed { pipeline, reason } if pipeline.as_str() == of && !reason.is_empty());
    assert!(refused(&noted[0], "full") && refused(&noted[1], "next"), "{noted:?}");
    assert_eq!(noted[2..], [followed("next", 4), followed("next", 4)]);
    for number in [3, 5] {
        assert_eq!(store.run(id(number)).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(store.run(id(1)).await.unwrap().pipeline().as_str(), "full");
}

/// Begins a chain: its first run ends and starts one of `a` and one of `b`, which are claimed and returned.
async fn forked(store: &Arc<dyn Store>, base: u64, specs: &[Arc<RunSpec>; 3]) -> [Run; 2] {
    let root = claimed(store, base, &specs[0]).await;
    let fork = [(1, &specs[1]), (2, &specs[2])]
        .map(|(number, spec)| start(FollowOn::Success, after(base + number, spec, root.id)));
    end_with(store, &root, 0, fork.into()).await;
    let mut both = store.claim(Claim::new(at(5), many(2))).await.unwrap();
    both.sort_by_key(|run| run.id);
    both.try_into().unwrap()
}

fn fork_specs() -> [Arc<RunSpec>; 3] {
    ["root", "a", "b"].map(|name| spec(name, 0))
}

/// Kills: a join that does not wait, comes twice, depends on the order of the ends, or counts another chain's runs.
pub async fn a_join_comes_once_and_after_all(store: Arc<dyn Store>) {
    let (specs, joined) = (fork_specs(), spec("joined", 0));
    for (round, order) in [[0, 1], [1, 0]].into_iter().enumerate() {
        let base = round as u64 * 20;
        let both = forked(&store, base, &specs).await;
        let step = |at: usize, number| join(join_of(number, &joined, both[at].id), &["a", "b"]);
        let [first, last] = order;
        let waits = end_with(&store, &both[first], 0, vec![step(first, base + 3)]).await;
        assert!(waits.created.is_empty(), "the other chain's runs do not count");
        let missing = vec![["a", "b"][last].parse().unwrap()];
        let expected = Decision::JoinWaits { pipeline: "joined".parse().unwrap(), missing };
        assert_eq!(decisions(&store, both[first].id).await, [expected]);
        let starts = end_with(&store, &both[last], 0, vec![step(last, base + 4)]).await;
        assert_eq!(starts.created.len(), 1);
        let run = store.run(id(base + 4)).await.unwrap();
        assert_eq!((run.chain, run.origin), (id(base), Origin::Join { last: both[last].id }));
        assert_eq!(decisions(&store, both[last].id).await, [followed("joined", base + 4)]);
        store.claim(Claim::new(at(5), many(9))).await.unwrap();

        // Repeated in the same chain, it comes no second time; repeated on its own, it waits for its own.
        let mut repeated = new_run(base + 5, &specs[1]);
        repeated.chain = Some(id(base));
        let alone = new_run(base + 6, &specs[1]);
        for (new, noted) in [(repeated, 0), (alone, 1)] {
            store.create_run(new.clone()).await.unwrap();
            let run = store.claim(Claim::new(at(5), many(9))).await.unwrap().remove(0);
            let follow_up = join(join_of(base + 10, &joined, run.id), &["a", "b"]);
            assert!(end_with(&store, &run, 0, vec![follow_up]).await.created.is_empty());
            assert_eq!(decisions(&store, run.id).await.len(), noted);
        }
    }
}

/// Kills: a join that is lost for a failure that a later run of the chain makes good.
pub async fn a_join_comes_when_a_failed_run_is_made_good(store: Arc<dyn Store>) {
    let (specs, joined) = (fork_specs(), spec("joined", 0));
    let [a, b] = forked(&store, 0, &specs).await;
    let follow_up = |number, run: &Run| vec![join(join_of(number, &joined, run.id), &["a", "b"])];
    assert!(end_with(&store, &a, 1, follow_up(3, &a)).await.created.is_empty());
    assert!(end_with(&store, &b, 0, follow_up(4, &b)).await.created.is_empty());
    let again = NewRun {
        chain: Some(id(0)),
        origin: Origin::Rerun { of: a.id, scheduled_for: None, schedule: None },
        ..new_run(5, &specs[1])
    };
    store.create_run(again).await.unwrap();
    let again = store.claim(Claim::new(at(5), many(9))).await.unwrap().remove(0);
    assert_eq!(end_with(&store, &again, 0, follow_up(6, &again)).await.created[0].id, id(6));
}

/// Kills: two ends of one moment that do not see each other, so that the join comes never or twice.
pub async fn ends_at_one_time_make_one_join(store: Arc<dyn Store>) {
    const CHAINS: u64 = 60;
    let (specs, joined) = (fork_specs(), spec("joined", 0));
    let mut ends = Vec::new();
    for chain in 0..CHAINS {
        let mut runs = Vec::from(forked(&store, chain * 10, &specs).await);
        // A third end, with which the join would come again.
        let twice = NewRun { chain: Some(id(chain * 10)), ..new_run(chain * 10 + 9, &specs[1]) };
        store.create_run(twice).await.unwrap();
        runs.extend(store.claim(Claim::new(at(5), many(9))).await.unwrap());
        for (place, run) in runs.into_iter().enumerate() {
            let new = join_of(chain * 10 + 3 + place as u64, &joined, run.id);
            ends.push(ending(&run, 0, vec![join(new, &["a", "b"])]));
        }
    }
    // Those of one chain stand side by side in some, and far apart in others.
    ends.rotate_left(1);
    let ends = ends.into_iter().map(|step| store.advance(step));
    let advanced = futures::future::try_join_all(ends).await.unwrap();
    let mut made: Vec<_> = advanced.iter().flat_map(|advanced| &advanced.created).map(|c| c.id).collect();
    made.sort_unstable();
    assert_eq!(made.len() as u64, CHAINS);
    for (chain, run) in made.into_iter().enumerate() {
        assert_eq!(store.run(run).await.unwrap().chain, id(chain as u64 * 10));
    }
}

/// Kills: notes that are lost, disordered, of another run, or by a host that has lost the run.
pub async fn notes_are_kept_in_their_order(store: Arc<dyn Store>) {
    let run = claimed(&store, 0, &spec("etl", 1)).await;
    let note =
        |second: i64, bytes| Note { at: at(second), attempt: 1, decision: Decision::MoreMemory { bytes } };
    store.note(run.id, run.epoch, note(3, 1)).await.unwrap();
    step(&store, &run, exited(Exit::Code(1)), 4).await.unwrap();
    store.note(run.id, run.epoch, note(2, 2)).await.unwrap();
    let again = store.claim(Claim::new(at(50), many(1))).await.unwrap().remove(0);
    let stale = store.note(run.id, run.epoch, note(51, 3)).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Conflict);
    assert_eq!(store.note(id(9), 0, note(1, 1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    end(&store, &again, Exit::Code(1), 52).await;
    let decision = Decision::Retry { at: at(14), failed_attempts: 1 };
    let exhausted = Decision::Exhausted { failed_attempts: 2 };
    let expected = [
        note(3, 1),
        Note { at: at(4), attempt: 1, decision },
        note(2, 2),
        Note { at: at(52), attempt: 2, decision: exhausted },
    ];
    assert_eq!(store.notes(run.id).await.unwrap(), expected);
    assert!(store.notes(id(9)).await.unwrap().is_empty());
}
