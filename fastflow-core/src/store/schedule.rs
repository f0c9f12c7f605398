//! Schedules and their ledger, as stores keep them.

use std::num::NonZeroU32;

use super::Created;
#[cfg(any(feature = "sqlite", feature = "test-kit"))]
use super::record::whole_micros;
#[cfg(any(feature = "sqlite", feature = "test-kit"))]
use crate::{Error, ErrorKind};
use crate::{
    RunId, ScheduleId, Timestamp,
    run::NewRun,
    schedule::{EndReason, NextTick, Schedule, Tick},
};

/// A schedule as the store has it.
///
/// ```
/// use fastflow_core::store::ScheduleRecord;
///
/// fn line(record: &ScheduleRecord) -> String {
///     match &record.next {
///         Some(next) => format!("{} next at {}", record.schedule.id, next.nominal),
///         None => format!("{} never again", record.schedule.id),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleRecord {
    /// What it is.
    pub schedule: Schedule,
    /// Counts its changes. Who holds an older number is refused.
    pub generation: u64,
    /// Where its interval begins to count; no change of it ever moves it.
    pub anchor: Timestamp,
    /// The ledger has every instant up to this one, itself included, and none after it.
    pub cursor: Timestamp,
    /// Its next instant; none when there is none, or it has a problem.
    pub next: Option<NextTick>,
    /// Why its instants cannot be known: its time zone is not known here, say.
    pub problem: Option<String>,
}

/// What schedules are to be from now on, all of it or nothing.
///
/// ```
/// use fastflow_core::store::ScheduleChange;
///
/// assert!(ScheduleChange::default().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScheduleChange {
    /// New ones, and what known ones become.
    pub put: Vec<PutSchedule>,
    /// Those that are no more. Their ledger stays, and says why.
    pub remove: Vec<RemoveSchedule>,
}

/// A schedule that is no more.
///
/// ```
/// use fastflow_core::{Timestamp, schedule::EndReason, store::{RemoveSchedule, ScheduleRecord}};
///
/// fn by_hand(record: &ScheduleRecord, at: Timestamp) -> RemoveSchedule {
///     let (id, generation) = (record.schedule.id.clone(), record.generation);
///     RemoveSchedule { id, generation, at, reason: EndReason::Removed }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RemoveSchedule {
    /// Its id.
    pub id: ScheduleId,
    /// The generation that it must have.
    pub generation: u64,
    /// When it ends, or right after its last instant if that is later.
    pub at: Timestamp,
    /// Why, for the ledger.
    pub reason: EndReason,
}

impl ScheduleChange {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }
}

/// A schedule as it is to be.
///
/// ```
/// use fastflow_core::store::{PutSchedule, ScheduleRecord};
///
/// fn disabled(record: &ScheduleRecord) -> PutSchedule {
///     let mut record = record.clone();
///     record.schedule.enabled = false;
///     PutSchedule { replaces: Some(record.generation), record }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PutSchedule {
    /// The generation it must have now; none when there must be no such schedule. What it becomes has the next one.
    pub replaces: Option<u64>,
    /// What it becomes, but for the generation. Of the cursors that are known and given, the later one counts; a next
    /// instant that is not behind it is left out.
    pub record: ScheduleRecord,
}

/// A schedule that is due.
///
/// ```
/// use fastflow_core::store::DueSchedule;
///
/// fn overlaps(due: &DueSchedule) -> bool {
///     !due.unfinished.is_empty()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct DueSchedule {
    /// The schedule.
    pub record: ScheduleRecord,
    /// Its runs that have not ended, oldest first; at most [`DueSchedule::MAX_UNFINISHED`].
    pub unfinished: Vec<RunId>,
}

impl DueSchedule {
    /// The most unfinished runs that are read of one schedule.
    pub const MAX_UNFINISHED: u32 = 1000;
}

/// What becomes of the instants of one schedule that are due: one transaction with the runs they make.
///
/// ```no_run
/// use fastflow_core::store::{Fire, Fired, Store};
///
/// # async fn example(store: &dyn Store, fire: Fire) -> fastflow_core::Result<()> {
/// if let [Fired::Stale] = store.fire(vec![fire]).await?[..] {
///     println!("another host was here first, or somebody changed the schedule");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Fire {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The generation it must have.
    pub generation: u64,
    /// The cursor it must have.
    pub from: Timestamp,
    /// The cursor after it.
    pub to: Timestamp,
    /// The rows of the ledger for all instants after `from` up to `to`, in their order.
    pub ticks: Vec<Tick>,
    /// The runs that the ticks name.
    pub runs: Vec<NewRun>,
    /// The next instant after `to`.
    pub next: Option<NextTick>,
}

#[cfg(any(feature = "sqlite", feature = "test-kit"))]
impl Fire {
    /// Whether it is one: what is written must not depend on what a store happens to check.
    pub(crate) fn check(&self) -> crate::Result<()> {
        let wrong = |what: &'static str| {
            let error =
                Error::new(ErrorKind::Invalid, "what becomes of a schedule's instants contradicts itself");
            Err(error.with("schedule", &self.schedule).with("found", what))
        };
        let (from, to) = (whole_micros(self.from), whole_micros(self.to));
        let mut last = from;
        for tick in &self.ticks {
            let (nominal, through) = (whole_micros(tick.nominal), whole_micros(tick.through));
            if nominal <= last || through < nominal || tick.count == 0 {
                return wrong("rows that are not in the order of their instants");
            }
            last = through;
        }
        if last > to.max(from) {
            return wrong("a row of an instant behind the new cursor");
        }
        if self.next.is_some_and(|next| whole_micros(next.nominal) <= to) {
            return wrong("a next instant that is not behind the new cursor");
        }
        let mut named: Vec<RunId> = self.ticks.iter().filter_map(|tick| tick.outcome.run()).collect();
        let mut made: Vec<RunId> = self.runs.iter().map(|new| new.id).collect();
        named.sort_unstable();
        made.sort_unstable();
        if named != made || made.windows(2).any(|pair| pair[0] == pair[1]) {
            return wrong("rows that name other runs than those that it makes");
        }
        Ok(())
    }
}

/// What [`Store::fire`](super::Store::fire) came to.
///
/// ```
/// assert!(matches!(fastflow_core::store::Fired::Stale, fastflow_core::store::Fired::Stale));
/// ```
#[derive(Clone, Debug)]
pub enum Fired {
    /// It is written; these are its runs. A run that its pipeline refused is not among them, and the ledger says so.
    Done(Vec<Created>),
    /// The schedule has another generation or cursor by now, or is no more: nothing is written.
    Stale,
}

/// Which rows of the ledger, newest first.
///
/// ```
/// use fastflow_core::store::TickQuery;
///
/// let query = TickQuery { schedule: Some("etl/nightly".parse().unwrap()), ..TickQuery::default() };
/// assert!(query.before.is_none());
/// ```
#[derive(Clone, Debug, Default)]
pub struct TickQuery {
    /// Only of this schedule; of all when none.
    pub schedule: Option<ScheduleId>,
    /// Only rows that begin at this instant or later.
    pub since: Option<Timestamp>,
    /// Only before this instant.
    pub before: Option<Timestamp>,
    /// Only those behind this row, the last one of the page before: many schedules may share an instant.
    pub behind: Option<(Timestamp, ScheduleId)>,
    /// At most so many; [`TickQuery::DEFAULT_LIMIT`] when none, never more than [`TickQuery::MAX_LIMIT`].
    pub limit: Option<NonZeroU32>,
}

impl TickQuery {
    /// Rows when the caller says nothing.
    pub const DEFAULT_LIMIT: u32 = 100;
    /// The most rows at one time.
    pub const MAX_LIMIT: u32 = 10_000;
}
