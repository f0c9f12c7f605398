//! What `fastflow.open` was given, as a builder of the orchestrator.

use std::{num::NonZeroU32, path::PathBuf};

use fastflow_core::{Orchestrator, OrchestratorBuilder};
use pyo3::{prelude::*, types::PyDict};

/// The options of one flow.
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pipelines: PathBuf,
    uv: Option<PathBuf>,
    max_concurrent_runs: Option<NonZeroU32>,
    inherit_env: Vec<String>,
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
        builder
    }
}

fn required<'py, T: FromPyObjectOwned<'py>>(options: &Bound<'py, PyDict>, key: &str) -> PyResult<T> {
    let value = options.as_any().get_item(key)?;
    value.extract().map_err(Into::into)
}
