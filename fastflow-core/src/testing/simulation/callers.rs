//! Those who submit and cancel. They live as long as they need to, whatever becomes of hosts.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    drive::{Board, Living},
    host::sleep,
    plan::Planned,
    stage::Stage,
};
use crate::{
    ErrorKind, Result, RunId,
    host::{Ports, intake::Asked},
    run::{NewRun, Origin, RunEvent, RunState, StopCause},
    store::Step,
    testing::memory::is_open,
};

/// How often somebody asks again who got no answer.
const TRIES: u32 = 30;
/// How much later than its grace a program that is asked to stop may be gone, when nothing goes wrong.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// Sends everybody on their way.
pub(super) fn call(board: &Arc<Board>) {
    let plan = &board.stage.plan;
    board.stage.callers.fetch_add(plan.submissions.len() + plan.cancels.len(), Ordering::Relaxed);
    for planned in plan.submissions.clone() {
        let board = Arc::clone(board);
        tokio::spawn(async move {
            sleep(planned.at).await;
            submit(&board, &planned).await;
            board.stage.callers.fetch_sub(1, Ordering::Relaxed);
        });
    }
    for at in plan.cancels.clone() {
        let board = Arc::clone(board);
        tokio::spawn(async move {
            sleep(at).await;
            cancel(&board).await;
            board.stage.callers.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Runs that have not ended, and callers who have no answer.
pub(super) fn unfinished(stage: &Stage) -> Vec<String> {
    let runs = stage.store.transact(|world| {
        let open = world.runs.values().map(|row| &row.record.run).filter(|run| !run.state.is_terminal());
        Ok(open.map(|run| format!("{} of {} is {}", run.id, run.pipeline(), run.state.name())).collect())
    });
    let mut left: Vec<String> = runs.unwrap_or_default();
    let callers = stage.callers.load(Ordering::Relaxed);
    if callers > 0 {
        left.push(format!("{callers} callers wait"));
    }
    left
}

/// Asks whichever host there is, until there is an answer. None when the host died before it gave one.
async fn ask<T: Send + 'static, F>(board: &Board, question: impl Fn(Arc<Living>) -> F) -> Option<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let living = loop {
        match board.active() {
            Some(living) => break living,
            None => sleep(Duration::from_secs(1)).await,
        }
    };
    let (reply, answer) = oneshot::channel();
    let question = question(Arc::clone(&living));
    living.spawn(async move {
        // Nobody may be waiting any more.
        let _ = reply.send(question.await);
    });
    drop(living);
    answer.await.ok()
}

async fn submit(board: &Board, planned: &Planned) {
    let stage = &board.stage;
    for _ in 0..TRIES {
        let answer = ask(board, |living| {
            let planned = planned.clone();
            async move { create(&living, &planned).await }
        });
        if let Some(Ok(id)) = answer.await {
            stage.inner().ledger.accepted.insert(id);
            return;
        }
        // Without a key nobody can know whether it was accepted, and asking again might make it twice.
        if planned.key.is_none() {
            return;
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// What the facade does.
async fn create(living: &Living, planned: &Planned) -> Result<RunId> {
    let ports: &Ports = &living.ports;
    let found = ports.runnable(planned.pipeline.as_str()).await?;
    let spec = ports.spec(&found, &Asked::default())?;
    let now = ports.clock.now();
    let mut new = NewRun::new(living.host.stage.run_id(&*living.host), spec, Origin::Manual, now);
    new.key.clone_from(&planned.key);
    new.priority = planned.priority;
    new.not_before = now + planned.delay;
    let created = ports.store.create_run(new).await?;
    ports.signals.created(&created, !planned.delay.is_zero());
    Ok(created.id)
}

/// Cancels one of the runs that are not over, and looks after the stop where nothing disturbs it.
async fn cancel(board: &Board) {
    let stage = &board.stage;
    let runs = stage.store.transact(|world| {
        let open = world.runs.values().map(|row| &row.record.run).filter(|run| !run.state.is_terminal());
        Ok(open.map(|run| (run.id, run.spec.pipeline.definition.stop_grace.duration())).collect::<Vec<_>>())
    });
    let runs = runs.unwrap_or_default();
    if runs.is_empty() {
        return;
    }
    let (run, grace) = stage.inner().dice.pick(&runs);
    for _ in 0..TRIES {
        let calm = !stage.is_stormy();
        let answer = ask(board, move |living| async move { stop(&living, run).await });
        if let Some(Ok(())) = answer.await {
            if calm {
                sleep(grace + STOP_MARGIN).await;
                let open = stage
                    .store
                    .transact(|world| Ok(world.runs.get(&run).is_some_and(|row| is_open(&row.record.run))));
                if open.unwrap_or(false) {
                    stage.violate(format!("P8: {run} was cancelled, and is not over after its grace"));
                }
            }
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// What the facade does.
async fn stop(living: &Living, run: RunId) -> Result<()> {
    let ports: &Ports = &living.ports;
    let event = RunEvent::StopRequested(StopCause::Cancelled);
    match ports.store.advance(Step::new(run, None, event, ports.clock.now())).await {
        Ok(advanced) => ports.signals.moved(run, advanced.event),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let run = ports.store.run(run).await?;
            if !matches!(run.state, RunState::Stopping { cause: StopCause::Cancelled, .. }) {
                return Ok(());
            }
        }
        Err(error) => return Err(error),
    }
    ports.signals.stop(run);
    Ok(())
}
