//! What the tests of the host stand on: a folder of pipelines, a data directory, and waiting with an end.

#![allow(dead_code, reason = "shared by two test programs, and neither needs all of it")]

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    AttemptId, Clock, ErrorKind, Orchestrator, OrchestratorBuilder, Result, RunId, Submission, SystemClock,
    environment::{
        Collected, Environment, EnvironmentBuilder, EnvironmentFailure, EnvironmentId, EnvironmentRequest,
        SetupLog,
    },
    journal::{LogLine, LogStream, Offset},
    run::{Attempt, Note, Run},
    testing::tool,
};
use futures::StreamExt;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A folder of pipelines and a data directory, removed at the end.
#[derive(Debug)]
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { dir: TempDir::new().unwrap() };
        for dir in ["pipelines", "tmp"] {
            std::fs::create_dir(place.dir.path().join(dir)).unwrap();
        }
        place
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// A folder where programs and tests leave each other files.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn pipelines(&self) -> PathBuf {
        self.dir.path().join("pipelines")
    }

    /// Writes a pipeline's program.
    pub(crate) fn pipeline(&self, name: &str, main: &str) -> &Self {
        self.file(&format!("{name}/main.py"), main)
    }

    /// Writes a file below the folder of pipelines.
    pub(crate) fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.pipelines().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn builder(&self) -> OrchestratorBuilder {
        configured(self.bare_builder())
    }

    /// Without uv: for tests that bring environments of their own.
    pub(crate) fn bare_builder(&self) -> OrchestratorBuilder {
        Orchestrator::builder(self.data()).pipelines(self.pipelines())
    }

    pub(crate) async fn start(&self) -> Orchestrator {
        started(self.builder()).await
    }

    /// What a program wrote into a file of [`tmp`](Self::tmp); nothing while there is none.
    pub(crate) fn said(&self, file: &str) -> String {
        std::fs::read_to_string(self.tmp().join(file)).unwrap_or_default()
    }

    pub(crate) async fn until_said(&self, file: &str) {
        until(&format!("a program to write {file}"), || async { !self.said(file).is_empty() }).await;
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.tmp().join(file), text).unwrap();
    }

    /// Changes the store's file behind the host's back.
    pub(crate) async fn sql(&self, text: &'static str) {
        use sqlx::Connection as _;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.data().join("fastflow.db"));
        let mut store = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(text).execute(&mut store).await.unwrap();
    }

    /// A submission whose program finds [`tmp`](Self::tmp) in `TMP_DIR`.
    pub(crate) fn ask(&self, pipeline: &str) -> Submission {
        Submission::new(pipeline).parameter("TMP_DIR", self.tmp().display().to_string())
    }
}

/// The environments of a test: those of uv, and where there is none, the Python of the machine.
pub(crate) fn configured(builder: OrchestratorBuilder) -> OrchestratorBuilder {
    match tool::uv() {
        Some(uv) => builder.uv(uv),
        None => builder.environments(MachinePython),
    }
}

/// Starts an orchestrator. One that was dropped a moment ago may still hold the data directory.
pub(crate) async fn started(builder: OrchestratorBuilder) -> Orchestrator {
    let flow = within("an orchestrator to be built", builder.build()).await.unwrap();
    within("an orchestrator to start", flow.start()).await.unwrap();
    flow
}

/// Builds and starts as soon as whoever has the data directory has let go of it.
pub(crate) async fn started_after(builder: impl Fn() -> OrchestratorBuilder) -> Orchestrator {
    let clock = SystemClock::new();
    within("the data directory to be free", async {
        loop {
            match builder().build().await {
                Ok(flow) => break flow.start().await.map(|()| flow).unwrap(),
                Err(error) if error.kind() == ErrorKind::Conflict => clock.sleep(LOOK_EVERY).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    })
    .await
}

/// Waits for `future`, and fails when it takes longer than anything should.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    within_time(what, PATIENCE, future).await
}

pub(crate) async fn within_time<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    let clock = SystemClock::new();
    tokio::select! {
        output = future => output,
        () = clock.sleep(limit) => panic!("waited {limit:?} in vain for {what}"),
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let clock = SystemClock::new();
    within(what, async {
        while !condition().await {
            clock.sleep(LOOK_EVERY).await;
        }
    })
    .await;
}

pub(crate) async fn ended(flow: &Orchestrator, id: RunId) -> Run {
    within("a run to end", flow.runs().wait(id)).await.unwrap()
}

/// Submits, and waits for the end.
pub(crate) async fn run(flow: &Orchestrator, what: impl Into<Submission>) -> Run {
    let run = flow.submit(what).await.unwrap();
    ended(flow, run.id).await
}

pub(crate) async fn attempts(flow: &Orchestrator, id: RunId) -> Vec<Attempt> {
    flow.runs().attempts(id).await.unwrap()
}

pub(crate) fn attempt(run: RunId, number: u32) -> AttemptId {
    AttemptId { run, number: NonZeroU32::new(number).unwrap() }
}

/// What was noted about all runs, oldest first, as it stands in the store's file.
pub(crate) async fn all_notes(data: &Path) -> Vec<(RunId, Note)> {
    use sqlx::Connection as _;
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("fastflow.db")).read_only(true);
    let mut store = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let rows: Vec<(Vec<u8>, i64, u32, String)> =
        sqlx::query_as("SELECT run, at, attempt, body FROM notes ORDER BY id")
            .fetch_all(&mut store)
            .await
            .unwrap();
    let note = |(run, at, attempt, body): (Vec<u8>, i64, u32, String)| {
        let at = fastflow_core::Timestamp::from_microsecond(at).unwrap();
        let decision = serde_json::from_str(&body).unwrap();
        (RunId::from_bytes(run.try_into().unwrap()), Note { at, attempt, decision })
    };
    rows.into_iter().map(note).collect()
}

/// What was noted about one run.
pub(crate) async fn notes(data: &Path, run: RunId) -> Vec<Note> {
    all_notes(data).await.into_iter().filter(|(of, _)| *of == run).map(|(_, note)| note).collect()
}

/// A whole log, once its attempt has ended.
pub(crate) async fn log(flow: &Orchestrator, attempt: AttemptId) -> Vec<(Offset, LogLine)> {
    let lines = flow.runs().logs(attempt, Offset::START).collect::<Vec<Result<_>>>();
    within("a log to end", lines).await.into_iter().map(Result::unwrap).collect()
}

/// The lines of one stream of the first attempt.
pub(crate) async fn lines(flow: &Orchestrator, run: RunId, stream: LogStream) -> Vec<String> {
    let log = log(flow, attempt(run, 1)).await;
    log.iter().filter(|(_, line)| line.stream == stream).map(|(_, line)| line.text().into_owned()).collect()
}

/// Exactly what a program wrote to one stream.
pub(crate) fn bytes(log: &[(Offset, LogLine)], stream: LogStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (_, line) in log.iter().filter(|(_, line)| line.stream == stream) {
        bytes.extend_from_slice(&line.bytes);
        if !line.continues {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// The processes of a run, found by what their environment says.
pub(crate) fn processes_of(run: &str) -> Vec<u32> {
    let wanted = format!("FASTFLOW_RUN_ID={run}");
    let carries = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(carries).collect()
}

/// The error of something that must not work.
pub(crate) fn refused<T: fmt::Debug>(result: Result<T>, kind: ErrorKind, words: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    let text = error.chain();
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

/// A variable of this test program's environment.
#[expect(clippy::disallowed_methods, reason = "a test is configured by the one who starts it")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether this process may mount and read everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A small file system of its own; gone at the end.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// `None`, loudly, where this process must not mount one.
    pub(crate) fn mount(path: PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mounted = is_root() && mount(&["-t", "tmpfs", "-o", options, "tmpfs"], &path);
        if !mounted {
            tool::require("mount", "run the tests as root, so that they can mount a small disk");
            return None;
        }
        Some(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Changes how it is mounted, as soon as nobody has a file open that hinders it.
    pub(crate) async fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        until("a small disk to be mounted anew", || async { mount(&["-o", &options], &self.path) }).await;
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a program that is only just ending may still have it open.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    let status = std::process::Command::new("mount").args(arguments).arg(path).status();
    status.is_ok_and(|status| status.success())
}

/// What the environment of [`MachinePython`] is called.
pub(crate) fn environment_id() -> EnvironmentId {
    "0".repeat(64).parse().unwrap()
}

/// The Python that is on this machine, as it is.
#[derive(Debug)]
pub(crate) struct MachinePython;

#[async_trait]
impl EnvironmentBuilder for MachinePython {
    async fn prepare(
        &self,
        _: &EnvironmentRequest,
        _: &dyn SetupLog,
    ) -> Result<Environment, EnvironmentFailure> {
        Ok(machine_python())
    }

    async fn find(&self, _: &EnvironmentRequest) -> Result<Option<Environment>, EnvironmentFailure> {
        Ok(Some(machine_python()))
    }

    async fn collect(
        &self,
        _: &BTreeSet<EnvironmentId>,
        _: Duration,
        _: usize,
    ) -> Result<Collected, EnvironmentFailure> {
        Ok(Collected::default())
    }
}

fn machine_python() -> Environment {
    Environment {
        id: environment_id(),
        directory: "/usr".into(),
        python: python(),
        reads: vec!["/usr".into()],
        python_version: "3".into(),
        lock_hash: "0".repeat(64).parse().unwrap(),
        uv_version: "none".into(),
        built: false,
    }
}

/// The interpreter that `python3` on the `PATH` comes to.
fn python() -> PathBuf {
    let output =
        std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().into()
}

/// Makes nothing ready, ever: holds runs where environments are built.
#[derive(Debug)]
pub(crate) struct EndlessBuild;

#[async_trait]
impl EnvironmentBuilder for EndlessBuild {
    async fn prepare(
        &self,
        _: &EnvironmentRequest,
        log: &dyn SetupLog,
    ) -> Result<Environment, EnvironmentFailure> {
        log.line("building");
        std::future::pending().await
    }

    async fn find(&self, _: &EnvironmentRequest) -> Result<Option<Environment>, EnvironmentFailure> {
        Ok(None)
    }

    async fn collect(
        &self,
        _: &BTreeSet<EnvironmentId>,
        _: Duration,
        _: usize,
    ) -> Result<Collected, EnvironmentFailure> {
        Ok(Collected::default())
    }
}

pub(crate) fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// The machine's clock, for what tests measure.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}
