//! The shim, for executors in Python that start it by ways of their own.

use std::path::PathBuf;

use fastflow_core::{
    executor::sandbox::{self, Monitor, Settled},
    shim::ShimBinary,
};
use pyo3::{
    IntoPyObjectExt as _,
    prelude::*,
    types::{PyBytes, PyDict},
};

use crate::{
    error,
    executor::{EndedAnswer, read_attempt, read_cause, read_spec},
    record::Fields,
};

/// The shim, installed in a folder.
#[pyclass(frozen, module = "fastflow._fastflow")]
#[derive(Debug)]
pub(crate) struct Shim {
    path: PathBuf,
}

#[pymethods]
impl Shim {
    #[new]
    fn new(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        let path = py.detach(|| ShimBinary::install(&folder)).map_err(|error| error::raised(py, &error))?;
        Ok(Self { path })
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The order for an attempt, as the bytes that the shim reads.
    #[staticmethod]
    fn order<'py>(
        py: Python<'py>,
        spec: &Bound<'py, PyDict>,
        secrets_dir: PathBuf,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let spec = read_spec(spec)?;
        let order = py.detach(|| sandbox::order_for(spec, &secrets_dir));
        order.map(|order| PyBytes::new(py, &order)).map_err(|error| error::raised(py, &error))
    }

    /// Whether an attempt was started: the word for it, and who its shim is or was.
    #[staticmethod]
    fn settle(py: Python<'_>, attempt: &Bound<'_, PyDict>, begun: bool) -> PyResult<Py<PyAny>> {
        let attempt = read_attempt(attempt)?;
        let settled =
            py.detach(|| sandbox::settle(&attempt, begun)).map_err(|error| error::raised(py, &error))?;
        let (word, monitor) = match settled {
            Settled::NeverStarted => ("never_started", None),
            Settled::Removed => ("removed", None),
            Settled::Started(monitor) => ("started", monitor),
        };
        let monitor = monitor.map(|monitor| described(py, &monitor)).transpose()?;
        (word, monitor).into_py_any(py)
    }

    /// Whether this shim runs.
    #[staticmethod]
    fn is_alive(py: Python<'_>, pid: u32, start_time_ticks: u64, boot_id: String) -> PyResult<bool> {
        let monitor = Monitor { pid, start_time_ticks, boot_id };
        py.detach(|| monitor.is_alive()).map_err(|error| error::raised(py, &error))
    }

    /// The end of an attempt by the proof that its shim has left, as JSON; `None` where there is none.
    #[staticmethod]
    fn ended(py: Python<'_>, run_dir: PathBuf, attempt: &str) -> PyResult<Option<String>> {
        let raised = |error: &fastflow_core::Error| error::raised(py, error);
        let attempt = attempt.parse().map_err(|error| raised(&error))?;
        let ended = py.detach(|| sandbox::ended(&run_dir, attempt)).map_err(|error| raised(&error))?;
        let Some(ended) = ended else { return Ok(None) };
        let json = serde_json::to_string(&EndedAnswer::from(ended));
        json.map(Some).map_err(|error| pyo3::exceptions::PyRuntimeError::new_err(error.to_string()))
    }

    /// Writes down why an attempt is asked to stop.
    #[staticmethod]
    fn record_stop(py: Python<'_>, run_dir: PathBuf, cause: &str) -> PyResult<()> {
        let cause = read_cause(cause)?;
        py.detach(|| sandbox::record_stop(&run_dir, cause)).map_err(|error| error::raised(py, &error))
    }
}

fn described(py: Python<'_>, monitor: &Monitor) -> PyResult<Py<PyAny>> {
    Ok(Fields::new(py)
        .with("pid", monitor.pid)?
        .with("start_time_ticks", monitor.start_time_ticks)?
        .with("boot_id", &monitor.boot_id)?
        .done())
}
