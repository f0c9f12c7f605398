//! The store in one SQLite file: nothing to install, nothing to run beside the host.
//!
//! One task writes. It takes every command that waits, reads what they need, decides in memory by the same pure
//! functions as every other store, and writes all of it in one transaction, which one `fsync` makes durable.
//! Readers have connections of their own and never wait for it.
//!
//! Several processes may have the file open, and each has such a task: they take turns by SQLite's own lock
//! ([`transaction`]), and tell each other when they have written ([`bell`]). One of them may host ([`lock`]).
//!
//! # Files
//!
//! Beside `<database>` lie `-wal` and `-shm` (SQLite's own), `.lock` (who hosts), `.open` (who has it open), `.bell` and
//! `.bell-host` (watched by those who want to know that others have written), `.reserve` (room for the day the disk is
//! full) and `.backup-v<N>` (a copy from before the schema left version N).

mod attempts;
mod batch;
mod bell;
mod catalog;
mod codec;
mod command;
mod events;
mod fault;
mod forked;
mod gate;
mod host;
mod line;
mod load;
mod lock;
mod migration;
mod notes;
mod open;
mod options;
mod packages;
mod queue;
mod reserve;
mod runs;
mod schedules;
mod secrets;
mod specs;
mod syncs;
mod transaction;
mod turns;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    num::NonZeroU32,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use sqlx::SqlitePool;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

pub use self::options::SqliteOptions;
use self::{
    bell::Bells,
    command::{Command, Reply},
    fault::Fault,
    forked::Opened,
    gate::Gate,
    host::Role,
    lock::{HostLock, Patience},
    packages::{AuditRow, EnvironmentRows},
    reserve::Reserve,
    secrets::SecretChange,
    specs::Specs,
    writer::{FileIdentity, WAITING_MAX, Writer},
};
use super::{
    Advanced, Audit, Claim, Created, DailyStatistics, DueSchedule, EnvironmentPackages, Event, EventId, Fire,
    Fired, FollowUpAction, PackageQuery, PackageUse, Page, PipelineRecord, Publication, PutSecret,
    ResealSecret, RunQuery, ScheduleChange, ScheduleRecord, SecretQuery, SecretRecord, SecretVersion, Step,
    Store, TickQuery,
};
use crate::{
    Clock, Error, ErrorKind, PipelineName, Result, RunId, ScheduleId, Timestamp,
    environment::EnvironmentId,
    hosting::HostInfo,
    run::{Attempt, NewRun, Note, Run, SetupEnvironment},
    schedule::Tick,
    secret::{MasterKeyId, SecretName, SecretScope},
    source::{Commit, SyncId, SyncRecord},
};

/// A [`Store`] in one SQLite file. Clones share it; when the last one is dropped, or with [`Store::close`], the
/// file is let go of. Any number of processes may have the file open; one of them can [host](Store::host).
///
/// ```
/// # async fn open() -> fastflow_core::Result<()> {
/// use std::sync::Arc;
/// use fastflow_core::{SystemClock, store::{SqliteOptions, SqliteStore, Store}};
///
/// let clock = Arc::new(SystemClock::new());
/// let store = SqliteStore::open("fastflow.db", SqliteOptions::default(), clock).await?;
/// assert!(store.pipelines().await?.is_empty());
/// store.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    clock: Arc<dyn Clock>,
}

/// What the writer and the readers have in common.
#[derive(Debug)]
struct Shared {
    path: Arc<Path>,
    readers: SqlitePool,
    specs: Specs,
    gate: Gate,
    host: HostLock,
    bells: Bells,
    /// Whether this one hosts, as far as it is settled.
    role: watch::Sender<Role>,
    /// Held by who changes that.
    settling: Mutex<()>,
    /// What others have written that nobody was told of comes after this event.
    elsewhere: watch::Sender<Option<EventId>>,
}

impl SqliteStore {
    /// Opens the database at `path`, and makes it when there is none. The folder must exist.
    ///
    /// # Errors
    ///
    /// - `Conflict` when its schema must be moved forward and another process has it open; where that is a host of an
    ///   earlier version, the context names its `pid` and since when (`since`).
    /// - `Unsupported` when a newer version wrote it, or it lies on a network file system; and in a process that was
    ///   forked from one that had any database open, whatever it opens itself: SQLite would take the locks of that for
    ///   its own, and damage the file.
    /// - `Corrupt` when it is damaged. It is never changed or removed then.
    /// - `Denied` when the file or its folder is not writable, `NotFound` when the folder does not exist.
    /// - `StorageFull` when it must be made or moved to a newer schema and there is no room.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a database that can be opened again.
    pub async fn open(
        path: impl Into<PathBuf>,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let path: Arc<Path> = std::path::absolute(path.into())?.into();
        let opened = Opened::here()?;
        open::check_place(&path, &options)?;
        let (gate, host) = (Gate::open(&path)?, HostLock::open(&path)?);
        let connection = gate.enter((&path, &host), migration::MIGRATIONS, &options, &*clock).await?;
        let shared = Arc::new(Shared {
            path: Arc::clone(&path),
            readers: open::readers(&path),
            specs: Specs::default(),
            gate,
            host,
            bells: Bells::open(&path)?,
            role: watch::Sender::new(Role::Guest),
            settling: Mutex::new(()),
            elsewhere: watch::Sender::new(None),
        });
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            connection: Some(connection),
            version: None,
            known: None,
            reserve: Reserve::new(&path, options.reserve_bytes, clock.elapsed()),
            clock: Arc::clone(&clock),
            file: FileIdentity::of(&path)?,
            next: None,
            turns: None,
            open: HashMap::new(),
            pipelines: HashMap::new(),
            spec_rows: HashMap::new(),
            _opened: opened,
        };
        writer.look().await.map_err(|fault| fault.error())?;
        let (commands, waiting) = mpsc::channel(WAITING_MAX);
        let listener = bell::listen(Arc::clone(&shared), commands.downgrade(), Arc::clone(&clock));
        let listener = tokio::spawn(listener).abort_handle();
        tokio::spawn(writer.run(waiting, listener));
        Ok(Self { shared, commands, clock })
    }

    /// Asks the writer, and waits for the commit.
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| self.closed())?;
        answer.await.map_err(|_| self.closed())?
    }

    fn closed(&self) -> Error {
        Fault::new(ErrorKind::Unavailable, "the store is closed", &self.shared.path).error()
    }

    async fn change_secret(&self, change: SecretChange) -> Result<bool> {
        self.ask(|reply| Command::ChangeSecret { change: Box::new(change), reply }).await
    }

    fn readers(&self) -> &SqlitePool {
        &self.shared.readers
    }

    fn specs(&self) -> &Specs {
        &self.shared.specs
    }

    fn fault(&self, error: &sqlx::Error) -> Error {
        Fault::of(error, &self.shared.path).error()
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

fn no_such_run(id: RunId) -> Error {
    Error::new(ErrorKind::NotFound, "no such run").with("run", id)
}

#[async_trait]
impl Store for SqliteStore {
    async fn host(&self, source: Option<&str>) -> Result<()> {
        self.become_host(Patience::UntilLetGo, source).await
    }

    async fn try_host(&self, source: Option<&str>) -> Result<()> {
        self.become_host(Patience::None, source).await
    }

    async fn step_down(&self) -> Result<()> {
        self.shared.step_down().await;
        Ok(())
    }

    async fn hosted_by(&self) -> Result<Option<HostInfo>> {
        self.who_hosts().await
    }

    async fn written_elsewhere(&self) -> EventId {
        self.shared.written_elsewhere().await
    }

    fn inherited_locks(&self) -> Vec<BorrowedFd<'_>> {
        self.shared.locks()
    }

    async fn create_run(&self, new: NewRun) -> Result<Created> {
        let spec = self.specs().prepare(&new.spec)?;
        self.ask(|reply| Command::Create { new: Box::new(new), spec, reply }).await
    }

    async fn run(&self, id: RunId) -> Result<Run> {
        self.read_run(id).await
    }

    async fn attempts(&self, id: RunId) -> Result<Vec<Attempt>> {
        self.read_attempts(id).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        self.read_runs(query).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Run>> {
        self.ask(|reply| Command::Claim { claim, reply }).await
    }

    async fn next_due(&self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.read_next_due(after).await
    }

    async fn take_over(&self) -> Result<Vec<Run>> {
        self.ask(|reply| Command::TakeOver { reply }).await
    }

    async fn advance(&self, step: Step) -> Result<Advanced> {
        let starts = step.follow_ups.iter().filter_map(|follow_up| match &follow_up.action {
            FollowUpAction::Start(new) => Some(self.specs().prepare(&new.spec)),
            FollowUpAction::Note(_) => None,
        });
        let specs = starts.collect::<Result<Vec<_>>>()?;
        self.ask(|reply| Command::Advance { step: Box::new(step), specs, reply }).await
    }

    async fn note(&self, run: RunId, epoch: u64, note: Note) -> Result<()> {
        self.ask(|reply| Command::Note { run, epoch, note: Box::new(note), reply }).await
    }

    async fn notes(&self, run: RunId) -> Result<Vec<Note>> {
        self.read_notes(run).await
    }

    async fn in_flight(&self) -> Result<Vec<Run>> {
        self.read_in_flight().await
    }

    async fn dead_letters(&self, before: Option<RunId>, limit: NonZeroU32) -> Result<Page<Run>> {
        self.read_dead_letters(before, limit).await
    }

    async fn queue_ahead(&self, run: RunId, limit: NonZeroU32) -> Result<Vec<Run>> {
        self.read_ahead(run, limit).await
    }

    async fn queue_position(&self, run: RunId) -> Result<Option<u64>> {
        self.read_position(run).await
    }

    async fn put_schedules(&self, change: ScheduleChange) -> Result<()> {
        if change.is_empty() {
            return Ok(());
        }
        let rows = schedules::rows(&change)?;
        self.ask(|reply| Command::PutSchedules { rows, reply }).await
    }

    async fn schedules(&self, pipeline: Option<&PipelineName>) -> Result<Vec<ScheduleRecord>> {
        self.read_schedules(pipeline).await
    }

    async fn schedule(&self, id: &ScheduleId) -> Result<ScheduleRecord> {
        self.read_schedule(id).await
    }

    async fn due_schedules(&self, at: Timestamp, limit: NonZeroU32) -> Result<Vec<DueSchedule>> {
        self.read_due_schedules(at, limit).await
    }

    async fn next_tick(&self) -> Result<Option<Timestamp>> {
        self.read_next_tick().await
    }

    async fn fire(&self, fires: Vec<Fire>) -> Result<Vec<Fired>> {
        let prepare = |fire: Fire| {
            fire.check()?;
            let specs = fire.runs.iter().map(|new| self.specs().prepare(&new.spec));
            let specs = specs.collect::<Result<Vec<_>>>()?;
            Ok((fire, specs))
        };
        let fires = fires.into_iter().map(prepare).collect::<Result<Vec<_>>>()?;
        self.ask(|reply| Command::Fire { fires, reply }).await
    }

    async fn ticks(&self, query: &TickQuery) -> Result<Vec<(ScheduleId, Tick)>> {
        self.read_ticks(query).await
    }

    async fn publish(&self, publication: Publication) -> Result<SyncId> {
        let rows = Box::new(syncs::publication_rows(&publication)?);
        self.ask(|reply| Command::Publish { rows, reply }).await
    }

    async fn record_sync(&self, sync: SyncRecord) -> Result<SyncId> {
        let row = syncs::row(&sync)?;
        self.ask(|reply| Command::RecordSync { row, reply }).await
    }

    async fn syncs(&self, before: Option<SyncId>, limit: NonZeroU32) -> Result<Vec<SyncRecord>> {
        self.read_syncs(before, limit).await
    }

    async fn published(&self) -> Result<Option<Commit>> {
        self.read_published().await
    }

    async fn pipelines(&self) -> Result<Vec<PipelineRecord>> {
        self.read_pipelines().await
    }

    async fn daily_statistics(&self, pipeline: &PipelineName, days: u32) -> Result<Vec<DailyStatistics>> {
        self.read_days(pipeline, days).await
    }

    async fn events(&self, after: EventId, limit: NonZeroU32) -> Result<Vec<Event>> {
        self.read_events(after, limit).await
    }

    async fn last_event(&self) -> Result<EventId> {
        self.read_last_event().await
    }

    async fn put_environment(&self, environment: EnvironmentPackages) -> Result<()> {
        let rows = EnvironmentRows::new(environment)?;
        self.ask(|reply| Command::PutEnvironment { rows, reply }).await
    }

    async fn environment(&self, id: &EnvironmentId) -> Result<EnvironmentPackages> {
        self.read_environment(id).await
    }

    async fn unrecorded_environments(&self, limit: NonZeroU32) -> Result<Vec<SetupEnvironment>> {
        self.read_unrecorded(limit).await
    }

    async fn package_use(&self, query: &PackageQuery) -> Result<PackageUse> {
        self.read_package_use(query).await
    }

    async fn unaudited_environments(&self, limit: NonZeroU32) -> Result<Vec<EnvironmentId>> {
        self.read_unaudited(limit).await
    }

    async fn put_audit(&self, audit: Audit) -> Result<()> {
        let row = AuditRow::new(&audit)?;
        self.ask(|reply| Command::PutAudit { row, reply }).await
    }

    async fn audits(&self, environment: Option<&EnvironmentId>, limit: NonZeroU32) -> Result<Vec<Audit>> {
        self.read_audits(environment, limit).await
    }

    async fn put_secret(&self, put: PutSecret) -> Result<()> {
        self.change_secret(SecretChange::Put(put)).await.map(drop)
    }

    async fn find_secrets(
        &self,
        scopes: &[SecretScope],
        names: &BTreeSet<SecretName>,
    ) -> Result<Vec<SecretRecord>> {
        self.read_found(scopes, names).await
    }

    async fn secrets(&self, query: &SecretQuery) -> Result<Vec<SecretRecord>> {
        self.read_secrets(query).await
    }

    async fn secret_versions(&self, scope: &SecretScope, name: &SecretName) -> Result<Vec<SecretVersion>> {
        self.read_versions(scope, name).await
    }

    async fn remove_secret(&self, scope: &SecretScope, name: &SecretName, at: Timestamp) -> Result<()> {
        let remove = SecretChange::Remove { scope: scope.clone(), name: name.clone(), at };
        self.change_secret(remove).await.map(drop)
    }

    async fn reseal_secret(&self, reseal: ResealSecret) -> Result<bool> {
        self.change_secret(SecretChange::Reseal(reseal)).await
    }

    async fn secrets_by_key(&self) -> Result<BTreeMap<MasterKeyId, u64>> {
        self.read_by_key().await
    }

    async fn close(&self) -> Result<()> {
        self.ask(|reply| Command::Close { reply }).await
    }
}

#[cfg(test)]
mod tests;
