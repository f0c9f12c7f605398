//! How an attempt ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock;

/// What `exit.json` says. It appears in one step, after every other file is complete.
///
/// ```
/// use fastflow_shim::{ExitRecord, Outcome};
///
/// let record: ExitRecord = serde_json::from_str(r#"{
///     "attempt":"01890a5d","outcome":{"kind":"exited","code":3},"stopped_by":null,"oom_kills":0,
///     "cpu_user_us":21000,"cpu_system_us":4000,"peak_memory_bytes":9437184,
///     "started_at":"2026-11-20T20:06:16.000001Z","ended_at":"2026-11-20T20:06:17.000001Z","duration_us":1000000,
///     "log":{"records":1,"bytes":70,"dropped_records":0,"dropped_bytes":0,"complete":true,"error":null,"masked":0}
/// }"#).unwrap();
/// assert_eq!(record.outcome, Outcome::Exited { code: 3 });
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExitRecord {
    /// The attempt's id, from its order.
    pub attempt: String,
    /// How the program ended.
    pub outcome: Outcome,
    /// Why the shim stopped the program, if it did.
    pub stopped_by: Option<StopCause>,
    /// How many processes the kernel killed for want of memory in the attempt's cgroup.
    pub oom_kills: u64,
    /// CPU time in user mode of the program and its descendants.
    pub cpu_user_us: u64,
    /// CPU time in the kernel of the program and its descendants.
    pub cpu_system_us: u64,
    /// The most memory they had at one time, as far as it could be seen.
    pub peak_memory_bytes: Option<u64>,
    /// When the program was started.
    #[serde(with = "clock::micros")]
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(with = "clock::micros")]
    pub ended_at: Timestamp,
    /// How long it ran, on the monotonic clock.
    pub duration_us: u64,
    /// What became of its output.
    pub log: LogSummary,
}

/// How the program ended.
///
/// ```
/// use fastflow_shim::Outcome;
///
/// let outcome: Outcome = serde_json::from_str(r#"{"kind":"signaled","signal":9}"#).unwrap();
/// assert_eq!(outcome, Outcome::Signaled { signal: 9 });
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Outcome {
    /// By itself.
    Exited {
        /// The status it returned, 0 to 255.
        code: i32,
    },
    /// By a signal.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// It never started.
    ExecFailed {
        /// The kernel's reason, where it was the kernel's.
        errno: Option<i32>,
        /// What failed.
        message: String,
    },
}

/// Why the shim stopped the program.
///
/// ```
/// assert_eq!(serde_json::to_string(&fastflow_shim::StopCause::Timeout).unwrap(), r#""timeout""#);
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// Somebody asked for it by a signal.
    Request,
    /// The program ran longer than it may.
    Timeout,
}

/// What became of the program's output.
///
/// ```
/// assert!(!fastflow_shim::LogSummary::default().complete);
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogSummary {
    /// Records that the shim wrote and that are in the log.
    pub records: u64,
    /// Their size in the log file.
    pub bytes: u64,
    /// Records that are missing.
    pub dropped_records: u64,
    /// The size they would have had in the log file.
    pub dropped_bytes: u64,
    /// Whether every byte the program wrote is in the log.
    pub complete: bool,
    /// What last hindered the writing of the log.
    pub error: Option<String>,
    /// How many times something was masked.
    pub masked: u64,
}
