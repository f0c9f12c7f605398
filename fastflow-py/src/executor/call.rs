//! One call of a method of Python's.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fastflow_core::{
    Error, ErrorKind, OwnerId, Result,
    executor::{AttemptRef, AttemptSpec, Capabilities},
    run::StopCause,
};
use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyDict};
use tokio::sync::oneshot;

use super::{Lanes, PythonExecutor, wire};
use crate::{error, operation::seconds, process::Process, queue::Queue};

/// What is asked of an executor, or of one of its executions.
pub(crate) enum Ask {
    Probe,
    Start(Box<AttemptSpec>),
    List(OwnerId),
    Reattach(Box<AttemptRef>),
    Wait(Arc<Py<PyAny>>),
    Stop(Arc<Py<PyAny>>, Duration, StopCause),
    Remove(Arc<Py<PyAny>>),
}

impl Ask {
    /// The method that answers it.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Start(_) => "start",
            Self::List(_) => "list",
            Self::Reattach(_) => "reattach",
            Self::Wait(_) => "wait",
            Self::Stop(..) => "stop",
            Self::Remove(_) => "remove",
        }
    }

    fn execution(&self) -> Option<&Py<PyAny>> {
        match self {
            Self::Wait(object) | Self::Stop(object, ..) | Self::Remove(object) => Some(object),
            Self::Probe | Self::Start(_) | Self::List(_) | Self::Reattach(_) => None,
        }
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method())
    }
}

/// What a method has answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) json: String,
    /// The execution that it has given.
    pub(super) execution: Option<Py<PyAny>>,
}

/// One call of a method, to be answered once.
#[pyclass(frozen, module = "fastflow._fastflow")]
#[derive(Debug)]
pub(crate) struct Call {
    ask: Ask,
    reply: Mutex<Option<oneshot::Sender<Result<Answer>>>>,
}

impl Call {
    pub(super) fn new(ask: Ask, reply: oneshot::Sender<Result<Answer>>) -> Self {
        Self { ask, reply: Mutex::new(Some(reply)) }
    }

    fn answer(&self, answer: Result<Answer>) {
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reply) = reply {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(answer);
        }
    }
}

#[pymethods]
impl Call {
    /// The name of the method.
    #[getter]
    fn method(&self) -> &'static str {
        self.ask.method()
    }

    /// The execution whose method it is; `None` for the executor's own.
    #[getter]
    fn execution(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.ask.execution().map(|object| object.clone_ref(py))
    }

    /// The arguments, as the classes of the package are made of them.
    #[getter]
    fn arguments(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.ask {
            Ask::Probe | Ask::Wait(_) | Ask::Remove(_) => Ok(py.None()),
            Ask::Start(spec) => wire::spec(py, spec),
            Ask::List(owner) => Ok(owner.as_str().into_pyobject(py)?.into_any().unbind()),
            Ask::Reattach(attempt) => wire::attempt(py, attempt),
            Ask::Stop(_, grace, cause) => wire::stop(py, *grace, *cause),
        }
    }

    /// Whether somebody still waits for the answer.
    fn is_wanted(&self) -> bool {
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    /// Answers it.
    #[pyo3(signature = (json, execution = None))]
    fn done(&self, json: String, execution: Option<Py<PyAny>>) {
        self.answer(Ok(Answer { json, execution }));
    }

    /// Answers it with an error.
    fn failed(&self, kind: &str, message: String) {
        let error = Error::new(error::kind(kind), message).with("method", self.ask.method());
        self.answer(Err(error));
    }
}

/// Where the threads of one executor take their calls.
#[pyclass(frozen, module = "fastflow._fastflow", weakref)]
#[derive(Debug)]
pub(crate) struct ExecutorPort {
    process: Process,
    lanes: Arc<Lanes>,
    capabilities: Capabilities,
    call_timeout: Duration,
}

impl ExecutorPort {
    /// The executor that puts its calls here.
    pub(crate) fn executor(&self) -> PythonExecutor {
        PythonExecutor::new(Arc::clone(&self.lanes), self.capabilities, self.call_timeout)
    }

    /// The queues, to be closed at the end.
    pub(crate) fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    fn lane(&self, waits: bool) -> &Queue<Call> {
        if waits { &self.lanes.waits } else { &self.lanes.calls }
    }
}

#[pymethods]
impl ExecutorPort {
    #[new]
    fn new(capabilities: &Bound<'_, PyDict>, call_timeout: f64) -> PyResult<Self> {
        Ok(Self {
            process: Process::current(),
            lanes: Arc::new(Lanes::new()),
            capabilities: wire::capabilities(capabilities)?,
            call_timeout: seconds(call_timeout)?,
        })
    }

    /// Waits for the next call of a lane. `None` is the end.
    fn next(&self, py: Python<'_>, waits: bool) -> PyResult<Option<Call>> {
        self.process.check(py)?;
        Ok(py.detach(|| self.lane(waits).take()))
    }

    /// Whether another thread is needed, for all others of the lane work.
    fn is_short_of_hands(&self, waits: bool) -> bool {
        self.lane(waits).is_short_of_hands()
    }

    /// Ends it: no call is answered any more, and threads that wait go home.
    fn close(&self) {
        if self.process.is_current() {
            self.lanes.close();
        }
    }
}

/// What a caller gets whose JSON cannot be read.
pub(super) fn not_understood(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "the answer of an executor cannot be understood")
        .because(error.to_string())
}

/// What Python gets for something that is none of ours.
pub(super) fn not_a(what: &str, error: impl fmt::Display) -> PyErr {
    PyRuntimeError::new_err(format!("{what} cannot be read: {error}"))
}
