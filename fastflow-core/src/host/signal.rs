//! Wake-ups. They carry positions, never data, so that losing one's place is impossible: the store is the truth.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, futures::Notified, watch};

use crate::{
    PipelineName, RunId,
    environment::EnvironmentId,
    run::SetupEnvironment,
    store::{Created, EventId},
};

/// Waiters are spread over so many bells, so that one run's end wakes few others.
const BELLS: usize = 256;

/// Who must look at the store again, and when.
#[derive(Debug)]
pub(crate) struct Signals {
    /// How far the event sequence reaches.
    end: watch::Sender<EventId>,
    bells: Vec<Notify>,
    queue: Notify,
    later: AtomicBool,
    schedules: Notify,
    stops: Notify,
    /// Runs whose stop is in the store and has to be carried out; as many as are in flight, at most, while a host
    /// works.
    stopped: Mutex<BTreeSet<RunId>>,
    /// Whether somebody here carries stops out.
    at_work: AtomicBool,
    used: Notify,
    /// Environments in which attempts started; as many as there are, at most.
    environments_used: Mutex<BTreeMap<EnvironmentId, SetupEnvironment>>,
    recorded: Notify,
    published: Notify,
    published_elsewhere: Notify,
    warm: Notify,
    /// Pipelines that want warm sandboxes and may have used one; as many as there are, at most.
    warm_used: Mutex<BTreeSet<PipelineName>>,
}

impl Signals {
    pub(crate) fn new(end: EventId) -> Self {
        Self {
            end: watch::Sender::new(end),
            bells: (0..BELLS).map(|_| Notify::new()).collect(),
            queue: Notify::new(),
            later: AtomicBool::new(true),
            schedules: Notify::new(),
            stops: Notify::new(),
            stopped: Mutex::default(),
            at_work: AtomicBool::new(false),
            used: Notify::new(),
            environments_used: Mutex::default(),
            recorded: Notify::new(),
            published: Notify::new(),
            published_elsewhere: Notify::new(),
            warm: Notify::new(),
            warm_used: Mutex::default(),
        }
    }

    /// Says that the sequence reaches `event`, which moved `run`. Never blocks; wake-ups may coalesce.
    pub(crate) fn moved(&self, run: RunId, event: EventId) {
        self.end.send_if_modified(|end| {
            let newer = event > *end;
            *end = event.max(*end);
            newer
        });
        self.bell(run).notify_waiters();
    }

    /// Makes everybody look at the store again, because it has just been closed.
    pub(crate) fn closed(&self) {
        self.end.send_modify(|_| {});
        self.bells.iter().for_each(Notify::notify_waiters);
    }

    /// Says that a run waits to be claimed; `later` when it is not due yet.
    pub(crate) fn queued(&self, later: bool) {
        self.later.fetch_or(later, Ordering::AcqRel);
        self.queue.notify_one();
    }

    /// Rings when a run may be claimed, or a slot came free.
    pub(crate) async fn queue(&self) {
        self.queue.notified().await;
    }

    /// Whether a run that is not due yet was queued since the last call.
    pub(crate) fn take_later(&self) -> bool {
        self.later.swap(false, Ordering::AcqRel)
    }

    /// Says that schedules have changed.
    pub(crate) fn reschedule(&self) {
        self.schedules.notify_one();
    }

    /// Rings when schedules have changed.
    pub(crate) async fn rescheduled(&self) {
        self.schedules.notified().await;
    }

    /// Says whether this process hosts: carries out stops from now on.
    pub(crate) fn work(&self, at_work: bool) {
        self.at_work.store(at_work, Ordering::Release);
    }

    /// Whether this process hosts.
    pub(crate) fn is_at_work(&self) -> bool {
        self.at_work.load(Ordering::Acquire)
    }

    /// Says that the stop of a run is in the store, and has to be carried out. By another process, where this one does
    /// not host; and a host that is yet to come finds it in the store.
    pub(crate) fn stop(&self, run: RunId) {
        if !self.is_at_work() {
            return;
        }
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).insert(run);
        self.stops.notify_one();
    }

    /// Rings when a run is to be stopped.
    pub(crate) async fn stops(&self) {
        self.stops.notified().await;
    }

    /// The runs that are to be stopped since the last call.
    pub(crate) fn take_stops(&self) -> BTreeSet<RunId> {
        std::mem::take(&mut *self.stopped.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says what came of a run that was created: that it exists, waits to be claimed, and whose place it took.
    pub(crate) fn created(&self, created: &Created, later: bool) {
        if created.existing {
            return;
        }
        self.moved(created.id, created.event);
        for run in &created.cancelled {
            self.moved(*run, created.event);
            self.stop(*run);
        }
        self.queued(later);
    }

    /// Says that other pipelines, or other revisions of them, are shown.
    pub(crate) fn publish(&self) {
        self.published.notify_one();
    }

    /// Rings when other pipelines, or other revisions of them, are shown.
    pub(crate) async fn published(&self) {
        self.published.notified().await;
    }

    /// Says that another process may have published something.
    pub(crate) fn publish_elsewhere(&self) {
        self.published_elsewhere.notify_one();
    }

    /// Rings when another process may have published something.
    pub(crate) async fn published_elsewhere(&self) {
        self.published_elsewhere.notified().await;
    }

    /// Says that an attempt of a pipeline that wants warm sandboxes has started.
    pub(crate) fn use_warm(&self, pipeline: &PipelineName) {
        self.warm_used.lock().unwrap_or_else(PoisonError::into_inner).insert(pipeline.clone());
        self.warm.notify_one();
    }

    /// Rings when such an attempt has started.
    pub(crate) async fn warm_used(&self) {
        self.warm.notified().await;
    }

    /// The pipelines of such attempts since the last call.
    pub(crate) fn take_warm_used(&self) -> BTreeSet<PipelineName> {
        std::mem::take(&mut *self.warm_used.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says that an attempt in an environment is in the store.
    pub(crate) fn use_environment(&self, environment: &SetupEnvironment) {
        let mut used = self.environments_used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(environment.id.clone(), environment.clone());
        self.used.notify_one();
    }

    /// Rings when such an attempt is in the store.
    pub(crate) async fn environment_used(&self) {
        self.used.notified().await;
    }

    /// The environments of such attempts since the last call.
    pub(crate) fn take_environments_used(&self) -> Vec<SetupEnvironment> {
        let mut used = self.environments_used.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *used).into_values().collect()
    }

    /// Says that the packages of an environment are in the store.
    pub(crate) fn record_environment(&self) {
        self.recorded.notify_one();
    }

    /// Rings when the packages of an environment are in the store.
    pub(crate) async fn environment_recorded(&self) {
        self.recorded.notified().await;
    }

    /// Rings when `run` (or by chance another) has moved. Registered at the first poll or `enable`.
    pub(crate) fn movement(&self, run: RunId) -> Notified<'_> {
        self.bell(run).notified()
    }

    /// A view of how far the event sequence reaches.
    pub(crate) fn end(&self) -> watch::Receiver<EventId> {
        self.end.subscribe()
    }

    /// Whether anybody follows the event sequence.
    pub(crate) fn is_followed(&self) -> bool {
        self.end.receiver_count() > 0
    }

    fn bell(&self, run: RunId) -> &Notify {
        // The last bytes of a version 7 UUID are random.
        let [.., high, low] = *run.as_bytes();
        &self.bells[usize::from(u16::from_be_bytes([high, low])) % BELLS]
    }
}
