//! Eight at once, in rounds that alternate with the floor's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use fastflow_benches::{
    engine,
    process::monotonic,
    raw_engine::Twin,
    report::{Report, Row, Verdict, ratio},
    sample::per_second,
};
use fastflow_core::{Error, ErrorKind, Result};
use tokio::task::JoinSet;

use super::{
    Subject,
    bench::{Bench, PROGRAM, manifest, raw},
};
use crate::Common;

const SLOTS: u32 = 8;
const TARGET: f64 = 0.95;
const PIPELINE: &str = "parallel";

pub(super) async fn measure(common: &Common, subject: &Subject, rounds: u32, round: u32) -> Result<Report> {
    let bench = Bench::start(common, subject, SLOTS).await?;
    bench.place.configured(PIPELINE, PROGRAM, &manifest())?;
    let floor = bench.floor(&manifest()).await?;
    bench.run(PIPELINE).await?;

    let (mut through, mut bare) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        bare += lives(subject, &floor.twin, round).await?;
        through += runs(&bench, round).await?;
    }
    bench.end().await?;

    let count = u64::from(rounds) * u64::from(round);
    let (value, floor) = (per_second(count, through), per_second(count, bare));
    let mut report = Report::new(format!("{}: {SLOTS} runs at once", subject.name()));
    report.row(
        Row::new(format!("{count} runs in {rounds} rounds, containers removed"), format!("{value:.2}/s"))
            .against(format!("{floor:.2}/s"), ratio(value, floor))
            .verdict(Verdict::at_least(value / floor, TARGET, "x")),
    );
    report.note(format!("Floor: {SLOTS} workers, each with a connection of its own, which make, start, await and remove one container after the other."));
    Ok(report)
}

/// All runs are submitted at once; how long it takes until all have ended and no container is left.
async fn runs(bench: &Bench, count: u32) -> Result<Duration> {
    bench.calls.clear();
    let began = monotonic();
    let mut submitted = Vec::new();
    for _ in 0..count {
        submitted.push(bench.flow.submit(PIPELINE).await?.id);
    }
    for run in submitted {
        engine::ended_well(bench.flow.runs().wait(run).await?)?;
    }
    bench.calls.removals(count as usize).await;
    Ok(monotonic().saturating_sub(began))
}

async fn lives(subject: &Subject, twin: &Twin, count: u32) -> Result<Duration> {
    let taken = Arc::new(AtomicU32::new(0));
    let mut workers = JoinSet::new();
    let began = monotonic();
    for worker in 0..SLOTS {
        let (subject, twin, taken) = (subject.clone(), twin.clone(), Arc::clone(&taken));
        workers.spawn(async move {
            let mut raw = raw(&subject).await?;
            while taken.fetch_add(1, Ordering::Relaxed) < count {
                raw.life(&format!("fastflow-bench-floor-{worker}"), &twin).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| Error::new(ErrorKind::Internal, "a worker panicked").because(error))??;
    }
    Ok(monotonic().saturating_sub(began))
}
