//! The life of a run: every state, every event, every arrow between them.
//!
//! ```text
//! Queued ──Claimed──> Starting ──Started──> Running ──Exited(0)──> Succeeded
//!   ^ │                 │ │ │                 │ │ └─StopRequested─> Stopping ─> Cancelled, or Queued / Failed(TimedOut)
//!   │ └StopRequested──> Cancelled             │ └──Exited, Lost──> Queued, or Failed when exhausted
//!   └──────NeverStarted─┘ └─StartFailed──> Queued, or Failed when exhausted
//! ```
//!
//! The whole table is printed to `docs/state-machine.md` by a test, which fails when the file differs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Exit, Failure, LostCause, StopCause};
use crate::{Error, ErrorKind, Timestamp, executor::ExecutionHandle};

/// Where a run is in its life.
///
/// ```
/// use fastflow_core::run::{Exit, Retry, RunEvent, RunState, Status};
///
/// let exited = RunEvent::Exited { exit: Exit::Code(0), stopped_by: None };
/// let state = RunState::Starting.apply(&exited, Retry::Exhausted).unwrap();
/// assert_eq!(state, RunState::Succeeded);
/// assert_eq!(state.status(), Status::Success);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted; starts when a slot is free and `not_before` has come. Also the wait before a retry.
    Queued {
        /// The earliest start.
        not_before: Timestamp,
    },
    /// A host has claimed it, makes its environment ready and asks its executor to start it.
    Starting,
    /// The executor reported it alive.
    Running {
        /// Where it runs.
        handle: ExecutionHandle,
    },
    /// It was asked to end; the grace period runs.
    Stopping {
        /// Where it runs, if it was started when the stop was asked for.
        handle: Option<ExecutionHandle>,
        /// Who asked.
        cause: StopCause,
    },
    /// It ran and exited with 0. Final.
    Succeeded,
    /// It ended in any other way. Final.
    Failed(Failure),
    /// Somebody cancelled it. Final.
    Cancelled,
}

/// The facts that move a run. Nothing else does.
///
/// ```
/// use fastflow_core::{Timestamp, run::{Retry, RunEvent, RunState}};
///
/// let queued = RunState::Queued { not_before: Timestamp::UNIX_EPOCH };
/// assert_eq!(queued.apply(&RunEvent::Claimed, Retry::Exhausted), Ok(RunState::Starting));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// A host took it on.
    Claimed,
    /// The executor reported its program alive.
    Started(ExecutionHandle),
    /// Its program could not be started, and never ran.
    StartFailed {
        /// Why.
        failure: Failure,
        /// Whether the same may work later.
        transient: bool,
    },
    /// The start was interrupted, and it is proven that the program never ran nor ever will.
    NeverStarted {
        /// When to start it again.
        not_before: Timestamp,
    },
    /// Its program ended.
    Exited {
        /// How it ended.
        exit: Exit,
        /// Whether its sandbox stopped it, and why.
        stopped_by: Option<StopCause>,
    },
    /// Somebody, or the time limit, wants it to end.
    StopRequested(StopCause),
    /// It started, and its end cannot be known.
    Lost(LostCause),
}

/// Whether a failed attempt may be followed by another, and when.
///
/// ```
/// use fastflow_core::{Timestamp, run::{LostCause, Retry, RunEvent, RunState}};
///
/// let (lost, at) = (RunEvent::Lost(LostCause::MonitorDied), Timestamp::UNIX_EPOCH);
/// let again = RunState::Starting.apply(&lost, Retry::At(at));
/// assert_eq!(again, Ok(RunState::Queued { not_before: at }));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retry {
    /// Again at this instant.
    At(Timestamp),
    /// Never again.
    Exhausted,
}

/// A run's state as people see it.
///
/// ```
/// use fastflow_core::run::Status;
///
/// assert_eq!(Status::Success.to_string(), "SUCCESS");
/// assert!(Status::Cancelled.is_terminal() && !Status::Pending.is_terminal());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Waiting for its time, a free slot, or its environment.
    Pending,
    /// Its program runs, or is being stopped.
    Running,
    /// Ended well. Final.
    Success,
    /// Ended otherwise. Final.
    Failed,
    /// Cancelled. Final.
    Cancelled,
}

/// An event that the state does not allow.
///
/// ```
/// use fastflow_core::{Error, ErrorKind, run::{Retry, RunEvent, RunState}};
///
/// let refused = RunState::Succeeded.apply(&RunEvent::Claimed, Retry::Exhausted).unwrap_err();
/// assert_eq!(refused.from, RunState::Succeeded);
/// assert_eq!(Error::from(refused).kind(), ErrorKind::Conflict);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct IllegalTransition {
    /// The state it was in.
    pub from: RunState,
    /// The event that came.
    pub event: RunEvent,
}

impl RunState {
    /// The next state: a pure and total function, with no clock, no store and no I/O.
    ///
    /// Whether a pair is legal never depends on `retry`; only the target does. Once a stop was asked for, its
    /// cause decides, even if the program then exits with 0: it was ended before it had done its work. A
    /// cancel overrides a timeout, never the reverse.
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`] when the event has no meaning in this state. Final states refuse every event.
    #[expect(clippy::match_same_arms, reason = "each arrow stands on its own, in the order of the table")]
    #[expect(clippy::result_large_err, reason = "a refusal is rare, and short-lived where it happens")]
    pub fn apply(&self, event: &RunEvent, retry: Retry) -> Result<Self, IllegalTransition> {
        use RunEvent as E;
        use StopCause::{Cancelled, TimedOut, Unhealthy};

        let again = |failure: Failure| match retry {
            Retry::At(not_before) => Self::Queued { not_before },
            Retry::Exhausted => Self::Failed(failure),
        };
        let next = match (self, event) {
            (Self::Queued { .. }, E::Claimed) => Self::Starting,
            (Self::Queued { .. }, E::StopRequested(Cancelled)) => Self::Cancelled,

            (Self::Starting, E::Started(handle)) => Self::Running { handle: handle.clone() },
            // Running too: a sandbox that is alive may find out that the command cannot be executed.
            (Self::Starting | Self::Running { .. }, E::StartFailed { failure, transient: false }) => {
                Self::Failed(failure.clone())
            }
            (Self::Starting | Self::Running { .. }, E::StartFailed { failure, transient: true }) => {
                again(failure.clone())
            }
            (Self::Starting, E::NeverStarted { not_before }) => Self::Queued { not_before: *not_before },
            (Self::Starting, E::StopRequested(cause)) => Self::Stopping { handle: None, cause: *cause },

            (Self::Running { .. }, E::StopRequested(cause)) => {
                Self::Stopping { handle: self.handle().cloned(), cause: *cause }
            }

            (Self::Starting | Self::Running { .. }, E::Exited { exit, stopped_by }) => {
                match (stopped_by, exit) {
                    // Nobody here asked for it: the machine is going down, or somebody signalled the sandbox.
                    (Some(Cancelled), _) => again(Failure::Interrupted),
                    (Some(TimedOut), _) => again(Failure::TimedOut),
                    (Some(Unhealthy(symptom)), _) => again(Failure::Unhealthy(*symptom)),
                    (None, Exit::Code(0)) => Self::Succeeded,
                    (None, exit) => again(Failure::Exit(*exit)),
                }
            }
            (Self::Starting | Self::Running { .. }, E::Lost(cause)) => again(Failure::Lost(*cause)),

            (Self::Stopping { handle: None, cause }, E::Started(handle)) => {
                Self::Stopping { handle: Some(handle.clone()), cause: *cause }
            }
            (Self::Stopping { handle, cause: TimedOut | Unhealthy(_) }, E::StopRequested(Cancelled)) => {
                Self::Stopping { handle: handle.clone(), cause: Cancelled }
            }
            (
                Self::Stopping { cause: Cancelled, .. },
                E::Exited { .. } | E::StartFailed { .. } | E::NeverStarted { .. } | E::Lost(_),
            ) => Self::Cancelled,
            (
                Self::Stopping { cause: TimedOut, .. },
                E::Exited { .. } | E::StartFailed { .. } | E::NeverStarted { .. } | E::Lost(_),
            ) => again(Failure::TimedOut),
            (
                Self::Stopping { cause: Unhealthy(symptom), .. },
                E::Exited { .. } | E::StartFailed { .. } | E::NeverStarted { .. } | E::Lost(_),
            ) => again(Failure::Unhealthy(*symptom)),

            _ => return self.refuse(event),
        };
        Ok(next)
    }

    #[expect(clippy::result_large_err, reason = "as for `apply`")]
    fn refuse(&self, event: &RunEvent) -> Result<Self, IllegalTransition> {
        Err(IllegalTransition { from: self.clone(), event: event.clone() })
    }

    /// Whether no event can move it any more.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed(_) | Self::Cancelled)
    }

    /// The state as people see it.
    pub fn status(&self) -> Status {
        match self {
            Self::Queued { .. } | Self::Starting => Status::Pending,
            Self::Running { .. } | Self::Stopping { .. } => Status::Running,
            Self::Succeeded => Status::Success,
            Self::Failed(_) => Status::Failed,
            Self::Cancelled => Status::Cancelled,
        }
    }

    /// Where it runs, if that is known.
    pub fn handle(&self) -> Option<&ExecutionHandle> {
        match self {
            Self::Running { handle } => Some(handle),
            Self::Stopping { handle, .. } => handle.as_ref(),
            _ => None,
        }
    }

    /// The state's name, as in the store and in the documentation.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Starting => "starting",
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl RunEvent {
    /// The event's name, as in the store and in the documentation.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Started(_) => "started",
            Self::StartFailed { .. } => "start_failed",
            Self::NeverStarted { .. } => "never_started",
            Self::Exited { .. } => "exited",
            Self::StopRequested(_) => "stop_requested",
            Self::Lost(_) => "lost",
        }
    }
}

impl Status {
    /// Whether a run with this status never changes again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        })
    }
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from.is_terminal() {
            return write!(f, "the run has ended already: its status is {}", self.from.status());
        }
        write!(f, "a run that is {} cannot be {}", self.from.name(), self.event.name())
    }
}

impl std::error::Error for IllegalTransition {}

impl From<IllegalTransition> for Error {
    fn from(refused: IllegalTransition) -> Self {
        Self::new(ErrorKind::Conflict, refused.to_string())
    }
}
