//! The host process: the test program, started again to be killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Monitor, Part, TortureFixture, monitor,
    plan::{Cancel, End, Planned},
};
use crate::{
    Clock as _, ErrorKind, Orchestrator, OrchestratorBuilder, Retention, RunId, Shutdown, SystemClock,
    run::Status, store::RunQuery,
};

/// Runs of the plan until it is killed.
pub(super) const WORK: &str = "work";
/// Sees all that was accepted to its end.
pub(super) const CALM: &str = "calm";
/// Between two looks at what is in flight.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the host process of a storm does. Returns at once in a process that was not started as one.
pub async fn play(fixture: &dyn TortureFixture) {
    let Some(part) = Part::of_this_process() else { return };
    let work = Work::begin(fixture, &part).await;
    match part.role.as_str() {
        WORK => work.go_on(Until::Killed).await,
        CALM => work.go_on(Until::Rest).await,
        other => panic!("no such role: {other}"),
    }
}

/// An orchestrator on the stage, as every host of a storm has it.
async fn builder(fixture: &dyn TortureFixture, stage: &Path) -> OrchestratorBuilder {
    let builder = fixture.builder(stage).await.expect("the driver has found one");
    let in_flight = NonZeroU32::new(fixture.storm().in_flight).unwrap();
    // Every log is compared at the end, however long the storm was.
    let retention = Retention { max_runs_per_pipeline: usize::MAX, ..Retention::default() };
    builder.max_concurrent_runs(in_flight).retention(retention)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Until {
    Killed,
    Rest,
}

/// A host that keeps some runs of the plan in flight.
struct Work {
    stage: PathBuf,
    seed: u64,
    in_flight: u64,
    monitor: Monitor,
    flow: Orchestrator,
    accepted: BTreeMap<u64, RunId>,
    /// Accepted, to be cancelled, and not known to be.
    to_cancel: Vec<(RunId, Planned)>,
    /// Accepted, to lose what watches over it, and not known to have.
    to_betray: BTreeMap<RunId, Planned>,
}

impl Work {
    async fn begin(fixture: &dyn TortureFixture, part: &Part) -> Self {
        let flow = builder(fixture, &part.stage).await.build().await.unwrap();
        flow.start().await.unwrap();
        let accepted = accepted(&part.stage);
        let mut work = Self {
            stage: part.stage.clone(),
            seed: part.seed,
            in_flight: fixture.storm().in_flight.into(),
            monitor: fixture.monitor(),
            flow,
            accepted: BTreeMap::new(),
            to_cancel: Vec::new(),
            to_betray: BTreeMap::new(),
        };
        for (number, id) in accepted {
            work.plan(number, id);
        }
        work
    }

    /// Remembers what is to be done with a run that was accepted.
    fn plan(&mut self, number: u64, id: RunId) {
        let planned = Planned::new(self.seed, number);
        self.accepted.insert(number, id);
        if planned.cancel.is_some() {
            self.to_cancel.push((id, planned));
        } else if planned.end == End::Lost && self.monitor == Monitor::FirstProcess {
            self.to_betray.insert(id, planned);
        }
    }

    /// Until it is killed; or, when it is to come to rest, until everything accepted has ended.
    async fn go_on(mut self, until: Until) {
        if until == Until::Rest {
            // An earlier host may have submitted this one and died before it could write that down.
            self.submit_next().await;
        }
        let clock = SystemClock::new();
        loop {
            let open = self.open().await;
            if until == Until::Rest && open.is_empty() {
                break;
            }
            if until == Until::Killed {
                for _ in open.len() as u64..self.in_flight {
                    self.submit_next().await;
                }
            }
            self.cancel().await;
            self.betray(&open);
            clock.sleep(LOOK_EVERY).await;
        }
        let how = Shutdown::Drain { patience: Duration::from_secs(20), grace: Duration::from_secs(1) };
        self.flow.shutdown(how).await.unwrap();
    }

    async fn open(&self) -> BTreeSet<RunId> {
        let query = RunQuery { statuses: vec![Status::Pending, Status::Running], ..RunQuery::default() };
        let open = self.flow.runs().list(&query).await.unwrap().items;
        open.into_iter().map(|run| run.id).collect()
    }

    async fn submit_next(&mut self) {
        let number = self.accepted.len() as u64;
        let submission = Planned::new(self.seed, number).submission(&self.stage);
        let run = self.flow.submit(submission).await.unwrap();
        // From here on, the run must not be lost.
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(self.stage.join("accepted")).unwrap();
        file.write_all(format!("{number} {}\n", run.id).as_bytes()).unwrap();
        self.plan(number, run.id);
    }

    fn has_started(&self, planned: &Planned) -> bool {
        let witness = fs::metadata(self.stage.join("witness").join(planned.key()));
        witness.is_ok_and(|file| file.len() > 0)
    }

    async fn cancel(&mut self) {
        let mut left = Vec::new();
        for (id, planned) in std::mem::take(&mut self.to_cancel) {
            let is_time = planned.cancel == Some(Cancel::AtOnce) || self.has_started(&planned);
            if !is_time {
                left.push((id, planned));
                continue;
            }
            match self.flow.runs().cancel(id).await {
                Ok(_) => {}
                // An earlier host has done it.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        self.to_cancel = left;
    }

    fn betray(&mut self, open: &BTreeSet<RunId>) {
        let mut to_betray = std::mem::take(&mut self.to_betray);
        to_betray.retain(|id, planned| {
            // An earlier host may have done it, and then there is nothing to be found.
            open.contains(id) && !(self.has_started(planned) && monitor::kill_first_process(*id))
        });
        self.to_betray = to_betray;
    }
}

/// What hosts wrote down as accepted; a last line may be cut short.
pub(super) fn accepted(stage: &Path) -> BTreeMap<u64, RunId> {
    let text = fs::read_to_string(stage.join("accepted")).unwrap_or_default();
    let line = |line: &str| {
        let (number, id) = line.strip_suffix('\n')?.split_once(' ')?;
        Some((number.parse().ok()?, id.parse().ok()?))
    };
    text.split_inclusive('\n').filter_map(line).collect()
}
