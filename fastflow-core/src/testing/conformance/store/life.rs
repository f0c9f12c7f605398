//! Cases on the life of one run.

use std::{sync::Arc, time::Duration};

use super::{at, claimed, exited, handle, id, key, many, new_run, spec, step};
use crate::{
    ErrorKind,
    run::{
        AttemptEnd, Exit, ExitReport, Failure, LogSummary, LostCause, Origin, Run, RunEvent, RunState, Setup,
        StartFailure, StartFailureKind, Status, StopCause,
    },
    store::{Claim, EventId, Step, Store},
};

fn report(exit: Exit) -> ExitReport {
    ExitReport {
        exit,
        stopped_by: None,
        started_at: at(2),
        ended_at: at(5),
        duration: Duration::from_millis(2_750),
        cpu_time: Some(Duration::from_millis(900)),
        peak_memory_bytes: Some(12_345_678),
        oom_kills: 0,
        log: LogSummary::empty(),
    }
}

/// Kills: a store that loses a field, or gives it back changed.
pub async fn a_run_is_read_as_it_was_created(store: Arc<dyn Store>) {
    let mut new = new_run(1, &spec("etl", 3));
    new.parameters.insert("DAY".parse().unwrap(), "2026-11-20 \u{1F600} \"'\n".into());
    new.origin = Origin::Rerun { of: id(77), scheduled_for: Some(at(5)), schedule: None };
    new.priority = -3;
    new.key = Some(key("ordér-1"));
    new.not_before = at(60);
    let created = store.create_run(new.clone()).await.unwrap();
    assert_eq!((created.id, created.existing, created.event), (new.id, false, EventId(1)));
    let expected = Run {
        id: new.id,
        spec: new.spec,
        parameters: new.parameters,
        origin: new.origin,
        chain: new.id,
        priority: new.priority,
        key: new.key,
        state: RunState::Queued { not_before: at(60) },
        epoch: 0,
        attempt: 0,
        failed_attempts: 0,
        created_at: at(0),
        started_at: None,
        finished_at: None,
    };
    assert_eq!(store.run(id(1)).await.unwrap(), expected);
    assert!(store.attempts(id(1)).await.unwrap().is_empty());
    let claimed = store.claim(Claim::new(at(60), many(1))).await.unwrap();
    let expected = Run { state: RunState::Starting, epoch: 1, attempt: 1, ..expected };
    assert_eq!(claimed, [expected]);
}

/// Kills: a second run for the same key.
pub async fn a_key_is_good_for_one_run(store: Arc<dyn Store>) {
    let spec = spec("etl", 0);
    let with_key = |number, text: &str| {
        let mut new = new_run(number, &spec);
        new.key = Some(key(text));
        new
    };
    store.create_run(with_key(1, "a")).await.unwrap();
    let again = store.create_run(with_key(2, "a")).await.unwrap();
    assert_eq!((again.id, again.existing), (id(1), true));
    assert!(!store.create_run(with_key(3, "b")).await.unwrap().existing);
    assert_eq!(store.run(id(2)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.last_event().await.unwrap(), EventId(2), "nothing was created, so nothing happened");
}

/// Kills: an overwritten run.
pub async fn an_id_is_good_for_one_run(store: Arc<dyn Store>) {
    let first = spec("first", 0);
    store.create_run(new_run(1, &first)).await.unwrap();
    let error = store.create_run(new_run(1, &spec("second", 0))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(store.run(id(1)).await.unwrap().spec, first);
}

/// Kills: an invented answer.
pub async fn what_does_not_exist_is_not_found(store: Arc<dyn Store>) {
    assert_eq!(store.run(id(9)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.attempts(id(9)).await.unwrap_err().kind(), ErrorKind::NotFound);
    let step = Step::new(id(9), None, RunEvent::StopRequested(StopCause::Cancelled), at(0));
    assert_eq!(store.advance(step).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(store.claim(Claim::new(at(0), many(10))).await.unwrap().is_empty());
    assert!(store.take_over().await.unwrap().is_empty());
    assert!(store.pipelines().await.unwrap().is_empty());
    assert!(store.daily_statistics(&"none".parse().unwrap(), 7).await.unwrap().is_empty());
    assert_eq!(store.next_due(at(0)).await.unwrap(), None);
    assert_eq!(store.last_event().await.unwrap(), EventId(0));
}

/// Kills: a lost setup, handle or report; an event that is missing or says the wrong thing.
pub async fn a_run_goes_its_whole_way(store: Arc<dyn Store>) {
    let run = claimed(&store, 1, &spec("etl", 0)).await;
    let mut started = Step::new(run.id, Some(run.epoch), RunEvent::Started(handle(&run)), at(2));
    let setup =
        Setup { duration: Duration::from_micros(1_500), environment: None, image: None, secrets: Vec::new() };
    started.setup = Some(setup.clone());
    let advanced = store.advance(started).await.unwrap();
    assert_eq!(advanced.state, RunState::Running { handle: handle(&run) });
    assert_eq!((advanced.attempt, advanced.event), (1, EventId(3)));
    assert_eq!(store.run(run.id).await.unwrap().started_at, Some(at(2)));

    let mut ended = Step::new(run.id, Some(run.epoch), exited(Exit::Code(0)), at(6));
    ended.report = Some(report(Exit::Code(0)));
    assert_eq!(store.advance(ended).await.unwrap().state, RunState::Succeeded);
    let read = store.run(run.id).await.unwrap();
    assert_eq!(
        (read.status(), read.started_at, read.finished_at),
        (Status::Success, Some(at(2)), Some(at(6)))
    );
    let attempts = store.attempts(run.id).await.unwrap();
    assert_eq!(attempts.len(), 1);
    let attempt = &attempts[0];
    assert_eq!(Some(attempt.id), run.attempt_id());
    assert_eq!((attempt.claimed_at, attempt.started_at), (at(1), Some(at(2))));
    assert_eq!(attempt.finished_at, Some(at(5)));
    assert_eq!(attempt.setup, Some(setup));
    assert_eq!(attempt.handle, Some(handle(&run)));
    assert_eq!(attempt.end, Some(AttemptEnd::Succeeded));
    assert_eq!(attempt.report, Some(report(Exit::Code(0))));

    let events = store.events(EventId(0), many(100)).await.unwrap();
    let told: Vec<_> =
        events.iter().map(|e| (e.id.0, e.name.as_str(), e.state.as_str(), e.status, e.attempt)).collect();
    assert_eq!(
        told,
        [
            (1, "submitted", "queued", Status::Pending, 0),
            (2, "claimed", "starting", Status::Pending, 1),
            (3, "started", "running", Status::Running, 1),
            (4, "exited", "succeeded", Status::Success, 1),
        ]
    );
    assert!(events.iter().all(|event| event.run == run.id && event.pipeline.as_str() == "etl"));
    assert_eq!(store.events(EventId(2), many(1)).await.unwrap(), events[2..3]);
}

/// Kills: a retry that is lost, comes at the wrong time, or never ends.
pub async fn a_failed_attempt_is_tried_again(store: Arc<dyn Store>) {
    let first = claimed(&store, 1, &spec("etl", 1)).await;
    step(&store, &first, RunEvent::Started(handle(&first)), 2).await.unwrap();
    let failed = step(&store, &first, exited(Exit::Code(3)), 5).await.unwrap();
    assert_eq!(failed.state, RunState::Queued { not_before: at(15) });
    assert_eq!(store.run(first.id).await.unwrap().failed_attempts, 1);
    assert!(store.claim(Claim::new(at(14), many(1))).await.unwrap().is_empty());
    let second = store.claim(Claim::new(at(15), many(1))).await.unwrap().remove(0);
    assert_eq!((second.attempt, second.epoch, second.started_at), (2, 2, None));
    step(&store, &second, RunEvent::Started(handle(&second)), 16).await.unwrap();
    let lost = step(&store, &second, RunEvent::Lost(LostCause::MonitorDied), 17).await.unwrap();
    assert_eq!(lost.state, RunState::Failed(Failure::Lost(LostCause::MonitorDied)));
    let ends: Vec<_> = store.attempts(first.id).await.unwrap().into_iter().map(|a| a.end.unwrap()).collect();
    assert_eq!(
        ends,
        [
            AttemptEnd::Failed(Failure::Exit(Exit::Code(3))),
            AttemptEnd::Failed(Failure::Lost(LostCause::MonitorDied))
        ]
    );
}

/// Kills: a run that fails because an engine restarts, and one that asks a dead engine for ever.
pub async fn an_unreachable_executor_is_tried_again_beside_the_policy(store: Arc<dyn Store>) {
    let failure =
        StartFailure { kind: StartFailureKind::ExecutorUnavailable, message: "connection refused".into() };
    let event = RunEvent::StartFailed { failure: Failure::StartFailed(failure), transient: true };
    let mut run = claimed(&store, 1, &spec("etl", 0)).await;
    let (mut tries, mut now) = (1, 1);
    loop {
        match step(&store, &run, event.clone(), now).await.unwrap().state {
            RunState::Queued { not_before } => {
                assert!(not_before > at(now), "there is a wait before each try");
                assert_eq!(store.run(run.id).await.unwrap().failed_attempts, 0);
                now = not_before.as_second() - at(0).as_second() + 1;
                run = store.claim(Claim::new(at(now), many(1))).await.unwrap().remove(0);
                tries += 1;
                assert!(tries < 1000, "it ends");
            }
            state => {
                assert!(matches!(state, RunState::Failed(Failure::StartFailed(_))), "{state:?}");
                break;
            }
        }
    }
    assert!(tries > 3, "one or two tries outlast no restart: {tries}");
}

/// Kills: a retry budget eaten by crashes of the host.
pub async fn a_start_that_never_was_does_not_count(store: Arc<dyn Store>) {
    let run = claimed(&store, 1, &spec("etl", 0)).await;
    let back = step(&store, &run, RunEvent::NeverStarted { not_before: at(7) }, 3).await.unwrap();
    assert_eq!(back.state, RunState::Queued { not_before: at(7) });
    let read = store.run(run.id).await.unwrap();
    assert_eq!((read.failed_attempts, read.attempt), (0, 1));
    assert_eq!(store.attempts(run.id).await.unwrap()[0].end, Some(AttemptEnd::NeverStarted));
}

/// Kills: a store that lets a host write that lost its run.
pub async fn a_stale_epoch_is_refused(store: Arc<dyn Store>) {
    let run = claimed(&store, 1, &spec("etl", 0)).await;
    for epoch in [0, 2] {
        let stale = Step::new(run.id, Some(epoch), RunEvent::Started(handle(&run)), at(2));
        assert_eq!(store.advance(stale).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    let wish = Step::new(run.id, None, RunEvent::StopRequested(StopCause::Cancelled), at(2));
    let stopping = RunState::Stopping { handle: None, cause: StopCause::Cancelled };
    assert_eq!(store.advance(wish).await.unwrap().state, stopping);
}

/// Kills: a final state that changes.
pub async fn a_final_state_never_changes(store: Arc<dyn Store>) {
    let run = claimed(&store, 1, &spec("etl", 5)).await;
    step(&store, &run, RunEvent::Started(handle(&run)), 2).await.unwrap();
    step(&store, &run, exited(Exit::Code(0)), 3).await.unwrap();
    let before = (store.run(run.id).await.unwrap(), store.attempts(run.id).await.unwrap());
    for event in [
        RunEvent::Started(handle(&run)),
        exited(Exit::Code(1)),
        RunEvent::StopRequested(StopCause::Cancelled),
        RunEvent::Lost(LostCause::Removed),
        RunEvent::NeverStarted { not_before: at(9) },
    ] {
        for epoch in [None, Some(run.epoch)] {
            let step = Step::new(run.id, epoch, event.clone(), at(9));
            assert_eq!(store.advance(step).await.unwrap_err().kind(), ErrorKind::Conflict);
        }
    }
    assert_eq!((store.run(run.id).await.unwrap(), store.attempts(run.id).await.unwrap()), before);
    assert!(store.take_over().await.unwrap().is_empty());
    assert!(store.claim(Claim::new(at(1000), many(10))).await.unwrap().is_empty());
}

/// Kills: half a step.
pub async fn a_refused_step_leaves_nothing(store: Arc<dyn Store>) {
    let run = claimed(&store, 1, &spec("etl", 0)).await;
    let before = (store.run(run.id).await.unwrap(), store.last_event().await.unwrap());
    let mut bad = Step::new(run.id, Some(run.epoch + 1), RunEvent::StopRequested(StopCause::TimedOut), at(2));
    bad.setup = Some(Setup { duration: Duration::ZERO, environment: None, image: None, secrets: Vec::new() });
    assert_eq!(store.advance(bad).await.unwrap_err().kind(), ErrorKind::Conflict);
    let claim_by_step = Step::new(run.id, Some(run.epoch), RunEvent::Claimed, at(2));
    assert!(store.advance(claim_by_step).await.is_err());
    assert_eq!((store.run(run.id).await.unwrap(), store.last_event().await.unwrap()), before);
    assert_eq!(store.attempts(run.id).await.unwrap()[0].setup, None);
}

/// Kills: two hosts that write one run.
pub async fn taking_over_fences_out_the_earlier_host(store: Arc<dyn Store>) {
    let spec = spec("etl", 0);
    let starting = claimed(&store, 1, &spec).await;
    let running = claimed(&store, 2, &spec).await;
    step(&store, &running, RunEvent::Started(handle(&running)), 2).await.unwrap();
    let stopping = claimed(&store, 3, &spec).await;
    step(&store, &stopping, RunEvent::StopRequested(StopCause::TimedOut), 2).await.unwrap();
    let ended = claimed(&store, 4, &spec).await;
    step(&store, &ended, exited(Exit::Code(1)), 2).await.unwrap();
    store.create_run(new_run(5, &spec)).await.unwrap();

    let taken = store.take_over().await.unwrap();
    let ids: Vec<_> = taken.iter().map(|run| (run.id, run.epoch)).collect();
    assert_eq!(ids, [(id(1), 2), (id(2), 2), (id(3), 2)]);
    assert_eq!(taken[1].state, RunState::Running { handle: handle(&running) });
    for (old, new) in [&starting, &running, &stopping].into_iter().zip(&taken) {
        let error = step(&store, old, exited(Exit::Code(0)), 3).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(&store.run(old.id).await.unwrap(), new);
        step(&store, new, exited(Exit::Code(0)), 4).await.unwrap();
    }
}
