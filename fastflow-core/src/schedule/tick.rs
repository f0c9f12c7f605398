//! The instants of a schedule, and what became of each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{RunId, Timestamp, pipeline::ConfigName};

/// The next instant of a schedule.
///
/// ```
/// use fastflow_core::{Timestamp, schedule::NextTick};
///
/// let next = NextTick { nominal: Timestamp::UNIX_EPOCH, due: Timestamp::UNIX_EPOCH };
/// assert!(next.due >= next.nominal);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct NextTick {
    /// The instant itself.
    pub nominal: Timestamp,
    /// When it is acted upon: later by the schedule's jitter.
    pub due: Timestamp,
}

/// One row of the ledger: an instant of a schedule and what became of it. Many missed instants in a row may share one.
///
/// ```
/// use fastflow_core::{Timestamp, schedule::{Tick, TickOutcome}};
///
/// let at = Timestamp::UNIX_EPOCH;
/// let tick = Tick::new(at, TickOutcome::Missed, at);
/// assert_eq!((tick.count, tick.through), (1, at));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// The instant; the first of them where the row stands for several.
    pub nominal: Timestamp,
    /// The last instant that the row stands for.
    pub through: Timestamp,
    /// How many instants it stands for.
    pub count: u64,
    /// What became of it.
    pub outcome: TickOutcome,
    /// When that was decided.
    pub fired_at: Timestamp,
}

impl Tick {
    /// The row of one instant.
    pub fn new(nominal: Timestamp, outcome: TickOutcome, fired_at: Timestamp) -> Self {
        Self { nominal, through: nominal, count: 1, outcome, fired_at }
    }
}

/// What became of an instant of a schedule.
///
/// ```
/// use fastflow_core::schedule::TickOutcome;
///
/// assert_eq!(TickOutcome::SkippedDisabled.name(), "skipped_disabled");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TickOutcome {
    /// It made this run.
    Run(RunId),
    /// As many of its runs as may were unfinished.
    SkippedOverlap {
        /// The oldest of them.
        unfinished: RunId,
    },
    /// The schedule or its pipeline was disabled.
    SkippedDisabled,
    /// It fell into a blackout.
    SkippedBlackout {
        /// The calendar.
        calendar: ConfigName,
    },
    /// As many runs of its pipeline as may were unfinished, and the pipeline refuses more.
    SkippedFull,
    /// No host was there, and the schedule does not catch it up.
    Missed,
    /// The pipeline could not be run.
    Refused {
        /// Why.
        reason: String,
    },
    /// No instant, but the end of the schedule: nothing after it is acted upon, unless it comes back.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

/// Why a schedule ended.
///
/// ```
/// use fastflow_core::schedule::EndReason;
///
/// assert_eq!(EndReason::PipelineRemoved.to_string(), "the source does not have its pipeline any more");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// The source does not have its pipeline any more.
    PipelineRemoved,
    /// The files of its pipeline do not declare it any more.
    DeclarationRemoved,
    /// Somebody removed it by a call.
    Removed,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PipelineRemoved => "the source does not have its pipeline any more",
            Self::DeclarationRemoved => "the files of its pipeline do not declare it any more",
            Self::Removed => "it was removed",
        })
    }
}

impl TickOutcome {
    /// The outcome's name, as in the store and in the documentation.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::SkippedOverlap { .. } => "skipped_overlap",
            Self::SkippedDisabled => "skipped_disabled",
            Self::SkippedBlackout { .. } => "skipped_blackout",
            Self::SkippedFull => "skipped_full",
            Self::Missed => "missed",
            Self::Refused { .. } => "refused",
            Self::Ended { .. } => "ended",
        }
    }

    /// The run that it made, if any.
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Run(run) => Some(*run),
            _ => None,
        }
    }
}

impl fmt::Display for TickOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run) => write!(f, "run {run}"),
            Self::SkippedOverlap { unfinished } => write!(f, "skipped: run {unfinished} has not ended"),
            Self::SkippedDisabled => f.write_str("skipped: disabled"),
            Self::SkippedBlackout { calendar } => write!(f, "skipped: blackout `{}`", calendar.as_str()),
            Self::SkippedFull => f.write_str("skipped: the pipeline is full"),
            Self::Missed => f.write_str("missed"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
            Self::Ended { reason } => write!(f, "ended: {reason}"),
        }
    }
}
