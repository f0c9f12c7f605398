//! The events: each change of a run's state, in order, live.

use std::sync::Arc;

use fastflow_core::store::{Event, EventId};
use pyo3::prelude::*;

use crate::{
    engine::{Shared, StreamOptions},
    operation::Record,
    record::Fields,
    stream::Stream,
};

/// The events of a flow.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Events {
    shared: Arc<Shared>,
}

impl Events {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }
}

#[pymethods]
impl Events {
    /// Every event after one: those that are kept first, then new ones as they come.
    #[pyo3(signature = (after, *, then, timeout = None))]
    fn after(&self, py: Python<'_>, after: u64, then: Py<PyAny>, timeout: Option<f64>) -> PyResult<Stream> {
        self.shared.stream(
            py,
            |flow| flow.events(EventId(after)),
            StreamOptions { then: Some(then), timeout },
        )
    }
}

impl Record for Event {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Fields::new(py)
            .with("id", self.id.0)?
            .with("time", self.at)?
            .with("run", self.run.to_string())?
            .with("pipeline", self.pipeline.as_str())?
            .with("attempt", self.attempt)?
            .with("name", self.name)?
            .with("state", self.state)?
            .with("status", self.status.to_string())?
            .done())
    }
}
