//! How workloads end, and why runs fail. A workload that fails is a value, never an error.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Timestamp, environment::EnvironmentFailure};

/// How a program ended.
///
/// ```
/// use fastflow_core::run::Exit;
///
/// assert_eq!(Exit::Code(3).to_string(), "exit code 3");
/// assert_ne!(Exit::Signal(9), Exit::OutOfMemory);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exit {
    /// It exited by itself with this code, 0 to 255.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// The kernel killed it because its memory limit was reached.
    OutOfMemory,
}

/// Why a program was asked to stop.
///
/// ```
/// use fastflow_core::run::{RunState, Retry, RunEvent, StopCause};
///
/// let stopping = RunState::Starting.apply(&RunEvent::StopRequested(StopCause::TimedOut), Retry::Exhausted);
/// assert_eq!(stopping.unwrap(), RunState::Stopping { handle: None, cause: StopCause::TimedOut });
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// Somebody cancelled the run.
    Cancelled,
    /// Its time limit was reached.
    TimedOut,
    /// It was not healthy.
    Unhealthy(Symptom),
}

/// Why a running program counts as unhealthy.
///
/// ```
/// use fastflow_core::run::Symptom;
///
/// assert_eq!(Symptom::NoOutput.to_string(), "it wrote nothing for too long");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Symptom {
    /// It wrote nothing for longer than `no_output_timeout`.
    NoOutput,
    /// It left its heartbeat file untouched for longer than `heartbeat_timeout`.
    NoHeartbeat,
    /// It crossed its soft limit of processor time, and `soft_limit_action` is to stop it.
    SoftCpu,
    /// It crossed its soft limit of memory, and `soft_limit_action` is to stop it.
    SoftMemory,
}

/// What a sandbox reports of a program that ran and ended.
///
/// ```
/// use fastflow_core::run::{Exit, ExitReport};
///
/// fn succeeded(report: &ExitReport) -> bool {
///     report.exit == Exit::Code(0) && report.stopped_by.is_none()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExitReport {
    /// How the program ended.
    pub exit: Exit,
    /// Whether the sandbox stopped it, and why.
    pub stopped_by: Option<StopCause>,
    /// When the program began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How long it ran, by a clock that does not jump.
    pub duration: Duration,
    /// CPU time of the program and all its descendants, in user and kernel mode together.
    pub cpu_time: Option<Duration>,
    /// The most memory it held at one time, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// How many of its processes the kernel killed for want of memory.
    pub oom_kills: u64,
    /// What was kept of its output.
    pub log: LogSummary,
}

/// What was kept of a program's output. Its sizes are those of records in the log file, each with its time and its
/// stream, which is more than the program wrote.
///
/// ```
/// use fastflow_core::run::LogSummary;
///
/// let log = LogSummary { bytes: 70_000, dropped_bytes: 4_000, complete: false, masked: 2 };
/// assert_eq!(log.bytes - log.dropped_bytes, 66_000); // what of it is in the log file
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct LogSummary {
    /// The size in the log file of all records of its output, in bytes, those that were not kept included.
    pub bytes: u64,
    /// The size in bytes that the records which were not kept would have had there; the log says where they are missing.
    pub dropped_bytes: u64,
    /// Whether every byte that the program wrote is in the log, but for what was masked.
    pub complete: bool,
    /// How often a secret was masked in it, and in the files that its program left for others.
    #[serde(default)]
    pub masked: u64,
}

impl LogSummary {
    /// The summary of a program that wrote nothing.
    pub fn empty() -> Self {
        Self { bytes: 0, dropped_bytes: 0, complete: true, masked: 0 }
    }
}

/// Why a run failed. Together these are the whole error space.
///
/// ```
/// use fastflow_core::run::{Exit, Failure, LostCause};
///
/// assert_eq!(Failure::Exit(Exit::Code(1)).to_string(), "exit code 1");
/// assert_eq!(Failure::Lost(LostCause::MachineRestarted).to_string(), "lost: the machine was restarted");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// The program ended, and not with exit code 0.
    Exit(Exit),
    /// Its time limit was reached.
    TimedOut,
    /// It was ended because it was not healthy.
    Unhealthy(Symptom),
    /// Its sandbox was told to stop, and not by this installation: the machine went down, for example.
    Interrupted,
    /// Its environment could not be made ready; the program never started.
    EnvironmentFailed(EnvironmentFailure),
    /// The program could not be started.
    StartFailed(StartFailure),
    /// It started, and nobody can know how it ended. Never counted as a success.
    Lost(LostCause),
}

/// Why a program could not be started.
///
/// ```
/// use fastflow_core::run::{Failure, StartFailure, StartFailureKind};
///
/// let failure = StartFailure { kind: StartFailureKind::CommandNotFound, message: "no `python3`".into() };
/// assert_eq!(Failure::StartFailed(failure).to_string(), "could not start: no `python3`");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct StartFailure {
    /// The class of the cause.
    pub kind: StartFailureKind,
    /// The cause in words.
    pub message: String,
}

/// The classes of causes that keep a program from starting.
///
/// ```
/// use fastflow_core::run::StartFailureKind;
///
/// let stored = serde_json::to_string(&StartFailureKind::RevisionMissing).unwrap();
/// assert_eq!(stored, r#""revision_missing""#);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StartFailureKind {
    /// The command to run does not exist.
    CommandNotFound,
    /// The command exists and cannot be executed.
    CommandNotExecutable,
    /// No room was left for the run's files.
    StorageFull,
    /// The file system or the permissions did not allow it.
    Denied,
    /// The executor lacks something that the pipeline needs.
    Unsupported,
    /// The content of its revision is not there any more.
    RevisionMissing,
    /// The image of its sandbox is not there, and could not be had.
    ImageMissing,
    /// Nobody has a secret that the pipeline names.
    SecretMissing,
    /// A secret that the pipeline names is there, and cannot be had: it cannot be opened, say.
    SecretRefused,
    /// Whoever has the secrets could not be asked.
    SecretsUnavailable,
    /// The executor could not be reached.
    ExecutorUnavailable,
    /// Anything else; the message says what.
    Internal,
}

/// Why the end of a started program cannot be known.
///
/// ```
/// use fastflow_core::run::LostCause;
///
/// assert_eq!(LostCause::MachineRestarted.to_string(), "the machine was restarted");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LostCause {
    /// The process that watched over it died without leaving a record.
    MonitorDied,
    /// The machine was restarted while it ran.
    MachineRestarted,
    /// Its sandbox or its files were removed from outside.
    Removed,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(exit) => exit.fmt(f),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unhealthy(symptom) => write!(f, "unhealthy: {symptom}"),
            Self::Interrupted => f.write_str("stopped from outside"),
            Self::EnvironmentFailed(failure) => write!(f, "environment failed: {failure}"),
            Self::StartFailed(failure) => write!(f, "could not start: {}", failure.message),
            Self::Lost(cause) => write!(f, "lost: {cause}"),
        }
    }
}

impl fmt::Display for Symptom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOutput => "it wrote nothing for too long",
            Self::NoHeartbeat => "it gave no heartbeat for too long",
            Self::SoftCpu => "it crossed its soft limit of processor time",
            Self::SoftMemory => "it crossed its soft limit of memory",
        })
    }
}

impl fmt::Display for LostCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MonitorDied => "the process that watched over it died without a record",
            Self::MachineRestarted => "the machine was restarted",
            Self::Removed => "its sandbox or files were removed from outside",
        })
    }
}
