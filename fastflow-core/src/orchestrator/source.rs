//! The view of the source of pipelines.

use std::{num::NonZeroU32, sync::Arc};

use futures::{StreamExt as _, stream::BoxStream};

use super::Orchestrator;
use crate::{
    Result, Timestamp,
    host::{Ports, sync},
    pipeline::Diagnostic,
    source::{
        Commit, Probe, SourceEvent, SyncFailure, SyncId, SyncOutcome, SyncRecord, SyncRequest, SyncTrigger,
    },
};

/// The lines of the log of syncs that a status is made from.
const LOOKED_AT: NonZeroU32 = NonZeroU32::new(100).expect("it is not 0");

/// Where the pipelines of an [`Orchestrator`] come from.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// use fastflow_core::source::SyncRequest;
///
/// let sync = flow.source().sync(SyncRequest::default()).await?;
/// println!("{} in {:?}", sync.outcome, sync.duration());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    flow: &'a Orchestrator,
}

/// How a source stands.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// let status = flow.source().status().await?;
/// if let Some((at, failure)) = status.last_failure {
///     println!("failed at {at}: {failure}");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SourceStatus {
    /// The commit that is shown; none for sources that have none, or before the first sync.
    pub commit: Option<Commit>,
    /// When the last sync began that did not fail.
    pub last_success_at: Option<Timestamp>,
    /// When the last sync began that failed, and why, among the newest 100 lines of the log. It is over when
    /// [`last_success_at`](Self::last_success_at) is later.
    pub last_failure: Option<(Timestamp, SyncFailure)>,
    /// The newest sync.
    pub last_sync: Option<SyncRecord>,
    /// The pipelines that are shown.
    pub pipelines: usize,
    /// Those of them that have configuration errors.
    pub broken: usize,
    /// What is odd and belongs to no pipeline, such as a folder whose name cannot be one.
    pub warnings: Vec<Diagnostic>,
}

impl SourceStatus {
    /// Whether the newest sync did not fail.
    pub fn is_well(&self) -> bool {
        self.last_sync.as_ref().is_some_and(|sync| sync.outcome.failure().is_none())
    }
}

impl<'a> Source<'a> {
    pub(super) fn new(flow: &'a Orchestrator) -> Self {
        Self { flow }
    }

    fn ports(self) -> &'a Arc<Ports> {
        &self.flow.inner.ports
    }

    /// Looks for what is new and shows it: pipelines with their schedules and triggers, and the commit, all at once.
    /// Broken pipelines are part of it and stop no other; runs in flight keep the revision they began with.
    ///
    /// Callers that come while a sync is going on share the next one: the one that is going on may have looked before
    /// they changed something.
    ///
    /// # Errors
    ///
    /// When the source could not be synced, its [`SyncFailure`] as an error: `Unavailable` when it cannot be reached,
    /// `Denied` for credentials and keys of hosts, `NotFound` for a branch that is not there, `Invalid` for what is
    /// refused; nothing has changed then, and the log of syncs has it as a value. `Conflict` where another process hosts,
    /// which alone syncs; the context names its `pid`. Else by the store's word.
    ///
    /// # Cancel safety
    ///
    /// A dropped call's sync goes on.
    pub async fn sync(&self, request: SyncRequest) -> Result<SyncRecord> {
        self.flow.check_hosts().await?;
        let record = sync::sync(self.ports(), request, SyncTrigger::Call).await?;
        match record.outcome {
            SyncOutcome::Failed(failure) => Err(failure.into()),
            _ => Ok(record),
        }
    }

    /// How the source stands.
    ///
    /// # Errors
    ///
    /// By the store's word.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn status(&self) -> Result<SourceStatus> {
        let store = &self.ports().store;
        let syncs = store.syncs(None, LOOKED_AT).await?;
        let well = syncs.iter().find(|sync| sync.outcome.failure().is_none());
        let failed = syncs.iter().find_map(|sync| Some((sync.started_at, sync.outcome.failure()?.clone())));
        let pipelines = store.pipelines().await?;
        let shown = pipelines.iter().filter(|record| record.present);
        Ok(SourceStatus {
            commit: store.published().await?,
            last_success_at: well.map(|sync| sync.started_at),
            last_failure: failed,
            pipelines: shown.clone().count(),
            broken: shown.filter(|record| record.state.revision.is_none()).count(),
            warnings: self.ports().source.catalog().await.map_or_else(
                // Then there is nothing to be warned of: the last failure says why.
                |_| Vec::new(),
                |catalog| catalog.warnings.clone(),
            ),
            last_sync: syncs.into_iter().next(),
        })
    }

    /// The log of syncs, newest first: those older than `before`, at most `limit`. It keeps 1,000 lines; syncs in a row
    /// that came to the same and changed nothing share one.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn syncs(&self, before: Option<SyncId>, limit: NonZeroU32) -> Result<Vec<SyncRecord>> {
        self.ports().store.syncs(before, limit).await
    }

    /// Whether the source can be reached with what is configured, and what is there. It changes nothing.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync), without the store.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn probe(&self) -> Result<Probe> {
        Ok(self.ports().source.probe().await?)
    }

    /// Forgets the key that is pinned for the server, and returns its fingerprint: the next sync trusts the key that the
    /// server has then. For when the server's operator says that it has another one; [`probe`](Self::probe) shows which.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a source without such a server; else by the file system's word.
    ///
    /// # Cancel safety
    ///
    /// Whether a dropped call was carried out is unknown; calling again is safe.
    pub async fn forget_host_key(&self) -> Result<Option<String>> {
        self.ports().source.forget_host_key().await
    }

    /// What happens to the source from now on. A watcher that is more than 1,000 events behind loses the oldest; the log
    /// of syncs has them.
    pub fn events(&self) -> BoxStream<'static, SourceEvent> {
        self.ports().source_events.watch().boxed()
    }
}
