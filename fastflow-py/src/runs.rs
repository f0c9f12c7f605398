//! The runs: submitted, read, waited for, cancelled, repeated; their logs and their use of the machine.

use std::{num::NonZeroU32, sync::Arc};

use fastflow_core::{
    AttemptId, Error, ErrorKind, Orchestrator, Result, RunId, Submission,
    journal::{Offset, UsageSample},
    orchestrator::Rerun,
    run::{Run, Status},
    store::RunQuery,
};
use futures::{Stream as Stream_, StreamExt as _, TryStreamExt as _, stream::FuturesUnordered};
use pyo3::prelude::*;

use crate::{
    engine::{Shared, StreamOptions},
    error,
    operation::{Operation, seconds},
    record::{self, LogLine, Usage},
    stream::Stream,
};

/// The runs of a flow.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Runs {
    shared: Arc<Shared>,
}

impl Runs {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }
}

#[pymethods]
impl Runs {
    /// Accepts a run of a pipeline.
    #[pyo3(signature = (pipeline, parameters, *, priority = None, config = None, key = None, delay = None, executor = None))]
    fn submit(
        &self,
        pipeline: String,
        parameters: Vec<(String, String)>,
        priority: Option<i16>,
        config: Option<String>,
        key: Option<String>,
        delay: Option<f64>,
        executor: Option<String>,
    ) -> PyResult<Operation> {
        let delay = delay.map(seconds).transpose()?;
        Ok(self.shared.call(move |flow| async move {
            let mut what = Submission::new(pipeline);
            for (name, value) in parameters {
                what = what.parameter(name, value);
            }
            if let Some(priority) = priority {
                what = what.priority(priority);
            }
            if let Some(config) = config {
                what = what.config(config);
            }
            if let Some(key) = key {
                what = what.key(key);
            }
            if let Some(delay) = delay {
                what = what.delay(delay);
            }
            if let Some(executor) = executor {
                what = what.executor(executor.parse()?);
            }
            flow.submit(what).await
        }))
    }

    /// One run.
    fn get(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move { flow.runs().get(id.parse()?).await })
    }

    /// One run, once it has ended.
    fn wait(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move { flow.runs().wait(id.parse()?).await })
    }

    /// A page of runs, newest first: `(runs, where the next page begins)`.
    #[pyo3(signature = (*, pipeline = None, statuses = Vec::new(), before = None, limit = None))]
    fn page(
        &self,
        pipeline: Option<String>,
        statuses: Vec<String>,
        before: Option<String>,
        limit: Option<NonZeroU32>,
    ) -> Operation {
        self.shared.call(move |flow| async move {
            let mut query = RunQuery::default();
            query.pipeline = pipeline.as_deref().map(str::parse).transpose()?;
            query.statuses =
                statuses.iter().map(|status| self::status(status)).collect::<Result<Vec<_>>>()?;
            query.before = before.as_deref().map(str::parse).transpose()?;
            query.limit = limit;
            flow.runs().list(&query).await
        })
    }

    /// A page of failed runs that were not run again since, newest first.
    #[pyo3(signature = (*, before, limit))]
    fn dead_letters(&self, before: Option<String>, limit: NonZeroU32) -> Operation {
        self.shared.call(move |flow| async move {
            let before = before.as_deref().map(str::parse).transpose()?;
            flow.runs().dead_letters(before, limit).await
        })
    }

    /// Several runs, in this order, once all of them have ended.
    fn wait_all(&self, ids: Vec<String>) -> Operation {
        self.shared.call(move |flow| async move {
            let ids = ids.iter().map(|id| id.parse()).collect::<Result<Vec<RunId>>>()?;
            let runs = flow.runs();
            futures::future::try_join_all(ids.into_iter().map(|id| async move { runs.wait(id).await })).await
        })
    }

    /// Several runs, each when it has ended.
    #[pyo3(signature = (ids, *, then, timeout = None))]
    #[expect(clippy::needless_pass_by_value, reason = "a list of Python's cannot be borrowed")]
    fn as_completed(
        &self,
        py: Python<'_>,
        ids: Vec<String>,
        then: Py<PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Stream> {
        let ids = ids.iter().map(|id| parsed(py, id)).collect::<PyResult<Vec<RunId>>>()?;
        self.shared.stream(py, |flow| ended(flow, ids).boxed(), StreamOptions { then: Some(then), timeout })
    }

    /// The attempts of a run.
    fn attempts(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move { flow.runs().attempts(id.parse()?).await })
    }

    /// Asks for the end of a run.
    fn cancel(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move { flow.runs().cancel(id.parse()?).await })
    }

    /// Runs it again, as it was or as its pipeline is now.
    fn rerun(&self, id: String, newest_revision: bool) -> Operation {
        let of = if newest_revision { Rerun::NewestRevision } else { Rerun::SameRevision };
        self.shared.call(move |flow| async move { flow.runs().rerun(id.parse()?, of).await })
    }

    /// The directory of an attempt.
    fn directory(&self, id: String, attempt: NonZeroU32) -> Operation {
        self.shared.call(move |flow| async move {
            let attempt = AttemptId { run: id.parse()?, number: attempt };
            flow.runs().directory(attempt).await.map(record::File)
        })
    }

    /// The log of a run, live, from a position on.
    #[pyo3(signature = (id, *, attempt = NonZeroU32::MIN, offset = 0, timeout = None))]
    fn logs(
        &self,
        py: Python<'_>,
        id: &str,
        attempt: NonZeroU32,
        offset: u64,
        timeout: Option<f64>,
    ) -> PyResult<Stream> {
        let id = parsed(py, id)?;
        let options = StreamOptions { then: None, timeout };
        self.shared.stream(
            py,
            |flow| {
                flow.runs().follow_from(id, attempt, Offset::from_bytes(offset)).map_ok(LogLine::from).boxed()
            },
            options,
        )
    }

    /// What an attempt uses of the machine, live; the newest attempt, when none is named.
    #[pyo3(signature = (id, attempt, *, then, timeout = None))]
    fn usage(
        &self,
        py: Python<'_>,
        id: &str,
        attempt: Option<NonZeroU32>,
        then: Py<PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Stream> {
        let id = parsed(py, id)?;
        let options = StreamOptions { then: Some(then), timeout };
        self.shared.stream(
            py,
            |flow| used(flow, id, attempt).map_ok(|(_, sample)| Usage(sample)).boxed(),
            options,
        )
    }

    /// Why a run waits, or ended as it did.
    fn explain(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move {
            flow.runs().explain(id.parse()?).await.map(|found| record::Text(found.to_string()))
        })
    }
}

/// Each run when it has ended, whichever is first.
fn ended(flow: &Orchestrator, ids: Vec<RunId>) -> impl Stream_<Item = Result<Run>> + use<> {
    ids.into_iter()
        .map(|id| {
            let flow = flow.clone();
            async move { flow.runs().wait(id).await }
        })
        .collect::<FuturesUnordered<_>>()
}

/// What an attempt uses, the newest when none is named; the first, where none has begun.
fn used(
    flow: &Orchestrator,
    id: RunId,
    attempt: Option<NonZeroU32>,
) -> impl Stream_<Item = Result<(Offset, UsageSample)>> + use<> {
    let flow = flow.clone();
    let opened = async move {
        let number = match attempt {
            Some(number) => number,
            None => NonZeroU32::new(flow.runs().get(id).await?.attempt).unwrap_or(NonZeroU32::MIN),
        };
        Ok::<_, Error>(flow.runs().usage(AttemptId { run: id, number }, Offset::START))
    };
    futures::stream::once(opened).try_flatten()
}

fn parsed(py: Python<'_>, id: &str) -> PyResult<RunId> {
    id.parse().map_err(|error| error::raised(py, &error))
}

fn status(text: &str) -> Result<Status> {
    let known = [Status::Pending, Status::Running, Status::Success, Status::Failed, Status::Cancelled];
    let found = known.into_iter().find(|status| status.to_string() == text);
    found.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "not a status of a run")
            .with("found", text)
            .with("allowed", known.map(|status| status.to_string()).join(", "))
    })
}
