//! The pipelines: what they are, what is wrong with them, and what became of their runs.

use std::sync::Arc;

use fastflow_core::{
    ExecutorName,
    environment::EnvironmentState,
    orchestrator::PipelineInfo,
    pipeline::{Diagnostic, ParameterDeclaration, Pipeline, Undeclared},
    store::{Counters, DailyStatistics},
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    engine::Shared,
    operation::{Operation, Record},
    record::{Fields, json},
};

/// The pipelines of a flow.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Pipelines {
    shared: Arc<Shared>,
}

impl Pipelines {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }
}

#[pymethods]
impl Pipelines {
    /// All of them, by name.
    fn list(&self) -> Operation {
        self.shared.call(|flow| async move { flow.pipelines().list().await })
    }

    /// One pipeline.
    fn get(&self, name: String) -> Operation {
        self.shared.call(move |flow| async move { flow.pipelines().get(&name.parse()?).await })
    }

    /// The last days on which a run of it ended, newest first.
    fn daily_statistics(&self, name: String, days: u32) -> Operation {
        self.shared
            .call(move |flow| async move { flow.pipelines().daily_statistics(&name.parse()?, days).await })
    }
}

impl Record for PipelineInfo {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let diagnostics: PyResult<Vec<_>> =
            self.diagnostics.into_iter().map(|found| diagnostic(py, found)).collect();
        Ok(Fields::new(py)
            .with("name", self.name.as_str())?
            .with("definition", self.pipeline.as_deref().map(|found| definition(py, found)).transpose()?)?
            .with("diagnostics", diagnostics?)?
            .with("present", self.present)?
            .with("environment", environment(py, &self.environment)?)?
            .with("counters", counters(py, self.counters)?)?
            .with("last_submitted_at", self.last_submitted_at)?
            .done())
    }
}

impl Record for DailyStatistics {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Fields::new(py)
            .with("day", self.day)?
            .with("counters", counters(py, self.counters)?)?
            .with("run_time", std::time::Duration::from_micros(self.run_micros))?
            .done())
    }
}

fn definition(py: Python<'_>, pipeline: &Pipeline) -> PyResult<Py<PyAny>> {
    let definition = &pipeline.definition;
    let declared = PyDict::new(py);
    for (name, declaration) in &definition.parameters.declared {
        declared.set_item(name.as_str(), parameter(py, declaration)?)?;
    }
    let unsupported: Vec<String> = pipeline.unsupported().iter().map(ToString::to_string).collect();
    Ok(Fields::new(py)
        .with("description", definition.description.as_deref())?
        .with("tags", &definition.tags)?
        .with("enabled", definition.enabled)?
        .with("entry", &pipeline.program.entry)?
        .with("executor", definition.executor.as_ref().map(ExecutorName::as_str))?
        .with("parameters", declared)?
        .with("takes_undeclared", definition.parameters.undeclared == Undeclared::Allow)?
        .with("unsupported", unsupported)?
        .with("settings", json(py, definition)?)?
        .done())
}

fn parameter(py: Python<'_>, declaration: &ParameterDeclaration) -> PyResult<Py<PyAny>> {
    Ok(Fields::new(py)
        .with("type", declaration.of_type.as_str())?
        .with("description", declaration.description.as_deref())?
        .with("default", declaration.default.as_deref())?
        .with("required", declaration.required)?
        .with("choices", &declaration.choices)?
        .done())
}

fn diagnostic(py: Python<'_>, found: Diagnostic) -> PyResult<Py<PyAny>> {
    Ok(Fields::new(py)
        .with("severity", found.severity.to_string())?
        .with("text", found.to_string())?
        .with("file", found.file)?
        .with("line", found.position.map(|position| position.line))?
        .with("column", found.position.map(|position| position.column))?
        .with("field", found.field)?
        .with("message", found.message)?
        .done())
}

fn environment(py: Python<'_>, state: &EnvironmentState) -> PyResult<Py<PyAny>> {
    let (mut since, mut id, mut python_version, mut failure) = (None, None, None, None);
    let name = match state {
        EnvironmentState::NotNeeded => "not_needed",
        EnvironmentState::Queued => "queued",
        EnvironmentState::Building { since: begun } => {
            since = Some(*begun);
            "building"
        }
        EnvironmentState::Cached { environment, python_version: version } => {
            id = Some(environment.as_str());
            python_version = Some(version.as_str());
            "cached"
        }
        EnvironmentState::Failed(why) => {
            failure = Some(why.to_string());
            "failed"
        }
        // `NotCached`, and what a later version may add: the next run makes it ready.
        _ => "not_cached",
    };
    Ok(Fields::new(py)
        .with("state", name)?
        .with("since", since)?
        .with("id", id)?
        .with("python_version", python_version)?
        .with("failure", failure)?
        .done())
}

fn counters(py: Python<'_>, counters: Counters) -> PyResult<Py<PyAny>> {
    Ok(Fields::new(py)
        .with("succeeded", counters.succeeded)?
        .with("failed", counters.failed)?
        .with("cancelled", counters.cancelled)?
        .done())
}
