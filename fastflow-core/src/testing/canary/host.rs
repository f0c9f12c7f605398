//! The host process: the test program, started again to be killed.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::TryStreamExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::filter::LevelFilter;

use super::{
    CanaryFixture, Chance,
    plan::Planned,
    values::{Canary, Values, Vault},
};
use crate::{
    Clock as _, ErrorKind, Orchestrator, Retention, RunId, Shutdown, SystemClock,
    run::{Run, Status},
    secret::{Secret, SecretName, SecretScope},
    store::{RunQuery, SecretQuery},
    testing::torture::Part,
};

/// Runs the plan until it is killed.
pub(super) const WORK: &str = "work";
/// Sees it to its end, and shows all that there is to be seen.
pub(super) const CALM: &str = "calm";
/// Between two looks at what is in flight.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The moments at which programs are cancelled, from their start.
pub(super) const MOMENTS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(1500));
/// The value that was stored first has this version; the one in its place the next.
const VERSIONS: u32 = 2;

/// What the host process of a search does. Returns at once in a process that was not started as one.
pub async fn play(fixture: &dyn CanaryFixture) {
    let Some(part) = Part::of_this_process() else { return };
    let values = Vault::of(&part.stage).open();
    be_loud(&part.stage, &values.control);
    let host = Host::begin(fixture, &part, &values).await;
    host.go_on().await;
    match part.role.as_str() {
        WORK => std::future::pending().await,
        CALM => host.show_all(&values).await,
        other => panic!("no such role: {other}"),
    }
}

/// A host of the worst kind: it traces everything, and its crashes, and those of all that it starts, would leave all of
/// their memory.
#[expect(clippy::print_stderr, reason = "what is said here has to be found")]
fn be_loud(stage: &Path, control: &str) {
    let trace = fs::File::create(stage.join(format!("trace-{}", std::process::id()))).unwrap();
    tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false).with_writer(trace).init();
    tracing::trace!(control, "found, if anything is");
    eprintln!("{control}");
    let maximum = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: maximum, maximum }).unwrap();
}

struct Host {
    stage: PathBuf,
    flow: Orchestrator,
    seed: u64,
    accepted: BTreeMap<usize, RunId>,
    /// What the builder looks like, which is gone.
    shown: String,
}

impl Host {
    async fn begin(fixture: &dyn CanaryFixture, part: &Part, values: &Values) -> Self {
        let builder = fixture.builder(&part.stage).await.expect("the driver has found one");
        // What there was has to be there to be searched.
        let retention = Retention { max_runs_per_pipeline: usize::MAX, ..Retention::default() };
        let in_flight = NonZeroU32::new(fixture.storm().in_flight).unwrap();
        let builder = builder.max_concurrent_runs(in_flight).retention(retention);
        let builder = Vault::of(&part.stage).equip(builder);
        let shown = format!("{builder:?}\n");
        let flow = builder.build().await.unwrap();
        store(&flow, values).await;
        flow.start().await.unwrap();
        let mut host =
            Self { stage: part.stage.clone(), flow, seed: part.seed, accepted: accepted(&part.stage), shown };
        host.submit_all(values).await;
        host
    }

    async fn submit_all(&mut self, values: &Values) {
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(self.stage.join("accepted")).unwrap();
        for planned in Planned::all(self.seed) {
            if self.accepted.contains_key(&planned.number) {
                continue;
            }
            let run = self.flow.submit(planned.submission(&values.control)).await.unwrap();
            file.write_all(format!("{} {}\n", planned.number, run.id).as_bytes()).unwrap();
            self.accepted.insert(planned.number, run.id);
        }
    }

    /// Until all runs have ended.
    async fn go_on(&self) {
        let mut chance = Chance::new(self.seed);
        let (from, to) = MOMENTS;
        let plan = Planned::all(self.seed).into_iter().filter(|planned| planned.fate.is_cancelled());
        let mut to_cancel: BTreeMap<RunId, Duration> =
            plan.map(|planned| (self.accepted[&planned.number], chance.moment(from, to))).collect();
        let clock = SystemClock::new();
        loop {
            let query = RunQuery { statuses: vec![Status::Pending, Status::Running], ..RunQuery::default() };
            let open = self.flow.runs().list(&query).await.unwrap().items;
            if open.is_empty() {
                return;
            }
            for run in open {
                if to_cancel.get(&run.id).is_some_and(|moment| has_run_for(&run, *moment)) {
                    self.cancel(run.id).await;
                    to_cancel.remove(&run.id);
                }
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    async fn cancel(&self, run: RunId) {
        match self.flow.runs().cancel(run).await {
            Ok(_) => {}
            // An earlier host has done it.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Writes down what everybody who has this host can see, in all ways in which it can be written.
    async fn show_all(mut self, values: &Values) {
        let mut shown = std::mem::take(&mut self.shown);
        let (flow, secrets) = (&self.flow, self.flow.secrets());
        let query = SecretQuery::default();
        let known = secrets.list(&query).await.unwrap();
        assert_eq!(known.len(), 2, "{known:?}");
        for info in &known {
            let versions = secrets.versions(&info.scope, &info.name).await.unwrap();
            writeln!(shown, "{info:?} {versions:?}").unwrap();
            let revealed = secrets.reveal(&info.scope, &info.name).await.unwrap();
            let is_right = Canary::ALL
                .iter()
                .any(|canary| info.name.as_str() == canary.name() && revealed.expose() == values.of(*canary));
            assert!(is_right, "{} is another one", info.name);
        }
        writeln!(shown, "{flow:?} {:?} {:?}", secrets.keys().await, secrets.wanted().await).unwrap();
        let pipelines = flow.pipelines().list().await.unwrap();
        writeln!(shown, "{pipelines:?}").unwrap();
        let mut query = RunQuery::default();
        loop {
            let page = flow.runs().list(&query).await.unwrap();
            for run in &page.items {
                self.show(run, &mut shown).await;
            }
            query.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        fs::write(self.stage.join("shown"), shown).unwrap();
        let how = Shutdown::Drain { patience: Duration::from_secs(20), grace: Duration::from_secs(1) };
        self.flow.shutdown(how).await.unwrap();
    }

    async fn show(&self, run: &Run, shown: &mut String) {
        let runs = self.flow.runs();
        let explained = runs.explain(run.id).await.unwrap();
        writeln!(shown, "{run:?}\n{explained:?}\n{explained}").unwrap();
        writeln!(shown, "{}", serde_json::to_string(&run.spec).unwrap()).unwrap();
        if let Some(failure) = run.failure() {
            writeln!(shown, "{failure} {}", serde_json::to_string(failure).unwrap()).unwrap();
        }
        for attempt in &explained.attempts {
            writeln!(shown, "{}", serde_json::to_string(&attempt.end).unwrap()).unwrap();
        }
        let mut log = runs.follow(run.id);
        // What an attempt that never began has said is nothing.
        while let Ok(Some(entry)) = log.try_next().await {
            writeln!(shown, "{} {:?}", entry.line.text(), entry.line).unwrap();
        }
    }
}

/// Stores what is stored, once: first what is to be replaced.
async fn store(flow: &Orchestrator, values: &Values) {
    let secrets = flow.secrets();
    for canary in [Canary::Stored, Canary::Pem] {
        let name: SecretName = canary.name().parse().unwrap();
        let known = secrets.versions(&SecretScope::Global, &name).await.map_or(0, |versions| versions.len());
        let texts = [&values.replaced, values.of(canary)];
        for text in &texts[known.min(texts.len())..] {
            secrets.set(&SecretScope::Global, &name, Secret::new(*text)).await.unwrap();
        }
        let versions = secrets.versions(&SecretScope::Global, &name).await.unwrap();
        assert_eq!(versions.len(), VERSIONS as usize, "{versions:?}");
    }
}

fn has_run_for(run: &Run, time: Duration) -> bool {
    let now = SystemClock::new().now();
    let since = run.started_at.filter(|_| run.status() == Status::Running);
    since.is_some_and(|at| now.duration_since(at).unsigned_abs() >= time)
}

/// What hosts wrote down as accepted; a last line may be cut short.
pub(super) fn accepted(stage: &Path) -> BTreeMap<usize, RunId> {
    let text = fs::read_to_string(stage.join("accepted")).unwrap_or_default();
    let line = |line: &str| {
        let (number, id) = line.strip_suffix('\n')?.split_once(' ')?;
        Some((number.parse().ok()?, id.parse().ok()?))
    };
    text.split_inclusive('\n').filter_map(line).collect()
}
