//! Durable state: runs, their attempts, the event sequence, schedules with their ledger, and the catalog of pipelines.

#[cfg(any(feature = "sqlite", feature = "test-kit"))]
pub(crate) mod accept;
#[cfg(any(feature = "sqlite", feature = "test-kit"))]
pub(crate) mod follow;
#[cfg(any(feature = "sqlite", feature = "test-kit"))]
pub(crate) mod keep;
mod packages;
#[cfg(any(feature = "sqlite", feature = "test-kit"))]
pub(crate) mod record;
mod schedule;
mod secrets;
#[cfg(feature = "sqlite")]
mod sqlite;
mod step;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroU32,
    os::fd::BorrowedFd,
};

use async_trait::async_trait;

#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteOptions, SqliteStore};
pub use self::{
    packages::{Audit, EnvironmentPackages, PackageInEnvironment, PackageQuery, PackageUse},
    schedule::{
        DueSchedule, Fire, Fired, PutSchedule, RemoveSchedule, ScheduleChange, ScheduleRecord, TickQuery,
    },
    secrets::{
        PutSecret, ResealSecret, SecretContent, SecretLastUse, SecretQuery, SecretRecord, SecretVersion,
    },
    step::{Advanced, Claim, Created, FollowOn, FollowUp, FollowUpAction, Step},
    view::{
        Counters, DailyStatistics, Event, EventId, Page, PipelineRecord, PipelineState, Publication, RunQuery,
    },
};
use crate::{
    PipelineName, Result, RunId, ScheduleId, Timestamp,
    environment::EnvironmentId,
    hosting::HostInfo,
    run::{Attempt, NewRun, Note, Run, SetupEnvironment},
    schedule::Tick,
    secret::{MasterKeyId, SecretName, SecretScope},
    source::{Commit, SyncId, SyncRecord},
};

/// Durable state.
///
/// # Contract
///
/// - Each method is one transaction, durable when it returns: it survives the death of the process, and power
///   loss where the storage honours flushes.
/// - [`advance`](Self::advance) applies [`RunState::apply`](crate::run::RunState::apply) inside its transaction, and writes the event, the
///   attempt, the counters and the day's statistics in it. No state change is ever without its event.
/// - A step that starts an attempt ([`RunEvent::Started`](crate::run::RunEvent::Started)) with a setup that names
///   secrets with scopes also notes their last use.
/// - Many calls at one time may share one commit.
///
/// `fastflow_core::store_conformance!` (feature `testing`) makes tests of this contract for a store of your own.
///
/// # Cancel safety
///
/// Dropping a future never leaves half a transaction; whether it took effect is then unknown.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Becomes the one host of what is stored, of all that have it open. It stays that until it steps down or is closed,
    /// or its process ends, however it ends. Fine when it hosts already.
    ///
    /// A store that only one orchestrator has at a time needs neither this nor the three that follow: by default it hosts.
    ///
    /// `source` is where the pipelines of this host come from ([`PipelineSource::origin`](crate::source::PipelineSource::origin)):
    /// what the others learn of it by [`hosted_by`](Self::hosted_by).
    ///
    /// # Errors
    ///
    /// `Conflict` when another one hosts; where that is known, the context names its `pid` and since when (`since`).
    async fn host(&self, _source: Option<&str>) -> Result<()> {
        Ok(())
    }

    /// The same, for who tries again and again: it waits for nobody to let go. By default as [`host`](Self::host).
    ///
    /// # Errors
    ///
    /// As [`host`](Self::host).
    async fn try_host(&self, source: Option<&str>) -> Result<()> {
        self.host(source).await
    }

    /// Lets another one host. Fine when it does not host.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be written now.
    async fn step_down(&self) -> Result<()> {
        Ok(())
    }

    /// Who hosts; none when nobody does, and by default.
    ///
    /// # Errors
    ///
    /// `Unavailable` when that cannot be found out now.
    async fn hosted_by(&self) -> Result<Option<HostInfo>> {
        Ok(None)
    }

    /// Returns when another one that has the store open has written since the last call, or may have; within a second, and
    /// mostly within milliseconds. The events of what it wrote come after the one that is returned. Never, by default.
    ///
    /// # Cancel safety
    ///
    /// Safe: what was not told yet is told by the next call.
    async fn written_elsewhere(&self) -> EventId {
        std::future::pending().await
    }

    /// Files whose locks a forked child shares with this process, for as long as it has them open. They are the same as
    /// long as the store is there. None, by default. To let go of them does not make the child fit to open a store:
    /// [`Orchestrator::inherited_locks`](crate::Orchestrator::inherited_locks) says why.
    fn inherited_locks(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

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

    /// Takes on up to `claim.limit` queued runs that are due at `claim.at`: each becomes [`RunState::Starting`](crate::run::RunState::Starting) with
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

    /// Failed runs that were not run again since, by hand or as daemons are, newest first; those older than `before`, at most `limit` and never
    /// more than [`RunQuery::MAX_LIMIT`].
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn dead_letters(&self, before: Option<RunId>, limit: NonZeroU32) -> Result<Page<Run>>;

    /// The queued runs that are due and come before this one, in their order; at most `limit` and never more than
    /// [`RunQuery::MAX_LIMIT`]. None where it is not queued, or not due.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn queue_ahead(&self, run: RunId, limit: NonZeroU32) -> Result<Vec<Run>>;

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

    /// Replaces what is shown by what a source has now: the catalog, the schedules that change with it, the commit, and
    /// the line in the log of syncs; all of it, or nothing. Pipelines that disappear keep their history.
    ///
    /// # Errors
    ///
    /// `Conflict` when a schedule has another generation than it must have; `Unavailable`, `StorageFull` when nothing
    /// can be written now.
    async fn publish(&self, publication: Publication) -> Result<SyncId>;

    /// Keeps a sync that changed nothing: there was nothing new, or it failed. With an id that is not 0 it takes the place
    /// of that line, for which it stands as well. The log keeps its newest
    /// [`SyncRecord::MAX_KEPT`](crate::source::SyncRecord::MAX_KEPT) lines.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `StorageFull` when nothing can be written now.
    async fn record_sync(&self, sync: SyncRecord) -> Result<SyncId>;

    /// The log of syncs, newest first; those older than `before`, at most `limit`.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn syncs(&self, before: Option<SyncId>, limit: NonZeroU32) -> Result<Vec<SyncRecord>>;

    /// The commit that is shown; none when there was none, or the source has none.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn published(&self) -> Result<Option<Commit>>;

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

    /// Records an environment with its packages. One that is recorded stays as it is, unless its packages were not known
    /// and are now.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `StorageFull` when nothing can be written now.
    async fn put_environment(&self, environment: EnvironmentPackages) -> Result<()>;

    /// One environment as it was recorded, its packages by name.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not recorded.
    async fn environment(&self, id: &EnvironmentId) -> Result<EnvironmentPackages>;

    /// At most `limit` environments in which attempts ran and which are not recorded, by id.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn unrecorded_environments(&self, limit: NonZeroU32) -> Result<Vec<SetupEnvironment>>;

    /// Who used a package. What that costs must not grow with the number of runs.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn package_use(&self, query: &PackageQuery) -> Result<PackageUse>;

    /// Environments with known packages of which no audit that is kept came to an answer; those recorded last first, at
    /// most `limit`.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn unaudited_environments(&self, limit: NonZeroU32) -> Result<Vec<EnvironmentId>>;

    /// Keeps an audit. Of each environment the newest [`Audit::KEPT_MAX`] stay.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `StorageFull` when nothing can be written now.
    async fn put_audit(&self, audit: Audit) -> Result<()>;

    /// The audits of one environment, or of all, newest first; at most `limit` and never more than
    /// [`Audit::READ_MAX`].
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn audits(&self, environment: Option<&EnvironmentId>, limit: NonZeroU32) -> Result<Vec<Audit>>;

    /// Puts a value. The one it replaces is gone.
    ///
    /// # Errors
    ///
    /// `Conflict` when `version` is not the one after the newest that there ever was under this scope and name;
    /// `Unavailable`, `StorageFull` when nothing can be written now.
    async fn put_secret(&self, put: PutSecret) -> Result<()>;

    /// The values of `names` in `scopes`, in no order.
    ///
    /// # Errors
    ///
    /// `Invalid` when one of them is not the one in force, by the versions that there ever were under its scope and name:
    /// somebody has put an older row in its place. `Unavailable` when the store cannot be read now.
    async fn find_secrets(
        &self,
        scopes: &[SecretScope],
        names: &BTreeSet<SecretName>,
    ) -> Result<Vec<SecretRecord>>;

    /// Values by scope and name, both in the order of their texts; also those that nobody gets because they are not the
    /// newest.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn secrets(&self, query: &SecretQuery) -> Result<Vec<SecretRecord>>;

    /// The values that there are and were under a scope and name, newest first; the newest
    /// [`SecretQuery::MAX_LIMIT`] of them. None where there never was one.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn secret_versions(&self, scope: &SecretScope, name: &SecretName) -> Result<Vec<SecretVersion>>;

    /// Removes a value. That it was there is kept.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Unavailable`, `StorageFull` when nothing can be written now.
    async fn remove_secret(&self, scope: &SecretScope, name: &SecretName, at: Timestamp) -> Result<()>;

    /// Puts the same value under another key, if what is there is still `reseal.from`. Whether it was.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `StorageFull` when nothing can be written now.
    async fn reseal_secret(&self, reseal: ResealSecret) -> Result<bool>;

    /// How many values are sealed with each key.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    async fn secrets_by_key(&self) -> Result<BTreeMap<MasterKeyId, u64>>;

    /// Lets go of the store after everything accepted is written. Later calls fail with `Unavailable`.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `StorageFull` when the rest cannot be written.
    async fn close(&self) -> Result<()>;
}

/// Stores keep microseconds; what they return right away must not differ from what they return later.
pub(crate) fn whole_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
