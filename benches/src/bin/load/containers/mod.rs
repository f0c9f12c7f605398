//! Runs in containers against the same containers by the engine's own API.

mod bench;
mod cold;
mod parallel;
mod scheduled;
mod silent;
mod warm;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fastflow_benches::{raw_engine::Api, report::Report};
use fastflow_core::Result;

use crate::{Common, print};

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Only these parts; all of them when nothing is said.
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// How many runs are measured one after the other, and as many of the floor.
    #[arg(long, default_value_t = 40)]
    runs: u32,
    /// How many runs each round of eight in parallel has, and as many the floor.
    #[arg(long, default_value_t = 40)]
    round: u32,
    /// How many such rounds there are.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How many containers run at once that say nothing.
    #[arg(long, default_value_t = 50)]
    silent: u32,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { parts: Vec::new(), runs: 40, round: 40, rounds: 3, silent: 50 }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    /// One run after the other.
    Cold,
    /// Eight at once.
    Parallel,
    /// The first line, with a sandbox made ahead and without.
    Warm,
    /// The first line after the instant of a schedule, with a sandbox made ahead.
    Scheduled,
    /// Many that say nothing, and the end of each.
    Silent,
}

const ALL: [Part; 5] = [Part::Cold, Part::Parallel, Part::Warm, Part::Scheduled, Part::Silent];

/// An engine that was named.
#[derive(Clone, Debug)]
struct Subject {
    api: Api,
    socket: PathBuf,
}

impl Subject {
    fn name(&self) -> &'static str {
        match self.api {
            Api::Docker => "docker",
            Api::Podman => "podman",
        }
    }
}

/// Takes an address as engines write it, or a path.
pub(crate) fn socket(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text.strip_prefix("unix://").unwrap_or(text));
    if path.is_absolute() { Ok(path) } else { Err("the path of a socket, or unix:// and that path".into()) }
}

pub(crate) async fn measure(common: &Common, arguments: &Arguments) -> Result<()> {
    let named = [(Api::Docker, &common.docker), (Api::Podman, &common.podman)];
    let subjects: Vec<Subject> = named
        .into_iter()
        .filter_map(|(api, socket)| Some(Subject { api, socket: socket.clone()? }))
        .collect();
    if subjects.is_empty() {
        let mut report = Report::new("containers: left out");
        report.note("No engine is named. Give `--docker <socket>`, `--podman <socket>` or both, and `--image <image>`.");
        return print(&report);
    }
    let parts = if arguments.parts.is_empty() { ALL.to_vec() } else { arguments.parts.clone() };
    for subject in &subjects {
        for part in &parts {
            let report = match part {
                Part::Cold => cold::measure(common, subject, arguments.runs).await?,
                Part::Parallel => {
                    parallel::measure(common, subject, arguments.rounds, arguments.round).await?
                }
                Part::Warm => warm::measure(common, subject, arguments.runs).await?,
                Part::Scheduled => scheduled::measure(common, subject, arguments.runs).await?,
                Part::Silent => silent::measure(common, subject, arguments.silent).await?,
            };
            print(&report)?;
        }
    }
    Ok(())
}
