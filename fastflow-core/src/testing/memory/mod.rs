//! A store in memory: the whole contract of [`Store`], and nothing of it survives the process.

mod packages;
mod queue;
mod schedules;
mod secrets;
mod views;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;

pub(crate) use self::world::World;
#[cfg(feature = "testing")]
pub(crate) use self::world::{Row, is_open};
use crate::{
    Error, ErrorKind, PipelineName, Result, RunId, ScheduleId, Timestamp,
    environment::EnvironmentId,
    run::{Attempt, NewRun, Note, Run, SetupEnvironment},
    schedule::Tick,
    secret::{MasterKeyId, SecretName, SecretScope},
    source::{Commit, SyncId, SyncRecord},
    store::{
        Advanced, Audit, Claim, Created, DailyStatistics, DueSchedule, EnvironmentPackages, Event, EventId,
        Fire, Fired, PackageQuery, PackageUse, Page, PipelineRecord, Publication, PutSecret, ResealSecret,
        RunQuery, ScheduleChange, ScheduleRecord, SecretQuery, SecretRecord, SecretVersion, Step, Store,
        TickQuery,
    },
};

/// A [`Store`] in memory, for tests. It decides by the same functions as the stores that last, and is as strict; but
/// nothing of it survives the process. Clones are one store.
///
/// ```
/// use fastflow_core::{store::Store, testing::MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> fastflow_core::Result<()> {
/// let store = MemoryStore::new();
/// store.close().await?;
/// assert!(store.pipelines().await.is_err());
/// assert!(store.reopened().pipelines().await?.is_empty());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    world: Arc<Mutex<World>>,
    closed: Arc<AtomicBool>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same rows, as a host finds them that comes after the one which closed this store.
    #[must_use]
    pub fn reopened(&self) -> Self {
        Self { world: Arc::clone(&self.world), closed: Arc::default() }
    }

    /// One transaction.
    pub(crate) fn transact<T>(&self, work: impl FnOnce(&mut World) -> Result<T>) -> Result<T> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Unavailable, "the store is closed"));
        }
        work(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create_run(&self, new: NewRun) -> Result<Created> {
        self.transact(|world| world.create(new))
    }

    async fn run(&self, id: RunId) -> Result<Run> {
        self.transact(|world| Ok(world.row(id)?.record.run.clone()))
    }

    async fn attempts(&self, id: RunId) -> Result<Vec<Attempt>> {
        self.transact(|world| Ok(world.row(id)?.attempts()))
    }

    async fn runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        self.transact(|world| Ok(world.page(query)))
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Run>> {
        self.transact(|world| world.claim(&claim))
    }

    async fn next_due(&self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.transact(|world| Ok(world.next_due(after)))
    }

    async fn take_over(&self) -> Result<Vec<Run>> {
        self.transact(|world| Ok(world.take_over()))
    }

    async fn advance(&self, step: Step) -> Result<Advanced> {
        self.transact(|world| world.advance(&step))
    }

    async fn note(&self, run: RunId, epoch: u64, note: Note) -> Result<()> {
        self.transact(|world| world.note(run, epoch, note))
    }

    async fn notes(&self, run: RunId) -> Result<Vec<Note>> {
        self.transact(|world| Ok(world.notes(run)))
    }

    async fn in_flight(&self) -> Result<Vec<Run>> {
        self.transact(|world| Ok(world.in_flight()))
    }

    async fn dead_letters(&self, before: Option<RunId>, limit: NonZeroU32) -> Result<Page<Run>> {
        self.transact(|world| Ok(world.dead_letters(before, limit)))
    }

    async fn queue_ahead(&self, run: RunId, limit: NonZeroU32) -> Result<Vec<Run>> {
        let limit = usize::try_from(limit.get().min(RunQuery::MAX_LIMIT)).unwrap_or(usize::MAX);
        self.transact(|world| Ok(world.queue_ahead(run, limit)))
    }

    async fn queue_position(&self, run: RunId) -> Result<Option<u64>> {
        self.transact(|world| Ok(world.queue_position(run)))
    }

    async fn put_schedules(&self, change: ScheduleChange) -> Result<()> {
        self.transact(|world| world.put_schedules(change))
    }

    async fn schedules(&self, pipeline: Option<&PipelineName>) -> Result<Vec<ScheduleRecord>> {
        self.transact(|world| Ok(world.schedules_of(pipeline)))
    }

    async fn schedule(&self, id: &ScheduleId) -> Result<ScheduleRecord> {
        self.transact(|world| world.schedule(id))
    }

    async fn due_schedules(&self, at: Timestamp, limit: NonZeroU32) -> Result<Vec<DueSchedule>> {
        self.transact(|world| Ok(world.due_schedules(at, limit)))
    }

    async fn next_tick(&self) -> Result<Option<Timestamp>> {
        self.transact(|world| Ok(world.next_tick()))
    }

    async fn fire(&self, fires: Vec<Fire>) -> Result<Vec<Fired>> {
        self.transact(|world| {
            fires.iter().try_for_each(Fire::check)?;
            Ok(fires.into_iter().map(|fire| world.fire(fire)).collect())
        })
    }

    async fn ticks(&self, query: &TickQuery) -> Result<Vec<(ScheduleId, Tick)>> {
        self.transact(|world| Ok(world.ticks_of(query)))
    }

    async fn publish(&self, publication: Publication) -> Result<SyncId> {
        self.transact(|world| world.publish(publication))
    }

    async fn record_sync(&self, sync: SyncRecord) -> Result<SyncId> {
        self.transact(|world| Ok(world.record_sync(sync)))
    }

    async fn syncs(&self, before: Option<SyncId>, limit: NonZeroU32) -> Result<Vec<SyncRecord>> {
        self.transact(|world| Ok(world.syncs(before, limit)))
    }

    async fn published(&self) -> Result<Option<Commit>> {
        self.transact(|world| Ok(world.published()))
    }

    async fn pipelines(&self) -> Result<Vec<PipelineRecord>> {
        self.transact(|world| Ok(world.catalog()))
    }

    async fn daily_statistics(&self, pipeline: &PipelineName, days: u32) -> Result<Vec<DailyStatistics>> {
        self.transact(|world| Ok(world.days_of(pipeline, days)))
    }

    async fn events(&self, after: EventId, limit: NonZeroU32) -> Result<Vec<Event>> {
        self.transact(|world| Ok(world.events_after(after, limit)))
    }

    async fn last_event(&self) -> Result<EventId> {
        self.transact(|world| Ok(world.last_event()))
    }

    async fn put_environment(&self, environment: EnvironmentPackages) -> Result<()> {
        self.transact(|world| {
            world.put_environment(environment);
            Ok(())
        })
    }

    async fn environment(&self, id: &EnvironmentId) -> Result<EnvironmentPackages> {
        self.transact(|world| world.environment(id))
    }

    async fn unrecorded_environments(&self, limit: NonZeroU32) -> Result<Vec<SetupEnvironment>> {
        self.transact(|world| Ok(world.unrecorded(limit)))
    }

    async fn package_use(&self, query: &PackageQuery) -> Result<PackageUse> {
        self.transact(|world| Ok(world.package_use(query)))
    }

    async fn unaudited_environments(&self, limit: NonZeroU32) -> Result<Vec<EnvironmentId>> {
        self.transact(|world| Ok(world.unaudited(limit)))
    }

    async fn put_audit(&self, audit: Audit) -> Result<()> {
        self.transact(|world| {
            world.put_audit(audit);
            Ok(())
        })
    }

    async fn audits(&self, environment: Option<&EnvironmentId>, limit: NonZeroU32) -> Result<Vec<Audit>> {
        self.transact(|world| Ok(world.audits_of(environment, limit)))
    }

    async fn put_secret(&self, put: PutSecret) -> Result<()> {
        self.transact(|world| world.put_secret(put))
    }

    async fn find_secrets(
        &self,
        scopes: &[SecretScope],
        names: &BTreeSet<SecretName>,
    ) -> Result<Vec<SecretRecord>> {
        self.transact(|world| Ok(world.find_secrets(scopes, names)))
    }

    async fn secrets(&self, query: &SecretQuery) -> Result<Vec<SecretRecord>> {
        self.transact(|world| Ok(world.secrets(query)))
    }

    async fn secret_versions(&self, scope: &SecretScope, name: &SecretName) -> Result<Vec<SecretVersion>> {
        self.transact(|world| Ok(world.secret_versions(scope, name)))
    }

    async fn remove_secret(&self, scope: &SecretScope, name: &SecretName, at: Timestamp) -> Result<()> {
        self.transact(|world| world.remove_secret(scope, name, at))
    }

    async fn reseal_secret(&self, reseal: ResealSecret) -> Result<bool> {
        self.transact(|world| Ok(world.reseal_secret(reseal)))
    }

    async fn secrets_by_key(&self) -> Result<BTreeMap<MasterKeyId, u64>> {
        self.transact(|world| Ok(world.secrets_by_key()))
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
