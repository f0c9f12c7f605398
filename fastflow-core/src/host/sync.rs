//! Syncs: from what a source has to what is shown, all of it at once, and the line in the log that says so.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt as _, Shared};
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    Ports,
    backoff::Backoff,
    reconcile::{self, Shown},
};
use crate::{
    Error, ErrorKind, PipelineName, Result,
    source::{
        Catalog, ChangeKind, PipelineChange, SourceEvent, SyncFailure, SyncId, SyncOutcome, SyncRecord,
        SyncRequest, SyncTrigger,
    },
    store::{PipelineRecord, PipelineState},
};

/// How long a start waits for its sync where an earlier host has left something to show.
const START_WAIT: Duration = Duration::from_secs(10);
/// The longest pause between two syncs of a source that fails, unless the interval itself is longer.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The findings of each broken pipeline that the log of syncs keeps; the catalog has all of them.
const MAX_FINDINGS: usize = 5;

/// The syncs of one host: one at work, and at most one for each request that waits for it.
#[derive(Debug)]
pub(crate) struct Syncs {
    /// Held while a sync works.
    work: Arc<tokio::sync::Mutex<()>>,
    /// Those that have not begun. Whoever asks for the same shares them; who comes later may have changed something
    /// since the one at work looked.
    waiting: Mutex<Vec<(SyncRequest, Waiting)>>,
    /// How to end those that have not ended; none once there are to be no more.
    tasks: Mutex<Option<Vec<AbortHandle>>>,
    /// Failures in a row.
    failures: AtomicU32,
    /// Rings when a sync goes well after failures.
    recovered: Notify,
    /// The machinery failed in a sync, and something may be written that is not acted upon yet.
    is_unsettled: AtomicBool,
    unsettled: Notify,
}

impl Default for Syncs {
    fn default() -> Self {
        Self {
            work: Arc::default(),
            waiting: Mutex::default(),
            tasks: Mutex::new(Some(Vec::new())),
            failures: AtomicU32::new(0),
            recovered: Notify::new(),
            is_unsettled: AtomicBool::new(false),
            unsettled: Notify::new(),
        }
    }
}

/// What several callers wait for. Errors are shared, too.
type Waiting = Shared<BoxFuture<'static, Result<SyncRecord, Arc<Error>>>>;

impl Syncs {
    fn waiting(&self) -> MutexGuard<'_, Vec<(SyncRequest, Waiting)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, Option<Vec<AbortHandle>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts how a sync ended.
    fn ended(&self, done: Result<&SyncRecord, &Error>) {
        match done.map(|record| record.outcome.failure()) {
            Ok(None) => {
                if self.failures.swap(0, Ordering::AcqRel) > 0 {
                    self.recovered.notify_one();
                }
            }
            Ok(Some(_)) => drop(self.failures.fetch_add(1, Ordering::AcqRel)),
            Err(_) => {
                self.failures.fetch_add(1, Ordering::AcqRel);
                self.unsettle();
            }
        }
    }

    /// Has the source synced again soon.
    fn unsettle(&self) {
        self.is_unsettled.store(true, Ordering::Release);
        self.unsettled.notify_one();
    }

    /// Whether an earlier sync left something to be acted upon; it is taken to be settled now.
    fn is_unsettled(&self) -> bool {
        self.is_unsettled.swap(false, Ordering::AcqRel)
    }

    /// Ends what is going on, and lets nothing begin any more. What a sync has not published is thrown away.
    pub(crate) fn stop(&self) {
        for task in self.tasks().take().into_iter().flatten() {
            task.abort();
        }
    }

    /// The same, and waits until nothing is going on.
    pub(crate) async fn close(&self) {
        self.stop();
        drop(self.work.lock().await);
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the host is shut down, and syncs nothing any more")
}

/// Syncs, together with whoever asks for the same before it begins. It goes on when nobody waits for it any more.
///
/// A sync that failed is a record that says so.
pub(crate) async fn sync(
    ports: &Arc<Ports>,
    request: SyncRequest,
    trigger: SyncTrigger,
) -> Result<SyncRecord> {
    let shared = {
        let mut waiting = ports.syncs.waiting();
        if let Some((_, shared)) = waiting.iter().find(|(other, _)| *other == request) {
            shared.clone()
        } else {
            let shared = begin(Arc::clone(ports), request.clone(), trigger)?;
            waiting.push((request, shared.clone()));
            shared
        }
    };
    shared.await.map_err(|error| Error::new(error.kind(), error.message().to_owned()).because(error.chain()))
}

fn begin(ports: Arc<Ports>, request: SyncRequest, trigger: SyncTrigger) -> Result<Waiting> {
    let owner = Arc::clone(&ports);
    let mut tasks = owner.syncs.tasks();
    let Some(tasks) = &mut *tasks else { return Err(closed()) };
    tasks.retain(|task| !task.is_finished());
    let task = tokio::spawn(async move {
        let lock = Arc::clone(&ports.syncs.work);
        let _alone = lock.lock().await;
        ports.syncs.waiting().retain(|(other, _)| *other != request);
        work(&ports, &request, trigger).await.map_err(Arc::new)
    });
    tasks.push(task.abort_handle());
    let joined = task.map(|joined| {
        joined.unwrap_or_else(|lost| {
            let broken = || Error::new(ErrorKind::Internal, "the sync broke off");
            Err(Arc::new(if lost.is_cancelled() { closed() } else { broken().because(lost) }))
        })
    });
    Ok(joined.boxed().shared())
}

/// One sync, by a caller who is alone. Whoever watches is told of its end, however it ends.
pub(crate) async fn work(ports: &Ports, request: &SyncRequest, trigger: SyncTrigger) -> Result<SyncRecord> {
    let (started_at, began) = (ports.clock.now(), ports.clock.elapsed());
    ports.source_events.tell(SourceEvent::SyncStarted { trigger, branch: request.branch.clone() });
    let record = SyncRecord {
        id: SyncId::default(),
        started_at,
        since: started_at,
        repeated: 1,
        duration_micros: 0,
        trigger,
        branch: request.branch.clone(),
        outcome: SyncOutcome::Unchanged,
        previous: None,
        commit: None,
        distance: None,
        bytes: 0,
    };
    let done = one(ports, request, (record.clone(), began)).await;
    let told = match &done {
        Ok(record) => record.clone(),
        Err(error) => SyncRecord { outcome: SyncOutcome::Failed(SyncFailure::of(error)), ..record },
    };
    ports.syncs.ended(done.as_ref());
    ports.source_events.tell(SourceEvent::SyncEnded(Box::new(told)));
    done
}

async fn one(
    ports: &Ports,
    request: &SyncRequest,
    (record, began): (SyncRecord, Duration),
) -> Result<SyncRecord> {
    let published = ports.store.published().await?;
    let duration = || {
        let took = ports.clock.elapsed().saturating_sub(began);
        u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
    };
    let previous = published.as_ref().map(|commit| commit.id.clone());
    let record = SyncRecord { previous, commit: published.clone(), ..record };
    // What is known is read while the source looks. It decides only whether there is anything to do: what is written is
    // decided by what is read then.
    let known = futures::future::try_join(ports.store.pipelines(), ports.store.schedules(None));
    let (fetched, known) = futures::future::join(ports.source.fetch(request), known).await;
    let (pipelines, schedules) = known?;
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(failure) => {
            let outcome = SyncOutcome::Failed(failure);
            return keep(ports, SyncRecord { duration_micros: duration(), outcome, ..record }).await;
        }
    };
    let catalog = &fetched.catalog;
    let (states, changes) = compare(pipelines, catalog);
    let is_new = states.is_some() || catalog.commit != published;
    let mut record = SyncRecord {
        duration_micros: duration(),
        outcome: SyncOutcome::Published { changes },
        commit: catalog.commit.clone(),
        distance: fetched.distance,
        bytes: fetched.bytes,
        ..record
    };
    let states = is_new.then(|| states.unwrap_or_else(|| reconcile::states(catalog)));
    let shown = if !is_new && reconcile::is_settled(catalog, schedules, ports.clock.now())? {
        Shown::Already
    } else {
        match reconcile::publish(ports, catalog, states, &record).await {
            Ok(shown) => shown,
            Err(error) => Shown::Now(written(ports, &record).await.ok_or(error)?),
        }
    };
    ports.source.publish(&fetched).await;
    ports.joins.learn(catalog);
    wake_warmer(ports, &record);
    let is_shown_now = matches!(shown, Shown::Now(_));
    if is_shown_now || ports.syncs.is_unsettled() {
        // What is due at once finds the pipeline that it is due for.
        ports.signals.reschedule();
        ports.signals.publish();
    }
    match shown {
        Shown::Now(id) => {
            record.id = id;
            if let Err(error) = reconcile::look_again(ports, catalog).await {
                tracing::warn!(%error, "a schedule that came back may not be whole yet; the next sync looks again");
                ports.syncs.unsettle();
            }
            Ok(record)
        }
        // A folder tells of changes that are none.
        Shown::Already if record.trigger == SyncTrigger::Change => {
            Ok(SyncRecord { outcome: SyncOutcome::Unchanged, ..record })
        }
        Shown::Already => {
            let outcome = SyncOutcome::Unchanged;
            keep(ports, SyncRecord { outcome, duration_micros: duration(), ..record }).await
        }
    }
}

/// The line of a publication whose answer got lost, if it was written all the same.
async fn written(ports: &Ports, record: &SyncRecord) -> Option<SyncId> {
    let newest = ports.store.syncs(None, NonZeroU32::MIN).await.ok()?.pop()?;
    (SyncRecord { id: newest.id, ..record.clone() } == newest).then_some(newest.id)
}

/// A pipeline that is new may want sandboxes that are ready.
fn wake_warmer(ports: &Ports, record: &SyncRecord) {
    let SyncOutcome::Published { changes } = &record.outcome else { return };
    for change in
        changes.iter().filter(|change| matches!(change.kind, ChangeKind::Added | ChangeKind::Changed))
    {
        ports.signals.use_warm(&change.name);
    }
}

/// Keeps a sync that changed nothing. Several in a row that come to the same are one line of the log.
async fn keep(ports: &Ports, mut record: SyncRecord) -> Result<SyncRecord> {
    let newest = ports.store.syncs(None, NonZeroU32::MIN).await?.pop();
    if let Some(newest) = newest.filter(|newest| newest.is_repeated_by(&record)) {
        (record.id, record.since, record.repeated) = (newest.id, newest.since, newest.repeated + 1);
    }
    record.id = ports.store.record_sync(record.clone()).await?;
    Ok(record)
}

/// The catalog as the store keeps it, if that differs from what it has, and what differs.
fn compare(
    known: Vec<PipelineRecord>,
    catalog: &Catalog,
) -> (Option<Vec<PipelineState>>, Vec<PipelineChange>) {
    let mut known: BTreeMap<PipelineName, PipelineState> = known
        .into_iter()
        .filter(|record| record.present)
        .map(|record| (record.state.name.clone(), record.state))
        .collect();
    let states = reconcile::states(catalog);
    let mut changes = Vec::new();
    for state in &states {
        let earlier = known.remove(&state.name);
        if earlier.as_ref() == Some(state) {
            continue;
        }
        let kind = match (&state.revision, earlier) {
            (None, _) => ChangeKind::Broken,
            (Some(_), None) => ChangeKind::Added,
            (Some(_), Some(_)) => ChangeKind::Changed,
        };
        let findings = match kind {
            ChangeKind::Broken => state.diagnostics.iter().take(MAX_FINDINGS).cloned().collect(),
            _ => Vec::new(),
        };
        changes.push(PipelineChange { name: state.name.clone(), kind, findings });
    }
    let removed = |name| PipelineChange { name, kind: ChangeKind::Removed, findings: Vec::new() };
    changes.extend(known.into_keys().map(removed));
    changes.sort_by(|one, other| one.name.cmp(&other.name));
    let states = (!changes.is_empty()).then_some(states);
    (states, changes)
}

/// The sync of a start. Where an earlier host has left something to show, that is good enough when the source cannot be
/// reached or takes long.
pub(crate) async fn at_start(ports: &Arc<Ports>) -> Result<()> {
    let syncing = sync(ports, SyncRequest::default(), SyncTrigger::Start);
    if ports.store.published().await?.is_none() || ports.source.catalog().await.is_err() {
        return match syncing.await?.outcome {
            SyncOutcome::Failed(failure) => Err(failure.into()),
            _ => Ok(()),
        };
    }
    tokio::select! {
        record = syncing => {
            if let Some(failure) = record?.outcome.failure() {
                tracing::warn!(%failure, "the source could not be synced; what was published before is shown");
            }
        }
        () = ports.clock.sleep(START_WAIT) => {
            tracing::warn!("the source is still being synced; what was published before is shown meanwhile");
        }
    }
    Ok(())
}

/// Syncs whenever it is time or the source says that something has changed, until it is dropped.
pub(crate) async fn run(ports: Arc<Ports>) {
    let mut backoff = Backoff::new();
    loop {
        let trigger = tokio::select! {
            () = ports.source.changed() => SyncTrigger::Change,
            () = pause(&ports) => SyncTrigger::Interval,
            // It is all well again, by somebody's call: the pause is another one.
            () = ports.syncs.recovered.notified() => continue,
            () = ports.syncs.unsettled.notified() => {
                backoff.wait(&*ports.clock).await;
                SyncTrigger::Change
            }
        };
        for tries in 1.. {
            let failure = match sync(&ports, SyncRequest::default(), trigger).await {
                Ok(SyncRecord { outcome: SyncOutcome::Failed(failure), .. }) => failure,
                Ok(_) => {
                    backoff = Backoff::new();
                    break;
                }
                Err(error) => SyncFailure::of(&error),
            };
            tracing::warn!(%failure, %trigger, "the source could not be synced; nothing has changed");
            // What changed is told once. Whoever waits for an interval has another one.
            if trigger != SyncTrigger::Change || !failure.kind.is_transient() || tries >= MAX_TRIES {
                break;
            }
            backoff.wait(&*ports.clock).await;
        }
    }
}

/// Waits for the next interval, longer after each failure in a row; for ever, without intervals.
async fn pause(ports: &Ports) {
    let Some(interval) = ports.settings.sync_interval else { return std::future::pending().await };
    let failures = ports.syncs.failures.load(Ordering::Acquire);
    let pause = interval.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE.max(interval));
    ports.clock.sleep(jittered(ports, pause)).await;
}

/// Up to a tenth more, so that many hosts do not come at one instant.
pub(crate) fn jittered(ports: &Ports, pause: Duration) -> Duration {
    let mut random = [0; 4];
    ports.entropy.fill(&mut random);
    pause + pause.mul_f64(f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX) / 10.0)
}

/// How often a change that could not be read is read again.
const MAX_TRIES: u32 = 10;
