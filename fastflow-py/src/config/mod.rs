//! What `fastflow.open` was given, as a builder of the orchestrator. All of it is read, and refused, before anything is
//! touched.

mod capacity;
mod data_dir;
mod executors;
mod options;
mod secrets;
mod source;
mod upkeep;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use fastflow_core::{
    Error, ErrorKind, Hosting, Orchestrator, OrchestratorBuilder, Result, Shutdown, testing::MemoryStore,
};
use pyo3::{prelude::*, types::PyDict};
use tracing::Dispatch;

pub(crate) use self::data_dir::{DataDirectory, NO_PIPELINES};
use self::{
    capacity::Capacity, executors::Executors, options::Options, secrets::Secrets, source::Source,
    upkeep::Upkeep,
};
use crate::{logging::LogPort, testing::ManualClock};

/// What to do where the usual data directory will not do.
const NAME_ONE: &str = "give `data_dir`";

/// What to do where it has a host of other pipelines.
const NAME_ANOTHER: &str = "give `data_dir`, also this one where they are together on purpose";

/// The options of one flow.
pub(crate) struct Config {
    data_dir: DataDirectory,
    hosting: Hosting,
    source: Source,
    executors: Executors,
    secrets: Secrets,
    capacity: Capacity,
    upkeep: Upkeep,
    environments: Environments,
    log: Option<Py<LogPort>>,
    test_clock: Option<Py<ManualClock>>,
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
            data_dir: data_dir(&options)?,
            hosting: options.checked("hosting", hosting(&options.get::<String>("hosting")?))?,
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
            log: options.get("log")?,
            test_clock: options.get("test_clock")?,
        })
    }

    /// Where everything is kept.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Refuses to be beside a host of other pipelines where no data directory was named.
    pub(crate) async fn check_source(&self, flow: &Orchestrator) -> Result<()> {
        self.data_dir.check_source(flow, NAME_ANOTHER).await
    }

    /// The builder that these options make. Blocks for some milliseconds where executors are given: they are set up in
    /// the data directory.
    pub(crate) fn builder(&self) -> Result<OrchestratorBuilder> {
        let builder = Orchestrator::builder(self.data_dir()).hosting(self.hosting);
        let builder = self.source.apply(builder);
        let builder = self.executors.apply(builder, self.data_dir())?;
        let builder = self.upkeep.apply(self.capacity.apply(self.secrets.apply(builder)));
        let builder = self.environments.apply(builder);
        Ok(match &self.test_clock {
            Some(clock) => builder.clock(clock.get().clock()).store(MemoryStore::new()),
            None => builder,
        })
    }

    /// What becomes of programs when nothing is said: nobody takes over from a store in memory.
    pub(crate) fn shutdown(&self, grace: Duration) -> Shutdown {
        match self.test_clock {
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
        self.executors.end();
        if let Some(log) = &self.log {
            log.get().end();
        }
    }
}

fn data_dir(options: &Options<'_, '_>) -> PyResult<DataDirectory> {
    if let Some(named) = options.get("data_dir")? {
        return options.checked("data_dir", DataDirectory::named(named));
    }
    // The package has seen to it that there is one of them.
    let beside = DataDirectory::beside(&options.get::<PathBuf>("pipelines")?);
    options.checked("pipelines", beside.map_err(|error| error.with("help", NAME_ONE)))
}

fn hosting(hosting: &str) -> Result<Hosting> {
    match hosting {
        "required" => Ok(Hosting::Required),
        "when_free" => Ok(Hosting::WhenFree),
        "never" => Ok(Hosting::Never),
        _ => Err(Error::new(ErrorKind::Invalid, "not a way to host").with("found", hosting)),
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
