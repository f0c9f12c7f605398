//! What stores show: events, lists, the catalog and its counters.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::ScheduleChange;
use crate::{
    PipelineName, RunId, Timestamp,
    pipeline::Diagnostic,
    run::{RunEvent, Status, StopCause},
    source::{Revision, SyncRecord},
};

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
    /// What happened: `submitted`, or the name of a [`RunEvent`](crate::run::RunEvent).
    pub name: String,
    /// The state after it.
    pub state: String,
    /// The status after it.
    pub status: Status,
}

impl Event {
    /// Whether the run waits in the queue after it.
    pub(crate) fn is_queued(&self) -> bool {
        self.status == Status::Pending
    }

    /// Whether it has asked the run to end, which may have to be carried out.
    pub(crate) fn is_stop(&self) -> bool {
        self.name == RunEvent::StopRequested(StopCause::Cancelled).name() && !self.status.is_terminal()
    }
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

/// Everything that changes together when a source is synced.
///
/// ```
/// use fastflow_core::{source::SyncRecord, store::{Publication, ScheduleChange}};
///
/// fn nothing_left(sync: SyncRecord) -> Publication {
///     Publication { pipelines: Vec::new(), schedules: ScheduleChange::default(), sync }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Publication {
    /// The whole catalog.
    pub pipelines: Vec<PipelineState>,
    /// What becomes of schedules.
    pub schedules: ScheduleChange,
    /// The line in the log of syncs, whose `commit` is what is shown from now on. Its id is not heeded.
    pub sync: SyncRecord,
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
