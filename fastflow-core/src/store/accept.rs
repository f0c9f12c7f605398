//! Whether a new run is accepted, and what becomes of an instant whose run is not. Pure, and the same for every store.

use std::collections::BTreeMap;

use super::Created;
use crate::{
    Error, ErrorKind, Result, RunId,
    pipeline::WhenFull,
    run::{NewRun, Origin, RunState, StopCause},
    schedule::{Tick, TickOutcome},
};

/// A planned restart takes the place of a run that goes on; one that has ended has been followed already. `previous` is
/// where that run is.
pub(crate) fn check_restart(new: &NewRun, previous: impl Fn(RunId) -> Option<RunState>) -> Result<()> {
    let Origin::Daemon { previous: id, restarts: 0 } = new.origin else { return Ok(()) };
    let goes_on = previous(id).is_some_and(|state| {
        !state.is_terminal() && !matches!(state, RunState::Stopping { cause: StopCause::Cancelled, .. })
    });
    if goes_on {
        return Ok(());
    }
    let message = "the run whose place it was to take has ended, or is about to";
    Err(Error::new(ErrorKind::Conflict, message).with("run", id))
}

/// The runs that the pipeline gives up for a new one, of those that are unfinished, oldest first; or why it takes none.
pub(crate) fn given_up(new: &NewRun, unfinished: impl Iterator<Item = RunId>) -> Result<Vec<RunId>> {
    let queue = &new.spec.pipeline.definition.queue;
    let Some(max) = queue.max_instances else { return Ok(Vec::new()) };
    let max = usize::try_from(max.get()).unwrap_or(usize::MAX);
    let left: Vec<RunId> = unfinished.filter(|run| !new.replaces.contains(run)).collect();
    if left.len() < max {
        return Ok(Vec::new());
    }
    match queue.when_full {
        WhenFull::Queue => Ok(Vec::new()),
        WhenFull::Reject => Err(Error::new(
            ErrorKind::Unavailable,
            "as many runs of this pipeline as may are unfinished, and its `when_full` is \"reject\"",
        )
        .with("pipeline", &new.spec.pipeline.name)
        .with("max_instances", max)),
        WhenFull::Replace => Ok(left[..=left.len() - max].to_vec()),
    }
}

/// The runs of instants that were not made, with what the ledger says instead.
#[derive(Debug, Default)]
pub(crate) struct Refused(BTreeMap<RunId, TickOutcome>);

impl Refused {
    /// Keeps why `run` was not made; gives it back if it was.
    pub(crate) fn take(&mut self, run: RunId, made: Result<Created>) -> Option<Created> {
        let outcome = match made {
            Ok(made) if !made.existing => return Some(made),
            // Two instants never share a run, so one whose key is known makes none.
            Ok(made) => TickOutcome::Refused { reason: format!("run {} has its key", made.id) },
            Err(error) if error.kind() == ErrorKind::Unavailable => TickOutcome::SkippedFull,
            Err(error) => TickOutcome::Refused { reason: error.to_string() },
        };
        self.0.insert(run, outcome);
        None
    }

    /// The row as it is to be written. A run that is not there holds up no later instant either: what refused it refuses
    /// that, too.
    pub(crate) fn row(&self, mut tick: Tick) -> Tick {
        let of = match &tick.outcome {
            TickOutcome::Run(run) | TickOutcome::SkippedOverlap { unfinished: run } => Some(run),
            _ => None,
        };
        if let Some(outcome) = of.and_then(|run| self.0.get(run)) {
            tick.outcome = outcome.clone();
        }
        tick
    }
}
