//! Pipelines with a `pipeline.json`, clocks that are ahead, and hosts that are killed.

use std::time::Duration;

use async_trait::async_trait;
use fastflow_core::{
    Clock, Orchestrator, PipelineName, RunId, ScheduleId, SystemClock, Timestamp,
    run::{Note, Run},
    schedule::{Tick, TickOutcome},
    store::{RunQuery, TickQuery},
    testing::torture::{HostProcess, Part},
};
use serde_json::{Value, json};

use crate::kit::{Place, configured, started, until};

/// Appends a line about itself: its schedule and instant, and the variables `A` and `B`.
pub(crate) const SAY: &str = r"
import os
env = os.environ
said = [env.get(name, '-') for name in ('FASTFLOW_SCHEDULE', 'FASTFLOW_SCHEDULED_FOR', 'FASTFLOW_RUN_ID', 'A', 'B')]
with open(env['TMP_DIR'] + '/said-' + env['FASTFLOW_PIPELINE'], 'a') as said_by:
    said_by.write(' '.join(said) + '\n')
";

/// Runs until it is stopped, or the test has gone.
pub(crate) const FOREVER: &str = r"
import os, time
open(os.environ['TMP_DIR'] + '/began-' + os.environ['FASTFLOW_RUN_ID'], 'w').write('yes')
while os.path.exists(os.environ['TMP_DIR']):
    time.sleep(0.01)
";

impl Place {
    /// A pipeline whose program finds the folder for notes in `TMP_DIR`, whoever starts it.
    pub(crate) fn declared(&self, name: &str, main: &str, fields: Value) -> &Self {
        self.pipeline(name, main).fields(name, fields)
    }

    /// Writes the `pipeline.json` of a pipeline.
    pub(crate) fn fields(&self, name: &str, mut fields: Value) -> &Self {
        let object = fields.as_object_mut().unwrap();
        let env = object.entry("default_env").or_insert_with(|| json!({}));
        env["TMP_DIR"] = self.tmp().display().to_string().into();
        // In one step: a host may be reading it.
        let path = self.pipelines().join(name).join("pipeline.json");
        let fresh = self.root().join("pipeline.json");
        std::fs::write(&fresh, fields.to_string()).unwrap();
        std::fs::rename(fresh, path).unwrap();
        self
    }

    /// The words of each line that [`SAY`] wrote.
    pub(crate) fn lines_of(&self, pipeline: &str) -> Vec<Vec<String>> {
        let said = self.said(&format!("said-{pipeline}"));
        said.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }
}

pub(crate) fn id(text: &str) -> ScheduleId {
    text.parse().unwrap()
}

/// The instants in the ledger of one schedule, the oldest first.
pub(crate) async fn ledger(flow: &Orchestrator, schedule: &str) -> Vec<Tick> {
    let mut ticks = rows(flow, schedule).await;
    ticks.retain(|tick| !matches!(tick.outcome, TickOutcome::Ended { .. }));
    ticks
}

/// All rows of it: its ends, too.
pub(crate) async fn rows(flow: &Orchestrator, schedule: &str) -> Vec<Tick> {
    let query =
        TickQuery { schedule: Some(id(schedule)), limit: "10000".parse().ok(), ..TickQuery::default() };
    let mut ticks: Vec<Tick> =
        flow.schedules().ticks(&query).await.unwrap().into_iter().map(|(_, tick)| tick).collect();
    ticks.reverse();
    ticks
}

/// The same, once it has so many rows.
pub(crate) async fn ledger_of(flow: &Orchestrator, schedule: &str, rows: usize) -> Vec<Tick> {
    until(&format!("{rows} rows of {schedule}"), || async { ledger(flow, schedule).await.len() >= rows })
        .await;
    ledger(flow, schedule).await
}

/// Every instant once, none left out.
pub(crate) fn assert_whole(ticks: &[Tick], seconds: i64) {
    for pair in ticks.windows(2) {
        let apart = pair[1].nominal.duration_since(pair[0].through);
        assert_eq!(apart.as_millis(), i128::from(seconds) * 1000, "{pair:#?}");
    }
}

/// The runs that the rows name.
pub(crate) fn made(ticks: &[Tick]) -> Vec<RunId> {
    ticks.iter().filter_map(|tick| tick.outcome.run()).collect()
}

pub(crate) fn names(ticks: &[Tick]) -> Vec<&'static str> {
    ticks.iter().map(|tick| tick.outcome.name()).collect()
}

pub(crate) fn is_refused(tick: &Tick, words: &[&str]) -> bool {
    match &tick.outcome {
        TickOutcome::Refused { reason } => words.iter().all(|word| reason.contains(word)),
        _ => false,
    }
}

/// The runs of a pipeline, the oldest first.
pub(crate) async fn runs_of(flow: &Orchestrator, pipeline: &str) -> Vec<Run> {
    let mut query = RunQuery::default();
    query.pipeline = Some(pipeline.parse::<PipelineName>().unwrap());
    query.limit = "1000".parse().ok();
    let mut runs = flow.runs().list(&query).await.unwrap().items;
    runs.reverse();
    runs
}

/// The first `count` runs of a pipeline, once they have ended.
pub(crate) async fn ended_of(flow: &Orchestrator, pipeline: &str, count: usize) -> Vec<Run> {
    until(&format!("{count} runs of {pipeline} to end"), || async {
        runs_of(flow, pipeline).await.iter().filter(|run| run.state.is_terminal()).count() >= count
    })
    .await;
    runs_of(flow, pipeline).await
}

/// What was decided about a run, in words.
pub(crate) async fn decided(flow: &Orchestrator, run: RunId) -> Vec<String> {
    notes(flow, run).await.iter().map(ToString::to_string).collect()
}

pub(crate) async fn notes(flow: &Orchestrator, run: RunId) -> Vec<Note> {
    flow.runs().explain(run).await.unwrap().notes
}

/// The first line of the explanation of a run.
pub(crate) async fn explained(flow: &Orchestrator, run: RunId) -> String {
    let text = flow.runs().explain(run).await.unwrap().to_string();
    text.lines().next().unwrap().to_owned()
}

/// The machine's clock, ahead of it.
#[derive(Debug)]
pub(crate) struct Ahead(pub(crate) Duration, pub(crate) SystemClock);

#[async_trait]
impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.1.now() + self.0
    }

    fn elapsed(&self) -> Duration {
        self.1.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        self.1.sleep(duration).await;
    }
}

/// Starts a host for which it is later by so much.
pub(crate) async fn started_ahead(place: &Place, by: Duration) -> Orchestrator {
    started(place.builder().clock(Ahead(by, SystemClock::new()))).await
}

/// Starts this test program again as a host on the place, to be killed.
pub(crate) fn host(place: &Place) -> HostProcess {
    HostProcess::start(concat!(module_path!(), "::as_another_host"), "host", place.root(), 0)
}

/// Not a test of its own: a host that only is there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the host process of other tests"]
async fn as_another_host() {
    let Some(part) = Part::of_this_process() else { return };
    let root = part.stage;
    let _flow =
        started(configured(Orchestrator::builder(root.join("data")).pipelines(root.join("pipelines")))).await;
    std::future::pending::<()>().await;
}
