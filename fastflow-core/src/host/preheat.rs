//! Makes environments ready before a run needs them.
//!
//! After a start and after each sync that has shown something new, it looks which pipelines' environments are not
//! there, and does for them what the set-up of a run does: snapshot, image, interpreter, resolution, build. It goes
//! through the same calls, so a run that comes meanwhile joins the build. Nothing depends on it: a run that finds no
//! environment builds its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};

use super::{
    Ports,
    environments::{self, Ahead},
    sync, workspace,
};
use crate::{
    PipelineName, Result,
    environment::{Environment, EnvironmentFailure, EnvironmentFailureKind, SetupLog},
    run::{Failure, RunSpec},
    source::SourceEvent,
};

/// How long after its first failure something is tried again; then each time twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest time between two tries.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// How often one revision is tried. All of it takes about 40 minutes.
const MAX_TRIES: u32 = 10;

/// Whether environments are made ready ahead of runs.
///
/// ```
/// use fastflow_core::Preheat;
///
/// assert_eq!(Preheat::default(), Preheat::UpTo(Preheat::DEFAULT_AT_ONCE));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Preheat {
    /// The first run that needs an environment builds it.
    Off,
    /// After a start and after each sync, at most so many at one time. They leave one of the builder's places free
    /// ([`UvConfig::max_parallel_builds`](crate::environment::UvConfig::max_parallel_builds), where there are two), and
    /// none begins while runs that wait for their environment need the others.
    UpTo(NonZeroUsize),
}

impl Preheat {
    /// How many environments are made ready at one time unless something else is said.
    pub const DEFAULT_AT_ONCE: NonZeroUsize = NonZeroUsize::new(2).expect("2 is not 0");
}

impl Default for Preheat {
    fn default() -> Self {
        Self::UpTo(Self::DEFAULT_AT_ONCE)
    }
}

/// One environment that is to be made ready.
#[derive(Clone, Debug)]
struct Task {
    spec: Arc<RunSpec>,
    /// How often it was tried before.
    tries: u32,
}

impl Task {
    fn pipeline(&self) -> &PipelineName {
        &self.spec.pipeline.name
    }

    fn is_for(&self, spec: &RunSpec) -> bool {
        *self.pipeline() == spec.pipeline.name && self.spec.revision == spec.revision
    }
}

struct Preheater {
    ports: Arc<Ports>,
    at_once: usize,
    waiting: VecDeque<Task>,
    builds: JoinSet<Result<Environment, Failure>>,
    building: HashMap<Id, Task>,
    /// What failed and may pass, with the time of the next try.
    later: BTreeMap<PipelineName, (Duration, Task)>,
    runs: watch::Receiver<usize>,
}

/// Works until it is dropped.
pub(crate) async fn run(ports: Arc<Ports>) {
    let Preheat::UpTo(at_once) = ports.settings.preheat else { return };
    if !ports.executors.by_name.values().any(|executor| executor.capabilities().environments) {
        return;
    }
    // Together with the sync of the start, if that has shown something.
    ports.signals.publish();
    let mut preheater = Preheater::new(Arc::clone(&ports), at_once);
    loop {
        preheater.begin();
        let is_waiting = !preheater.waiting.is_empty();
        let pause = preheater.pause();
        tokio::select! {
            () = ports.signals.published() => preheater.look().await,
            Some(ended) = preheater.builds.join_next_with_id() => preheater.ended(ended),
            Ok(()) = preheater.runs.changed(), if is_waiting => {}
            () = ports.clock.sleep(pause.unwrap_or_default()), if pause.is_some() => preheater.again(),
        }
    }
}

impl Preheater {
    fn new(ports: Arc<Ports>, at_once: NonZeroUsize) -> Self {
        let runs = ports.environment_work.waiting_runs();
        Self {
            ports,
            at_once: at_once.get(),
            waiting: VecDeque::new(),
            builds: JoinSet::new(),
            building: HashMap::new(),
            later: BTreeMap::new(),
            runs,
        }
    }

    /// Looks what is shown now. What waited for an earlier revision is dropped; what is being built may end.
    async fn look(&mut self) {
        let catalog = match self.ports.source.catalog().await {
            Ok(catalog) => catalog,
            Err(error) => {
                tracing::warn!(%error, "environments are not made ready before the next sync");
                return;
            }
        };
        let waited = std::mem::take(&mut self.waiting);
        let (mut waiting, mut kept) = (VecDeque::new(), BTreeSet::new());
        for entry in &catalog.entries {
            let found = entry.runnable().ok().filter(|found| found.pipeline.definition.enabled);
            let Some(spec) = found.and_then(|found| environments::needed(&self.ports, found)) else {
                continue;
            };
            if self.is_building(&spec) {
                kept.insert(entry.name.clone());
            } else if !matches!(environments::find(&self.ports, &spec).await, Ok(Some(_))) {
                kept.insert(entry.name.clone());
                match waited.iter().find(|task| task.is_for(&spec)) {
                    Some(task) => waiting.push_back(Task { spec, tries: task.tries }),
                    None => waiting.extend(self.unless_failed(spec)),
                }
            }
        }
        for task in &waiting {
            self.ports.environment_work.note(task.pipeline(), &task.spec.revision, Ahead::Queued);
        }
        self.ports.environment_work.retain(&kept);
        let work = &self.ports.environment_work;
        self.later.retain(|name, (_, task)| {
            matches!(work.ahead(name, &task.spec.revision), Some(Ahead::Failed(_)))
        });
        self.waiting = waiting;
    }

    fn is_building(&self, spec: &RunSpec) -> bool {
        self.building.values().any(|task| task.is_for(spec))
    }

    /// What failed at this revision is tried again in its own time, or never.
    fn unless_failed(&self, spec: Arc<RunSpec>) -> Option<Task> {
        let ahead = self.ports.environment_work.ahead(&spec.pipeline.name, &spec.revision);
        (!matches!(ahead, Some(Ahead::Failed(_)))).then_some(Task { spec, tries: 0 })
    }

    /// Begins as many as there is room for.
    fn begin(&mut self) {
        while self.has_room()
            && let Some(task) = self.waiting.pop_front()
        {
            let (pipeline, revision) = (task.pipeline().clone(), task.spec.revision.clone());
            let since = self.ports.clock.now();
            self.ports.environment_work.note(&pipeline, &revision, Ahead::Building { since });
            self.ports.source_events.tell(SourceEvent::EnvironmentBegun { pipeline, revision });
            let (ports, spec) = (Arc::clone(&self.ports), Arc::clone(&task.spec));
            let build = self.builds.spawn(async move {
                let log = Told { ports: &ports, pipeline: &spec.pipeline.name };
                workspace::make_ready(&ports, &spec, &log).await
            });
            self.building.insert(build.id(), task);
        }
    }

    /// Whether one more may begin: runs go first, and find a free place when they come.
    fn has_room(&mut self) -> bool {
        let (ours, runs) = (self.builds.len(), *self.runs.borrow_and_update());
        let places = self.ports.environments.max_parallel_builds();
        let free = places.map_or(usize::MAX, |places| places.get().saturating_sub(1).max(1));
        ours < self.at_once && ours.saturating_add(runs) < free
    }

    fn ended(&mut self, ended: Result<(Id, Result<Environment, Failure>), JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(broken_off(&error))),
        };
        let Some(task) = self.building.remove(&id) else { return };
        let (pipeline, revision) = (task.pipeline().clone(), task.spec.revision.clone());
        self.ports.environment_work.settle(&pipeline, &revision, outcome.as_ref().err());
        if let Err(failure) = &outcome {
            tracing::warn!(%pipeline, %revision, %failure, "an environment could not be made ready");
            self.try_later(task, failure);
        }
        let outcome = outcome.map(|environment| environment.id).map_err(Box::new);
        self.ports.source_events.tell(SourceEvent::EnvironmentEnded { pipeline, revision, outcome });
    }

    fn try_later(&mut self, task: Task, failure: &Failure) {
        let is_shown = self.ports.environment_work.ahead(task.pipeline(), &task.spec.revision).is_some();
        let tries = task.tries + 1;
        if !is_shown || tries >= MAX_TRIES || !workspace::is_transient(failure) {
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << task.tries.min(16)).min(LONGEST_PAUSE);
        let at = self.ports.clock.elapsed().saturating_add(sync::jittered(&self.ports, pause));
        self.later.insert(task.pipeline().clone(), (at, Task { tries, ..task }));
    }

    /// How long until something is tried again.
    fn pause(&self) -> Option<Duration> {
        let next = self.later.values().map(|(at, _)| *at).min()?;
        Some(next.saturating_sub(self.ports.clock.elapsed()))
    }

    /// Takes up what is to be tried again now.
    fn again(&mut self) {
        let now = self.ports.clock.elapsed();
        let due = self.later.extract_if(.., |_, (at, _)| *at <= now);
        for (_, (_, task)) in due {
            self.ports.environment_work.note(task.pipeline(), &task.spec.revision, Ahead::Queued);
            self.waiting.push_back(task);
        }
    }
}

impl Drop for Preheater {
    /// With it, the builds that nobody else waits for end.
    fn drop(&mut self) {
        self.ports.environment_work.retain(&BTreeSet::new());
    }
}

fn broken_off(error: &JoinError) -> Failure {
    let message = format!("making the environment ready broke off: {error}");
    Failure::EnvironmentFailed(EnvironmentFailure::new(EnvironmentFailureKind::Internal, message))
}

/// For whoever watches the source.
struct Told<'a> {
    ports: &'a Ports,
    pipeline: &'a PipelineName,
}

impl SetupLog for Told<'_> {
    fn line(&self, text: &str) {
        let (pipeline, line) = (self.pipeline.clone(), text.to_owned());
        self.ports.source_events.tell(SourceEvent::EnvironmentProgress { pipeline, line });
    }
}
