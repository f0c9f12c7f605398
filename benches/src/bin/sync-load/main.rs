//! The sync of a git repository against floors that are measured in the same run: real servers on the loopback device,
//! the git program, and the disk.
//!
//! ```text
//! cargo run --release -p fastflow-benches --features sources --bin sync-load -- all --uv .tools/uv/bin/uv
//! ```
//!
//! A figure that misses its target is printed as such and fails nothing; the exit status says whether
//! something is broken.

mod changed;
mod floor;
mod host;
mod memory;
mod place;
mod preheated;
mod unchanged;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use fastflow_benches::{process::load_average, report::Report};
use fastflow_core::Result;

/// Measures syncs.
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
}

impl Common {
    /// The folder of the data directories, which is there now.
    fn made(&self) -> Result<PathBuf> {
        let dir = std::path::absolute(&self.dir)?;
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

#[derive(Debug, Subcommand)]
enum What {
    /// Syncs that find nothing new, against the exchange with the server alone.
    Unchanged(unchanged::Arguments),
    /// Syncs of many pipelines that are new or changed, and the start of a host that has them.
    Changed(changed::Arguments),
    /// The first run after an environment was made ahead, against a warm one.
    Preheated(preheated::Arguments),
    /// The host's memory while it syncs.
    Memory(memory::Arguments),
    /// All of them.
    All,
    /// The host of `memory`, in a process of its own.
    #[command(hide = true)]
    MemoryHost(memory::Child),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
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
    let load = load_average()?;
    match cli.what {
        What::Unchanged(arguments) => print(unchanged::measure(common, &arguments).await?, load),
        What::Changed(arguments) => print(changed::measure(common, &arguments).await?, load),
        What::Preheated(arguments) => print(preheated::measure(common, &arguments).await?, load),
        What::Memory(arguments) => print(memory::measure(common, &arguments)?, load),
        What::All => all(common).await,
        What::MemoryHost(child) => memory::host(child).await,
    }
}

async fn all(common: &Common) -> Result<()> {
    let load = load_average()?;
    print(unchanged::measure(common, &unchanged::Arguments::default()).await?, load)?;
    let load = load_average()?;
    print(changed::measure(common, &changed::Arguments::default()).await?, load)?;
    let load = load_average()?;
    print(preheated::measure(common, &preheated::Arguments::default()).await?, load)?;
    let load = load_average()?;
    print(memory::measure(common, &memory::Arguments::default())?, load)
}

fn print(mut report: Report, load_before: f64) -> Result<()> {
    report.note(format!("Load average of the last minute: {load_before} before, {} after.", load_average()?));
    Ok(report.print()?)
}
