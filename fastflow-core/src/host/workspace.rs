//! What an attempt needs on disk before it starts: its directory, its private copy, its environment.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use fastflow_shim::regular;

use super::{Ports, program};
use crate::{
    Clock, Error, ErrorKind, Result,
    environment::{Environment, EnvironmentRequest, HostWorkbench, SetupLog, Workbench},
    executor::Executor,
    journal::{LogStream, LogWriter},
    layout::{HEARTBEAT_FILE, OUTPUT_FILE, ROUTE_FILE, WORK_DIR},
    pipeline::Pipeline,
    run::{Failure, Run, RunSpec, Setup, SetupEnvironment, StartFailure, StartFailureKind},
    secret::SecretUse,
    source,
};

/// What was made ready.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) run_dir: PathBuf,
    pub(super) working_dir: PathBuf,
    pub(super) environment: Option<Environment>,
    /// Where the program runs, if that is not this machine as it is.
    pub(super) place: Option<Arc<dyn Workbench>>,
    /// The variables that say where the program leaves what it tells the host.
    pub(super) answers: Vec<(String, String)>,
    /// Files of the program that the host reads.
    pub(super) answer_files: Vec<PathBuf>,
    /// Whether there is a run directory at all.
    on_disk: bool,
}

/// Where an attempt's [`Setup`] is kept until the store has it.
const SETUP_FILE: &str = "setup.json";
/// The largest such file, far above what one needs.
const MAX_SETUP_BYTES: u64 = 64 << 10;

impl Workspace {
    /// What was made ready in `duration`, as the attempt keeps it.
    pub(super) fn setup(&self, duration: Duration, secrets: Vec<SecretUse>) -> Setup {
        let environment = self.environment.as_ref().map(|found| SetupEnvironment {
            id: found.id.clone(),
            lock_hash: found.lock_hash.to_string(),
            python_version: found.python_version.clone(),
            uv_version: found.uv_version.clone(),
            built: found.built,
        });
        let image = self.place.as_ref().map(|place| place.identity().to_owned());
        Setup { duration, environment, image, secrets }
    }

    /// Keeps what was made ready beside the attempt. It is worth no failure of its own: a disk without room for
    /// it has none for the attempt either.
    pub(super) fn keep(&self, setup: &Setup) {
        if !self.on_disk {
            return;
        }
        let written = serde_json::to_vec(setup)
            .map_err(std::io::Error::from)
            .and_then(|bytes| std::fs::write(self.run_dir.join(SETUP_FILE), bytes));
        if let Err(error) = written {
            tracing::warn!(path = %self.run_dir.display(), %error, "what was made ready could not be kept");
        }
    }
}

/// What [`Workspace::keep`] kept. Half a file, left by a host that was killed, says nothing.
pub(super) fn kept(run_dir: &Path) -> Option<Setup> {
    // The program may have put anything there.
    serde_json::from_slice(&regular::read(&run_dir.join(SETUP_FILE), MAX_SETUP_BYTES).ok()?).ok()
}

/// Makes everything ready, or says why the run fails.
pub(super) async fn prepare(ports: &Ports, run: &Run) -> Result<Workspace, Failure> {
    let executor = ports.executors.get(&run.spec.executor).map_err(|error| start_failure(&error))?;
    let capabilities = executor.capabilities();
    // Before anything is built for it: what the executor cannot do, it cannot do later either.
    capabilities
        .check(program::requirements(&run.spec.pipeline.definition))
        .map_err(|error| start_failure(&error))?;
    let attempt = run.attempt_id().ok_or_else(|| {
        start_failure(&Error::new(ErrorKind::Internal, "a run without an attempt was started"))
    })?;
    if !capabilities.environments && !capabilities.output {
        // It needs nothing of this machine's disk.
        let run_dir = ports.data.attempt_dir(run.pipeline(), attempt);
        return Ok(Workspace {
            working_dir: run_dir.clone(),
            run_dir,
            environment: None,
            place: None,
            answers: Vec::new(),
            answer_files: Vec::new(),
            on_disk: false,
        });
    }
    let snapshot = snapshot(ports, &run.spec).await?;
    let (data, pipeline) = (ports.data.clone(), run.pipeline().clone());
    let folder = snapshot.clone();
    let copied = tokio::task::spawn_blocking(move || {
        let run_dir = data.create_attempt_dir(&pipeline, attempt)?;
        let working_dir = run_dir.join(WORK_DIR);
        source::copy_tree(&folder, &working_dir)?;
        Ok::<_, Error>((run_dir, working_dir))
    });
    let (run_dir, working_dir) = copied
        .await
        .map_err(|panic| start_failure(&Error::new(ErrorKind::Internal, "copying panicked").because(panic)))?
        .map_err(|error| start_failure(&error))?;
    let log = AttemptLog::new(&run_dir, Arc::clone(&ports.clock));
    let place = place(&**executor, &run.spec, &log).await?;
    let environment = if capabilities.environments {
        let _waits = ports.environment_work.run_waits();
        let request = request(ports, &run.spec.pipeline, snapshot, place.clone());
        Some(environment(ports, &request, &log).await?)
    } else {
        None
    };
    let answers = answers(&**executor, run, &run_dir, &working_dir);
    let answer_files = [ROUTE_FILE, OUTPUT_FILE].map(|file| working_dir.join(file)).to_vec();
    Ok(Workspace { run_dir, working_dir, environment, place, answers, answer_files, on_disk: true })
}

/// The variables that say where the program leaves what it tells the host: its heartbeat, where one is asked for, the
/// route that follows it, and its outputs.
fn answers(executor: &dyn Executor, run: &Run, run_dir: &Path, working_dir: &Path) -> Vec<(String, String)> {
    let watched = run.spec.pipeline.definition.health.heartbeat_timeout.is_some();
    let heartbeat = watched.then_some(("FASTFLOW_HEARTBEAT_FILE", HEARTBEAT_FILE));
    let files = [("FASTFLOW_ROUTE_FILE", ROUTE_FILE), ("FASTFLOW_OUTPUT_FILE", OUTPUT_FILE)];
    let inside = |(name, file): (&str, &str)| {
        let path = executor.path_inside(run_dir, &working_dir.join(file));
        (name.to_owned(), path.display().to_string())
    };
    files.into_iter().chain(heartbeat).map(inside).collect()
}

/// Makes ready what any run like this needs beside its own copy, before there is one: through the calls that its set-up
/// makes, so that it finds or joins what they make.
pub(super) async fn make_ready(
    ports: &Ports,
    spec: &RunSpec,
    log: &dyn SetupLog,
) -> Result<Environment, Failure> {
    let executor = ports.executors.get(&spec.executor).map_err(|error| start_failure(&error))?;
    let folder = snapshot(ports, spec).await?;
    let place = place(&**executor, spec, log).await?;
    environment(ports, &request(ports, &spec.pipeline, folder, place), log).await
}

/// The folder that holds what is run.
pub(super) async fn snapshot(ports: &Ports, spec: &RunSpec) -> Result<PathBuf, Failure> {
    ports.checkout(spec).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed(StartFailureKind::RevisionMissing, &error),
        _ => start_failure(&error),
    })
}

async fn environment(
    ports: &Ports,
    request: &EnvironmentRequest,
    log: &dyn SetupLog,
) -> Result<Environment, Failure> {
    let prepared = ports.environments.prepare(request, log).await;
    prepared.inspect_err(|failure| log.line(&failure.to_string())).map_err(Failure::EnvironmentFailed)
}

/// Where the program will run; an image is fetched for that.
async fn place(
    executor: &dyn Executor,
    spec: &RunSpec,
    log: &dyn SetupLog,
) -> Result<Option<Arc<dyn Workbench>>, Failure> {
    executor.workbench(spec.pipeline.definition.image.as_ref(), log).await.map_err(|error| {
        log.line(&error.chain());
        match error.kind() {
            ErrorKind::NotFound => failed(StartFailureKind::ImageMissing, &error),
            _ => start_failure(&error),
        }
    })
}

/// What is asked of the builder of environments for a pipeline.
pub(super) fn request(
    ports: &Ports,
    pipeline: &Pipeline,
    folder: PathBuf,
    place: Option<Arc<dyn Workbench>>,
) -> EnvironmentRequest {
    EnvironmentRequest {
        place: place.unwrap_or_else(|| {
            let here = HostWorkbench::new(Arc::clone(&ports.clock));
            Arc::new(here.hiding(ports.settings.secret_variables.clone()))
        }),
        folder,
        dependencies: pipeline.dependencies.clone(),
        python: pipeline.definition.python_version.clone(),
        requires_python: pipeline.requires_python.clone(),
    }
}

/// The attempt's log, written by the host before its program starts.
struct AttemptLog {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    writer: Mutex<Option<LogWriter>>,
}

impl AttemptLog {
    fn new(run_dir: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { path: run_dir.join(fastflow_shim::layout::LOG), clock, writer: Mutex::new(None) }
    }
}

impl SetupLog for AttemptLog {
    fn line(&self, text: &str) {
        let Ok(mut writer) = self.writer.lock() else { return };
        if writer.is_none() {
            *writer = LogWriter::open(&self.path).ok();
        }
        // A line about the setup that cannot be written must not stop the setup; a full disk will.
        if let Some(open) = writer.as_mut()
            && let Err(error) = open.append(self.clock.now(), LogStream::Setup, text.as_bytes())
        {
            tracing::warn!(path = %self.path.display(), %error, "a setup line was not written");
        }
    }
}

/// A failure of the machinery before the program ran, as the reason of the run.
pub(super) fn start_failure(error: &Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::StorageFull => StartFailureKind::StorageFull,
        ErrorKind::Denied => StartFailureKind::Denied,
        ErrorKind::Unsupported => StartFailureKind::Unsupported,
        ErrorKind::Unavailable => StartFailureKind::ExecutorUnavailable,
        _ => StartFailureKind::Internal,
    };
    failed(kind, error)
}

pub(super) fn failed(kind: StartFailureKind, error: &Error) -> Failure {
    Failure::StartFailed(StartFailure { kind, message: error.chain() })
}

/// Whether the same start may work later.
pub(super) fn is_transient(failure: &Failure) -> bool {
    match failure {
        Failure::EnvironmentFailed(failure) => failure.kind.is_transient(),
        Failure::StartFailed(StartFailure { kind, .. }) => {
            matches!(
                kind,
                StartFailureKind::ExecutorUnavailable
                    | StartFailureKind::SecretsUnavailable
                    | StartFailureKind::StorageFull
            )
        }
        _ => false,
    }
}
