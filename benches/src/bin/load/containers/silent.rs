//! Many containers that say nothing, and how fast a cancel of each is acknowledged.

use std::time::Duration;

use fastflow_benches::{
    process::monotonic,
    report::{Report, Row, Verdict, latency, milliseconds},
    sample::Samples,
};
use fastflow_core::{Clock as _, Error, ErrorKind, Result, SystemClock, run::Status};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Subject,
    bench::{Bench, manifest},
};
use crate::Common;

const TARGET_MS: f64 = 100.0;
const PROGRAM: &str = "import time; time.sleep(3600)\n";
/// How long all of them may take to start.
const START_LIMIT: Duration = Duration::from_mins(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) async fn measure(common: &Common, subject: &Subject, count: u32) -> Result<Report> {
    let bench = Bench::start(common, subject, count).await?;
    let mut definition = manifest();
    definition["limits"] = json!({ "memory": "64MiB" });
    bench.place.configured("silent", PROGRAM, &definition)?;
    let began = monotonic();
    let mut runs = Vec::new();
    for _ in 0..count {
        runs.push(bench.flow.submit("silent").await?.id);
    }
    all_run(&bench, &runs).await?;
    let started = monotonic().saturating_sub(began);

    bench.calls.clear();
    let (mut acknowledged, mut ended) = (Samples::default(), Samples::default());
    let mut ending = JoinSet::new();
    for run in runs {
        let flow = bench.flow.clone();
        let began = monotonic();
        bench.flow.runs().cancel(run).await?;
        acknowledged.push(monotonic().saturating_sub(began));
        ending.spawn(async move {
            let run = flow.runs().wait(run).await?;
            if run.status() == Status::Cancelled {
                return Ok(monotonic().saturating_sub(began));
            }
            Err(Error::new(ErrorKind::Internal, "a cancelled run ended in another way").with("run", run.id))
        });
    }
    while let Some(end) = ending.join_next().await {
        ended.push(end.map_err(|error| Error::new(ErrorKind::Internal, "a wait panicked").because(error))??);
    }
    bench.calls.removals(count as usize).await;
    bench.end().await?;

    let mut report = Report::new(format!("{}: {count} silent containers at once", subject.name()));
    let longest = milliseconds(acknowledged.longest());
    report.row(
        Row::new("cancel is acknowledged", format!("{}, longest {longest:.2}", latency(&acknowledged)))
            .verdict(Verdict::at_most(longest, TARGET_MS, " ms, each")),
    );
    let last = milliseconds(ended.longest());
    report.row(Row::new("cancel → terminal", format!("{}, longest {last:.2}", latency(&ended))));
    report.row(Row::new("all submitted → all run", format!("{:.1} s", started.as_secs_f64())));
    report.note("The cancels follow each other without a pause, so that the engine is busy with the ends of the first while the others are asked for.");
    Ok(report)
}

async fn all_run(bench: &Bench, runs: &[fastflow_core::RunId]) -> Result<()> {
    let clock = SystemClock::new();
    for run in runs {
        loop {
            let now = bench.flow.runs().get(*run).await?;
            match now.status() {
                Status::Running => break,
                Status::Pending if clock.elapsed() < START_LIMIT => clock.sleep(LOOK_INTERVAL).await,
                status => {
                    return Err(Error::new(ErrorKind::Internal, "a silent run does not run")
                        .with("run", run)
                        .with("status", status));
                }
            }
        }
    }
    Ok(())
}
