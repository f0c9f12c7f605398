//! What a host with nothing to do costs.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use clap::Args;
use fastflow_benches::{
    process::{cpu_time, resident_bytes},
    report::{Report, Row, Verdict, ratio},
};
use fastflow_core::{Clock, Orchestrator, Result, SystemClock};

use crate::Common;

const TARGET_MEBIBYTES: f64 = 30.0;
const TARGET_CPU_PERCENT: f64 = 0.2;
/// Until what happens once at the start has happened.
const SETTLING: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How long is looked, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The pipelines that the host has.
    #[arg(long, default_value = "examples/pipelines")]
    pipelines: PathBuf,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { seconds: 60, pipelines: "examples/pipelines".into() }
    }
}

pub(crate) fn measure(common: &Common, arguments: &Arguments) -> Result<Report> {
    let place = common.workplace()?;
    let pipelines = std::path::absolute(&arguments.pipelines)?;
    let host = Quiet::start(common, &place.data(), Some(&pipelines))?;
    let bare = Quiet::start(common, &place.data(), None)?;
    pause(SETTLING);
    let (host_before, bare_before) = (cpu_time(host.0.id())?, cpu_time(bare.0.id())?);
    let clock = SystemClock::new();
    pause(Duration::from_secs(arguments.seconds));
    let took = clock.elapsed();
    let percent = |before: Duration, after: Duration| {
        after.saturating_sub(before).as_secs_f64() / took.as_secs_f64() * 100.0
    };
    let cpu = percent(host_before, cpu_time(host.0.id())?);
    let bare_cpu = percent(bare_before, cpu_time(bare.0.id())?);
    let (memory, bare_memory) = (mebibytes(&host)?, mebibytes(&bare)?);

    let mut report =
        Report::new(format!("idle: a host with pipelines and nothing to do, {} s", took.as_secs()));
    report.row(
        Row::new("memory (RSS)", format!("{memory:.1} MiB"))
            .against(format!("{bare_memory:.1} MiB"), ratio(memory, bare_memory))
            .verdict(Verdict::at_most(memory, TARGET_MEBIBYTES, " MiB")),
    );
    report.row(
        Row::new("CPU of one core", format!("{cpu:.3} %"))
            .against(format!("{bare_cpu:.3} %"), format!("+{:.3} %", cpu - bare_cpu))
            .verdict(Verdict::at_most(cpu, TARGET_CPU_PERCENT, " %")),
    );
    report.note("Floor: the same executable with an idle tokio runtime and no engine.");
    Ok(report)
}

/// A process that only waits, and ends with this value.
pub(crate) struct Quiet(Child);

impl Quiet {
    pub(crate) fn start(common: &Common, data: &Path, pipelines: Option<&Path>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        if let Some(uv) = common.uv()? {
            command.arg("--uv").arg(uv);
        }
        command.arg("idle-host").arg(data).args(pipelines);
        // It ends when this pipe does, so also when we are killed.
        Ok(Self(command.stdin(Stdio::piped()).spawn()?))
    }
}

impl Quiet {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It holds nothing that could be lost.
        let _ = self.0.wait();
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size in a table")]
pub(crate) fn mebibytes(process: &Quiet) -> Result<f64> {
    Ok(resident_bytes(process.0.id())? as f64 / f64::from(1 << 20))
}

#[expect(clippy::disallowed_methods, reason = "the measure is what happens in a stretch of time")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A host that waits for the end of its standard input; without pipelines only a runtime.
pub(crate) async fn host(data: PathBuf, pipelines: Option<PathBuf>, uv: Option<PathBuf>) -> Result<()> {
    let flow = match pipelines {
        Some(pipelines) => {
            let mut engine = Orchestrator::builder(data).pipelines(pipelines);
            if let Some(uv) = uv {
                engine = engine.uv(uv);
            }
            let flow = engine.build().await?;
            flow.start().await?;
            Some(flow)
        }
        None => None,
    };
    let end =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await;
    end.map_err(std::io::Error::other)??;
    drop(flow);
    Ok(())
}
