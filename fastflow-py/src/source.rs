//! The source of pipelines: synced, looked at, watched.

use std::{num::NonZeroU32, sync::Arc};

use fastflow_core::{
    orchestrator::SourceStatus,
    pipeline::Diagnostic,
    source::{
        Commit, PipelineChange, Probe, SourceEvent, SyncFailure, SyncId, SyncOutcome, SyncRecord, SyncRequest,
    },
};
use futures::StreamExt as _;
use pyo3::prelude::*;

use crate::{
    engine::{Shared, StreamOptions},
    operation::{Operation, Record},
    record::{Fields, Text, failure},
    stream::Stream,
};

/// The source of a flow's pipelines.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Source {
    shared: Arc<Shared>,
}

impl Source {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }
}

#[pymethods]
impl Source {
    /// Looks for what is new and shows it.
    #[pyo3(signature = (branch = None))]
    fn sync(&self, branch: Option<String>) -> Operation {
        self.shared.call(move |flow| async move {
            let mut request = SyncRequest::default();
            request.branch = branch;
            flow.source().sync(request).await
        })
    }

    /// How the source stands.
    fn status(&self) -> Operation {
        self.shared.call(|flow| async move { flow.source().status().await })
    }

    /// A page of the log of syncs, newest first.
    #[pyo3(signature = (before, limit))]
    fn syncs(&self, before: Option<u64>, limit: NonZeroU32) -> Operation {
        self.shared.call(move |flow| async move { flow.source().syncs(before.map(SyncId), limit).await })
    }

    /// Whether it can be reached, and what is there.
    fn probe(&self) -> Operation {
        self.shared.call(|flow| async move { flow.source().probe().await })
    }

    /// Forgets the key that is pinned for its server, and answers its fingerprint.
    fn forget_host_key(&self) -> Operation {
        self.shared.call(|flow| async move { Ok(flow.source().forget_host_key().await?.map(Text)) })
    }

    /// What happens to it from now on.
    #[pyo3(signature = (*, then, timeout = None))]
    fn events(&self, py: Python<'_>, then: Py<PyAny>, timeout: Option<f64>) -> PyResult<Stream> {
        let options = StreamOptions { then: Some(then), timeout };
        self.shared.stream(py, |flow| flow.source().events().map(Ok).boxed(), options)
    }
}

impl Record for SyncRecord {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let failed = self.outcome.failure().map(|failed| sync_failure(py, failed)).transpose()?;
        let (outcome, changes) = match self.outcome {
            SyncOutcome::Unchanged => ("unchanged", Vec::new()),
            SyncOutcome::Published { changes } => ("published", changes),
            SyncOutcome::Failed(_) => ("failed", Vec::new()),
        };
        let duration = std::time::Duration::from_micros(self.duration_micros);
        Ok(Fields::new(py)
            .with("id", self.id.0)?
            .with("started_at", self.started_at)?
            .with("since", self.since)?
            .with("repeated", self.repeated)?
            .with("duration", duration)?
            .with("trigger", self.trigger.to_string())?
            .with("branch", self.branch)?
            .with("outcome", outcome)?
            .with("changes", changes.into_python(py)?)?
            .with("failure", failed)?
            .with("previous", self.previous.map(|id| id.to_string()))?
            .with("commit", self.commit.map(|found| commit(py, found)).transpose()?)?
            .with("commits_ahead", self.distance.map(|distance| distance.ahead))?
            .with("commits_behind", self.distance.map(|distance| distance.behind))?
            .with("bytes", self.bytes)?
            .done())
    }
}

impl Record for PipelineChange {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Fields::new(py)
            .with("pipeline", self.name.as_str())?
            .with("kind", self.kind.to_string())?
            .with("findings", texts(&self.findings))?
            .done())
    }
}

impl Record for SourceStatus {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let is_well = self.is_well();
        let (failed_at, failed) = match &self.last_failure {
            Some((at, failed)) => (Some(*at), Some(sync_failure(py, failed)?)),
            None => (None, None),
        };
        Ok(Fields::new(py)
            .with("is_well", is_well)?
            .with("commit", self.commit.map(|found| commit(py, found)).transpose()?)?
            .with("last_success_at", self.last_success_at)?
            .with("last_failure_at", failed_at)?
            .with("last_failure", failed)?
            .with("last_sync", self.last_sync.into_python(py)?)?
            .with("pipelines", self.pipelines)?
            .with("broken", self.broken)?
            .with("warnings", texts(&self.warnings))?
            .done())
    }
}

impl Record for Probe {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Fields::new(py)
            .with("commit", self.commit.map(|id| id.to_string()))?
            .with("branches", self.branches)?
            .with("host_key", self.host_key)?
            .done())
    }
}

impl Record for SourceEvent {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let fields = Fields::new(py);
        let fields = match self {
            Self::SyncStarted { trigger, branch } => fields
                .with("event", "sync_started")?
                .with("trigger", trigger.to_string())?
                .with("branch", branch)?,
            Self::SyncEnded(record) => {
                fields.with("event", "sync_ended")?.with("sync", record.into_python(py)?)?
            }
            Self::EnvironmentBegun { pipeline, revision } => fields
                .with("event", "environment_begun")?
                .with("pipeline", pipeline.as_str())?
                .with("revision", revision.to_string())?,
            Self::EnvironmentProgress { pipeline, line } => fields
                .with("event", "environment_progress")?
                .with("pipeline", pipeline.as_str())?
                .with("line", line)?,
            Self::EnvironmentEnded { pipeline, revision, outcome } => {
                let failed = outcome.as_ref().err().map(|failed| failure(py, failed)).transpose()?;
                fields
                    .with("event", "environment_ended")?
                    .with("pipeline", pipeline.as_str())?
                    .with("revision", revision.to_string())?
                    .with("environment", outcome.ok().map(|id| id.as_str().to_owned()))?
                    .with("failure", failed)?
            }
            _ => fields.with("event", "other")?,
        };
        Ok(fields.done())
    }
}

fn commit(py: Python<'_>, commit: Commit) -> PyResult<Py<PyAny>> {
    let branch = commit.branch().map(ToOwned::to_owned);
    Ok(Fields::new(py)
        .with("id", commit.id.to_string())?
        .with("reference", commit.reference)?
        .with("branch", branch)?
        .with("author", commit.author)?
        .with("subject", commit.subject)?
        .with("at", commit.at)?
        .done())
}

fn sync_failure(py: Python<'_>, failure: &SyncFailure) -> PyResult<Py<PyAny>> {
    Ok(Fields::new(py)
        .with("kind", failure.kind.as_str())?
        .with("message", &failure.message)?
        .with("is_transient", failure.kind.is_transient())?
        .done())
}

fn texts(found: &[Diagnostic]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}
