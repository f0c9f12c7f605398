//! The Rust side of `benches/python/crossing.py`: the same steps without Python, as the floor of what crossing costs.

use std::{error::Error, io::Write as _, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use fastflow_core::{Clock as _, Orchestrator, Result, RunId, Shutdown, Submission, SystemClock};
use futures::TryStreamExt as _;

/// Longer than the benchmark: what is accepted is not started.
const LATER: Duration = Duration::from_hours(1);

#[derive(Parser)]
struct Arguments {
    /// The folder of pipelines
    pipelines: PathBuf,
    /// The data directory
    data_dir: PathBuf,
    #[command(subcommand)]
    step: Step,
}

#[derive(Clone, Copy, Subcommand)]
enum Step {
    /// Accepts so many runs, one after the other
    Submit { runs: u32 },
    /// Reads the log of a run to its end
    Logs { run: RunId },
}

/// Prints how many seconds the step took, and of how many things.
#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let flow = Orchestrator::builder(&arguments.data_dir).pipelines(&arguments.pipelines).build().await?;
    flow.start().await?;
    let clock = SystemClock::new();
    let began = clock.elapsed();
    let count = match arguments.step {
        Step::Submit { runs } => submit(&flow, runs).await?,
        Step::Logs { run } => read(&flow, run).await?,
    };
    let took = clock.elapsed().saturating_sub(began);
    flow.shutdown(Shutdown::Detach).await?;
    writeln!(std::io::stdout(), "{} {count}", took.as_secs_f64())?;
    Ok(())
}

async fn submit(flow: &Orchestrator, runs: u32) -> Result<u64> {
    for _ in 0..runs {
        flow.submit(Submission::new("lines").delay(LATER)).await?;
    }
    Ok(u64::from(runs))
}

async fn read(flow: &Orchestrator, run: RunId) -> Result<u64> {
    let mut bytes = 0_u64;
    let mut lines = flow.runs().follow(run);
    let mut count = 0;
    while let Some(entry) = lines.try_next().await? {
        bytes += entry.line.text().len() as u64;
        count += 1;
    }
    debug_assert!(bytes > 0, "the log has text");
    Ok(count)
}
