//! Programs that are asked for a secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt, io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};
use zeroize::Zeroizing;

use super::{MAX_SECRET_BYTES, Secret};
use crate::{Clock, Error, ErrorKind, Result, process_group::ProcessGroup};

/// What a program finds of the variables of this process, whatever else it is given.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];
/// The most that is read of an answer, in bytes: the largest value, a line end, and one by which it is too long.
pub(super) const ANSWER_BYTES: usize = MAX_SECRET_BYTES + 3;
const CHUNK_BYTES: usize = 4 << 10;

/// A program that is asked for a secret, without any shell, with nothing on its input.
pub(crate) struct ProgramCall {
    /// Its path, or its name on the `PATH` of this process.
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// The variables of this process that it finds, besides `PATH`, `HOME` and `LANG`. It finds no others.
    pub(crate) inherited: BTreeSet<String>,
    /// The variables that it is given. They win over inherited ones.
    pub(crate) env: BTreeMap<String, Secret>,
    /// How long it may take.
    pub(crate) timeout: Duration,
}

impl ProgramCall {
    /// How long a program may take, where nothing else is said.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

    /// A call with nothing but these arguments.
    pub(crate) fn new(program: impl Into<PathBuf>, args: Vec<String>) -> Self {
        Self {
            program: program.into(),
            args,
            inherited: BTreeSet::new(),
            env: BTreeMap::new(),
            timeout: Self::TIMEOUT,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "its owner names the variables that the program is to inherit"
    )]
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear();
        let inherited = INHERITED.into_iter().chain(self.inherited.iter().map(String::as_str));
        let value =
            |name: &str| -> Option<(String, OsString)> { Some((name.to_owned(), std::env::var_os(name)?)) };
        command.envs(inherited.filter_map(value));
        command.envs(self.env.iter().map(|(name, value)| (name, value.expose())));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }

    fn error(&self, kind: ErrorKind, message: &'static str) -> Error {
        Error::new(kind, message).with("program", self.program.display())
    }

    fn io_error(&self, message: &'static str, error: io::Error) -> Error {
        let cause = Error::from(error);
        self.error(cause.kind(), message).because(cause)
    }
}

impl fmt::Debug for ProgramCall {
    /// Shows neither arguments nor values: people do put passwords there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramCall")
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field("inherited", &self.inherited)
            .field("env", &self.env.keys().collect::<BTreeSet<_>>())
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// What a program answered.
pub(crate) enum Answer {
    /// It ended with code 0, and this is what it wrote.
    Secret(Secret),
    /// It ended with another code.
    Failed {
        code: i32,
        /// Whether it gave a reason on its standard error. That may hold a secret, so nobody gets to see it.
        spoke: bool,
    },
}

/// Asks a program. It answers with UTF-8 on its standard output; a line end is removed where it is the only one, and at
/// the end.
///
/// # Errors
///
/// `Unavailable` when it takes too long, or is ended by a signal; `Invalid` for an answer that is too long, empty, not
/// UTF-8, or has a NUL; and by the system's word when it cannot be started. No error holds what it wrote.
///
/// # Cancel safety
///
/// Dropping the future kills the program, with its process group.
pub(crate) async fn ask(call: &ProgramCall, clock: &dyn Clock) -> Result<Answer> {
    let mut child =
        call.command().spawn().map_err(|error| call.io_error("the program cannot be started", error))?;
    let mut group = ProcessGroup::of(&child);
    let listened = async {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (answer, spoke) = tokio::try_join!(answer(stdout, call), spoke(stderr, call))?;
        let status =
            child.wait().await.map_err(|error| call.io_error("the program cannot be awaited", error))?;
        Ok::<_, Error>((status, answer, spoke))
    };
    let (status, answer, spoke) = tokio::select! {
        ended = listened => ended?,
        () = clock.sleep(call.timeout) => {
            let late = call.error(ErrorKind::Unavailable, "the program took too long, and was ended");
            return Err(late.with("limit_secs", call.timeout.as_secs_f64()));
        }
    };
    group.ended();
    match status.code() {
        Some(0) if answer.is_empty() => Err(call.error(ErrorKind::Invalid, "the program answered nothing")),
        Some(0) => Ok(Answer::Secret(plain(&answer).map_err(|fault| call.error(ErrorKind::Invalid, fault))?)),
        Some(code) => Ok(Answer::Failed { code, spoke }),
        None => Err(call
            .error(ErrorKind::Unavailable, "the program was ended by a signal")
            .with("signal", status.signal().unwrap_or_default())),
    }
}

/// Bytes as a secret: UTF-8 without NUL, of which a line end is removed where it is the only one, and at the end. The
/// message says what is wrong with others.
pub(super) fn plain(bytes: &[u8]) -> Result<Secret, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the value is not UTF-8")?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let text = line.filter(|line| !line.contains('\n')).unwrap_or(text);
    if text.contains('\0') {
        return Err("the value has a NUL, which no variable can hold");
    }
    if text.len() > MAX_SECRET_BYTES {
        return Err("the value is longer than 64 KiB");
    }
    Ok(Secret::new(text))
}

/// Reads to the end, into memory that is wiped and never moves. An answer that is too long ends the reading.
async fn answer(stream: Option<impl AsyncRead + Unpin>, call: &ProgramCall) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; ANSWER_BYTES]);
    let mut length = 0;
    if let Some(mut stream) = stream {
        loop {
            let read = stream.read(&mut bytes[length..]).await;
            match read.map_err(|error| call.io_error("the answer of the program cannot be read", error))? {
                0 => break,
                more => length += more,
            }
            if length == ANSWER_BYTES {
                return Err(call
                    .error(ErrorKind::Invalid, "the answer of the program is longer than a value can be")
                    .with("at_most_bytes", MAX_SECRET_BYTES));
            }
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Reads to the end, and keeps nothing but whether there was anything.
async fn spoke(stream: Option<impl AsyncRead + Unpin>, call: &ProgramCall) -> Result<bool> {
    let mut spoke = false;
    if let Some(mut stream) = stream {
        // Not in the future itself: whatever is moved leaves a copy behind where it was.
        let mut chunk = Zeroizing::new(vec![0; CHUNK_BYTES]);
        let reading = |error| call.io_error("the standard error of the program cannot be read", error);
        while stream.read(&mut chunk).await.map_err(reading)? > 0 {
            spoke = true;
        }
    }
    Ok(spoke)
}
