//! How many durable runs a host gets through when the programs cost nothing.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::Args;
use fastflow_benches::{
    floor::PlainSqlite,
    noop::Noop,
    report::{Report, Row, Verdict, rate, ratio},
    sample::per_second,
};
use fastflow_core::{Clock, Error, ErrorKind, Orchestrator, Result, Shutdown, SystemClock};
use tokio::task::JoinSet;

use crate::Common;

const TARGET_PER_SECOND: f64 = 5_000.0;
/// How much slower the last stretch may be than the first, for history to count as flat.
const FLAT: f64 = 1.25;
/// Transactions of the floor around each stretch.
const FLOOR_COMMITS: u64 = 2_000;
const PIPELINE: &str = "nothing";

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How many runs one stretch has.
    #[arg(long, default_value_t = 50_000)]
    runs: u64,
    /// Goes on, stretch after stretch, until the store holds so many runs.
    #[arg(long, default_value_t = 0)]
    history: u64,
    /// How many callers submit at one time.
    #[arg(long, default_value_t = 256)]
    callers: usize,
    /// How many runs are in flight at one time.
    #[arg(long, default_value = "512")]
    in_flight: NonZeroU32,
    /// How many runs may wait or be in flight before callers wait.
    #[arg(long, default_value_t = 4_096)]
    backlog: usize,
}

impl Default for Arguments {
    fn default() -> Self {
        let in_flight = NonZeroU32::new(512).unwrap_or(NonZeroU32::MIN);
        Self { runs: 50_000, history: 0, callers: 256, in_flight, backlog: 4_096 }
    }
}

pub(crate) async fn measure(common: &Common, arguments: &Arguments) -> Result<Report> {
    let place = common.workplace()?;
    place.pipeline(PIPELINE, "pass\n", &[])?;
    let noop = Noop::new(arguments.backlog);
    let engine = place.engine().max_concurrent_runs(arguments.in_flight);
    let flow = engine.executor("noop", noop.clone()).build().await?;
    flow.start().await?;
    let mut floor = PlainSqlite::create(&place.path().join("floor.db")).await?;
    stretch(&flow, &noop, 0, 1_000, arguments.callers).await?;

    let mut report = Report::new("noop: durable runs per second, SQLite with synchronous=FULL");
    let mut held = 1_000;
    let (mut first, mut last) = (None, 0.0);
    let mut before = floor.commits_per_second(FLOOR_COMMITS).await?;
    while first.is_none() || held < arguments.history {
        let runs = stretch(&flow, &noop, held, arguments.runs, arguments.callers).await?;
        let after = floor.commits_per_second(FLOOR_COMMITS).await?;
        let commits = f64::midpoint(before, after);
        report.row(
            Row::new(format!("{} runs after {held}", arguments.runs), rate(runs))
                .against(format!("{} commits", rate(commits)), ratio(runs, commits))
                .verdict(Verdict::at_least(runs, TARGET_PER_SECOND, "/s")),
        );
        held += arguments.runs;
        before = after;
        first.get_or_insert(runs);
        last = runs;
    }
    if let Some(first) = first.filter(|_| arguments.history > 0) {
        let slower = first / last;
        let verdict = Verdict::at_most(slower, FLAT, "x slower");
        report.row(
            Row::new(format!("the last stretch, {held} runs held"), rate(last))
                .against(format!("{} in the first", rate(first)), format!("{slower:.2}x slower"))
                .verdict(verdict),
        );
    }
    check(&flow, held).await?;
    flow.shutdown(Shutdown::Detach).await?;
    report.note("Floor: one-row transactions of one connection, one after the other, each flushed. A run is four state changes.");
    Ok(report)
}

/// Submits `runs` runs and waits for the durable end of all; how many that is in a second.
async fn stretch(flow: &Orchestrator, noop: &Noop, held: u64, runs: u64, callers: usize) -> Result<f64> {
    let clock = SystemClock::new();
    let taken = Arc::new(AtomicU64::new(0));
    let mut submitting = JoinSet::new();
    for _ in 0..callers {
        let (flow, noop, taken) = (flow.clone(), noop.clone(), Arc::clone(&taken));
        submitting.spawn(async move {
            while taken.fetch_add(1, Ordering::Relaxed) < runs {
                noop.room().await;
                flow.submit(PIPELINE).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = submitting.join_next().await {
        ended.map_err(|error| Error::new(ErrorKind::Internal, "a caller panicked").because(error))??;
    }
    noop.ended(held + runs).await;
    Ok(per_second(runs, clock.elapsed()))
}

/// The store itself says that all of them ended well.
async fn check(flow: &Orchestrator, runs: u64) -> Result<()> {
    let info = flow.pipelines().get(&PIPELINE.parse()?).await?;
    if info.counters.succeeded == runs && info.counters.total() == runs {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, "the store counts other runs than were submitted")
        .with("submitted", runs)
        .with("counted", format!("{:?}", info.counters)))
}
