//! One run after the other, in turns with the floor.

use std::time::Duration;

use fastflow_benches::{
    engine,
    process::monotonic,
    report::{Report, Row, Verdict, latency, milliseconds, ratio},
    sample::Samples,
    watched::What,
};
use fastflow_core::{Clock as _, Error, ErrorKind, Result, SystemClock};

use super::{
    Subject,
    bench::{Bench, PROGRAM, manifest, raw},
};
use crate::Common;

const TARGET: f64 = 1.1;
const PIPELINE: &str = "cold";

/// The moments of one run, each as the time since `submit` was called.
const MOMENTS: [&str; 9] = [
    "`submit` returns",
    "create is asked for",
    "create is answered",
    "start is answered",
    "first line of user code",
    "the program has ended",
    "terminal",
    "remove is asked for",
    "remove is answered",
];

pub(super) async fn measure(common: &Common, subject: &Subject, runs: u32) -> Result<Report> {
    let bench = Bench::start(common, subject, 4).await?;
    bench.place.configured(PIPELINE, PROGRAM, &manifest())?;
    let floor = bench.floor(&manifest()).await?;
    let mut raw = raw(subject).await?;
    bench.run(PIPELINE).await?;
    raw.life("fastflow-bench-floor", &floor.twin).await?;

    let mut steps: [Samples; 4] = Default::default();
    let mut bare = Samples::default();
    let mut moments: [Samples; MOMENTS.len()] = Default::default();
    for _ in 0..runs {
        let life = raw.life("fastflow-bench-floor", &floor.twin).await?;
        bare.push(life.total());
        for (samples, step) in steps.iter_mut().zip([life.create, life.start, life.wait, life.remove]) {
            samples.push(step);
        }
        for (samples, moment) in moments.iter_mut().zip(one(&bench).await?) {
            samples.push(moment);
        }
    }
    bench.end().await?;

    let mut report =
        Report::new(format!("{}: `submit` → terminal of a program with one line, cold", subject.name()));
    let (terminal, removed) = (&moments[6], &moments[8]);
    let compared = |samples: &Samples| ratio(milliseconds(samples.median()), milliseconds(bare.median()));
    let factor = milliseconds(terminal.median()) / milliseconds(bare.median());
    report.row(
        Row::new("submit → terminal", latency(terminal))
            .against(latency(&bare), compared(terminal))
            .verdict(Verdict::at_most(factor, TARGET, "x")),
    );
    report.row(
        Row::new("submit → container removed", latency(removed)).against(latency(&bare), compared(removed)),
    );
    for (name, samples) in ["create", "start", "wait", "remove"].iter().zip(&steps) {
        report.row(Row::new(format!("the floor's {name}"), "").against(latency(samples), ""));
    }
    for (name, samples) in MOMENTS.iter().zip(&moments) {
        report.row(Row::new(format!("after submit: {name}"), latency(samples)));
    }
    report.note("Floor: create, start, wait and remove of the same container with the same program, by HTTP over one connection that stays open.");
    Ok(report)
}

/// One run, from its submission until its container is gone.
async fn one(bench: &Bench) -> Result<[Duration; MOMENTS.len()]> {
    bench.calls.clear();
    let clock = SystemClock::new();
    let (began, wall) = (monotonic(), clock.now());
    let run = bench.flow.submit(PIPELINE).await?;
    let accepted = monotonic();
    let run = engine::ended_well(bench.flow.runs().wait(run.id).await?)?;
    let terminal = monotonic();
    bench.gone(run.id).await?;
    let line = bench.line(&run).await?;
    let report = bench.attempt(run.id).await?.report;
    let report = report.ok_or_else(|| Error::new(ErrorKind::Internal, "an ended run has no report"))?;
    let ended = began + Duration::try_from(report.ended_at.duration_since(wall)).unwrap_or_default();
    let missing = || Error::new(ErrorKind::Internal, "a run of the benchmark made no container of its own");
    let call = |what| bench.calls.first(what).ok_or_else(missing);
    let (create, start, remove) = (call(What::Create)?, call(What::Start)?, call(What::Remove)?);
    let moments = [
        accepted,
        create.began,
        create.ended,
        start.ended,
        line,
        ended,
        terminal,
        remove.began,
        remove.ended,
    ];
    Ok(moments.map(|moment| moment.saturating_sub(began)))
}
