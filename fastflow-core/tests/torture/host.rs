//! The host process: this test program, started again to be killed.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use fastflow_core::{
    Clock, ErrorKind, Orchestrator, OrchestratorBuilder, Retention, RunId, Shutdown, SystemClock,
    run::Status, store::RunQuery,
};

use crate::{
    drain,
    kit::{configured, count, variable},
    plan::{Cancel, Planned},
    restart,
};

/// What the host process is to do, and where, and with which plan.
pub(crate) const ROLE: &str = "FASTFLOW_TORTURE_ROLE";
pub(crate) const ROOT: &str = "FASTFLOW_TORTURE_ROOT";
pub(crate) const SEED: &str = "FASTFLOW_TORTURE_SEED";
/// So many runs are kept in flight.
pub(crate) const IN_FLIGHT: usize = 10;
/// Between two looks at what is in flight.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Not a test of its own: what the driver starts.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the host process of other tests"]
async fn as_a_host() {
    let (Some(role), Some(root)) = (variable(ROLE), variable(ROOT)) else { return };
    let root = PathBuf::from(root);
    let seed = variable(SEED).map_or(0, |text| text.parse().unwrap());
    match role.as_str() {
        "work" => Work::begin(&root, seed).await.go_on(false).await,
        "calm" => Work::begin(&root, seed).await.go_on(true).await,
        "drain" => drain::drain(&root).await,
        "restart" => restart::restart_often(&root).await,
        "idle" => idle(&root).await,
        other => panic!("no such role: {other}"),
    }
}

pub(crate) fn builder(root: &Path) -> OrchestratorBuilder {
    let builder = Orchestrator::builder(root.join("data")).pipelines(root.join("pipelines"));
    // Every log is compared at the end, however long the storm was.
    let retention = Retention { max_runs_per_pipeline: usize::MAX, ..Retention::default() };
    configured(builder).max_concurrent_runs(count(12)).retention(retention)
}

/// Tells whether it could be built, and then only is there.
async fn idle(root: &Path) {
    let answer = root.join(format!("answer-{}", std::process::id()));
    match builder(root).build().await {
        Ok(flow) => {
            flow.start().await.unwrap();
            fs::write(answer, "started").unwrap();
            std::future::pending::<()>().await;
        }
        Err(error) => fs::write(answer, error.chain()).unwrap(),
    }
}

/// A host that keeps about ten runs of the plan in flight.
struct Work {
    root: PathBuf,
    seed: u64,
    flow: Orchestrator,
    accepted: BTreeMap<u64, RunId>,
    /// Accepted, to be cancelled, and not known to be.
    to_cancel: Vec<(RunId, Planned)>,
}

impl Work {
    async fn begin(root: &Path, seed: u64) -> Self {
        let flow = builder(root).build().await.unwrap();
        flow.start().await.unwrap();
        let accepted = accepted(root);
        let to_cancel = accepted.iter().map(|(number, id)| (*id, Planned::new(seed, *number)));
        let to_cancel = to_cancel.filter(|(_, planned)| planned.cancel.is_some()).collect();
        Self { root: root.to_owned(), seed, flow, accepted, to_cancel }
    }

    /// Until it is killed; or, when it is to come to rest, until everything accepted has ended.
    async fn go_on(mut self, to_rest: bool) {
        if to_rest {
            // An earlier host may have submitted this one and died before it could write that down.
            self.submit_next().await;
        }
        let clock = SystemClock::new();
        loop {
            let open = self.open().await;
            if to_rest && open == 0 {
                break;
            }
            for _ in open..IN_FLIGHT {
                if !to_rest {
                    self.submit_next().await;
                }
            }
            self.cancel().await;
            clock.sleep(LOOK_EVERY).await;
        }
        let how = Shutdown::Drain { patience: Duration::from_secs(20), grace: Duration::from_secs(1) };
        self.flow.shutdown(how).await.unwrap();
    }

    async fn open(&self) -> usize {
        let mut query = RunQuery::default();
        query.statuses = vec![Status::Pending, Status::Running];
        self.flow.runs().list(&query).await.unwrap().items.len()
    }

    async fn submit_next(&mut self) {
        let number = self.accepted.len() as u64;
        let planned = Planned::new(self.seed, number);
        let run = self.flow.submit(planned.submission(&self.root)).await.unwrap();
        // From here on, the run must not be lost.
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(self.root.join("accepted")).unwrap();
        file.write_all(format!("{number} {}\n", run.id).as_bytes()).unwrap();
        self.accepted.insert(number, run.id);
        if planned.cancel.is_some() {
            self.to_cancel.push((run.id, planned));
        }
    }

    async fn cancel(&mut self) {
        let mut left = Vec::new();
        for (id, planned) in std::mem::take(&mut self.to_cancel) {
            let witness = || fs::metadata(self.root.join("witness").join(planned.key()));
            let is_time =
                planned.cancel == Some(Cancel::AtOnce) || witness().is_ok_and(|file| file.len() > 0);
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
}

/// What hosts wrote down as accepted; a last line may be cut short.
pub(crate) fn accepted(root: &Path) -> BTreeMap<u64, RunId> {
    let text = fs::read_to_string(root.join("accepted")).unwrap_or_default();
    let line = |line: &str| {
        let (number, id) = line.strip_suffix('\n')?.split_once(' ')?;
        Some((number.parse().ok()?, id.parse().ok()?))
    };
    text.split_inclusive('\n').filter_map(line).collect()
}
