//! The load program: the whole engine against floors that are measured in the same run.
//!
//! ```text
//! cargo run --release -p fastflow-benches -- all --uv .tools/uv/bin/uv
//! ```
//!
//! A figure that misses its target is printed as such and fails nothing; the exit status says whether
//! something is broken.

mod containers;
mod fsync;
mod idle;
mod log;
mod noop;
mod overhead;
mod schedule;
mod trigger;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use fastflow_benches::{engine::Workplace, report::Report};
use fastflow_core::{
    Result,
    executor::{ImageName, container::ContainerConfig},
};

/// Measures the engine as a whole.
#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Args)]
struct Common {
    /// The uv to build environments with; without it, the one in PATH.
    #[arg(long, global = true)]
    uv: Option<PathBuf>,
    /// Where the throw-away data directories are made. It should be on a real disk.
    #[arg(long, global = true, default_value = "target/bench-data")]
    dir: PathBuf,
    /// The socket of a Docker engine, for `containers`, such as `/var/run/docker.sock`.
    #[arg(long, global = true, value_parser = containers::socket)]
    docker: Option<PathBuf>,
    /// The socket of a Podman engine, for `containers`, such as `/run/podman/podman.sock`.
    #[arg(long, global = true, value_parser = containers::socket)]
    podman: Option<PathBuf>,
    /// An image that these engines have, with Python and uv.
    #[arg(long, global = true, default_value = ContainerConfig::DEFAULT_IMAGE)]
    image: ImageName,
}

#[derive(Debug, Subcommand)]
enum What {
    /// From `submit` to the end of a program that does nothing, and the transactions before it starts.
    Overhead(overhead::Arguments),
    /// From `submit` to the first line of user code.
    Trigger(trigger::Arguments),
    /// Durable runs that do nothing, per second, and as history grows.
    Noop(noop::Arguments),
    /// What a program pays for its log, and how fast readers follow.
    Log(log::Arguments),
    /// What a host with nothing to do costs.
    Idle(idle::Arguments),
    /// How late programs begin that schedules start, and what many schedules cost while nothing is due.
    Schedule(schedule::Arguments),
    /// Runs in containers against the engine's own API.
    Containers(containers::Arguments),
    /// All of them.
    All,
    /// One run between two marks, for a tracer.
    #[command(hide = true)]
    TracedRun,
    /// The host of `log`, in a process of its own.
    #[command(hide = true)]
    LogHost { place: PathBuf },
    /// The host of `idle`, in a process of its own.
    #[command(hide = true)]
    IdleHost { data: PathBuf, pipelines: Option<PathBuf> },
}

impl Common {
    fn workplace(&self) -> Result<Workplace> {
        Workplace::new(&std::path::absolute(&self.dir)?, self.uv()?)
    }

    fn uv(&self) -> Result<Option<PathBuf>> {
        Ok(self.uv.as_ref().map(std::path::absolute).transpose()?)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.chain());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a program")]
fn complain(error: &str) {
    eprintln!("error: {error}");
}

async fn run(cli: Cli) -> Result<()> {
    let common = &cli.common;
    match cli.what {
        What::Overhead(arguments) => print(&overhead::measure(common, &arguments).await?),
        What::Trigger(arguments) => print(&trigger::measure(common, &arguments).await?),
        What::Noop(arguments) => print(&noop::measure(common, &arguments).await?),
        What::Log(arguments) => print(&log::measure(common, &arguments)?),
        What::Idle(arguments) => print(&idle::measure(common, &arguments)?),
        What::Schedule(arguments) => schedule::measure(common, &arguments).await,
        What::Containers(arguments) => containers::measure(common, &arguments).await,
        What::All => all(common).await,
        What::TracedRun => fsync::traced_run(common).await,
        What::LogHost { place } => log::host(&place, common.uv()?).await,
        What::IdleHost { data, pipelines } => idle::host(data, pipelines, common.uv()?).await,
    }
}

async fn all(common: &Common) -> Result<()> {
    print(&overhead::measure(common, &overhead::Arguments::default()).await?)?;
    print(&trigger::measure(common, &trigger::Arguments::default()).await?)?;
    print(&noop::measure(common, &noop::Arguments::default()).await?)?;
    print(&log::measure(common, &log::Arguments::default())?)?;
    print(&idle::measure(common, &idle::Arguments::default())?)?;
    schedule::measure(common, &schedule::Arguments::default()).await?;
    containers::measure(common, &containers::Arguments::default()).await
}

fn print(report: &Report) -> Result<()> {
    Ok(report.print()?)
}
