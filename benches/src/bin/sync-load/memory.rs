//! The host's memory while it syncs.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use clap::Args;
use fastflow_benches::{
    process::{forget_peak, peak_bytes, resident_bytes},
    report::{Report, Row, ratio},
};
use fastflow_core::{Error, ErrorKind, Result, Shutdown};
use serde::{Deserialize, Serialize};

use crate::{
    Common,
    host::Host,
    place::{self, Place, Scheme},
};

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How many pipelines the repository has.
    #[arg(long, default_value_t = 2000)]
    pipelines: u32,
    /// The size of the one large file, in mebibytes.
    #[arg(long, default_value_t = 200)]
    file_mebibytes: u32,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { pipelines: 2000, file_mebibytes: 200 }
    }
}

/// What the process is told that is looked at.
#[derive(Debug, Args)]
pub(crate) struct Child {
    data: PathBuf,
    url: String,
    authority: PathBuf,
}

/// Bytes in RAM.
#[derive(Debug, Deserialize, Serialize)]
struct Memory {
    /// Before the first sync.
    before: u64,
    /// The most during it.
    peak: u64,
    /// After it.
    after: u64,
}

pub(crate) fn measure(common: &Common, arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("memory: the host's process during its first sync, over https");
    let many = Place::new(arguments.pipelines);
    rows(&format!("{} pipelines", arguments.pipelines), &look(common, &many)?, &mut report);
    drop(many);
    let large = Place::new(1);
    large.repository.write("pipeline-0000/data.bin", noise(arguments.file_mebibytes));
    large.repository.commit("Add a large file");
    let name = format!("a file of {} MiB", arguments.file_mebibytes);
    rows(&name, &look(common, &large)?, &mut report);
    report.note("Floor: the same process before its sync. The server and git are other processes.");
    Ok(report)
}

fn rows(name: &str, memory: &Memory, report: &mut Report) {
    for (measure, bytes) in [("most", memory.peak), ("afterwards", memory.after)] {
        let (value, floor) = (mebibytes(bytes), mebibytes(memory.before));
        report.row(Row::new(format!("{name}: {measure}"), format!("{value:.1} MiB")).against(
            format!("{floor:.1} MiB"),
            format!("{:+.1} MiB, {}", value - floor, ratio(value, floor)),
        ));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size in a table")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes that no pack makes smaller.
fn noise(mebibytes: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..u64::from(mebibytes) << 17).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect()
}

fn look(common: &Common, place: &Place) -> Result<Memory> {
    let dir = tempfile::tempdir_in(common.made()?)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("memory-host").arg(dir.path().join("data")).arg(place.url(Scheme::Https));
    let output = command.arg(place.authority()).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(Error::new(ErrorKind::Internal, "the host of the benchmark failed"));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::new(ErrorKind::Internal, "the host said something else").because(error))
}

/// Syncs once, and says how much memory that took.
pub(crate) async fn host(child: Child) -> Result<()> {
    let host = Host::build(&child.data, place::config(child.url, child.authority)).await?;
    let me = std::process::id();
    forget_peak()?;
    let before = resident_bytes(me)?;
    host.sync().await?;
    let memory = Memory { before, peak: peak_bytes(me)?, after: resident_bytes(me)? };
    host.flow.shutdown(Shutdown::Detach).await?;
    let text = serde_json::to_string(&memory).map_err(io::Error::from)?;
    Ok(writeln!(io::stdout(), "{text}")?)
}
