//! The store of one host: the one of all, with what may go wrong on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
};

use async_trait::async_trait;
use futures::FutureExt as _;

use super::{Bug, host::Host};
use crate::{
    PipelineName, Result, RunId, ScheduleId, Timestamp,
    environment::EnvironmentId,
    run::{Attempt, NewRun, Note, Run, RunEvent, SetupEnvironment, StopCause},
    schedule::Tick,
    secret::{MasterKeyId, SecretName, SecretScope},
    source::{Commit, SyncId, SyncRecord},
    store::{
        Advanced, Audit, Claim, Created, DailyStatistics, DueSchedule, EnvironmentPackages, Event, EventId,
        Fire, Fired, PackageQuery, PackageUse, Page, PipelineRecord, Publication, PutSecret, ResealSecret,
        RunQuery, ScheduleChange, ScheduleRecord, SecretQuery, SecretRecord, SecretVersion, Step, Store,
        TickQuery,
    },
    testing::memory::is_open,
};

#[derive(Debug)]
pub(super) struct SimStore(pub(super) Arc<Host>);

impl SimStore {
    /// One call. The store in memory answers at once; what was done is looked at before anything else happens.
    async fn call<T: Send>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&dyn Store) -> futures::future::BoxFuture<'_, Result<T>> + Send,
        then: impl FnOnce(&Host, &T) + Send,
    ) -> Result<T> {
        let host = &self.0;
        let answer = host.call(what, || {
            let done = effect(&host.stage.store).now_or_never().expect("memory answers at once");
            if let Ok(done) = &done {
                then(host, done);
            }
            host.stage.observe(host.number);
            done
        });
        answer.await
    }

    /// What a host does that keeps a cancel to itself: it says that it has written it.
    fn pretended(&self, step: &Step) -> Option<Advanced> {
        let stage = &self.0.stage;
        if !stage.has(Bug::ForgottenCancel) || step.event != RunEvent::StopRequested(StopCause::Cancelled) {
            return None;
        }
        let run = stage.store.run(step.run).now_or_never()?.ok().filter(is_open)?;
        Some(Advanced {
            state: run.state,
            attempt: run.attempt,
            event: EventId::default(),
            created: Vec::new(),
        })
    }
}

#[async_trait]
impl Store for SimStore {
    async fn create_run(&self, new: NewRun) -> Result<Created> {
        self.call("create_run", |store| store.create_run(new), |_, _| {}).await
    }

    async fn run(&self, id: RunId) -> Result<Run> {
        self.call("run", |store| store.run(id), |_, _| {}).await
    }

    async fn attempts(&self, id: RunId) -> Result<Vec<Attempt>> {
        self.call("attempts", |store| store.attempts(id), |_, _| {}).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        let query = query.clone();
        self.call("runs", move |store| async move { store.runs(&query).await }.boxed(), |_, _| {}).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Run>> {
        self.call(
            "claim",
            |store| store.claim(claim),
            |host, runs| host.stage.inner().ledger.owned(host.number, runs),
        )
        .await
    }

    async fn next_due(&self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.call("next_due", |store| store.next_due(after), |_, _| {}).await
    }

    async fn take_over(&self) -> Result<Vec<Run>> {
        self.call(
            "take_over",
            |store| store.take_over(),
            |host, runs| host.stage.inner().ledger.owned(host.number, runs),
        )
        .await
    }

    async fn advance(&self, mut step: Step) -> Result<Advanced> {
        let (run, epoch, event) = (step.run, step.epoch, step.event.clone());
        let pretended = self.pretended(&step);
        if self.0.stage.has(Bug::StaleEpoch) {
            step.epoch = None;
        }
        let late = self.0.stage.has(Bug::LateFollowUp).then(|| std::mem::take(&mut step.follow_ups));
        let advanced = self
            .call(
                "advance",
                |store| match pretended {
                    Some(advanced) => std::future::ready(Ok(advanced)).boxed(),
                    None => store.advance(step),
                },
                |host, _| host.stage.inner().ledger.moved(host.number, run, epoch, &event),
            )
            .await?;
        if let Some(late) = late {
            super::chain::follow_late(self, &late, run).await?;
        }
        Ok(advanced)
    }

    async fn note(&self, run: RunId, epoch: u64, note: Note) -> Result<()> {
        self.call("note", |store| store.note(run, epoch, note), |_, ()| {}).await
    }

    async fn notes(&self, run: RunId) -> Result<Vec<Note>> {
        self.call("notes", |store| store.notes(run), |_, _| {}).await
    }

    async fn in_flight(&self) -> Result<Vec<Run>> {
        self.call("in_flight", |store| store.in_flight(), |_, _| {}).await
    }

    async fn dead_letters(&self, before: Option<RunId>, limit: NonZeroU32) -> Result<Page<Run>> {
        self.call("dead_letters", |store| store.dead_letters(before, limit), |_, _| {}).await
    }

    async fn queue_ahead(&self, run: RunId, limit: NonZeroU32) -> Result<Vec<Run>> {
        self.call("queue_ahead", |store| store.queue_ahead(run, limit), |_, _| {}).await
    }

    async fn queue_position(&self, run: RunId) -> Result<Option<u64>> {
        self.call("queue_position", |store| store.queue_position(run), |_, _| {}).await
    }

    async fn put_schedules(&self, change: ScheduleChange) -> Result<()> {
        self.call("put_schedules", |store| store.put_schedules(change), |_, ()| {}).await
    }

    async fn schedules(&self, pipeline: Option<&PipelineName>) -> Result<Vec<ScheduleRecord>> {
        let pipeline = pipeline.cloned();
        self.call(
            "schedules",
            move |store| async move { store.schedules(pipeline.as_ref()).await }.boxed(),
            |_, _| {},
        )
        .await
    }

    async fn schedule(&self, id: &ScheduleId) -> Result<ScheduleRecord> {
        let id = id.clone();
        self.call("schedule", move |store| async move { store.schedule(&id).await }.boxed(), |_, _| {}).await
    }

    async fn due_schedules(&self, at: Timestamp, limit: NonZeroU32) -> Result<Vec<DueSchedule>> {
        self.call("due_schedules", |store| store.due_schedules(at, limit), |_, _| {}).await
    }

    async fn next_tick(&self) -> Result<Option<Timestamp>> {
        self.call("next_tick", |store| store.next_tick(), |_, _| {}).await
    }

    async fn fire(&self, fires: Vec<Fire>) -> Result<Vec<Fired>> {
        if self.0.stage.has(Bug::CursorFirst) {
            let moved = |fire: &Fire| Fire { ticks: Vec::new(), runs: Vec::new(), ..fire.clone() };
            let moved: Vec<Fire> = fires.iter().map(moved).collect();
            self.call("fire", |store| store.fire(moved), |_, _| {}).await?;
        }
        self.call("fire", |store| store.fire(fires), |_, _| {}).await
    }

    async fn ticks(&self, query: &TickQuery) -> Result<Vec<(ScheduleId, Tick)>> {
        let query = query.clone();
        self.call("ticks", move |store| async move { store.ticks(&query).await }.boxed(), |_, _| {}).await
    }

    async fn publish(&self, publication: Publication) -> Result<SyncId> {
        self.call("publish", |store| store.publish(publication), |_, _| {}).await
    }

    async fn record_sync(&self, sync: SyncRecord) -> Result<SyncId> {
        self.call("record_sync", |store| store.record_sync(sync), |_, _| {}).await
    }

    async fn syncs(&self, before: Option<SyncId>, limit: NonZeroU32) -> Result<Vec<SyncRecord>> {
        self.call("syncs", |store| store.syncs(before, limit), |_, _| {}).await
    }

    async fn published(&self) -> Result<Option<Commit>> {
        self.call("published", |store| store.published(), |_, _| {}).await
    }

    async fn pipelines(&self) -> Result<Vec<PipelineRecord>> {
        self.call("pipelines", |store| store.pipelines(), |_, _| {}).await
    }

    async fn daily_statistics(&self, pipeline: &PipelineName, days: u32) -> Result<Vec<DailyStatistics>> {
        let pipeline = pipeline.clone();
        self.call(
            "daily_statistics",
            move |store| async move { store.daily_statistics(&pipeline, days).await }.boxed(),
            |_, _| {},
        )
        .await
    }

    async fn events(&self, after: EventId, limit: NonZeroU32) -> Result<Vec<Event>> {
        self.call("events", |store| store.events(after, limit), |_, _| {}).await
    }

    async fn last_event(&self) -> Result<EventId> {
        self.call("last_event", |store| store.last_event(), |_, _| {}).await
    }

    async fn put_environment(&self, environment: EnvironmentPackages) -> Result<()> {
        self.call("put_environment", |store| store.put_environment(environment), |_, ()| {}).await
    }

    async fn environment(&self, id: &EnvironmentId) -> Result<EnvironmentPackages> {
        let id = id.clone();
        self.call("environment", move |store| async move { store.environment(&id).await }.boxed(), |_, _| {})
            .await
    }

    async fn unrecorded_environments(&self, limit: NonZeroU32) -> Result<Vec<SetupEnvironment>> {
        self.call("unrecorded_environments", |store| store.unrecorded_environments(limit), |_, _| {}).await
    }

    async fn package_use(&self, query: &PackageQuery) -> Result<PackageUse> {
        let query = query.clone();
        self.call(
            "package_use",
            move |store| async move { store.package_use(&query).await }.boxed(),
            |_, _| {},
        )
        .await
    }

    async fn unaudited_environments(&self, limit: NonZeroU32) -> Result<Vec<EnvironmentId>> {
        self.call("unaudited_environments", |store| store.unaudited_environments(limit), |_, _| {}).await
    }

    async fn put_audit(&self, audit: Audit) -> Result<()> {
        self.call("put_audit", |store| store.put_audit(audit), |_, ()| {}).await
    }

    async fn audits(&self, environment: Option<&EnvironmentId>, limit: NonZeroU32) -> Result<Vec<Audit>> {
        let environment = environment.cloned();
        self.call(
            "audits",
            move |store| async move { store.audits(environment.as_ref(), limit).await }.boxed(),
            |_, _| {},
        )
        .await
    }

    async fn put_secret(&self, put: PutSecret) -> Result<()> {
        self.call("put_secret", |store| store.put_secret(put), |_, ()| {}).await
    }

    async fn find_secrets(
        &self,
        scopes: &[SecretScope],
        names: &BTreeSet<SecretName>,
    ) -> Result<Vec<SecretRecord>> {
        let (scopes, names) = (scopes.to_vec(), names.clone());
        self.call(
            "find_secrets",
            move |store| async move { store.find_secrets(&scopes, &names).await }.boxed(),
            |_, _| {},
        )
        .await
    }

    async fn secrets(&self, query: &SecretQuery) -> Result<Vec<SecretRecord>> {
        let query = query.clone();
        self.call("secrets", move |store| async move { store.secrets(&query).await }.boxed(), |_, _| {}).await
    }

    async fn secret_versions(&self, scope: &SecretScope, name: &SecretName) -> Result<Vec<SecretVersion>> {
        let (scope, name) = (scope.clone(), name.clone());
        self.call(
            "secret_versions",
            move |store| async move { store.secret_versions(&scope, &name).await }.boxed(),
            |_, _| {},
        )
        .await
    }

    async fn remove_secret(&self, scope: &SecretScope, name: &SecretName, at: Timestamp) -> Result<()> {
        let (scope, name) = (scope.clone(), name.clone());
        self.call(
            "remove_secret",
            move |store| async move { store.remove_secret(&scope, &name, at).await }.boxed(),
            |_, ()| {},
        )
        .await
    }

    async fn reseal_secret(&self, reseal: ResealSecret) -> Result<bool> {
        self.call("reseal_secret", |store| store.reseal_secret(reseal), |_, _| {}).await
    }

    async fn secrets_by_key(&self) -> Result<BTreeMap<MasterKeyId, u64>> {
        self.call("secrets_by_key", |store| store.secrets_by_key(), |_, _| {}).await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
