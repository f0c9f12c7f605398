//! Runs every pipeline of a folder and shows what happens, as it happens.
//!
//! ```console
//! cargo run --example quickstart -- --pipelines examples/pipelines --data target/demo
//! ```
//!
//! Ctrl-C cancels what runs; a second one lets go of it. What was let go runs on without this program, and the
//! next start with the same `--data` goes on showing it.

mod demo;
mod engine;
mod excerpt;
mod expected;
mod follow;
mod line;
mod pane;
mod quiet;
mod screen;
mod table;
mod text;
mod update;

use std::{io::IsTerminal as _, io::Write as _, path::PathBuf, process::ExitCode};

use anstream::{AutoStream, ColorChoice};
use clap::Parser;

use fastflow_core::executor::ImageName;

use crate::{demo::Finish, engine::Engine, screen::Looks};

/// Some pipeline did not end as expected, or nothing could be run.
const NOT_AS_EXPECTED: u8 = 1;
/// The machinery failed.
const BROKEN: u8 = 2;
/// Ended by Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Runs every pipeline of a folder and shows what happens, as it happens.
#[derive(Debug, Parser)]
struct Args {
    /// The folder of pipelines
    #[arg(long, value_name = "DIR")]
    pipelines: PathBuf,
    /// Where runs, logs and environments are kept
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where uv is, if not in the PATH
    #[arg(long, value_name = "PATH")]
    uv: Option<PathBuf>,
    /// What runs the pipelines
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Engine::Process)]
    executor: Engine,
    /// The image for containers, if not the usual one
    #[arg(long, value_name = "IMAGE")]
    image: Option<ImageName>,
    /// Run only this pipeline; can be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// A parameter for every run; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    parameter: Vec<(String, String)>,
    /// Show at most so many lines of each log, or `all`
    #[arg(long, value_name = "N", default_value = "60", value_parser = lines)]
    lines: usize,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a parameter has the form NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

fn lines(text: &str) -> Result<usize, String> {
    if text == "all" {
        return Ok(usize::MAX);
    }
    text.parse().map_err(|_| "it is a whole number, or `all`".into())
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let stdout = std::io::stdout();
    let looks =
        Looks { colours: AutoStream::choice(&stdout) != ColorChoice::Never, moves: stdout.is_terminal() };
    let pick_up = std::env::args().collect::<Vec<_>>().join(" ");
    let finish = demo::run(demo::Options {
        pipelines: args.pipelines,
        data: args.data,
        uv: args.uv,
        engine: args.executor,
        image: args.image,
        only: args.only,
        parameters: args.parameter,
        max_lines: args.lines,
        looks,
        pick_up,
    });
    match finish.await {
        Ok(Finish::AsExpected) => ExitCode::SUCCESS,
        Ok(Finish::NotAsExpected) => ExitCode::from(NOT_AS_EXPECTED),
        Ok(Finish::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            // There is nowhere else to say it.
            let _ = writeln!(std::io::stderr(), "quickstart: {error}");
            ExitCode::from(BROKEN)
        }
    }
}
