//! What moves runs: claims, steps, and what the end of a run leads to.

use std::{collections::BTreeSet, num::NonZeroU32};

use super::EventId;
use crate::{
    ExecutorName, PipelineName, RunId, Timestamp,
    run::{Capacity, Decision, ExitReport, NewRun, RunEvent, RunState, Setup},
};

/// What [`Store::create_run`](super::Store::create_run) came to.
///
/// ```no_run
/// use fastflow_core::{run::NewRun, store::Store};
///
/// # async fn example(store: &dyn Store, new: NewRun) -> fastflow_core::Result<()> {
/// let id = new.id;
/// let created = store.create_run(new).await?;
/// assert!(created.existing || created.id == id);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Created {
    /// The run, new or earlier.
    pub id: RunId,
    /// Whether an earlier run had the same key, so that nothing was created.
    pub existing: bool,
    /// The runs that were cancelled for it: they are to be stopped.
    pub cancelled: Vec<RunId>,
    /// The newest event's id after it.
    pub event: EventId,
}

/// Which queued runs a host takes on.
///
/// ```
/// use std::num::NonZeroU32;
/// use fastflow_core::{Timestamp, store::Claim};
///
/// let mut claim = Claim::new(Timestamp::UNIX_EPOCH, NonZeroU32::MIN);
/// assert!(claim.without.is_empty());
/// claim.without.insert("docker".parse().unwrap());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Only runs that are due then; also when their attempts were claimed.
    pub at: Timestamp,
    /// At most so many.
    pub limit: NonZeroU32,
    /// Not those of these executors: they wait in the queue until they are claimed without being left out.
    pub without: BTreeSet<ExecutorName>,
    /// What the host has for all runs in flight together.
    pub capacity: Capacity,
}

impl Claim {
    /// A claim that leaves nothing out.
    pub fn new(at: Timestamp, limit: NonZeroU32) -> Self {
        Self { at, limit, without: BTreeSet::new(), capacity: Capacity::default() }
    }
}

/// One state change.
///
/// ```
/// use fastflow_core::{OsEntropy, RunId, SystemClock, Timestamp, run::{RunEvent, StopCause}, store::Step};
///
/// let run = RunId::new(&SystemClock::new(), &OsEntropy);
/// let step = Step::new(run, None, RunEvent::StopRequested(StopCause::Cancelled), Timestamp::UNIX_EPOCH);
/// assert!(step.setup.is_none() && step.report.is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Step {
    /// The run to move.
    pub run: RunId,
    /// The epoch of the claim under which the writer acts; a stale one is refused. `None` for people's wishes,
    /// such as a cancel, which hold whoever runs it.
    pub epoch: Option<u64>,
    /// What happened.
    pub event: RunEvent,
    /// When.
    pub at: Timestamp,
    /// What was made ready for the attempt, kept with it.
    pub setup: Option<Setup>,
    /// What its sandbox reported, kept with the attempt.
    pub report: Option<ExitReport>,
    /// What the end of the run leads to, should this step end it.
    pub follow_ups: Vec<FollowUp>,
}

impl Step {
    /// A step with nothing beside its event.
    pub fn new(run: RunId, epoch: Option<u64>, event: RunEvent, at: Timestamp) -> Self {
        Self { run, epoch, event, at, setup: None, report: None, follow_ups: Vec::new() }
    }
}

/// What the end of a run leads to. A cancelled run leads to nothing.
///
/// ```
/// use fastflow_core::{run::Decision, store::{FollowOn, FollowUp, FollowUpAction}};
///
/// let given_up = FollowUpAction::Note(Decision::GaveUp { restarts: 10 });
/// let follow_up = FollowUp { on: FollowOn::Failure, after: Default::default(), action: given_up };
/// assert!(follow_up.after.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct FollowUp {
    /// Which ends lead to it.
    pub on: FollowOn,
    /// The pipelines of which a run of the same chain must have succeeded, too. When it is not empty, the run is
    /// created once a chain.
    pub after: BTreeSet<PipelineName>,
    /// What they lead to.
    pub action: FollowUpAction,
}

/// Which ends of a run lead to something.
///
/// ```
/// use fastflow_core::{run::RunState, store::FollowOn};
///
/// assert!(FollowOn::Any.holds(&RunState::Succeeded) && !FollowOn::Any.holds(&RunState::Cancelled));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FollowOn {
    /// Success.
    Success,
    /// Failure, after the last attempt.
    Failure,
    /// Both.
    Any,
}

impl FollowOn {
    /// Whether this state is such an end.
    pub fn holds(self, state: &RunState) -> bool {
        match state {
            RunState::Succeeded => self != Self::Failure,
            RunState::Failed(_) => self != Self::Success,
            _ => false,
        }
    }
}

/// What the end of a run leads to.
///
/// ```
/// use fastflow_core::{run::{Decision, NewRun}, store::FollowUpAction};
///
/// fn start(run: NewRun) -> FollowUpAction {
///     FollowUpAction::Start(Box::new(run))
/// }
/// ```
#[derive(Clone, Debug)]
pub enum FollowUpAction {
    /// This run is created.
    Start(Box<NewRun>),
    /// Nothing is created, and this is noted.
    Note(Decision),
}

/// What [`Store::advance`](super::Store::advance) came to.
///
/// ```no_run
/// use fastflow_core::store::{Step, Store};
///
/// # async fn example(store: &dyn Store, step: Step) -> fastflow_core::Result<()> {
/// let advanced = store.advance(step).await?;
/// println!("attempt {} is {}", advanced.attempt, advanced.state.name());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Advanced {
    /// The state after it.
    pub state: RunState,
    /// The attempt it belongs to; 0 before the first.
    pub attempt: u32,
    /// The id of the newest event after it.
    pub event: EventId,
    /// The runs it created.
    pub created: Vec<Created>,
}
