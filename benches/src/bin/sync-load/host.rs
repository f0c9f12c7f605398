//! A host of a git repository that tells how long its source took.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Clock, Error, ErrorKind, Orchestrator, PipelineName, Preheat, Result, SystemClock,
    source::{
        Catalog, CatalogEntry, ChangeKind, Collected, Commit, Fetched, GitConfig, GitMirror, GitReference,
        GitSource, PipelineSource, Probe, Provenance, Revision, SyncFailure, SyncOutcome, SyncRecord,
        SyncRequest,
    },
};

/// A host, and how long its source took for what it fetched last.
pub(crate) struct Host {
    pub(crate) flow: Orchestrator,
    fetched_in: Arc<Mutex<Duration>>,
}

/// Where the time of one sync went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) total: Duration,
    /// Fetching, reading trees, making snapshots.
    pub(crate) source: Duration,
}

impl Host {
    /// One that makes no environments ahead, built and not started.
    pub(crate) async fn build(data: &Path, config: GitConfig) -> Result<Self> {
        let clock = Arc::new(SystemClock::new());
        let source = GitSource::new(config, data.join("git"), data.join("snapshots"), clock)?;
        let fetched_in = Arc::default();
        let source = Timed { source, fetched_in: Arc::clone(&fetched_in) };
        let flow = Orchestrator::builder(data).source(source).preheat(Preheat::Off).build().await?;
        Ok(Self { flow, fetched_in })
    }

    /// Syncs, and returns the line of the log with where the time went.
    pub(crate) async fn sync(&self) -> Result<(SyncRecord, Spent)> {
        let clock = SystemClock::new();
        let record = self.flow.source().sync(SyncRequest::default()).await?;
        let total = clock.elapsed();
        let source = *self.fetched_in.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((record, Spent { total, source }))
    }

    /// Syncs, and makes sure that so many pipelines have changed.
    pub(crate) async fn sync_changes(&self, count: u32) -> Result<Spent> {
        let (record, spent) = self.sync().await?;
        match &record.outcome {
            SyncOutcome::Published { changes }
                if changes.len() == count as usize
                    && changes.iter().all(|change| change.kind != ChangeKind::Broken) =>
            {
                Ok(spent)
            }
            other => Err(unexpected(other)),
        }
    }

    /// Syncs, and makes sure that nothing has.
    pub(crate) async fn sync_nothing(&self) -> Result<Spent> {
        let (record, spent) = self.sync().await?;
        if record.outcome == SyncOutcome::Unchanged { Ok(spent) } else { Err(unexpected(&record.outcome)) }
    }
}

fn unexpected(outcome: &SyncOutcome) -> Error {
    Error::new(ErrorKind::Internal, "a sync of the benchmark came to something else").with("outcome", outcome)
}

/// How long a mirror of its own takes to fetch what there is now: the network's part of a sync.
pub(crate) async fn fetch(mirror: &Arc<GitMirror>) -> Result<Duration> {
    let mirror = Arc::clone(mirror);
    let fetch = move || -> Result<Duration> {
        let clock = SystemClock::new();
        mirror.fetch(&GitReference::Head, &Arc::default())?;
        Ok(clock.elapsed())
    };
    tokio::task::spawn_blocking(fetch)
        .await
        .map_err(|lost| Error::new(ErrorKind::Internal, "a fetch broke off").because(lost))?
}

/// A source that keeps how long its last fetch took.
#[derive(Debug)]
struct Timed {
    source: GitSource,
    fetched_in: Arc<Mutex<Duration>>,
}

#[async_trait]
impl PipelineSource for Timed {
    async fn catalog(&self) -> Result<Arc<Catalog>> {
        self.source.catalog().await
    }

    async fn refresh(&self, name: &PipelineName) -> Result<CatalogEntry> {
        self.source.refresh(name).await
    }

    async fn fetch(&self, request: &SyncRequest) -> Result<Fetched, SyncFailure> {
        let clock = SystemClock::new();
        let fetched = self.source.fetch(request).await;
        *self.fetched_in.lock().unwrap_or_else(PoisonError::into_inner) = clock.elapsed();
        fetched
    }

    async fn publish(&self, fetched: &Fetched) {
        self.source.publish(fetched).await;
    }

    async fn restore(&self, published: &Commit) -> Result<()> {
        self.source.restore(published).await
    }

    async fn probe(&self) -> Result<Probe, SyncFailure> {
        self.source.probe().await
    }

    async fn checkout(&self, revision: &Revision, provenance: Option<&Provenance>) -> Result<PathBuf> {
        self.source.checkout(revision, provenance).await
    }

    async fn collect(&self, keep: &BTreeSet<Revision>) -> Result<Collected> {
        self.source.collect(keep).await
    }
}
