//! Where the tools that make environments run: on this machine, or in containers of an image.

use std::{collections::BTreeMap, ffi::OsString, fmt, fs::File, io, path::PathBuf, time::Duration};

use async_trait::async_trait;

use super::SetupLog;
use crate::{Error, Result};

/// Runs the tools that make environments, in the place where the environments will be used.
///
/// # Contract
///
/// - A tool sees [`ToolCall::directory`] and the paths of [`ToolCall::reads`] and [`ToolCall::writes`] under the same
///   names as this machine, and writes only to the last. Each is there when the call is made, as a folder or, of those
///   that are only read, a file. One may lie below another, and the directory may be one of those that are written.
/// - The place makes sure that its tools can write there, whomever it runs them as, and that this process can remove
///   what they wrote.
/// - What lies above those paths may be closed to other users; the paths themselves are open to be read.
/// - In places other than this machine, nothing that a tool has started runs on when the tool has ended.
/// - No secret of a pipeline and no code of one is there.
#[async_trait]
pub trait Workbench: fmt::Debug + Send + Sync + 'static {
    /// Names the place: where it is the same, the same interpreters and libraries are found. Environments that were
    /// made in one place are used in no other.
    fn identity(&self) -> &str;

    /// Whether interpreters that are found there are files of this machine, under the same paths.
    fn is_this_machine(&self) -> bool;

    /// The variables that programs find there before anything is set.
    fn base_env(&self) -> &BTreeMap<String, String>;

    /// Runs a tool to its end. What it writes to standard error goes to `log`, line by line, as it comes.
    ///
    /// # Errors
    ///
    /// A [`ToolFailure`] when it did not come to an end of its own. A status other than 0 is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the tool and all that it has started.
    async fn run(&self, call: ToolCall, log: &dyn SetupLog) -> Result<ToolEnd, ToolFailure>;
}

/// One call of a tool.
#[derive(Debug)]
pub struct ToolCall {
    /// The program: an absolute path, or a name that is looked for in the place's `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables on top of those that are there.
    pub env: BTreeMap<String, String>,
    /// Where it works; it may read there.
    pub directory: PathBuf,
    /// What else it may read.
    pub reads: Vec<PathBuf>,
    /// Where it may write.
    pub writes: Vec<PathBuf>,
    /// How long it may take.
    pub timeout: Duration,
    /// A lock that is to be held until the tool has ended, even if this process ends before.
    pub lock: Option<File>,
}

/// A tool that has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToolEnd {
    /// How it ended.
    pub status: ToolStatus,
    /// What it wrote to standard output.
    pub answer: Vec<u8>,
    /// The last lines it wrote to standard error.
    pub words: Vec<String>,
}

/// How a tool ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ToolStatus {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// Why a tool did not come to an end of its own.
#[derive(Debug)]
pub enum ToolFailure {
    /// It could not be started.
    NotStarted(io::Error),
    /// It took longer than it may, and was ended.
    TimedOut,
    /// Its standard output has more than this many bytes.
    Endless(usize),
    /// The place cannot be used.
    Place(Error),
}
