//! A cancelled run is over: no attempt follows, no other run, and no daemon comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
};

use fastflow_core::{
    AttemptId, RunId, Timestamp,
    executor::ExecutionHandle,
    pipeline::{
        Definition, DependencySource, Pipeline, Program, QueuePolicy, RetryPolicy, RetryStrategy, Seconds,
        WhenFull,
    },
    run::{Attempt, Exit, Failure, LostCause, NewRun, Origin, Run, RunEvent, RunSpec, RunState, StopCause},
    store::{Claim, FollowOn, FollowUp, FollowUpAction, RunQuery, Step, Store},
    testing::MemoryStore,
};
use proptest::prelude::*;

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Happening {
    Submitted { pipeline: usize },
    Claimed { limit: u32 },
    TakenOver,
    Moved { run: usize, by: By, event: RunEvent },
}

/// Who says that a run has moved.
#[derive(Clone, Copy, Debug)]
enum By {
    Owner,
    FormerOwner,
    Anybody,
}

/// A retries and is followed by B, whatever its end; B is a daemon; C comes after both; of D there is one at a time,
/// the newest.
const PIPELINES: [&str; 4] = ["a", "b", "c", "d"];

fn happening() -> impl Strategy<Value = Happening> {
    let by = prop_oneof![6 => Just(By::Owner), 1 => Just(By::FormerOwner), 2 => Just(By::Anybody)];
    prop_oneof![
        2 => (0..PIPELINES.len()).prop_map(|pipeline| Happening::Submitted { pipeline }),
        3 => (1..4_u32).prop_map(|limit| Happening::Claimed { limit }),
        1 => Just(Happening::TakenOver),
        8 => (0..64_usize, by, event()).prop_map(|(run, by, event)| Happening::Moved { run, by, event }),
    ]
}

fn event() -> impl Strategy<Value = RunEvent> {
    let handle = ExecutionHandle {
        attempt: AttemptId { run: RunId::from_bytes([0; 16]), number: NonZeroU32::MIN },
        native_id: "4711".into(),
        detail: serde_json::Value::Null,
    };
    let exited = |code, stopped_by| RunEvent::Exited { exit: Exit::Code(code), stopped_by };
    prop_oneof![
        4 => Just(RunEvent::Started(handle)),
        3 => Just(RunEvent::StopRequested(StopCause::Cancelled)),
        1 => Just(RunEvent::StopRequested(StopCause::TimedOut)),
        3 => Just(exited(0, None)),
        3 => Just(exited(1, None)),
        1 => Just(exited(0, Some(StopCause::Cancelled))),
        1 => Just(exited(1, Some(StopCause::TimedOut))),
        1 => Just(RunEvent::Lost(LostCause::MonitorDied)),
        1 => any::<bool>().prop_map(|transient| RunEvent::StartFailed { failure: Failure::TimedOut, transient }),
        1 => Just(RunEvent::NeverStarted { not_before: Timestamp::UNIX_EPOCH }),
        1 => Just(RunEvent::Claimed),
    ]
}

fn spec(name: &str) -> Arc<RunSpec> {
    let mut definition = Definition::default();
    if name != "c" {
        let strategy = RetryStrategy::Fixed { delay: Seconds(2) };
        definition.retry = RetryPolicy { attempts: 2, strategy, ..RetryPolicy::default() };
    }
    if name == "d" {
        let max_instances = Some(NonZeroU32::MIN);
        definition.queue =
            QueuePolicy { max_instances, when_full: WhenFull::Replace, ..QueuePolicy::default() };
    }
    let pipeline = Pipeline {
        name: name.parse().unwrap(),
        definition,
        program: Program::script("main.py"),
        dependencies: DependencySource::None,
        requires_python: None,
        warnings: Vec::new(),
        locations: BTreeMap::new(),
    };
    Arc::new(RunSpec::new(pipeline, "0".repeat(64).parse().unwrap(), "none".parse().unwrap()))
}

/// The world of one case, and what was seen of it.
struct Witness {
    store: MemoryStore,
    now: Timestamp,
    ids: u64,
    cancelled: BTreeSet<RunId>,
    before: BTreeMap<RunId, (Run, Vec<Attempt>)>,
}

impl Witness {
    fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            now: Timestamp::UNIX_EPOCH,
            ids: 0,
            cancelled: BTreeSet::new(),
            before: BTreeMap::new(),
        }
    }

    fn new_run(&mut self, pipeline: &str, origin: Origin) -> NewRun {
        self.ids += 1;
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.ids.to_be_bytes());
        NewRun::new(RunId::from_bytes(bytes), spec(pipeline), origin, self.now)
    }

    fn follow_ups(&mut self, run: &Run) -> Vec<FollowUp> {
        let start = |on, after: &[&str], new| FollowUp {
            on,
            after: after.iter().map(|name| name.parse().unwrap()).collect(),
            action: FollowUpAction::Start(Box::new(new)),
        };
        let (upstream, previous, last) = (run.id, run.id, run.id);
        match run.pipeline().as_str() {
            "a" => vec![
                start(FollowOn::Any, &[], self.new_run("b", Origin::Trigger { upstream })),
                start(FollowOn::Success, &["a", "b"], self.new_run("c", Origin::Join { last })),
            ],
            "b" => vec![
                start(FollowOn::Any, &[], self.new_run("b", Origin::Daemon { previous, restarts: 1 })),
                start(FollowOn::Success, &["a", "b"], self.new_run("c", Origin::Join { last })),
            ],
            _ => Vec::new(),
        }
    }

    async fn happens(&mut self, happening: Happening) {
        self.now += jiff::SignedDuration::from_secs(1);
        match happening {
            Happening::Submitted { pipeline } => {
                let new = self.new_run(PIPELINES[pipeline], Origin::Manual);
                let created = self.store.create_run(new).await.unwrap();
                self.cancelled.extend(created.cancelled);
            }
            Happening::Claimed { limit } => {
                let claim = Claim::new(self.now, NonZeroU32::new(limit).unwrap());
                self.store.claim(claim).await.unwrap();
            }
            Happening::TakenOver => drop(self.store.take_over().await.unwrap()),
            Happening::Moved { run, by, event } => {
                let Some(run) = self.before.values().cycle().nth(run).map(|(run, _)| run.clone()) else {
                    return;
                };
                let epoch = match by {
                    By::Owner => Some(run.epoch),
                    By::FormerOwner => Some(run.epoch.saturating_sub(1)),
                    By::Anybody => None,
                };
                let mut step = Step::new(run.id, epoch, event.clone(), self.now);
                step.follow_ups = self.follow_ups(&run);
                let moved = self.store.advance(step).await;
                if moved.is_ok() && event == RunEvent::StopRequested(StopCause::Cancelled) {
                    self.cancelled.insert(run.id);
                }
            }
        }
    }

    /// Compares everything with what it was before.
    async fn check(&mut self) -> Result<(), TestCaseError> {
        let query = RunQuery::default();
        let runs = self.all(query).await;
        for run in &runs {
            let attempts = self.store.attempts(run.id).await.unwrap();
            let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.id.number.get()).collect();
            prop_assert_eq!(numbers, (1..=run.attempt).collect::<Vec<_>>());
            let parent = match run.origin {
                Origin::Trigger { upstream: id }
                | Origin::Daemon { previous: id, .. }
                | Origin::Join { last: id } => Some(id),
                _ => None,
            };
            if let Some(parent) = parent {
                prop_assert!(!self.cancelled.contains(&parent), "{parent} was cancelled, and led to {run:?}");
            }
            if self.cancelled.contains(&run.id) {
                let ends_so = run.state == RunState::Cancelled
                    || matches!(run.state, RunState::Stopping { cause: StopCause::Cancelled, .. });
                prop_assert!(ends_so, "a cancel was lost: {run:?}");
            }
            if let Some((before, earlier)) = self.before.get(&run.id) {
                let more = run.attempt - before.attempt;
                prop_assert!(more <= 1, "an attempt was left out");
                prop_assert!(more == 0 || before.state.name() == "queued", "an attempt began beside another");
                if before.state.is_terminal() {
                    prop_assert_eq!((run, &attempts), (before, earlier), "a final state changed");
                }
            }
            self.before.insert(run.id, (run.clone(), attempts));
        }
        prop_assert_eq!(runs.len(), self.before.len(), "a run is gone");
        Ok(())
    }

    async fn all(&self, mut query: RunQuery) -> Vec<Run> {
        let mut runs = Vec::new();
        loop {
            let page = self.store.runs(&query).await.unwrap();
            runs.extend(page.items);
            query.before = page.next;
            if page.next.is_none() {
                return runs;
            }
        }
    }
}

proptest! {
    #[test]
    fn a_cancelled_run_never_restarts_and_leads_to_nothing(life in proptest::collection::vec(happening(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut witness = Witness::new();
            for happening in life {
                witness.happens(happening).await;
                witness.check().await?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    }
}
