//! What crosses to Python: log lines as objects of their own, since there are many, and all else as dictionaries that
//! the classes of the package are made of.

use std::{num::NonZeroU32, path::PathBuf};

use fastflow_core::{
    AttemptId, Error, ErrorKind, Timestamp,
    journal::{self, Dropped, LogStream, Offset, UsageSample},
    orchestrator::RunLogLine,
    run::{Attempt, AttemptEnd, Exit, ExitReport, Failure, Origin, Run, Setup},
    store::Page,
};
use pyo3::{
    IntoPyObjectExt as _,
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyBytes, PyDict, PyType},
};
use serde::Serialize;

use crate::{error, operation::Record};

/// A dictionary, an entry at a time.
pub(crate) struct Fields<'py>(Bound<'py, PyDict>);

impl<'py> Fields<'py> {
    pub(crate) fn new(py: Python<'py>) -> Self {
        Self(PyDict::new(py))
    }

    /// Adds an entry.
    pub(crate) fn with(self, name: &str, value: impl IntoPyObject<'py>) -> PyResult<Self> {
        self.0.set_item(name, value)?;
        Ok(self)
    }

    /// The dictionary.
    pub(crate) fn done(self) -> Py<PyAny> {
        self.0.into_any().unbind()
    }
}

/// A path.
pub(crate) struct File(pub(crate) PathBuf);

impl Record for File {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.into_py_any(py)
    }
}

/// A text.
pub(crate) struct Text(pub(crate) String);

impl Record for Text {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.into_py_any(py)
    }
}

/// What has a JSON form, as Python's `json` reads it.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize + Send + 'static> Record for Json<T> {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        json(py, &self.0)
    }
}

/// The Python value of what has a JSON form.
pub(crate) fn json(py: Python<'_>, value: &impl Serialize) -> PyResult<Py<PyAny>> {
    let text = serde_json::to_string(value)
        .map_err(|error| PyRuntimeError::new_err(format!("this has no JSON form: {error}")))?;
    Ok(py.import("json")?.call_method1("loads", (text,))?.unbind())
}

/// One line of a run's log.
#[pyclass(frozen, module = "fastflow")]
pub(crate) struct LogLine(RunLogLine);

impl From<RunLogLine> for LogLine {
    fn from(line: RunLogLine) -> Self {
        Self(line)
    }
}

impl Record for LogLine {
    fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.0.line.bytes.len()
    }

    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.into_py_any(py)
    }
}

/// The names of the streams.
const STREAMS: [(LogStream, &str); 5] = [
    (LogStream::Out, "stdout"),
    (LogStream::Err, "stderr"),
    (LogStream::Setup, "setup"),
    (LogStream::Truncated, "truncated"),
    (LogStream::Shim, "sandbox"),
];

/// The place after a line: its run, the number of the attempt and the offset.
type Place = (String, NonZeroU32, u64);
/// What a line was made of.
type Parts<'py> = (Bound<'py, PyBytes>, Timestamp, &'static str, Place, bool, Option<(u64, u64)>);

#[pymethods]
impl LogLine {
    /// Of the parts that [`__reduce__`](Self::__reduce__) tells: a line crosses to other processes, and is copied.
    #[new]
    fn new(
        py: Python<'_>,
        raw: Vec<u8>,
        time: Timestamp,
        stream: &str,
        place: Place,
        continues: bool,
        dropped: Option<(u64, u64)>,
    ) -> PyResult<Self> {
        let (run, attempt, offset) = place;
        let run = run.parse().map_err(|error| error::raised(py, &error))?;
        let known = STREAMS.iter().find(|(_, name)| *name == stream);
        let (stream, _) = known.ok_or_else(|| {
            error::raised(py, &Error::new(ErrorKind::Invalid, "not a stream of a log").with("found", stream))
        })?;
        let mut line = journal::LogLine::new(time, *stream, raw);
        line.continues = continues;
        line.dropped = dropped.map(|(bytes, lines)| Dropped { bytes, lines });
        let attempt = AttemptId { run, number: attempt };
        Ok(Self(RunLogLine { attempt, offset: Offset::from_bytes(offset), line }))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, Parts<'py>) {
        let this = slf.get();
        let RunLogLine { attempt, offset, line } = &this.0;
        let place = (attempt.run.to_string(), attempt.number, offset.bytes());
        let dropped = line.dropped.map(|dropped| (dropped.bytes, dropped.lines));
        (slf.get_type(), (this.raw(slf.py()), line.time, this.stream(), place, line.continues, dropped))
    }

    /// The text without its newline; what is not UTF-8 in it is U+FFFD.
    #[getter]
    fn text(&self) -> std::borrow::Cow<'_, str> {
        self.0.line.text()
    }

    /// Exactly the bytes that were written, without the newline.
    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.line.bytes)
    }

    /// When the sandbox read it.
    #[getter]
    fn time(&self) -> Timestamp {
        self.0.line.time
    }

    /// Where it comes from: `stdout` or `stderr` of the program, `setup`, `sandbox`, or `truncated`, where lines are
    /// missing.
    #[getter]
    fn stream(&self) -> &'static str {
        let known = STREAMS.iter().find(|(stream, _)| *stream == self.0.line.stream);
        known.map_or("sandbox", |(_, name)| name)
    }

    /// The number of the attempt that wrote it.
    #[getter]
    fn attempt(&self) -> u32 {
        self.0.attempt.number.get()
    }

    /// Whether the line goes on in the next of its stream: there was no newline here.
    #[getter]
    fn continues(&self) -> bool {
        self.0.line.continues
    }

    /// How many lines are missing so far, where the stream is `truncated`.
    #[getter]
    fn dropped_lines(&self) -> u64 {
        self.0.line.dropped.map_or(0, |dropped| dropped.lines)
    }

    /// The place after it, from which the log can be read on.
    #[getter]
    fn position(&self) -> String {
        format!("{}:{}", self.0.attempt.number, self.0.offset)
    }

    fn __repr__(&self) -> String {
        format!("LogLine({:?}, stream={:?})", self.text(), self.stream())
    }

    fn __str__(&self) -> std::borrow::Cow<'_, str> {
        self.text()
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0.attempt == other.0.attempt && self.0.offset == other.0.offset && self.0.line == other.0.line
    }

    fn __hash__(&self) -> u64 {
        self.0.offset.bytes() ^ (u64::from(self.0.attempt.number.get()) << 48)
    }
}

/// What an attempt uses at one instant.
pub(crate) struct Usage(pub(crate) UsageSample);

impl Record for Usage {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let sample = self.0;
        Ok(Fields::new(py)
            .with("time", sample.time)?
            .with("cpu_time", sample.cpu_time)?
            .with("cpu_millis", sample.cpu_millis)?
            .with("memory_bytes", sample.memory_bytes)?
            .with("processes", sample.processes)?
            .with("above_soft_cpu", sample.above_soft_cpu)?
            .with("above_soft_memory", sample.above_soft_memory)?
            .with("throttled_millis", sample.throttled_millis)?
            .done())
    }
}

impl Record for Run {
    fn held_bytes(&self) -> usize {
        let parameters = self.parameters.iter().map(|(name, value)| name.as_str().len() + value.len());
        size_of::<Self>() + parameters.sum::<usize>()
    }

    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let parameters = PyDict::new(py);
        for (name, value) in &self.parameters {
            parameters.set_item(name.as_str(), value)?;
        }
        let spec = &self.spec;
        let commit = spec.provenance.as_ref().map(|found| found.commit.id.to_string());
        Ok(Fields::new(py)
            .with("id", self.id.to_string())?
            .with("pipeline", self.pipeline().as_str())?
            .with("status", self.status().to_string())?
            .with("state", self.state.name())?
            .with("parameters", parameters)?
            .with("executor", spec.executor.as_str())?
            .with("config", spec.config.as_ref().map(fastflow_core::pipeline::ConfigName::as_str))?
            .with("revision", spec.revision.to_string())?
            .with("commit", commit)?
            .with("origin", origin(&self.origin))?
            .with("schedule", self.scheduled_by().map(ToString::to_string))?
            .with("scheduled_for", self.scheduled_for())?
            .with("chain", self.chain.to_string())?
            .with("priority", self.priority)?
            .with("key", self.key.as_ref().map(|key| key.as_str().to_owned()))?
            .with("attempt", self.attempt)?
            .with("failed_attempts", self.failed_attempts)?
            .with("created_at", self.created_at)?
            .with("started_at", self.started_at)?
            .with("finished_at", self.finished_at)?
            .with("failure", self.failure().map(|failed| failure(py, failed)).transpose()?)?
            .done())
    }
}

impl<T: Record> Record for Page<T> {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let next = self.next.map(|next| next.to_string());
        (self.items.into_python(py)?, next).into_py_any(py)
    }
}

impl Record for Attempt {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let failed = match &self.end {
            Some(AttemptEnd::Failed(failed)) => Some(failure(py, failed)?),
            _ => None,
        };
        let end = self.end.as_ref().map(|end| match end {
            AttemptEnd::Succeeded => "succeeded",
            AttemptEnd::Failed(_) => "failed",
            AttemptEnd::Cancelled => "cancelled",
            _ => "never_started",
        });
        Ok(Fields::new(py)
            .with("number", self.id.number.get())?
            .with("claimed_at", self.claimed_at)?
            .with("started_at", self.started_at)?
            .with("finished_at", self.finished_at)?
            .with("end", end)?
            .with("failure", failed)?
            .with("setup", self.setup.as_ref().map(|made| setup(py, made)).transpose()?)?
            .with("report", self.report.as_ref().map(|told| report(py, told)).transpose()?)?
            .done())
    }
}

fn setup(py: Python<'_>, setup: &Setup) -> PyResult<Py<PyAny>> {
    let environment = setup.environment.as_ref();
    Ok(Fields::new(py)
        .with("duration", setup.duration)?
        .with("environment", environment.map(|found| found.id.as_str().to_owned()))?
        .with("python_version", environment.map(|found| found.python_version.clone()))?
        .with("built", environment.is_some_and(|found| found.built))?
        .with("image", setup.image.clone())?
        .done())
}

fn report(py: Python<'_>, report: &ExitReport) -> PyResult<Py<PyAny>> {
    let (code, signal) = exit(report.exit);
    Ok(Fields::new(py)
        .with("exit_code", code)?
        .with("signal", signal)?
        .with("duration", report.duration)?
        .with("cpu_time", report.cpu_time)?
        .with("peak_memory_bytes", report.peak_memory_bytes)?
        .with("log_bytes", report.log.bytes)?
        .with("log_complete", report.log.complete)?
        .with("masked", report.log.masked)?
        .done())
}

fn exit(exit: Exit) -> (Option<i32>, Option<i32>) {
    match exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(signal)),
        _ => (None, None),
    }
}

/// Why a run failed, or why its environment could not be made.
pub(crate) fn failure(py: Python<'_>, failure: &Failure) -> PyResult<Py<PyAny>> {
    let (code, signal) = match failure {
        Failure::Exit(ended) => exit(*ended),
        _ => (None, None),
    };
    Ok(Fields::new(py)
        .with("kind", failure_kind(failure))?
        .with("message", failure.to_string())?
        .with("exit_code", code)?
        .with("signal", signal)?
        .done())
}

/// The name of the class of a cause.
pub(crate) fn failure_kind(failure: &Failure) -> &'static str {
    match failure {
        Failure::Exit(Exit::Code(_)) => "exit_code",
        Failure::Exit(Exit::Signal(_)) => "signal",
        Failure::Exit(_) => "out_of_memory",
        Failure::TimedOut => "timed_out",
        Failure::Unhealthy(_) => "unhealthy",
        Failure::Interrupted => "interrupted",
        Failure::EnvironmentFailed(_) => "environment_failed",
        Failure::StartFailed(_) => "start_failed",
        _ => "lost",
    }
}

/// The name of the reason for which a run exists.
pub(crate) fn origin(origin: &Origin) -> &'static str {
    match origin {
        Origin::Rerun { .. } => "rerun",
        Origin::Schedule { .. } => "schedule",
        Origin::Trigger { .. } => "trigger",
        Origin::Join { .. } => "join",
        Origin::Daemon { .. } => "daemon",
        _ => "manual",
    }
}
