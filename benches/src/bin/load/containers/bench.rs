//! A host with one container engine, and what its containers look like.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastflow_benches::{
    engine::{self, Workplace},
    raw_engine::{Api, RawEngine, Twin},
    watched::{Calls, WatchedEngine},
};
use fastflow_core::{
    Clock, Error, ErrorKind, Orchestrator, Result, RunId, Shutdown, SystemClock,
    executor::container::{ContainerConfig, ContainerEngine, ContainerExecutor},
    journal::{LogStream, Offset},
    run::{Attempt, Run},
};
use fastflow_docker::{DockerConfig, DockerEngine, DockerHost};
use fastflow_podman::{PodmanConfig, PodmanEngine, PodmanHost};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Subject;
use crate::Common;

/// The program of most measures: one line, which says when it was reached by the clock that all containers share.
pub(super) const PROGRAM: &str = "import time; print(time.monotonic_ns())\n";

/// Where the run directory and the order are in a container.
const RUN: &str = "/fastflow/run";
const ORDER: &str = "/fastflow/order";
/// The label by which the containers of one host are found.
const OWNER_LABEL: &str = "fastflow.owner";
/// A file system in memory, for the floor's stand-in for the folder of the order.
const MEMORY: &str = "/dev/shm";

/// A host that runs everything in containers of one engine.
pub(super) struct Bench {
    pub(super) place: Workplace,
    pub(super) flow: Orchestrator,
    pub(super) calls: Calls,
    engine: Arc<dyn ContainerEngine>,
}

/// The floor's container, and the folders that it is given.
pub(super) struct Floor {
    pub(super) twin: Twin,
    _order: TempDir,
}

impl Bench {
    pub(super) async fn start(common: &Common, subject: &Subject, slots: u32) -> Result<Self> {
        let place = common.workplace()?;
        let calls = Calls::default();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let engine = connect(subject, &clock)?;
        let watched = WatchedEngine::new(Arc::clone(&engine), calls.clone());
        let mut config = ContainerConfig::new(place.path().join("containers"));
        config.image = common.image.clone();
        let executor = ContainerExecutor::new(watched, config, clock)?;
        let builder = place
            .engine()
            .max_concurrent_runs(NonZeroU32::new(slots).unwrap_or(NonZeroU32::MIN))
            .executor(subject.name(), executor);
        let flow = builder.build().await?;
        flow.start().await?;
        Ok(Self { place, flow, calls, engine })
    }

    /// The same container as that of a run with this manifest, for the same program without Fast-Flow. Also makes the
    /// environment.
    pub(super) async fn floor(&self, manifest: &Value) -> Result<Floor> {
        let started = self.place.probe_configured(&self.flow, manifest).await?;
        let nothing = || Error::new(ErrorKind::Internal, "the probe has made no container");
        let mut container = self.calls.last_spec().ok_or_else(nothing)?;
        let run_dir = self.place.path().join("floor");
        fs::create_dir_all(run_dir.join("work"))?;
        fs::write(run_dir.join("work/main.py"), PROGRAM)?;
        let order = tempfile::Builder::new().prefix("fastflow-bench-").tempdir_in(MEMORY)?;
        for mount in &mut container.mounts {
            if mount.target == Path::new(RUN) {
                mount.source.clone_from(&run_dir);
            } else if mount.target == Path::new(ORDER) {
                order.path().clone_into(&mut mount.source);
            }
        }
        let mut argv = started.argv;
        if let Some(script) = argv.last_mut() {
            *script = "main.py".into();
        }
        let working_dir = format!("{RUN}/work");
        Ok(Floor { twin: Twin { container, argv, env: started.env, working_dir }, _order: order })
    }

    /// Ends the host, and removes the sandboxes that wait: no other host of this data directory will ever use them.
    pub(super) async fn end(self) -> Result<()> {
        self.flow.shutdown(Shutdown::Detach).await?;
        let owner = BTreeMap::from([(OWNER_LABEL.to_owned(), self.flow.owner().to_string())]);
        for container in self.engine.list(&owner).await? {
            self.engine.remove(&container.name).await?;
        }
        Ok(())
    }

    /// The only attempt of a run.
    pub(super) async fn attempt(&self, run: RunId) -> Result<Attempt> {
        let attempts = self.flow.runs().attempts(run).await?;
        let first = attempts.into_iter().next();
        first.ok_or_else(|| Error::new(ErrorKind::Internal, "an ended run has no attempt").with("run", run))
    }

    /// Waits until the container of a run is removed; its name.
    pub(super) async fn gone(&self, run: RunId) -> Result<String> {
        let handle = self.attempt(run).await?.handle;
        let name = handle.as_ref().and_then(|handle| handle.detail["container"].as_str());
        let name = name.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "an ended run had no container").with("run", run)
        })?;
        self.calls.removed(name).await;
        Ok(name.to_owned())
    }

    /// Runs a pipeline, and waits until nothing of it is left in the engine.
    pub(super) async fn run(&self, pipeline: &str) -> Result<()> {
        let run = engine::succeed(&self.flow, pipeline).await?;
        self.gone(run.id).await.map(drop)
    }

    /// When the program reached its line.
    pub(super) async fn line(&self, run: &Run) -> Result<Duration> {
        let nothing = || Error::new(ErrorKind::Internal, "the program wrote no number");
        let attempt = run.attempt_id().ok_or_else(nothing)?;
        let mut lines = self.flow.runs().logs(attempt, Offset::START);
        while let Some((_, line)) = lines.try_next().await? {
            if line.stream == LogStream::Out {
                let at = line
                    .text()
                    .trim()
                    .parse()
                    .map_err(|error: std::num::ParseIntError| nothing().because(error))?;
                return Ok(Duration::from_nanos(at));
            }
        }
        Err(nothing())
    }
}

/// What a pipeline in a container without a network says; further fields can be added.
pub(super) fn manifest() -> Value {
    json!({ "network": "none" })
}

/// The floor's way to the engine.
pub(super) async fn raw(subject: &Subject) -> Result<RawEngine> {
    RawEngine::connect(subject.api, &subject.socket).await
}

fn connect(subject: &Subject, clock: &Arc<dyn Clock>) -> Result<Arc<dyn ContainerEngine>> {
    let clock = Arc::clone(clock);
    let socket: PathBuf = subject.socket.clone();
    Ok(match subject.api {
        Api::Docker => {
            let mut config = DockerConfig::default();
            config.host = Some(DockerHost::Unix(socket));
            Arc::new(DockerEngine::new(config, clock)?)
        }
        Api::Podman => {
            let mut config = PodmanConfig::default();
            config.host = Some(PodmanHost::Unix(socket));
            Arc::new(PodmanEngine::new(config, clock)?)
        }
    })
}
