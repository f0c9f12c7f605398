//! Engines on a throw-away data directory, and the pipelines they run.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use fastflow_core::{
    AttemptId, Error, ErrorKind, Orchestrator, OrchestratorBuilder, Result, RunId, run::Run, run::Status,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// A folder that holds a data directory and pipelines, removed in the end.
#[derive(Debug)]
pub struct Workplace {
    path: PathBuf,
    uv: Option<PathBuf>,
    /// Removes it in the end; the process that made it does.
    _dir: Option<TempDir>,
}

/// How an attempt's program was started, as the program itself saw it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Started {
    /// The interpreter and its arguments.
    pub argv: Vec<String>,
    /// All of its environment variables.
    pub env: BTreeMap<String, String>,
}

/// Says how it was started. The same for every pipeline with the same dependencies.
const PROBE: &str = "import json, os, sys
with open('started.json', 'w') as out:
    json.dump({'argv': sys.orig_argv, 'env': dict(os.environ)}, out)
";

impl Workplace {
    /// A new one below `parent`, which should be on a disk like the one that production has: figures of a
    /// file system in memory say nothing of fsync.
    ///
    /// # Errors
    ///
    /// By the file system's word.
    pub fn new(parent: &Path, uv: Option<PathBuf>) -> Result<Self> {
        fs::create_dir_all(parent)?;
        let dir = tempfile::Builder::new().prefix("fastflow-bench-").tempdir_in(parent)?;
        fs::create_dir(dir.path().join("pipelines"))?;
        Ok(Self { path: dir.path().to_owned(), uv, _dir: Some(dir) })
    }

    /// One that another process made, and will remove.
    pub fn existing(path: &Path, uv: Option<PathBuf>) -> Self {
        Self { path: path.to_owned(), uv, _dir: None }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine keeps its things.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The folder of pipelines.
    pub fn pipelines(&self) -> PathBuf {
        self.path.join("pipelines")
    }

    /// Adds a pipeline. Its requirements are the lines of `requirements.txt`, if there are any.
    ///
    /// # Errors
    ///
    /// By the file system's word.
    pub fn pipeline(&self, name: &str, main: &str, requirements: &[&str]) -> Result<()> {
        let folder = self.pipelines().join(name);
        fs::create_dir(&folder)?;
        fs::write(folder.join("main.py"), main)?;
        if !requirements.is_empty() {
            fs::write(folder.join("requirements.txt"), requirements.join("\n"))?;
        }
        Ok(())
    }

    /// Adds a pipeline with a `pipeline.json`.
    ///
    /// # Errors
    ///
    /// By the file system's word.
    pub fn configured(&self, name: &str, main: &str, manifest: &serde_json::Value) -> Result<()> {
        self.pipeline(name, main, &[])?;
        fs::write(self.pipelines().join(name).join("pipeline.json"), manifest.to_string())?;
        Ok(())
    }

    /// The engine as an application would build it.
    pub fn engine(&self) -> OrchestratorBuilder {
        let builder = Orchestrator::builder(self.data())
            .pipelines(self.pipelines())
            .max_concurrent_runs(NonZeroU32::new(4).unwrap_or(NonZeroU32::MIN));
        match &self.uv {
            Some(uv) => builder.uv(uv),
            None => builder,
        }
    }

    /// A started engine.
    ///
    /// # Errors
    ///
    /// As [`OrchestratorBuilder::build`] and [`Orchestrator::start`].
    pub async fn start(&self) -> Result<Orchestrator> {
        let flow = self.engine().build().await?;
        flow.start().await?;
        Ok(flow)
    }

    /// Runs a program with these requirements that says how it was started, so that a floor can start
    /// exactly the same. It also builds the environment.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub async fn probe(&self, flow: &Orchestrator, requirements: &[&str]) -> Result<Started> {
        let name = if requirements.is_empty() { "probe" } else { "probe_packages" };
        self.pipeline(name, PROBE, requirements)?;
        started(flow, name).await
    }

    /// The same with a `pipeline.json`.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub async fn probe_configured(
        &self,
        flow: &Orchestrator,
        manifest: &serde_json::Value,
    ) -> Result<Started> {
        self.configured("probe", PROBE, manifest)?;
        started(flow, "probe").await
    }
}

async fn started(flow: &Orchestrator, probe: &str) -> Result<Started> {
    let run = succeed(flow, probe).await?;
    let text = fs::read(work_dir(flow, run.id).await?.join("started.json"))?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::new(ErrorKind::Internal, "the probe wrote something else").because(error))
}

/// Runs a pipeline and waits for its good end.
///
/// # Errors
///
/// `Internal` when it ends in another way.
pub async fn succeed(flow: &Orchestrator, pipeline: &str) -> Result<Run> {
    let run = flow.submit(pipeline).await?;
    ended_well(flow.runs().wait(run.id).await?)
}

/// The run, if it ended well.
///
/// # Errors
///
/// `Internal` when it ended in another way.
pub fn ended_well(run: Run) -> Result<Run> {
    if run.status() == Status::Success {
        return Ok(run);
    }
    let reason = run.failure().map(ToString::to_string).unwrap_or_default();
    Err(Error::new(ErrorKind::Internal, "a run of the benchmark did not end well")
        .with("run", run.id)
        .with("pipeline", run.pipeline())
        .with("status", run.status())
        .with("reason", reason))
}

/// Where the first attempt of a run had its files.
///
/// # Errors
///
/// As [`Runs::directory`](fastflow_core::orchestrator::Runs::directory).
pub async fn work_dir(flow: &Orchestrator, run: RunId) -> Result<PathBuf> {
    let attempt = AttemptId { run, number: NonZeroU32::MIN };
    Ok(flow.runs().directory(attempt).await?.join("work"))
}
