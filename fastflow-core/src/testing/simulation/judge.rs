//! What must hold when everything has come to rest.

use std::collections::BTreeSet;

use super::{
    chain::{self, Rule},
    engine::Program,
    stage::{Inner, Stage},
};
use crate::{
    PipelineName, RunId,
    pipeline::WhenFull,
    run::{AttemptEnd, Decision, Failure, LostCause, Origin, Run, RunState, StopCause},
    store::FollowOn,
    testing::memory::{Row, World},
};

/// Finds the first promise that was broken.
pub(super) fn judge(stage: &Stage) -> Option<String> {
    let mut inner = stage.inner();
    let inner = &mut *inner;
    let running: Vec<_> = inner.engine.running(stage.now()).collect();
    if !running.is_empty() {
        return Some(format!("P6: programs run without a live attempt: {running:?}"));
    }
    let found = stage.store.transact(|world| Ok(books(stage, inner, world)));
    found.unwrap_or_else(|error| Some(error.to_string()))
}

fn books(stage: &Stage, inner: &Inner, world: &World) -> Option<String> {
    if let Some(lost) = inner.ledger.accepted.iter().find(|id| !world.runs.contains_key(id)) {
        return Some(format!("P1: {lost} was accepted, and is not there"));
    }
    for row in world.runs.values() {
        let run = &row.record.run;
        let complaint =
            status(inner, row).or_else(|| followed(stage, world, row)).or_else(|| restarted(world, row));
        if let Some(complaint) = complaint {
            return Some(format!("{complaint}: {} of {} is {:?}", run.id, run.pipeline(), run.state));
        }
    }
    let chains: BTreeSet<RunId> = world.runs.values().map(|row| row.record.run.chain).collect();
    chains.into_iter().find_map(|chain| joined(stage, world, chain))
}

/// P4, P5: every run has the status that its programs' ends lead to.
fn status(inner: &Inner, row: &Row) -> Option<String> {
    let run = &row.record.run;
    let attempts = row.attempts();
    let cancelled = inner.ledger.is_cancelled(run.id);
    if run.state == RunState::Cancelled {
        return (!cancelled).then(|| "P4: nobody cancelled it".into());
    }
    if cancelled {
        return Some("P8: it was cancelled".into());
    }
    let mut failed = 0;
    let mut last = None;
    for attempt in &attempts {
        let Some(end) = &attempt.end else { return Some(format!("P4: {} never ended", attempt.id)) };
        let Some(program) = inner.engine.program(attempt.id) else {
            // The machinery's own tries count against no policy.
            if *end == AttemptEnd::Succeeded {
                return Some(format!("P5: {} never ran", attempt.id));
            }
            continue;
        };
        let expected = expected(program);
        let late =
            *end == AttemptEnd::Failed(Failure::TimedOut) && inner.ledger.timed_out.contains(&attempt.id);
        if *end != expected && !late {
            return Some(format!("P4: {} ended as {end:?}, its program as {expected:?}", attempt.id));
        }
        if last == Some(AttemptEnd::Succeeded) {
            return Some(format!("P3: {} came after a success", attempt.id));
        }
        failed += u32::from(*end != AttemptEnd::Succeeded);
        last = Some(end.clone());
    }
    // The machinery may have failed for so long that it gave up.
    if matches!(run.state, RunState::Failed(Failure::StartFailed(_))) {
        return attempts.last().and_then(|last| inner.engine.program(last.id)).map(|_| "P4: it ran".into());
    }
    let allowed = run.spec.pipeline.definition.retry.attempts;
    match (&run.state, last) {
        (RunState::Succeeded, Some(AttemptEnd::Succeeded)) if failed <= allowed => None,
        (RunState::Failed(why), Some(AttemptEnd::Failed(end))) if *why == end && failed == allowed + 1 => {
            None
        }
        (_, last) => {
            Some(format!("P4: {failed} attempts failed of 1 + {allowed}, and the last ended as {last:?}"))
        }
    }
}

/// How the attempt of a program ends that nobody cancelled.
fn expected(program: &Program) -> AttemptEnd {
    match (program.exit, program.stopped_by) {
        (None, _) => AttemptEnd::Failed(Failure::Lost(LostCause::MonitorDied)),
        (_, Some(StopCause::TimedOut)) => AttemptEnd::Failed(Failure::TimedOut),
        (_, Some(_)) => AttemptEnd::Cancelled,
        (Some(crate::run::Exit::Code(0)), None) => AttemptEnd::Succeeded,
        (Some(exit), None) => AttemptEnd::Failed(Failure::Exit(exit)),
    }
}

/// P4: what the end of a run leads to is there, once.
fn followed(stage: &Stage, world: &World, row: &Row) -> Option<String> {
    let run = &row.record.run;
    for rule in chain::rules(&stage.plan, run.pipeline()).iter().filter(|rule| rule.after.is_empty()) {
        let child = |other: &&Row| {
            other.record.run.origin == Origin::Trigger { upstream: run.id }
                && *other.record.run.pipeline() == rule.pipeline
        };
        let children: Vec<&Row> = world.runs.values().filter(child).collect();
        let refused = may_refuse(stage, rule)
            && row.notes.iter().any(|note| {
                matches!(&note.decision, Decision::NotFollowed { pipeline, .. } if *pipeline == rule.pipeline)
            });
        let (expected, found) = (usize::from(rule.on.holds(&run.state)), children.len());
        if found != expected && !(refused && found == 0) {
            return Some(format!("P4: it led to {found} runs of {}, not {expected}", rule.pipeline));
        }
        if children.iter().any(|child| child.record.run.chain != run.chain) {
            return Some("P4: its chain is broken".into());
        }
    }
    None
}

/// P4, P8: a daemon that failed is started again, once, or given up; one that is replaced is cancelled.
fn restarted(world: &World, row: &Row) -> Option<String> {
    let run = &row.record.run;
    let next = world.runs.values().filter_map(|other| match other.record.run.origin {
        Origin::Daemon { previous, restarts } if previous == run.id => Some((other, restarts)),
        _ => None,
    });
    let next: Vec<_> = next.collect();
    let given_up = row.notes.iter().any(|note| match &note.decision {
        Decision::GaveUp { .. } => true,
        Decision::NotFollowed { pipeline, .. } => pipeline == run.pipeline(),
        _ => false,
    });
    let on_crash = run.spec.pipeline.definition.daemon.restart_on_crash;
    let as_it_should = match (&run.state, &next[..]) {
        (RunState::Failed(_), []) => !on_crash || given_up,
        (RunState::Failed(_), [(_, restarts)]) => on_crash && *restarts > 0,
        (RunState::Cancelled, [(by, 0)]) => {
            row.notes.iter().any(|note| note.decision == Decision::ReplacedBy { run: by.record.run.id })
        }
        (_, []) => true,
        _ => false,
    };
    (!as_it_should).then(|| format!("P4: it was followed by {} restarts", next.len()))
}

/// P4: a run that comes after others is there once a chain, if all of them have succeeded.
fn joined(stage: &Stage, world: &World, chain: RunId) -> Option<String> {
    let members: Vec<&Run> =
        world.runs.values().map(|row| &row.record.run).filter(|run| run.chain == chain).collect();
    let succeeded: BTreeSet<&PipelineName> =
        members.iter().filter(|run| run.state == RunState::Succeeded).map(|run| run.pipeline()).collect();
    for (name, spec) in &stage.plan.specs {
        let after = &spec.pipeline.definition.after;
        let joins = members
            .iter()
            .filter(|run| matches!(run.origin, Origin::Join { .. }) && run.pipeline() == name)
            .count();
        let complete = !after.is_empty() && after.iter().all(|of| succeeded.contains(of));
        let rule = Rule { pipeline: name.clone(), on: FollowOn::Success, after: after.clone() };
        if joins != usize::from(complete) && !(complete && joins == 0 && may_refuse(stage, &rule)) {
            return Some(format!(
                "P4: chain {chain} has {joins} runs of {name}, which comes after {after:?}"
            ));
        }
    }
    None
}

/// Whether the pipeline may have been full, and refuses then.
fn may_refuse(stage: &Stage, rule: &Rule) -> bool {
    let queue = stage.plan.specs.get(&rule.pipeline).map(|spec| &spec.pipeline.definition.queue);
    queue.is_some_and(|queue| queue.when_full == WhenFull::Reject && queue.max_instances.is_some())
}
