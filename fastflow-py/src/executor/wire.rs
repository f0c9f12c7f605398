//! Specs of attempts, handles and ends, on their way to Python and back.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use fastflow_core::{
    Error, Result,
    executor::{AttemptRef, AttemptSpec, Capabilities, Ended, ExecutionHandle},
    pipeline::Network,
    run::{ExitReport, LostCause, StartFailure, StopCause, Symptom},
    secret::Secret,
};
use pyo3::{prelude::*, types::PyDict};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::call::{not_a, not_understood};
use crate::{operation::seconds, record::Fields};

/// A handle, as Python writes it.
#[derive(Deserialize)]
pub(super) struct HandleAnswer {
    attempt: String,
    native_id: Box<str>,
    detail: serde_json::Value,
}

impl TryFrom<HandleAnswer> for ExecutionHandle {
    type Error = Error;

    fn try_from(answer: HandleAnswer) -> Result<Self> {
        let attempt = answer.attempt.parse()?;
        Ok(Self { attempt, native_id: answer.native_id, detail: answer.detail })
    }
}

/// What `start` came to.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(super) enum StartAnswer {
    Started { handle: HandleAnswer },
    Failed { failure: StartFailure },
}

/// What `reattach` found.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(super) enum FoundAnswer {
    Found { handle: HandleAnswer },
    NeverStarted,
    Lost { cause: LostCause },
}

/// How an execution ended.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(crate) enum EndedAnswer {
    Exited { report: ExitReport },
    NotExecuted { failure: StartFailure },
    Lost { cause: LostCause },
}

impl From<EndedAnswer> for Ended {
    fn from(answer: EndedAnswer) -> Self {
        match answer {
            EndedAnswer::Exited { report } => Self::Exited(report),
            EndedAnswer::NotExecuted { failure } => Self::NotExecuted(failure),
            EndedAnswer::Lost { cause } => Self::Lost(cause),
        }
    }
}

impl From<Ended> for EndedAnswer {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Exited(report) => Self::Exited { report },
            Ended::NotExecuted(failure) => Self::NotExecuted { failure },
            Ended::Lost(cause) => Self::Lost { cause },
        }
    }
}

pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| not_understood(&error))
}

/// Everything that an executor gets to start an attempt.
pub(super) fn spec(py: Python<'_>, spec: &AttemptSpec) -> PyResult<Py<PyAny>> {
    let limits = &spec.limits;
    let secret_env: BTreeMap<&str, &str> =
        spec.secrets.env.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect();
    let secret_files: BTreeMap<&str, &str> =
        spec.secrets.files.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect();
    let limits = Fields::new(py)
        .with("cpu_millis", limits.cpu_millis)?
        .with("memory_bytes", limits.memory_bytes)?
        .with("max_processes", limits.max_processes)?
        .with("soft_cpu_millis", limits.soft_cpu_millis)?
        .with("soft_memory_bytes", limits.soft_memory_bytes)?
        .with("timeout", limits.timeout)?
        .with("stop_grace", limits.stop_grace)?
        .with("log_max_bytes", limits.log_max_bytes)?
        .with("log_tail_bytes", limits.log_tail_bytes)?
        .with("usage_interval", limits.usage_interval)?
        .done();
    Ok(Fields::new(py)
        .with("id", spec.id.to_string())?
        .with("owner", spec.owner.as_str())?
        .with("argv", &spec.argv)?
        .with("env", &spec.env)?
        .with("secret_env", secret_env)?
        .with("secret_files", secret_files)?
        .with("masked_files", &spec.masked_files)?
        .with("working_dir", &spec.working_dir)?
        .with("run_dir", &spec.run_dir)?
        .with("image", spec.image.as_ref().map(ToString::to_string))?
        .with("network", spec.network != Network::None)?
        .with("read_only", &spec.read_only)?
        .with("limits", limits)?
        .done())
}

/// The same back from Python, as far as the shim has use for it.
pub(crate) fn read_spec(given: &Bound<'_, PyDict>) -> PyResult<AttemptSpec> {
    let text = |name: &str| get::<String>(given, name);
    let id = text("id")?.parse().map_err(|error| not_a("the id of an attempt", error))?;
    let owner = text("owner")?.parse().map_err(|error| not_a("the owner of an attempt", error))?;
    let mut spec = AttemptSpec::new(id, owner, get(given, "argv")?, get(given, "run_dir")?);
    spec.working_dir = get(given, "working_dir")?;
    spec.env = get(given, "env")?;
    spec.masked_files = get(given, "masked_files")?;
    for (name, value) in get::<BTreeMap<String, String>>(given, "secret_env")? {
        let name = name.parse().map_err(|error| not_a("the name of a variable", error))?;
        spec.secrets.env.insert(name, Secret::new(value));
    }
    for (name, value) in get::<BTreeMap<String, String>>(given, "secret_files")? {
        let name = name.parse().map_err(|error| not_a("the name of a secret", error))?;
        spec.secrets.files.insert(name, Secret::new(value));
    }
    let limits = given.as_any().get_item("limits")?.cast_into::<PyDict>()?;
    spec.limits.soft_cpu_millis = get(&limits, "soft_cpu_millis")?;
    spec.limits.soft_memory_bytes = get(&limits, "soft_memory_bytes")?;
    spec.limits.timeout = get::<Option<f64>>(&limits, "timeout")?.map(seconds).transpose()?;
    spec.limits.stop_grace = seconds(get(&limits, "stop_grace")?)?;
    spec.limits.log_max_bytes = get(&limits, "log_max_bytes")?;
    spec.limits.log_tail_bytes = get(&limits, "log_tail_bytes")?;
    spec.limits.usage_interval = seconds(get(&limits, "usage_interval")?)?;
    Ok(spec)
}

/// What names an attempt for `reattach`.
pub(super) fn attempt(py: Python<'_>, attempt: &AttemptRef) -> PyResult<Py<PyAny>> {
    let handle = attempt.handle.as_ref().map(|handle| self::handle(py, handle)).transpose()?;
    Ok(Fields::new(py)
        .with("id", attempt.id.to_string())?
        .with("owner", attempt.owner.as_str())?
        .with("run_dir", &attempt.run_dir)?
        .with("handle", handle)?
        .done())
}

/// The same back from Python.
pub(crate) fn read_attempt(given: &Bound<'_, PyDict>) -> PyResult<AttemptRef> {
    let text = |name: &str| get::<String>(given, name);
    let handle = get::<Option<String>>(given, "handle")?;
    Ok(AttemptRef {
        id: text("id")?.parse().map_err(|error| not_a("the id of an attempt", error))?,
        owner: text("owner")?.parse().map_err(|error| not_a("the owner of an attempt", error))?,
        run_dir: get::<PathBuf>(given, "run_dir")?,
        handle: handle
            .map(|json| read::<HandleAnswer>(&json)?.try_into())
            .transpose()
            .map_err(|error: Error| not_a("a handle", error))?,
    })
}

fn handle(py: Python<'_>, handle: &ExecutionHandle) -> PyResult<Py<PyAny>> {
    let detail = handle.detail.to_string();
    Ok(Fields::new(py)
        .with("attempt", handle.attempt.to_string())?
        .with("native_id", &*handle.native_id)?
        .with("detail", py.import("json")?.call_method1("loads", (detail,))?)?
        .done())
}

/// How a program is to be stopped.
pub(super) fn stop(py: Python<'_>, grace: Duration, cause: StopCause) -> PyResult<Py<PyAny>> {
    Ok(Fields::new(py).with("grace", grace)?.with("cause", cause_name(cause))?.done())
}

/// Causes of stops, by the names that Python has for them.
const CAUSES: [(&str, StopCause); 6] = [
    ("cancelled", StopCause::Cancelled),
    ("timed_out", StopCause::TimedOut),
    ("no_output", StopCause::Unhealthy(Symptom::NoOutput)),
    ("no_heartbeat", StopCause::Unhealthy(Symptom::NoHeartbeat)),
    ("soft_cpu", StopCause::Unhealthy(Symptom::SoftCpu)),
    ("soft_memory", StopCause::Unhealthy(Symptom::SoftMemory)),
];

fn cause_name(cause: StopCause) -> &'static str {
    CAUSES.iter().find(|(_, known)| *known == cause).map_or("cancelled", |(name, _)| name)
}

/// The cause of this name.
pub(crate) fn read_cause(name: &str) -> PyResult<StopCause> {
    let found = CAUSES.iter().find(|(known, _)| *known == name);
    found.map(|(_, cause)| *cause).ok_or_else(|| not_a("the cause of a stop", name))
}

/// What an executor can do, as Python says it.
pub(crate) fn capabilities(given: &Bound<'_, PyDict>) -> PyResult<Capabilities> {
    let mut can = Capabilities::default();
    can.environments = get(given, "environments")?;
    can.cpu_limit = get(given, "cpu_limit")?;
    can.memory_limit = get(given, "memory_limit")?;
    can.process_limit = get(given, "process_limit")?;
    can.network = get(given, "network")?;
    can.isolation = get(given, "isolation")?;
    can.output = get(given, "output")?;
    can.secrets = get(given, "secrets")?;
    can.reattach = get(given, "reattach")?;
    Ok(can)
}

fn get<'py, T: FromPyObjectOwned<'py>>(given: &Bound<'py, PyDict>, name: &str) -> PyResult<T> {
    given.as_any().get_item(name)?.extract().map_err(Into::into)
}
