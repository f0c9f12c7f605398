//! Starts uv and listens to it.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsStr,
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

use super::{EnvironmentFailure, EnvironmentFailureKind, SetupLog, folder::Guard};
use crate::Clock;

/// The longest line that is passed on whole.
const LINE_MAX_BYTES: usize = 8 * 1024;
/// How much of what a child says is kept for a failure: that many lines from its end.
const WORDS_MAX_LINES: usize = 400;
/// The most that a child may answer on its standard output, which is where locks come from.
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

/// The uv to start, and what it needs to know.
#[derive(Debug)]
pub(super) struct Uv {
    pub(super) given: Option<PathBuf>,
    pub(super) candidates: Vec<PathBuf>,
    pub(super) env: BTreeMap<String, String>,
}

impl Uv {
    /// A call of uv that works in `directory` and only reads there.
    pub(super) fn command(&self, directory: &Path) -> Command {
        let found = self.given.as_ref().or_else(|| self.candidates.iter().find(|path| path.is_file()));
        let mut command = command(found.map_or(OsStr::new("uv"), |path| path.as_os_str()), directory);
        command.env("UV_PREVIEW_FEATURES", "pylock").env("NO_COLOR", "1").envs(&self.env);
        command.args(["--no-progress", "--color", "never"]);
        command
    }

    /// What to say when there is no uv.
    pub(super) fn missing(&self, error: &io::Error) -> EnvironmentFailure {
        let places: Vec<String> = match &self.given {
            Some(path) => vec![path.display().to_string()],
            None => self
                .candidates
                .iter()
                .map(|path| path.display().to_string())
                .chain(["`uv` on the PATH".to_owned()])
                .collect(),
        };
        EnvironmentFailure::new(
            EnvironmentFailureKind::ToolMissing,
            format!("uv could not be started: {error} (looked for {})", places.join(", ")),
        )
        .with_help(
            "install uv with `pip install uv` or `pipx install uv` (see \
             https://docs.astral.sh/uv/getting-started/installation/), or set the path of the uv to use",
        )
    }
}

/// A child of ours: its own process group, nothing on its input, gone when we are.
pub(super) fn command(program: &OsStr, directory: &Path) -> Command {
    let mut command = Command::new(program);
    for name in REMOVED {
        command.env_remove(name);
    }
    command.current_dir(directory).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    command
}

/// A child that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// Its standard output.
    pub(super) answer: String,
    /// Its standard error, from the first line that reports an error on; else all of it.
    pub(super) words: String,
}

impl Ended {
    pub(super) fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// Its words, or how it ended if it said nothing.
    pub(super) fn reason(&self) -> String {
        match (self.words.trim(), self.status.signal()) {
            ("", None) => format!("uv ended with {}", self.status),
            (words, None) => words.to_owned(),
            (words, Some(signal)) => format!("uv was ended by signal {signal}\n{words}"),
        }
    }
}

/// Until when, and who listens.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) clock: &'a dyn Clock,
    /// In [`Clock::elapsed`].
    pub(super) deadline: Duration,
    pub(super) log: &'a dyn SetupLog,
}

/// Runs a child to its end.
///
/// # Errors
///
/// [`Failed::Start`] if it cannot be started, [`Failed::Other`] for the timeout and for an answer without end.
///
/// # Cancel safety
///
/// Dropping the future kills the child and its children.
pub(super) async fn run(
    mut command: Command,
    guard: Option<&Guard>,
    watch: Watch<'_>,
) -> Result<Ended, Failed> {
    if let Some(guard) = guard {
        command.stdin(guard.share().map_err(Failed::Start)?);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Failed::Start)?;
    // The command keeps a copy of the lock as the input it would give to another child.
    drop(command);
    let mut group = Group::of(&child);
    let listened = async {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (answer, words) = tokio::join!(answer(stdout), words(stderr, watch.log));
        (child.wait().await, answer, words)
    };
    let remaining = watch.deadline.saturating_sub(watch.clock.elapsed());
    let (status, answer, words) = tokio::select! {
        ended = listened => ended,
        () = watch.clock.sleep(remaining) => return Err(Failed::Other(timed_out())),
    };
    group.ended();
    let status = status.map_err(Failed::Start)?;
    let answer = answer.ok_or_else(|| Failed::Other(endless()))?;
    Ok(Ended { status, answer, words })
}

/// Why a child did not come to an end of its own.
pub(super) enum Failed {
    /// It did not start.
    Start(io::Error),
    /// Anything else.
    Other(EnvironmentFailure),
}

fn timed_out() -> EnvironmentFailure {
    EnvironmentFailure::new(
        EnvironmentFailureKind::DownloadFailed,
        "uv did not end within the build timeout and was killed",
    )
    .with_help("if the network is only slow, raise the build timeout")
}

fn endless() -> EnvironmentFailure {
    EnvironmentFailure::new(
        EnvironmentFailureKind::Internal,
        format!("uv answered with more than {ANSWER_MAX_BYTES} bytes"),
    )
}

/// Kills a child's whole process group unless it has ended: uv's builds are processes of their own.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may just have ended; then there is nobody to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads to the end; none if that is more than the limit.
async fn answer(stream: Option<impl AsyncRead + Unpin>) -> Option<String> {
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
    (!is_endless).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Passes every line on as it comes and keeps the last ones.
async fn words(stream: Option<impl AsyncRead + Unpin>, log: &dyn SetupLog) -> String {
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
    let first = kept.iter().position(|line| line.starts_with("error")).unwrap_or(0);
    kept.iter().skip(first).map(String::as_str).collect::<Vec<_>>().join("\n")
}
