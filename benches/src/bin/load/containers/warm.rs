//! From the wish to the first line of user code: with a sandbox that was made ahead, and without.

use std::{fs, path::Path, time::Duration};

use fastflow_benches::{
    engine,
    process::monotonic,
    report::{Report, Row, Verdict, latency, milliseconds, ratio},
    sample::Samples,
};
use fastflow_core::{Clock as _, Error, ErrorKind, Result, SystemClock};
use serde_json::json;

use super::{
    Subject,
    bench::{Bench, PROGRAM, manifest},
};
use crate::Common;

const TARGET: f64 = 0.15;
/// How long the host may take to make a sandbox ahead.
const READY_LIMIT: Duration = Duration::from_mins(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

pub(super) async fn measure(common: &Common, subject: &Subject, runs: u32) -> Result<Report> {
    let bench = Bench::start(common, subject, 4).await?;
    // Whatever is the same for both can take the same sandbox: the cold one differs in a limit that it never reaches.
    let mut cold = manifest();
    cold["max_processes"] = json!(200);
    let mut warm = manifest();
    warm["warm"] = json!(1);
    bench.place.configured("cold", PROGRAM, &cold)?;
    bench.place.configured("warm", PROGRAM, &warm)?;
    for pipeline in ["cold", "warm"] {
        bench.run(pipeline).await?;
    }

    let (mut ahead, mut plain) = (Moments::default(), Moments::default());
    for _ in 0..runs {
        ready(&bench).await?;
        one(&bench, "cold", Made::ForIt, &mut plain).await?;
        ready(&bench).await?;
        one(&bench, "warm", Made::Ahead, &mut ahead).await?;
    }
    bench.end().await?;

    let mut report =
        Report::new(format!("{}: `submit` → first line of user code, made ahead", subject.name()));
    let (value, floor) = (milliseconds(ahead.line.median()), milliseconds(plain.line.median()));
    report.row(
        Row::new("submit → first line, warm", latency(&ahead.line))
            .against(format!("{} cold", latency(&plain.line)), ratio(value, floor))
            .verdict(Verdict::at_most(value / floor, TARGET, "x")),
    );
    for (name, ahead, plain) in [
        ("`submit` returns", &ahead.accepted, &plain.accepted),
        ("claimed", &ahead.claimed, &plain.claimed),
        ("workspace and environment are ready", &ahead.prepared, &plain.prepared),
        ("terminal", &ahead.terminal, &plain.terminal),
    ] {
        report.row(Row::new(format!("after submit: {name}"), latency(ahead)).against(latency(plain), ""));
    }
    report.note("The floor is the same run without a sandbox made ahead. While the warm run goes on the host already makes the next one; each measure begins when one waits and nothing else goes on.");
    Ok(report)
}

/// How a run got its sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Made {
    Ahead,
    ForIt,
}

/// The moments of runs, each as the time since `submit` was called.
#[derive(Default)]
struct Moments {
    accepted: Samples,
    claimed: Samples,
    prepared: Samples,
    line: Samples,
    terminal: Samples,
}

/// Waits until a sandbox waits for its attempt.
async fn ready(bench: &Bench) -> Result<()> {
    let clock = SystemClock::new();
    let classes = bench.place.path().join("containers/warm");
    while !waits(&classes)? {
        if clock.elapsed() > READY_LIMIT {
            return Err(Error::new(ErrorKind::Unavailable, "the host makes no sandbox ahead"));
        }
        clock.sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Whether there is a finished sandbox of any class. Those that are being made have a dot before their name.
fn waits(classes: &Path) -> Result<bool> {
    let Ok(classes) = fs::read_dir(classes) else { return Ok(false) };
    for class in classes {
        for sandbox in fs::read_dir(class?.path())? {
            if !sandbox?.file_name().to_string_lossy().starts_with('.') {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

async fn one(bench: &Bench, pipeline: &str, made: Made, moments: &mut Moments) -> Result<()> {
    let clock = SystemClock::new();
    let (began, wall) = (monotonic(), clock.now());
    let run = bench.flow.submit(pipeline).await?;
    let accepted = monotonic();
    let run = engine::ended_well(bench.flow.runs().wait(run.id).await?)?;
    let terminal = monotonic();
    let container = bench.gone(run.id).await?;
    if container.starts_with("fastflow-warm-") != (made == Made::Ahead) {
        return Err(Error::new(ErrorKind::Internal, "a run had another kind of sandbox than it should")
            .with("pipeline", pipeline)
            .with("container", container));
    }
    let attempt = bench.attempt(run.id).await?;
    let claimed = Duration::try_from(attempt.claimed_at.duration_since(wall)).unwrap_or_default();
    let setup = attempt.setup.map(|setup| setup.duration).unwrap_or_default();
    moments.accepted.push(accepted.saturating_sub(began));
    moments.claimed.push(claimed);
    moments.prepared.push(claimed + setup);
    moments.line.push(bench.line(&run).await?.saturating_sub(began));
    moments.terminal.push(terminal.saturating_sub(began));
    Ok(())
}
