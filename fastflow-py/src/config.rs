//! What `fastflow.open` was given, as a builder of the orchestrator.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use fastflow_core::{Orchestrator, OrchestratorBuilder, Shutdown, testing::MemoryStore};
use pyo3::{prelude::*, types::PyDict};
use tracing::Dispatch;

use crate::{executor::ExecutorPort, logging::LogPort, testing::ManualClock};

/// The options of one flow.
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pipelines: PathBuf,
    uv: Option<PathBuf>,
    max_concurrent_runs: Option<NonZeroU32>,
    inherit_env: Vec<String>,
    executors: Vec<(String, Py<ExecutorPort>)>,
    log: Option<Py<LogPort>>,
    test: Option<Py<ManualClock>>,
}

impl Config {
    /// Reads the dictionary that the package made of its arguments: every key is there.
    pub(crate) fn read(options: &Bound<'_, PyDict>) -> PyResult<Self> {
        Ok(Self {
            data_dir: required(options, "data_dir")?,
            pipelines: required(options, "pipelines")?,
            uv: required(options, "uv")?,
            max_concurrent_runs: required(options, "max_concurrent_runs")?,
            inherit_env: required(options, "inherit_env")?,
            executors: required(options, "executors")?,
            log: required(options, "log")?,
            test: required(options, "test_clock")?,
        })
    }

    /// The builder that these options make.
    pub(crate) fn builder(&self) -> OrchestratorBuilder {
        let mut builder =
            Orchestrator::builder(&self.data_dir).pipelines(&self.pipelines).inherit_env(&self.inherit_env);
        if let Some(uv) = &self.uv {
            builder = builder.uv(uv);
        }
        if let Some(limit) = self.max_concurrent_runs {
            builder = builder.max_concurrent_runs(limit);
        }
        for (name, port) in &self.executors {
            builder = builder.executor(name, port.get().executor());
        }
        if let Some(clock) = &self.test {
            builder = builder.clock(clock.get().clock()).store(MemoryStore::new());
        }
        builder
    }

    /// What becomes of programs when nothing is said: nobody takes over from a store in memory.
    pub(crate) fn shutdown(&self, grace: Duration) -> Shutdown {
        match self.test {
            Some(_) => Shutdown::Drain { patience: Duration::ZERO, grace },
            None => Shutdown::Detach,
        }
    }

    /// Where the runtime's threads say what they have to say.
    pub(crate) fn dispatch(&self) -> Dispatch {
        self.log.as_ref().map_or_else(Dispatch::none, |log| log.get().dispatch())
    }

    /// Lets the threads of Python's go that work for the flow.
    pub(crate) fn end_services(&self) {
        for (_, port) in &self.executors {
            port.get().lanes().close();
        }
        if let Some(log) = &self.log {
            log.get().end();
        }
    }
}

fn required<'py, T: FromPyObjectOwned<'py>>(options: &Bound<'py, PyDict>, key: &str) -> PyResult<T> {
    let value = options.as_any().get_item(key)?;
    value.extract().map_err(Into::into)
}
