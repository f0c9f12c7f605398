//! Counts flushes from outside: one run under `strace`, between two marks that are system calls.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use fastflow_benches::engine;
use fastflow_core::{Result, Shutdown};

use crate::Common;

/// A path that is not there. Asking for it is the mark.
const SUBMIT_MARK: &str = "/fastflow-bench-submit";
const LINE_MARK: &str = "/fastflow-bench-first-line";
const PROGRAM: &str = "import os\nos.access('/fastflow-bench-first-line', os.F_OK)\n";
const CALLS: &str = "trace=fsync,fdatasync,execve,statx,stat,newfstatat,access,faccessat,faccessat2";

/// What was flushed.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    /// Flushes of the store between `submit` and the start of the interpreter.
    pub(crate) store_before_start: u32,
    /// The same up to the first line of user code: also what happens beside the start of the interpreter.
    pub(crate) store_before_line: u32,
    /// The names of all files flushed up to the first line.
    pub(crate) files: Vec<String>,
}

/// Traces one run. `None` where there is no strace, or it may not trace.
pub(crate) fn count(common: &Common) -> Result<Option<Flushes>> {
    let place = common.workplace()?;
    let trace = place.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "300", "-e", CALLS, "-o"]).arg(&trace).arg(std::env::current_exe()?);
    command.arg("--dir").arg(&common.dir);
    if let Some(uv) = common.uv()? {
        command.arg("--uv").arg(uv);
    }
    command.arg("traced-run").stdin(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    Ok(Some(read(&trace)?))
}

fn read(trace: &Path) -> Result<Flushes> {
    let text = String::from_utf8_lossy(&fs::read(trace)?).into_owned();
    let mut found = Flushes::default();
    let mut started = false;
    let between = text
        .lines()
        .skip_while(|line| !line.contains(SUBMIT_MARK))
        .take_while(|line| !line.contains(LINE_MARK));
    for line in between {
        started |= line.contains("execve(") && line.contains("main.py");
        let Some(path) = flushed(line) else { continue };
        if path.contains("fastflow.db") {
            found.store_before_line += 1;
            found.store_before_start += u32::from(!started);
        }
        found.files.push(Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    Ok(found)
}

/// The path in `fdatasync(7</path>) = 0`.
fn flushed(line: &str) -> Option<&str> {
    let begin = ["fsync(", "fdatasync("].iter().find_map(|call| Some(line.find(call)? + call.len()))?;
    let path = line.get(begin..)?.split_once('<')?.1;
    path.split_once('>').map(|(path, _)| path)
}

/// Runs the program once to know its environment, and once between the marks.
pub(crate) async fn traced_run(common: &Common) -> Result<()> {
    let place = common.workplace()?;
    place.pipeline("marked", PROGRAM, &[])?;
    let flow = place.start().await?;
    engine::succeed(&flow, "marked").await?;
    mark(SUBMIT_MARK);
    engine::succeed(&flow, "marked").await?;
    flow.shutdown(Shutdown::Detach).await
}

fn mark(path: &str) {
    // Only the call matters.
    let _ = fs::metadata(path);
}
