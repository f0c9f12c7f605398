//! A host over the engine of a test, and programs that do what the test says.

use std::{num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use fastflow_core::{
    AttemptId, Clock, Orchestrator, Result, RunId, Shutdown, SystemClock,
    executor::container::{ContainerConfig, ContainerExecutor, PullPolicy},
    journal::{LogLine, Offset},
    layout::{DataDir, WORK_DIR},
    run::{Failure, Run, Status},
};
use futures::StreamExt as _;
use tempfile::TempDir;

use crate::{KIND, engine::Engine};

/// Longer than anything here takes on a busy machine; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Counts until it is told to go on, and then ends as it is told.
const COUNT: &str = r"
import os, sys, time
with open('started', 'a') as started:
    started.write(os.environ['FASTFLOW_ATTEMPT'] + '\n')
lines = 0
while not os.path.exists('go'):
    print(lines)
    lines += 1
    time.sleep(0.02)
print('counted', lines)
sys.exit(int(open('go').read()))
";

/// A folder of pipelines, a data directory, and a host on both.
pub(crate) struct Stage {
    pub(crate) flow: Orchestrator,
    dir: TempDir,
}

impl Stage {
    /// A host that has so many runs in flight.
    pub(crate) async fn new(engine: &Engine, slots: u32) -> Self {
        let dir = TempDir::new().unwrap();
        let stage = Self { flow: host(&dir, engine, slots).await, dir };
        stage.pipeline("count", r#"{"network": "none", "stop_grace": 1}"#);
        stage.flow.start().await.unwrap();
        stage
    }

    /// The same with another host, after something that happens while there is none.
    pub(crate) async fn without_host(self, engine: &Engine, meanwhile: impl FnOnce()) -> Self {
        self.flow.shutdown(Shutdown::Detach).await.unwrap();
        let Self { flow, dir } = self;
        drop(flow);
        meanwhile();
        let flow = host(&dir, engine, 1).await;
        flow.start().await.unwrap();
        Self { flow, dir }
    }

    /// Writes a pipeline that counts.
    pub(crate) fn pipeline(&self, name: &str, settings: &str) {
        let dir = self.dir.path().join("pipelines").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("main.py"), COUNT).unwrap();
        std::fs::write(dir.join("pipeline.json"), settings).unwrap();
    }

    pub(crate) async fn submit(&self) -> Run {
        self.flow.submit("count").await.unwrap()
    }

    /// Submits, and waits until its program counts.
    pub(crate) async fn counting(&self) -> Run {
        let run = self.submit().await;
        self.until_counting(&run).await;
        run
    }

    pub(crate) async fn until_counting(&self, run: &Run) {
        until("a program to count", || async {
            let log = std::fs::read_to_string(self.attempt_dir(run).join("log.ndjson")).unwrap_or_default();
            log.lines().filter(|line| line.contains("\"out\"")).count() > 3
        })
        .await;
    }

    /// Tells a program to end with this code.
    pub(crate) fn go(&self, run: &Run, code: i32) {
        let work = self.attempt_dir(run).join(WORK_DIR);
        // In one step: the program looks all the time.
        std::fs::write(work.join("going"), code.to_string()).unwrap();
        std::fs::set_permissions(work.join("going"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .unwrap();
        std::fs::rename(work.join("going"), work.join("go")).unwrap();
    }

    /// In which attempts the program has started, by its own words.
    pub(crate) fn starts(&self, run: &Run) -> String {
        let path = self.attempt_dir(run).join(WORK_DIR).join("started");
        std::fs::read_to_string(path).unwrap_or_default().replace('\n', " ")
    }

    fn attempt_dir(&self, run: &Run) -> PathBuf {
        DataDir::new(self.dir.path().join("data")).attempt_dir(run.pipeline(), attempt(run.id))
    }

    pub(crate) async fn ended(&self, run: &Run) -> Run {
        self.ended_within(run, PATIENCE).await
    }

    pub(crate) async fn ended_within(&self, run: &Run, limit: Duration) -> Run {
        within("a run to end", limit, self.flow.runs().wait(run.id)).await.unwrap()
    }

    /// It has ended with success, by one attempt that started once, and its log has every line.
    pub(crate) async fn check_success(&self, run: &Run) {
        let done = self.ended(run).await;
        assert_eq!((done.status(), done.attempt, done.failed_attempts), (Status::Success, 1, 0), "{done:?}");
        assert_eq!(self.starts(run), "1 ");
        self.check_log(run).await;
    }

    /// Every line that was counted is in the log, once and in its order.
    pub(crate) async fn check_log(&self, run: &Run) {
        let log = self.flow.runs().logs(attempt(run.id), Offset::START).collect::<Vec<Result<_>>>();
        let log = within("a log to end", PATIENCE, log).await;
        let lines: Vec<(Offset, LogLine)> = log.into_iter().map(Result::unwrap).collect();
        let out = lines.iter().filter(|(_, line)| line.stream == fastflow_core::journal::LogStream::Out);
        let said: Vec<String> = out.map(|(_, line)| line.text().into_owned()).collect();
        let (last, counted) = said.split_last().unwrap();
        assert_eq!(*last, format!("counted {}", counted.len()));
        let expected: Vec<String> = (0..counted.len()).map(|line| line.to_string()).collect();
        assert_eq!(counted, expected);
    }

    pub(crate) async fn close(self) {
        let how = Shutdown::Drain { patience: Duration::ZERO, grace: Duration::ZERO };
        self.flow.shutdown(how).await.unwrap();
    }
}

async fn host(dir: &TempDir, engine: &Engine, slots: u32) -> Orchestrator {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut config = ContainerConfig::new(dir.path().join("containers"));
    config.image = engine.image().parse().unwrap();
    config.pull = PullPolicy::Never;
    let engine = crate::connect(engine.address(), Arc::clone(&clock));
    let builder = Orchestrator::builder(dir.path().join("data"))
        .pipelines(dir.path().join("pipelines"))
        .executor(KIND, ContainerExecutor::new(engine, config, clock).unwrap())
        .max_concurrent_runs(NonZeroU32::new(slots).unwrap());
    builder.build().await.unwrap()
}

fn attempt(run: RunId) -> AttemptId {
    AttemptId { run, number: NonZeroU32::MIN }
}

/// Why a run failed.
pub(crate) fn failure(run: &Run) -> &Failure {
    run.failure().unwrap_or_else(|| panic!("it has not failed: {run:?}"))
}

/// No process carries the run in its environment.
pub(crate) fn nothing_runs(run: &Run) -> bool {
    let wanted = format!("FASTFLOW_RUN_ID={}", run.id);
    std::fs::read_dir("/proc").unwrap().flatten().all(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        !environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    })
}

pub(crate) async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    let clock = SystemClock::new();
    tokio::select! {
        output = future => output,
        () = clock.sleep(limit) => panic!("waited {limit:?} in vain for {what}"),
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let clock = SystemClock::new();
    within(what, PATIENCE, async {
        while !condition().await {
            clock.sleep(LOOK_EVERY).await;
        }
    })
    .await;
}
