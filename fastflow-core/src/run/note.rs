//! What was decided about a run, kept so that it can be explained.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Symptom;
use crate::{PipelineName, RunId, Timestamp, pipeline::RetryReason};

/// A decision about a run, and when it was made.
///
/// ```
/// use fastflow_core::{Timestamp, run::{Decision, Note}};
///
/// let note = Note { at: Timestamp::UNIX_EPOCH, attempt: 1, decision: Decision::Exhausted { failed_attempts: 3 } };
/// assert_eq!(note.to_string(), "no further attempt: 3 have failed, and no more are allowed");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// When it was made.
    pub at: Timestamp,
    /// The attempt it belongs to; 0 before the first.
    pub attempt: u32,
    /// What was decided.
    pub decision: Decision,
}

/// What was decided about a run.
///
/// ```
/// use fastflow_core::run::Decision;
///
/// let stored = serde_json::to_string(&Decision::Exhausted { failed_attempts: 2 }).unwrap();
/// assert_eq!(stored, r#"{"exhausted":{"failed_attempts":2}}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// Another attempt follows.
    Retry {
        /// When.
        at: Timestamp,
        /// How many attempts have failed so far; 0 when the machinery, not the program, is at fault.
        failed_attempts: u32,
    },
    /// No further attempt follows, because the policy allows no more.
    Exhausted {
        /// How many attempts have failed.
        failed_attempts: u32,
    },
    /// No further attempt follows, because the policy does not name this failure.
    NotRetried {
        /// The class of the failure.
        reason: RetryReason,
    },
    /// Its end started another run.
    Followed {
        /// What was started.
        pipeline: PipelineName,
        /// The run of it.
        run: RunId,
    },
    /// Its end was to start another run, which could not be started.
    NotFollowed {
        /// What was to be started.
        pipeline: PipelineName,
        /// Why it was not.
        reason: String,
    },
    /// A pipeline waits until others of the same chain have succeeded, too.
    JoinWaits {
        /// The pipeline that waits.
        pipeline: PipelineName,
        /// What it waits for.
        missing: Vec<PipelineName>,
    },
    /// It took the place of an earlier run, which was cancelled for it.
    Replaces {
        /// The earlier run.
        run: RunId,
    },
    /// It was cancelled because a later run took its place.
    ReplacedBy {
        /// The later run.
        run: RunId,
    },
    /// It crossed a soft limit.
    SoftLimit {
        /// Which.
        limit: SoftLimit,
        /// What it used, in thousandths of a core or in bytes.
        used: u64,
        /// The limit, in the same unit.
        allowed: u64,
    },
    /// It was ended because it was not healthy.
    Unhealthy(Symptom),
    /// Its daemon failed too often in a short time, and is not started again.
    GaveUp {
        /// How often it was started again in the burst.
        restarts: u32,
    },
    /// Its memory limit was raised, since an earlier attempt ran out of it.
    MoreMemory {
        /// The limit of this attempt, in bytes.
        bytes: u64,
    },
}

/// What a program used more of than its soft limit says.
///
/// ```
/// use fastflow_core::run::SoftLimit;
///
/// assert_eq!(SoftLimit::Memory.to_string(), "memory");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftLimit {
    /// Processor time, in thousandths of a core.
    Cpu,
    /// Memory, in bytes.
    Memory,
    /// Processor time held back by the kernel at the hard limit, in thousandths of the time.
    Throttling,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decision.fmt(f)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry { at, failed_attempts: 0 } => write!(f, "started again at {at}"),
            Self::Retry { at, failed_attempts } => {
                write!(f, "the next attempt follows at {at}: {failed_attempts} failed so far")
            }
            Self::Exhausted { failed_attempts } => {
                write!(f, "no further attempt: {failed_attempts} have failed, and no more are allowed")
            }
            Self::NotRetried { reason } => {
                write!(f, "no further attempt: the retry policy does not name `{}`", reason.as_str())
            }
            Self::Followed { pipeline, run } => write!(f, "its end started `{pipeline}` as run {run}"),
            Self::NotFollowed { pipeline, reason } => {
                write!(f, "its end was to start `{pipeline}`, which was not possible: {reason}")
            }
            Self::JoinWaits { pipeline, missing } => {
                let missing: Vec<_> = missing.iter().map(|name| format!("`{name}`")).collect();
                write!(f, "`{pipeline}` waits for {}", missing.join(", "))
            }
            Self::Replaces { run } => write!(f, "took the place of run {run}"),
            Self::ReplacedBy { run } => write!(f, "run {run} took its place"),
            Self::SoftLimit { limit, used, allowed } => {
                write!(f, "crossed the soft limit of {limit}: {used} of {allowed}")
            }
            Self::Unhealthy(symptom) => write!(f, "ended because {symptom}"),
            Self::GaveUp { restarts } => {
                write!(f, "not started again: it was already, {restarts} times in one burst")
            }
            Self::MoreMemory { bytes } => write!(f, "this attempt may use {bytes} bytes of memory"),
        }
    }
}

impl fmt::Display for SoftLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "processor time",
            Self::Memory => "memory",
            Self::Throttling => "throttling",
        })
    }
}
