//! Environments that are there before a run needs them.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Clock, Orchestrator, OrchestratorBuilder, Preheat, Retention, RunId, Shutdown, SystemClock, Timestamp,
    environment::{EnvironmentFailureKind, EnvironmentId, EnvironmentState, UvConfig},
    journal::LogStream,
    run::{Failure, Run, Status},
    source::{SourceEvent, SyncRequest},
};
use futures::StreamExt as _;

use crate::{
    kit::{Place, attempt, attempts, ended, lines, run, started, until, within},
    lab::{Lab, environments},
};

/// Those of the package that there is.
const VERSIONS: RangeInclusive<u32> = 1..=4;

/// Pipelines, and a uv that counts its calls.
struct Stage {
    place: Place,
    lab: Lab,
}

/// What has happened to the source so far.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<SourceEvent>>>);

impl Stage {
    /// `None` where there is no uv.
    fn new() -> Option<Self> {
        let lab = Lab::new()?;
        for version in VERSIONS {
            lab.wheel("tiny", &format!("{version}.0"), &[]);
        }
        Some(Self { place: Place::new(), lab })
    }

    /// A pipeline that says which version it has.
    fn pipeline(&self, name: &str, requirements: &str) -> &Self {
        let main = "import tiny; print(tiny.VERSION)";
        self.place.pipeline(name, main).file(&format!("{name}/requirements.txt"), requirements);
        self
    }

    fn builder(&self) -> OrchestratorBuilder {
        self.configured(self.lab.offline())
    }

    fn configured(&self, config: UvConfig) -> OrchestratorBuilder {
        self.place.bare_builder().environments(environments(config))
    }

    fn held(&self, version: u32) -> PathBuf {
        self.lab.root.path().join(format!("held-{version}"))
    }

    fn times(&self) -> PathBuf {
        self.lab.root.path().join("times")
    }

    /// From now on each installation begins and then waits, and notes when it begins and ends.
    fn hold(&self) {
        for version in VERSIONS {
            fs::write(self.held(version), "").unwrap();
        }
        let real = fs::read_to_string(self.lab.root.path().join("uv")).unwrap();
        let real = real.lines().last().unwrap().strip_prefix("exec ").unwrap();
        self.lab.wrap(&format!(
            "case \"$*\" in *'pip sync'*) echo + >> '{times}'
            for input; do :; done
            version=$(sed -n 's/^tiny==\\([0-9]\\).*/\\1/p' \"$input\")
            while [ -e \"{root}/held-$version\" ]; do sleep 0.02; done
            {real}; code=$?; echo - >> '{times}'; exit $code;; esac
            exec {real}",
            times = self.times().display(),
            root = self.lab.root.path().display(),
        ));
    }

    fn release(&self, versions: impl IntoIterator<Item = u32>) {
        for version in versions {
            fs::remove_file(self.held(version)).unwrap();
        }
    }

    /// How many installations went on at one time, at most.
    fn most_at_once(&self) -> usize {
        let times = fs::read_to_string(self.times()).unwrap();
        let (mut now, mut most) = (0_usize, 0);
        for line in times.lines() {
            now = if line == "+" { now + 1 } else { now - 1 };
            most = most.max(now);
        }
        most
    }

    /// How many environments were installed.
    fn installed(&self) -> usize {
        self.lab.calls("pip sync")
    }
}

impl Seen {
    /// What happens from now on.
    fn watch(flow: &Orchestrator) -> Self {
        let (seen, mut events) = (Self::default(), flow.source().events());
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                kept.0.lock().unwrap().push(event);
            }
        });
        seen
    }

    /// What it comes to for one pipeline: `begun`, `ended`, `failed`, with how many lines in between.
    fn of(&self, name: &str) -> (Vec<&'static str>, usize) {
        let (mut steps, mut lines) = (Vec::new(), 0);
        for event in &*self.0.lock().unwrap() {
            match event {
                SourceEvent::EnvironmentBegun { pipeline, .. } if pipeline.as_str() == name => {
                    steps.push("begun");
                }
                SourceEvent::EnvironmentProgress { pipeline, .. } if pipeline.as_str() == name => lines += 1,
                SourceEvent::EnvironmentEnded { pipeline, outcome, .. } if pipeline.as_str() == name => {
                    steps.push(if outcome.is_ok() { "ended" } else { "failed" });
                }
                _ => {}
            }
        }
        (steps, lines)
    }
}

async fn state(flow: &Orchestrator, name: &str) -> EnvironmentState {
    flow.pipelines().get(&name.parse().unwrap()).await.unwrap().environment
}

async fn until_state(flow: &Orchestrator, name: &str, is: fn(&EnvironmentState) -> bool) -> EnvironmentState {
    until(&format!("the environment of {name}"), || async { is(&state(flow, name).await) }).await;
    state(flow, name).await
}

fn is_cached(state: &EnvironmentState) -> bool {
    matches!(state, EnvironmentState::Cached { .. })
}

fn is_building(state: &EnvironmentState) -> bool {
    matches!(state, EnvironmentState::Building { .. })
}

async fn cached(flow: &Orchestrator, name: &str) -> EnvironmentId {
    match until_state(flow, name, is_cached).await {
        EnvironmentState::Cached { environment, .. } => environment,
        other => panic!("{other:?}"),
    }
}

async fn failed(flow: &Orchestrator, name: &str) -> Failure {
    let is_failed = |state: &EnvironmentState| matches!(state, EnvironmentState::Failed(_));
    match until_state(flow, name, is_failed).await {
        EnvironmentState::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

async fn sync(flow: &Orchestrator) {
    within("a sync", flow.source().sync(SyncRequest::default())).await.unwrap();
}

/// Waits until a run hears that its environment is built.
async fn until_it_builds(flow: &Orchestrator, id: RunId) {
    until("a run to begin", || async { !attempts(flow, id).await.is_empty() }).await;
    let mut log = flow.runs().logs(attempt(id, 1), fastflow_core::journal::Offset::START);
    within("a run to wait for its environment", async {
        while let Some(line) = log.next().await {
            if line.unwrap().1.text().contains("building environment") {
                return;
            }
        }
        panic!("its log has ended");
    })
    .await;
}

async fn built(flow: &Orchestrator, run: &Run) -> bool {
    assert_eq!(run.status(), Status::Success, "{run:?}");
    attempts(flow, run.id).await[0].setup.clone().unwrap().environment.unwrap().built
}

/// Every file below a folder, with its content.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = crate::lab::files(dir);
    files
        .into_iter()
        .map(|path| (path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pipeline_requires_is_there_before_its_first_run_and_follows_each_sync() {
    let Some(stage) = Stage::new() else { return };
    stage.pipeline("one", "tiny==1.0\n");
    let flow = within("a build", stage.builder().build()).await.unwrap();
    assert_eq!(state(&flow, "one").await, EnvironmentState::NotCached, "also before it is started");
    let seen = Seen::watch(&flow);
    let source = content(&stage.place.pipelines());
    within("a start", flow.start()).await.unwrap();
    let first = cached(&flow, "one").await;
    assert_eq!(stage.installed(), 1);
    let (steps, said) = seen.of("one");
    assert_eq!(steps, ["begun", "ended"]);
    assert!(said > 1, "{said} lines");
    let done = run(&flow, "one").await;
    assert!(!built(&flow, &done).await);
    assert_eq!(lines(&flow, done.id, LogStream::Out).await, ["1.0"]);

    // Nothing was written where the pipeline lies, or into its snapshot.
    assert_eq!(content(&stage.place.pipelines()), source);
    let of_one =
        |(path, bytes): (&PathBuf, &Vec<u8>)| (path.strip_prefix("one").unwrap().to_owned(), bytes.clone());
    let one: BTreeMap<_, _> = source.iter().map(of_one).collect();
    let snapshots: Vec<_> = fs::read_dir(stage.place.data().join("snapshots")).unwrap().flatten().collect();
    assert!(!snapshots.is_empty());
    for snapshot in snapshots {
        assert_eq!(content(&snapshot.path()), one);
    }

    stage.pipeline("one", "tiny==2.0\n");
    sync(&flow).await;
    until("the new environment", || async {
        matches!(state(&flow, "one").await, EnvironmentState::Cached { environment, .. } if environment != first)
    })
    .await;
    assert_eq!(stage.installed(), 2);
    let done = run(&flow, "one").await;
    assert!(!built(&flow, &done).await);
    assert_eq!(lines(&flow, done.id, LogStream::Out).await, ["2.0"]);

    stage.pipeline("one", "tiny==1.0\n");
    sync(&flow).await;
    assert_eq!(cached(&flow, "one").await, first);
    assert_eq!(stage.installed(), 2, "what was there is not built again");
    assert_eq!(seen.of("one").0, ["begun", "ended", "begun", "ended"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pipelines_with_one_lock_are_built_once() {
    let Some(stage) = Stage::new() else { return };
    stage
        .pipeline("one", "tiny==1.0\n")
        .pipeline("same", "tiny==1.0\n")
        .pipeline("third", "tiny==1.0 # too\n");
    let flow = started(stage.builder()).await;
    let ids = [cached(&flow, "one").await, cached(&flow, "same").await, cached(&flow, "third").await];
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(stage.installed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_requirement_is_shown_in_uvs_words_and_disturbs_nobody() {
    let Some(stage) = Stage::new() else { return };
    stage.pipeline("broken", "no-such-package-anywhere==1.2.3\n").pipeline("fine", "tiny==1.0\n");
    let flow = within("a build", stage.builder().build()).await.unwrap();
    let seen = Seen::watch(&flow);
    within("a start", flow.start()).await.unwrap();
    match failed(&flow, "broken").await {
        Failure::EnvironmentFailed(failure) => {
            assert_eq!(failure.kind, EnvironmentFailureKind::ResolutionFailed, "{failure:?}");
            assert!(failure.message.contains("no-such-package-anywhere"), "{failure:?}");
        }
        other => panic!("{other:?}"),
    }
    cached(&flow, "fine").await;
    assert!(!built(&flow, &run(&flow, "fine").await).await);
    // What cannot work is tried again when it has changed, and then at once.
    stage.pipeline("other", "tiny==2.0\n");
    sync(&flow).await;
    cached(&flow, "other").await;
    assert_eq!(seen.of("broken").0, ["begun", "failed"]);
    assert_eq!(run(&flow, "broken").await.status(), Status::Failed, "runs try on their own");
    stage.pipeline("broken", "tiny==1.0\n");
    sync(&flow).await;
    cached(&flow, "broken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_built_at_one_time_than_is_said_and_what_is_outdated_is_dropped() {
    let Some(stage) = Stage::new() else { return };
    for (name, version) in [("a", 1), ("b", 2), ("c", 3)] {
        stage.pipeline(name, &format!("tiny=={version}.0\n"));
    }
    stage.hold();
    let flow = within("a build", stage.builder().build()).await.unwrap();
    let seen = Seen::watch(&flow);
    within("a start", flow.start()).await.unwrap();
    until("two to be installed", || async { stage.installed() == 2 }).await;
    for (name, is) in [("a", "Building"), ("b", "Building"), ("c", "Queued")] {
        let now = format!("{:?}", state(&flow, name).await);
        assert!(now.starts_with(is), "{name}: {now}");
    }
    stage.pipeline("c", "tiny==4.0\n").pipeline("d", "tiny==1.0\n");
    sync(&flow).await;
    until("d to be seen", || async { state(&flow, "d").await == EnvironmentState::Queued }).await;
    stage.release(VERSIONS);
    for name in ["a", "b", "c", "d"] {
        cached(&flow, name).await;
    }
    assert_eq!(seen.of("c").0, ["begun", "ended"]);
    assert_eq!(stage.installed(), 3, "the earlier revision of c is needed no more");
    assert_eq!(stage.most_at_once(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_joins_the_build_it_needs() {
    let Some(stage) = Stage::new() else { return };
    stage.pipeline("one", "tiny==1.0\n");
    stage.hold();
    let flow = started(stage.builder()).await;
    until("it to be installed", || async { stage.installed() == 1 }).await;
    let id = flow.submit("one").await.unwrap().id;
    until_it_builds(&flow, id).await;
    assert!(is_building(&state(&flow, "one").await));
    stage.release(VERSIONS);
    assert!(!built(&flow, &ended(&flow, id).await).await, "another one did");
    assert_eq!(stage.installed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_finds_a_free_place_and_nothing_else_begins_while_it_has_it() {
    let Some(stage) = Stage::new() else { return };
    for (name, version) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        stage.pipeline(name, &format!("tiny=={version}.0\n"));
    }
    stage.hold();
    let three = NonZeroUsize::new(3).unwrap();
    let mut config = stage.lab.offline();
    config.max_parallel_builds = three;
    let flow = started(stage.configured(config).preheat(Preheat::UpTo(three))).await;
    until("two to be installed", || async { stage.installed() == 2 }).await;
    assert_eq!(state(&flow, "c").await, EnvironmentState::Queued, "one of three places stays free");
    let id = flow.submit("d").await.unwrap().id;
    until("the run's own to be installed", || async { stage.installed() == 3 }).await;
    until_it_builds(&flow, id).await;
    stage.release([1]);
    cached(&flow, "a").await;
    assert_eq!(state(&flow, "c").await, EnvironmentState::Queued, "the run has taken a place");
    stage.release(2..=4);
    assert!(built(&flow, &ended(&flow, id).await).await);
    for name in ["b", "c", "d"] {
        cached(&flow, name).await;
    }
    assert_eq!(stage.installed(), 4);
    assert_eq!(stage.most_at_once(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_it_builds_nothing_and_says_what_is_there() {
    let Some(stage) = Stage::new() else { return };
    stage.pipeline("one", "tiny==1.0\n").pipeline("other", "tiny==2.0\n");
    stage.place.pipeline("unfit", "pass").file("unfit/pipeline.json", "{");
    let flow = started(stage.builder().preheat(Preheat::Off)).await;
    assert!(built(&flow, &run(&flow, "one").await).await);
    let id = cached(&flow, "one").await;
    assert_eq!(state(&flow, "other").await, EnvironmentState::NotCached);
    assert_eq!(state(&flow, "unfit").await, EnvironmentState::NotNeeded);
    assert_eq!((stage.installed(), stage.lab.calls("pip compile")), (1, 1));
    let folder = stage.lab.environments_dir();
    fs::rename(folder.join(id.as_str()), folder.join("elsewhere")).unwrap();
    assert_eq!(state(&flow, "one").await, EnvironmentState::NotCached, "it is gone");
    assert!(built(&flow, &run(&flow, "one").await).await);
    flow.shutdown(Shutdown::Detach).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_nothing_is_asked_of_uv_for_what_is_there() {
    let Some(stage) = Stage::new() else { return };
    stage.pipeline("one", "tiny==1.0\n").pipeline("other", "tiny==2.0\n");
    let flow = started(stage.builder()).await;
    for name in ["one", "other"] {
        cached(&flow, name).await;
    }
    flow.shutdown(Shutdown::Detach).await.unwrap();
    fs::remove_file(stage.lab.witness()).unwrap();
    let flow = crate::kit::started_after(|| stage.builder()).await;
    for name in ["one", "other"] {
        assert!(is_cached(&state(&flow, name).await));
    }
    stage.pipeline("third", "tiny==3.0\n");
    sync(&flow).await;
    cached(&flow, "third").await;
    assert_eq!(
        (stage.installed(), stage.lab.calls("pip compile"), stage.lab.calls("python find")),
        (1, 1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_of_what_is_shown_are_in_use() {
    let Some(stage) = Stage::new() else { return };
    stage.pipeline("stays", "tiny==1.0\n").pipeline("goes", "tiny==2.0\n");
    let flow = started(stage.builder()).await;
    let (stays, goes) = (cached(&flow, "stays").await, cached(&flow, "goes").await);
    flow.shutdown(Shutdown::Detach).await.unwrap();
    fs::remove_dir_all(stage.place.pipelines().join("goes")).unwrap();
    let folder = stage.lab.environments_dir();
    for id in [&stays, &goes] {
        fs::write(folder.join("used").join(id.as_str()), "2020-01-01T00:00:00Z").unwrap();
    }
    let unused = Duration::from_hours(2);
    let retention = Retention { max_unused_environment_age: unused, ..Retention::default() };
    // It cleans every few tenths of a second.
    let builder =
        || stage.builder().preheat(Preheat::Off).retention(retention.clone()).clock(Fast::default());
    let flow = crate::kit::started_after(builder).await;
    until("what nobody needs to go", || async { !folder.join(goes.as_str()).exists() }).await;
    // In no order, so the cleaning that has removed it may not be over. The one that removes the first of these is when
    // the second goes.
    for leftover in ["1", "2"] {
        let leftover = folder.join(format!(".removing-{leftover}"));
        fs::create_dir(&leftover).unwrap();
        until("a leftover to go", || async { !leftover.exists() }).await;
    }
    assert!(is_cached(&state(&flow, "stays").await));
    assert!(folder.join(stays.as_str()).exists());
}

/// A clock of a host that lives a thousand times as fast.
#[derive(Debug, Default)]
struct Fast(SystemClock);

impl Fast {
    const FACTOR: u32 = 1000;
}

#[async_trait]
impl Clock for Fast {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed() * Self::FACTOR
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration / Self::FACTOR).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_for_a_while() {
    let Some(stage) = Stage::new() else { return };
    stage.pipeline("one", "tiny==1.0\n");
    let mut config = stage.lab.online();
    for (name, value) in [("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple"), ("UV_HTTP_RETRIES", "0")] {
        config.extra_env.insert(name.into(), value.into());
    }
    config.build_timeout = Duration::from_hours(100);
    let flow = within("a build", stage.configured(config).clock(Fast::default()).build()).await.unwrap();
    let seen = Seen::watch(&flow);
    within("a start", flow.start()).await.unwrap();
    let steps = |name| seen.of(name).0.iter().filter(|step| **step == "failed").count();
    until("all tries", || async { steps("one") == 10 }).await;
    match failed(&flow, "one").await {
        Failure::EnvironmentFailed(failure) => {
            assert_eq!(failure.kind, EnvironmentFailureKind::DownloadFailed, "{failure:?}");
        }
        other => panic!("{other:?}"),
    }
    // Hours of this host go by; then the index is back.
    stage.pipeline("late", "tiny==2.0\n");
    sync(&flow).await;
    until("another one to be tried for longer than any pause", || async { steps("late") >= 8 }).await;
    assert_eq!(steps("one"), 10, "at some time it is enough");
    let wheels = stage.lab.wheels();
    let real = fs::read_to_string(stage.lab.root.path().join("uv")).unwrap();
    let real = real.lines().last().unwrap().to_owned();
    stage.lab.wrap(&format!("export UV_OFFLINE=1 UV_FIND_LINKS='{}'\n{real}", wheels.display()));
    cached(&flow, "late").await;
    assert_eq!(run(&flow, "one").await.status(), Status::Success, "runs try on their own");
    assert!(is_cached(&state(&flow, "one").await));
}
