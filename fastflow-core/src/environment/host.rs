//! Tools as processes of this machine.

use std::{
    collections::{BTreeMap, VecDeque},
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

use super::{SetupLog, ToolCall, ToolEnd, ToolFailure, ToolStatus, Workbench};
use crate::{Clock, process_group::ProcessGroup, secret::SecretVariables};

/// The longest line that is passed on whole.
const LINE_MAX_BYTES: usize = 8 * 1024;
/// How much of what a tool says is kept for a failure: that many lines from its end.
const WORDS_MAX_LINES: usize = 400;
/// The most that a tool may answer on its standard output, which is where locks come from.
const ANSWER_MAX_BYTES: usize = 32 * 1024 * 1024;
const CHUNK_BYTES: usize = 16 * 1024;

/// What of the host's environment would make uv or Python do something else than they are asked to.
const REMOVED: [&str; 22] = [
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONPYCACHEPREFIX",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONOPTIMIZE",
    "PYTHONSTARTUP",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "CONDA_EXE",
    "CONDA_PYTHON_EXE",
    "CONDA_SHLVL",
    "CONDA_PROMPT_MODIFIER",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PROJECT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_WORKING_DIR",
    "UV_FROZEN",
    "UV_LOCKED",
    "RUST_LOG",
    "SOURCE_DATE_EPOCH",
];

/// This machine: tools are processes of this user, and nothing keeps them from its other files.
///
/// They find the variables of this process, but for those that would make uv or Python do something else than they are
/// asked to.
///
/// ```
/// use std::sync::Arc;
///
/// use fastflow_core::{SystemClock, environment::{HostWorkbench, Workbench}};
///
/// let here = HostWorkbench::new(Arc::new(SystemClock::new()));
/// assert!(here.is_this_machine());
/// ```
#[derive(Debug)]
pub struct HostWorkbench {
    clock: Arc<dyn Clock>,
    hidden: SecretVariables,
    nothing: BTreeMap<String, String>,
}

impl HostWorkbench {
    /// What this machine is called.
    pub const IDENTITY: &str = "host";

    /// This machine. `clock` measures how long tools take.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, hidden: SecretVariables::default(), nothing: BTreeMap::new() }
    }

    /// Tools do not find these variables of this process: they run what packages bring.
    #[must_use]
    pub fn hiding(mut self, variables: SecretVariables) -> Self {
        self.hidden = variables;
        self
    }
}

#[async_trait]
impl Workbench for HostWorkbench {
    fn identity(&self) -> &str {
        Self::IDENTITY
    }

    fn is_this_machine(&self) -> bool {
        true
    }

    /// None: the programs of pipelines get exactly the variables that they are given.
    fn base_env(&self) -> &BTreeMap<String, String> {
        &self.nothing
    }

    async fn run(&self, call: ToolCall, log: &dyn SetupLog) -> Result<ToolEnd, ToolFailure> {
        let timeout = call.timeout;
        run_to_its_end(command(call, &self.hidden), timeout, &*self.clock, log).await
    }
}

/// Runs a process of this machine to its end: in its own process group, gone when we are.
///
/// # Errors
///
/// When it does not come to an end of its own.
///
/// # Cancel safety
///
/// Dropping the future ends the process and all that it has started.
pub(super) async fn run_to_its_end(
    mut command: Command,
    timeout: Duration,
    clock: &dyn Clock,
    log: &dyn SetupLog,
) -> Result<ToolEnd, ToolFailure> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(ToolFailure::NotStarted)?;
    // It may hold a copy of a lock.
    drop(command);
    // uv's builds are processes of their own.
    let mut group = ProcessGroup::of(&child);
    let listened = async {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (answer, words) = tokio::join!(answer(stdout), words(stderr, log));
        (child.wait().await, answer, words)
    };
    let (status, answer, words) = tokio::select! {
        ended = listened => ended,
        () = clock.sleep(timeout) => return Err(ToolFailure::TimedOut),
    };
    group.ended();
    let status = self::status(status.map_err(ToolFailure::NotStarted)?);
    let answer = answer.ok_or(ToolFailure::Endless(ANSWER_MAX_BYTES))?;
    Ok(ToolEnd { status, answer, words })
}

/// A call of a tool, with nothing on its input but a lock.
#[expect(
    clippy::disallowed_methods,
    reason = "tools find what this process finds, but for what is looked for here"
)]
fn command(call: ToolCall, hidden: &SecretVariables) -> Command {
    let mut command = Command::new(&call.program);
    for name in REMOVED {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os().filter(|(name, _)| hidden.has(name)) {
        command.env_remove(name);
    }
    command.args(&call.args).envs(&call.env).current_dir(&call.directory);
    // As its input a lock is held until the child is gone too: when this process is killed, nobody builds where its
    // orphan still writes. The command keeps a copy of it until it is dropped.
    command.stdin(call.lock.map_or_else(Stdio::null, Stdio::from));
    command
}

fn status(status: ExitStatus) -> ToolStatus {
    // A process that was waited for has either.
    status.code().map_or_else(|| ToolStatus::Signal(status.signal().unwrap_or_default()), ToolStatus::Code)
}

/// Reads to the end; none if that is more than the limit.
async fn answer(stream: Option<impl AsyncRead + Unpin>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut is_endless = false;
    if let Some(mut stream) = stream {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            is_endless = is_endless || bytes.len() + length > ANSWER_MAX_BYTES;
            if !is_endless {
                bytes.extend_from_slice(&chunk[..length]);
            }
        }
    }
    (!is_endless).then_some(bytes)
}

/// Passes every line on as it comes and keeps the last ones.
async fn words(stream: Option<impl AsyncRead + Unpin>, log: &dyn SetupLog) -> Vec<String> {
    let mut kept: VecDeque<String> = VecDeque::new();
    let mut say = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() && kept.is_empty() {
            return;
        }
        log.line(line);
        if kept.len() == WORDS_MAX_LINES {
            kept.pop_front();
        }
        kept.push_back(line.to_owned());
    };
    let mut open: Vec<u8> = Vec::new();
    if let Some(mut stream) = stream {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            for piece in chunk[..length].split_inclusive(|&byte| byte == b'\n') {
                let room = LINE_MAX_BYTES.saturating_sub(open.len());
                open.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.ends_with(b"\n") {
                    say(&open);
                    open.clear();
                }
            }
        }
    }
    if !open.is_empty() {
        say(&open);
    }
    kept.into()
}
