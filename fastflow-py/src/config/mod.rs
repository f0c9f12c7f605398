//! What `fastflow.open` was given, as a builder of the orchestrator. All of it is read, and refused, before anything is
//! touched.

mod capacity;
mod executors;
mod options;
mod secrets;
mod source;
mod upkeep;

use std::path::PathBuf;

use fastflow_core::{Orchestrator, OrchestratorBuilder, Result};
use pyo3::{prelude::*, types::PyDict};

use self::{
    capacity::Capacity, executors::Executors, options::Options, secrets::Secrets, source::Source,
    upkeep::Upkeep,
};

/// The options of one flow.
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    source: Source,
    executors: Executors,
    secrets: Secrets,
    capacity: Capacity,
    upkeep: Upkeep,
    environments: Environments,
}

/// How environments are made, and what programs find in theirs.
struct Environments {
    uv: Option<PathBuf>,
    default_python: Option<String>,
    inherit_env: Vec<String>,
}

impl Config {
    /// Reads the dictionary that the package made of its arguments: every key is there.
    pub(crate) fn read(options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let options = Options::new(options);
        Ok(Self {
            data_dir: options.get("data_dir")?,
            source: Source::read(&options)?,
            executors: Executors::read(&options)?,
            secrets: Secrets::read(&options)?,
            capacity: Capacity::read(&options)?,
            upkeep: Upkeep::read(&options)?,
            environments: Environments {
                uv: options.get("uv")?,
                default_python: options.get("default_python")?,
                inherit_env: options.get("inherit_env")?,
            },
        })
    }

    /// The builder that these options make. Blocks for some milliseconds where executors are given: they are set up in
    /// the data directory.
    pub(crate) fn builder(&self) -> Result<OrchestratorBuilder> {
        let builder = self.source.apply(Orchestrator::builder(&self.data_dir));
        let builder = self.executors.apply(builder, &self.data_dir)?;
        let builder = self.upkeep.apply(self.capacity.apply(self.secrets.apply(builder)));
        Ok(self.environments.apply(builder))
    }
}

impl Environments {
    fn apply(&self, mut builder: OrchestratorBuilder) -> OrchestratorBuilder {
        builder = builder.inherit_env(&self.inherit_env);
        if let Some(uv) = &self.uv {
            builder = builder.uv(uv);
        }
        if let Some(python) = &self.default_python {
            builder = builder.default_python(python);
        }
        builder
    }
}
