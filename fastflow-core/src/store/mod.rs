//! Durable state: runs, their attempts, the event sequence, schedules with their ledger, and the catalog of pipelines.

#[cfg(any(feature = "sqlite", feature = "testing"))]
pub(crate) mod follow;
#[cfg(any(feature = "sqlite", feature = "testing"))]
pub(crate) mod record;
mod schedule;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::{collections::BTreeSet, fmt, num::NonZeroU32};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::schedule::{DueSchedule, Fire, Fired, PutSchedule, ScheduleChange, ScheduleRecord, TickQuery};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteOptions, SqliteStore};
use crate::{
    ExecutorName, PipelineName, Result, RunId, ScheduleId, Timestamp,
    pipeline::Diagnostic,
    run::{Attempt, Capacity, Decision, ExitReport, NewRun, Note, Run, RunEvent, RunState, Setup, Status},
    schedule::Tick,
    source::Revision,
};

/// Durable state.
///
/// # Contract
///
/// - Each method is one transaction, durable when it returns: it survives the death of the process, and power
///   loss where the storage honours flushes.
/// - [`advance`](Self::advance) applies [`RunState::apply`] inside its transaction, and writes the event, the
///   attempt, the counters and the day's statistics in it. No state change is ever without its event.
/// - Many calls at one time may share one commit.
///
/// `fastflow_core::store_conformance!` (feature `testing`) makes tests of this contract for a store of your own.
///
/// # Cancel safety
///
/// Dropping a future never leaves half a transaction; whether it took effect is then unknown.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Creates a run, or returns the earlier one with the same key (`existing`). The runs it replaces are cancelled
    /// with it, and so are those that its pipeline gives up for it ([`WhenFull`](crate::pipeline::WhenFull)).
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when the id is taken; `Unavailable` when its pipeline takes no more; `Conflict` for the planned
    /// restart of a daemon whose run has ended, or is being cancelled; `Unavailable`, `StorageFull` when nothing can be
    /// written now.
    async fn create_run(&self, new: NewRun) -> Result<Created>;

    /// One run.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    async fn run(&self, id: RunId) -> Result<Run>;

    /// The attempts of a run, first to last.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such run.
    async fn attempts(&self, id: RunId) -> Result<Vec<Attempt>>;

    /// Runs, newest first.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn runs(&self, query: &RunQuery) -> Result<Page<Run>>;

    /// Takes on up to `claim.limit` queued runs that are due at `claim.at`: each becomes [`RunState::Starting`] with
    /// a new attempt and a new epoch. Higher priorities come first; within one, pipelines take turns, and each
    /// pipeline's runs come by age.
    ///
    /// Runs of the executors in `claim.without`, and those that [`Usage::admits`](crate::run::Usage::admits) does not
    /// let in, stay as they are, and those behind them come first; what that costs must not grow with the number of
    /// runs left out.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `StorageFull` when nothing can be written now.
    async fn claim(&self, claim: Claim) -> Result<Vec<Run>>;

    /// When the next queued run that is not due at `after` becomes due.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn next_due(&self, after: Timestamp) -> Result<Option<Timestamp>>;

    /// Takes over every run that an earlier host left open (starting, running or stopping): each gets a new
    /// epoch, so that the earlier host can write no more.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `StorageFull` when nothing can be written now.
    async fn take_over(&self) -> Result<Vec<Run>>;

    /// Moves one run by one event. If that ends it, those of `step.follow_ups` whose condition holds are created with
    /// it; a cancelled run is followed by none.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Conflict` when the state does not allow the event or `step.epoch` is stale.
    async fn advance(&self, step: Step) -> Result<Advanced>;

    /// Keeps a note about a run, unless its epoch is not `epoch` any more.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Conflict` when `epoch` is stale; `Unavailable`, `StorageFull` when nothing can be written now.
    async fn note(&self, run: RunId, epoch: u64, note: Note) -> Result<()>;

    /// The notes about a run, oldest first.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn notes(&self, run: RunId) -> Result<Vec<Note>>;

    /// The runs in flight: starting, running or stopping, oldest first.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn in_flight(&self) -> Result<Vec<Run>>;

    /// Failed runs that nobody has run again since, newest first; those older than `before`, at most `limit` and never
    /// more than [`RunQuery::MAX_LIMIT`].
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn dead_letters(&self, before: Option<RunId>, limit: NonZeroU32) -> Result<Page<Run>>;

    /// How many queued runs that are due come before this one; none when it is not queued, or not due.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn queue_position(&self, run: RunId) -> Result<Option<u64>>;

    /// Makes schedules what they are to be: all of it, or nothing.
    ///
    /// # Errors
    ///
    /// `Conflict` when one of them has another generation than it must have; `Unavailable`, `StorageFull` when
    /// nothing can be written now.
    async fn put_schedules(&self, change: ScheduleChange) -> Result<()>;

    /// The schedules of one pipeline, or of all, by id.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn schedules(&self, pipeline: Option<&PipelineName>) -> Result<Vec<ScheduleRecord>>;

    /// One schedule.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    async fn schedule(&self, id: &ScheduleId) -> Result<ScheduleRecord>;

    /// Schedules whose next instant is due at `at`, the longest due first.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn due_schedules(&self, at: Timestamp, limit: NonZeroU32) -> Result<Vec<DueSchedule>>;

    /// When the next schedule is due.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn next_tick(&self) -> Result<Option<Timestamp>>;

    /// Writes what becomes of instants that are due, with the runs they make: all of a [`Fire`], or nothing of it when
    /// it is stale. So there is exactly one row, and at most one run, for each instant.
    ///
    /// # Errors
    ///
    /// `Invalid` when one contradicts itself, and then none is written: its rows are not in order or not within its
    /// cursors, its next instant is not behind them, or its rows name other runs than it makes. `Unavailable`,
    /// `StorageFull` when nothing can be written now.
    async fn fire(&self, fires: Vec<Fire>) -> Result<Vec<Fired>>;

    /// Rows of the ledger with the schedules they are of, newest first; those of one instant in an order of the store's.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn ticks(&self, query: &TickQuery) -> Result<Vec<(ScheduleId, Tick)>>;

    /// Replaces the catalog by what a source has now. Pipelines that disappear keep their history.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `StorageFull` when nothing can be written now.
    async fn put_catalog(&self, pipelines: Vec<PipelineState>, at: Timestamp) -> Result<()>;

    /// All pipelines that were ever in the catalog, by name.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn pipelines(&self) -> Result<Vec<PipelineRecord>>;

    /// The last `days` days of a pipeline on which a run ended, newest first.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn daily_statistics(&self, pipeline: &PipelineName, days: u32) -> Result<Vec<DailyStatistics>>;

    /// Events after `after`, oldest first, without gaps.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn events(&self, after: EventId, limit: NonZeroU32) -> Result<Vec<Event>>;

    /// The newest event's id.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn last_event(&self) -> Result<EventId>;

    /// Lets go of the store after everything accepted is written. Later calls fail with `Unavailable`.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `StorageFull` when the rest cannot be written.
    async fn close(&self) -> Result<()>;
}

/// What [`Store::create_run`] came to.
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

/// What [`Store::advance`] came to.
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

/// A position in the event sequence. 0 is before the first event.
///
/// ```
/// use fastflow_core::store::EventId;
///
/// assert!(EventId::default() < EventId(1));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub u64);

/// One state change, as the event sequence keeps it.
///
/// ```
/// use fastflow_core::{run::Status, store::Event};
///
/// fn is_end(event: &Event) -> bool {
///     event.status.is_terminal()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its position.
    pub id: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// The run it moved.
    pub run: RunId,
    /// The run's pipeline.
    pub pipeline: PipelineName,
    /// The attempt it belongs to; 0 before the first.
    pub attempt: u32,
    /// What happened: `submitted`, or the name of a [`RunEvent`].
    pub name: String,
    /// The state after it.
    pub state: String,
    /// The status after it.
    pub status: Status,
}

/// Which runs, and where to begin.
///
/// ```
/// use fastflow_core::{run::Status, store::RunQuery};
///
/// let mut query = RunQuery::default();
/// query.pipeline = Some("etl".parse().unwrap());
/// query.statuses = vec![Status::Failed];
/// assert!(query.limit.is_none() && query.before.is_none());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RunQuery {
    /// Only of this pipeline.
    pub pipeline: Option<PipelineName>,
    /// Only with one of these statuses; all when empty.
    pub statuses: Vec<Status>,
    /// Only runs older than this one: the page after it.
    pub before: Option<RunId>,
    /// At most so many; [`RunQuery::DEFAULT_LIMIT`] when `None`, never more than [`RunQuery::MAX_LIMIT`].
    pub limit: Option<NonZeroU32>,
}

impl RunQuery {
    /// Runs on a page when the caller says nothing.
    pub const DEFAULT_LIMIT: u32 = 50;
    /// The most runs on a page.
    pub const MAX_LIMIT: u32 = 1000;
}

/// A part of a longer list.
///
/// ```no_run
/// use fastflow_core::store::{RunQuery, Store};
///
/// # async fn example(store: &dyn Store) -> fastflow_core::Result<()> {
/// let mut query = RunQuery::default();
/// loop {
///     let page = store.runs(&query).await?;
///     for run in page.items {
///         println!("{}", run.id);
///     }
///     let Some(next) = page.next else { break };
///     query.before = Some(next);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// What to pass as `before` for the next page; `None` on the last.
    pub next: Option<RunId>,
}

/// A pipeline as a source has it now.
///
/// ```
/// use fastflow_core::store::PipelineState;
///
/// let state = PipelineState { name: "etl".parse().unwrap(), revision: None, diagnostics: Vec::new() };
/// assert!(!state.diagnostics.iter().any(|found| found.is_error()));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineState {
    /// Its name.
    pub name: PipelineName,
    /// The content it would run with; `None` when it is broken beyond that.
    pub revision: Option<Revision>,
    /// What is wrong with it; runnable when none of these is an error.
    pub diagnostics: Vec<Diagnostic>,
}

/// A pipeline as the store has it, with its counters.
///
/// ```
/// use fastflow_core::store::{Counters, PipelineRecord, PipelineState};
///
/// let state = PipelineState { name: "etl".parse().unwrap(), revision: None, diagnostics: Vec::new() };
/// let counters = Counters { succeeded: 3, ..Counters::default() };
/// let gone = PipelineRecord { state, present: false, counters, last_submitted_at: None };
/// assert_eq!(gone.counters.total(), 3);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineRecord {
    /// Its state at the last change of the catalog.
    pub state: PipelineState,
    /// Whether the source still has it.
    pub present: bool,
    /// Its runs that ended, by how they ended.
    pub counters: Counters,
    /// When its newest run was submitted.
    pub last_submitted_at: Option<Timestamp>,
}

/// Runs that ended, by how they ended.
///
/// ```
/// use fastflow_core::store::Counters;
///
/// assert_eq!(Counters { succeeded: 8, failed: 1, cancelled: 1 }.total(), 10);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Runs that ended as [`Status::Success`].
    pub succeeded: u64,
    /// Runs that ended as [`Status::Failed`].
    pub failed: u64,
    /// Runs that ended as [`Status::Cancelled`].
    pub cancelled: u64,
}

impl Counters {
    /// All runs that ended.
    pub fn total(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }
}

/// One day of a pipeline, in UTC.
///
/// ```
/// use std::time::Duration;
/// use fastflow_core::store::DailyStatistics;
///
/// fn mean(day: &DailyStatistics) -> Option<Duration> {
///     Some(Duration::from_micros(day.run_micros.checked_div(day.counters.total())?))
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DailyStatistics {
    /// The day.
    pub day: jiff::civil::Date,
    /// Runs that ended on it, by how they ended.
    pub counters: Counters,
    /// How long the programs of their last attempts ran, in microseconds, summed.
    pub run_micros: u64,
}
