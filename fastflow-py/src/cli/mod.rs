//! The command `fastflow`, which is `python -m fastflow` too.
//!
//! It talks to the core as a Rust program would: the interpreter only gives it its arguments, and waits. It has a
//! runtime of its own, and no thread of it attaches to the interpreter.

mod args;
mod cancel;
mod command;
mod completion;
mod doctor;
mod exit;
mod explain;
mod failed;
mod follow;
mod host;
mod init;
mod interrupt;
mod json;
mod line;
mod list;
mod logs;
mod output;
mod place;
mod rerun;
mod run;
mod runs;
mod schedule;
mod script;
mod session;
mod show;
mod table;
mod text;
mod which;

use std::{ffi::OsString, os::fd::RawFd, path::PathBuf, sync::Arc, time::Duration};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use tokio::runtime::Builder;

use self::{command::Context, exit::Exit, failed::Failed, interrupt::Interrupts, output::Output};

/// Threads that work for a command. They wait nearly always.
const WORKERS: usize = 2;
/// How long the end of the command may be held up by blocking work, such as a look at a slow disk.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// What the interpreter knows and the command does not.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The `uv` that was installed with the package.
    pub(crate) uv: Option<PathBuf>,
    /// The interpreter that started it, for people to read.
    pub(crate) python: String,
}

/// Carries out one command, and answers with the exit code of the process. `interrupts` is a descriptor from which the
/// numbers of signals can be read as they come.
#[pyfunction]
#[pyo3(signature = (argv, *, uv, python, interrupts))]
pub(crate) fn cli(
    py: Python<'_>,
    argv: Vec<OsString>,
    uv: Option<PathBuf>,
    python: String,
    interrupts: RawFd,
) -> PyResult<u8> {
    let surroundings = Surroundings { uv, python };
    py.detach(|| main(&argv, surroundings, interrupts))
        .map_err(|error| PyRuntimeError::new_err(format!("the command cannot start: {error}")))
}

fn main(words: &[OsString], surroundings: Surroundings, interrupts: RawFd) -> std::io::Result<u8> {
    let args = match args::parse(words) {
        Ok(args) => args,
        Err(answer) => return Ok(args::answer(&answer, words).code()),
    };
    let runtime =
        Builder::new_multi_thread().worker_threads(WORKERS).thread_name("fastflow").enable_all().build()?;
    let exit = runtime.block_on(async {
        let interrupts = Arc::new(Interrupts::new(interrupts)?);
        let out = Output::new(&args.global);
        let mut context = Context { global: args.global, surroundings, interrupts, out };
        let done = command::carry_out(args.command, &mut context).await;
        Ok::<_, std::io::Error>(done.unwrap_or_else(|failed| Failed::tell(&failed, &context.out)))
    });
    runtime.shutdown_timeout(STOP_LIMIT);
    exit.map(Exit::code)
}
