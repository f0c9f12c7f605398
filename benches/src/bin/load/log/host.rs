//! The other process: an engine that is told what to do, one JSON value a line.

use std::{
    io::Write as _,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use fastflow_benches::{
    engine::{self, Started, Workplace},
    process::{forget_peak, peak_bytes, resident_bytes},
};
use fastflow_core::{
    AttemptId, Clock, Error, ErrorKind, Orchestrator, OsEntropy, Result, RunId, Shutdown, SystemClock,
    journal::{LogStream, Offset},
    secret::{MasterKeySource, Secret, SecretScope, generate_key_file},
};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::{PIPELINE, PIPELINE_WITH_SECRETS, secret_names};

/// Letters of tokens.
const TOKEN: &str = "Vq7+pR2-kX9_mL4wZ8bN3cH6jT1yF5dS0gA/eUoK";

/// What is asked.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Command {
    /// Runs the program; nobody reads.
    Run,
    /// Runs it with secrets, which are looked for in all that it writes.
    RunWithSecrets,
    /// Runs the program and follows its log.
    Follow,
    /// Reads the log of the newest run.
    Read,
}

/// The first line: how programs are started here.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ready {
    pub(crate) started: Started,
}

/// What came of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Reply {
    /// The time of all of it, for a run from `submit` to its end.
    pub(crate) took: Duration,
    /// Lines of output that were read.
    pub(crate) lines: u64,
    /// How many of them were read after the run's end was known.
    pub(crate) behind: u64,
    /// How long that took.
    pub(crate) lag: Duration,
    /// How much more memory this process had at its peak than before.
    pub(crate) growth_bytes: u64,
    /// The log's file.
    pub(crate) log: PathBuf,
}

/// Serves until the standard input ends.
pub(crate) async fn host(place: &Path, uv: Option<PathBuf>) -> Result<()> {
    let place = Workplace::existing(place, uv);
    let flow = start(&place).await?;
    say(&Ready { started: place.probe(&flow, &[]).await? })?;
    let mut newest = None;
    let mut line = String::new();
    while tokio::task::block_in_place(|| std::io::stdin().read_line(&mut line))? > 0 {
        let command = serde_json::from_str(&line).map_err(std::io::Error::other)?;
        line.clear();
        forget_peak()?;
        let before = resident_bytes(std::process::id())?;
        let mut reply = obey(&flow, command, &mut newest).await?;
        reply.growth_bytes = peak_bytes(std::process::id())?.saturating_sub(before);
        say(&reply)?;
    }
    flow.shutdown(Shutdown::Detach).await
}

/// An engine that has the secrets, each as long as a token and beginning in its own way.
async fn start(place: &Workplace) -> Result<Orchestrator> {
    let key = place.path().join("master.key");
    generate_key_file(&key, &OsEntropy)?;
    let flow = place.engine().master_key(MasterKeySource::File(key)).build().await?;
    flow.start().await?;
    for (number, name) in secret_names().enumerate() {
        let (end, start) = TOKEN.split_at(4 * number);
        let token = Secret::new(format!("{start}{end}"));
        flow.secrets().set(&SecretScope::Global, &name.parse()?, token).await?;
    }
    Ok(flow)
}

async fn obey(flow: &Orchestrator, command: Command, newest: &mut Option<RunId>) -> Result<Reply> {
    let clock = SystemClock::new();
    let mut reply = Reply::default();
    match (command, *newest) {
        (Command::Run, _) => {
            *newest = Some(engine::succeed(flow, PIPELINE).await?.id);
            reply.took = clock.elapsed();
        }
        (Command::RunWithSecrets, _) => {
            *newest = Some(engine::succeed(flow, PIPELINE_WITH_SECRETS).await?.id);
            reply.took = clock.elapsed();
        }
        (Command::Follow, _) => {
            let run = flow.submit(PIPELINE).await?.id;
            *newest = Some(run);
            let ended = async {
                let run = flow.runs().wait(run).await?;
                Ok::<_, Error>((engine::ended_well(run)?, clock.elapsed()))
            };
            let (mut lines, mut log) = (0, flow.runs().follow(run));
            tokio::pin!(ended);
            let mut lines_at_end = None;
            loop {
                tokio::select! {
                    biased;
                    over = &mut ended, if lines_at_end.is_none() => {
                        reply.took = over?.1;
                        lines_at_end = Some(lines);
                    }
                    line = log.next() => match line {
                        Some(line) => lines += u64::from(line?.line.stream == LogStream::Out),
                        None => break,
                    },
                }
            }
            let all = clock.elapsed();
            if lines_at_end.is_none() {
                reply.took = ended.await?.1;
            }
            reply.lines = lines;
            reply.behind = lines - lines_at_end.unwrap_or(lines);
            reply.lag = all.saturating_sub(reply.took);
        }
        (Command::Read, Some(run)) => {
            let mut log = flow.runs().logs(first_attempt(run), Offset::START);
            while let Some(line) = log.next().await {
                reply.lines += u64::from(line?.1.stream == LogStream::Out);
            }
            reply.took = clock.elapsed();
        }
        (Command::Read, None) => return Err(Error::new(ErrorKind::Invalid, "there is no log yet")),
    }
    if let Some(run) = *newest {
        reply.log = flow.runs().directory(first_attempt(run)).await?.join(fastflow_shim::layout::LOG);
    }
    Ok(reply)
}

fn first_attempt(run: RunId) -> AttemptId {
    AttemptId { run, number: NonZeroU32::MIN }
}

fn say<T: Serialize>(what: &T) -> Result<()> {
    let text = serde_json::to_string(what).map_err(std::io::Error::other)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}
