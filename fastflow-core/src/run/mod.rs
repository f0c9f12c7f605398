//! A run is one execution of a pipeline; an attempt is one try of a run.

mod admission;
mod exit;
mod note;
mod state;

use std::{collections::BTreeMap, fmt, num::NonZeroU32, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    admission::{Capacity, Demand, Gate, Held, Obstacle, Usage},
    exit::{
        Exit, ExitReport, Failure, LogSummary, LostCause, StartFailure, StartFailureKind, StopCause, Symptom,
    },
    note::{Decision, Note, SoftLimit},
    state::{IllegalTransition, Retry, RunEvent, RunState, Status},
};
use crate::{
    AttemptId, Error, ErrorKind, ExecutorName, PipelineName, Result, RunId, ScheduleId, Timestamp,
    environment::EnvironmentId,
    executor::ExecutionHandle,
    pipeline::{ConfigName, EnvName, Pipeline},
    secret::SecretUse,
    source::{Provenance, Revision},
};

/// What a run executes, copied when it is submitted: history does not change when the source does.
///
/// ```
/// use fastflow_core::{pipeline::Pipeline, run::RunSpec};
///
/// fn spec(pipeline: Pipeline) -> RunSpec {
///     RunSpec::new(pipeline, "ab".repeat(32).parse().unwrap(), "process".parse().unwrap())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The pipeline as it was defined.
    pub pipeline: Pipeline,
    /// The content that is executed.
    pub revision: Revision,
    /// Where that content comes from, for sources that have commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Arc<Provenance>>,
    /// The executor that starts its attempts.
    pub executor: ExecutorName,
    /// The entry of the pipeline's `schedules` that says more than the rest of its file. None: no entry does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigName>,
    /// How many runs of its schedule may be in flight. None: any number, or it is of no schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_limit: Option<ScheduleLimit>,
}

impl RunSpec {
    /// What a run of the pipeline executes when nothing else is said.
    pub fn new(pipeline: Pipeline, revision: Revision, executor: ExecutorName) -> Self {
        Self { pipeline, revision, provenance: None, executor, config: None, schedule_limit: None }
    }
}

/// How many runs of a schedule may be in flight at one time.
///
/// ```
/// use std::num::NonZeroU32;
/// use fastflow_core::run::ScheduleLimit;
///
/// let one = ScheduleLimit { schedule: "etl/nightly".parse().unwrap(), max: NonZeroU32::MIN };
/// assert_eq!(one.max.get(), 1);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ScheduleLimit {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The most of its runs.
    pub max: NonZeroU32,
}

/// A run to be created.
///
/// ```
/// use std::sync::Arc;
/// use fastflow_core::{Clock, Entropy, RunId, run::{NewRun, Origin, RunSpec}};
///
/// fn now(spec: Arc<RunSpec>, clock: &dyn Clock, entropy: &dyn Entropy) -> NewRun {
///     NewRun::new(RunId::new(clock, entropy), spec, Origin::Manual, clock.now())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Its id, made by the caller, so that it is known before the effect.
    pub id: RunId,
    /// What it executes.
    pub spec: Arc<RunSpec>,
    /// Values of this run, given to the program as environment variables.
    pub parameters: BTreeMap<EnvName, String>,
    /// Why it exists.
    pub origin: Origin,
    /// The first run of the chain it belongs to; none when it begins one.
    pub chain: Option<RunId>,
    /// Runs that are cancelled for it, in the same transaction. Those that have ended already do not matter.
    pub replaces: Vec<RunId>,
    /// Higher runs first; 0 is usual.
    pub priority: i16,
    /// A second run with the same key is not created; the first is returned in its place.
    pub key: Option<IdempotencyKey>,
    /// When it was submitted.
    pub at: Timestamp,
    /// Not started before this instant.
    pub not_before: Timestamp,
}

impl NewRun {
    /// A run that is due at once, with the priority that its pipeline says, and nothing else.
    pub fn new(id: RunId, spec: Arc<RunSpec>, origin: Origin, at: Timestamp) -> Self {
        let priority = spec.pipeline.definition.queue.priority;
        Self {
            id,
            spec,
            parameters: BTreeMap::new(),
            origin,
            chain: None,
            replaces: Vec::new(),
            priority,
            key: None,
            at,
            not_before: at,
        }
    }
}

/// A caller's own name for a submission, so that repeating it creates nothing.
///
/// ```
/// assert!(fastflow_core::run::IdempotencyKey::new("order-4711").is_ok());
/// assert!(fastflow_core::run::IdempotencyKey::new("").is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// A key from 1 to 255 bytes of text without control characters.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for anything else.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "an idempotency key has 1 to 255 bytes and no control characters",
            )
            .with("found_bytes", text.len()));
        }
        Ok(Self(text))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a run exists.
///
/// ```
/// use fastflow_core::run::Origin;
///
/// assert_eq!(Origin::Manual.to_string(), "manual");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// Somebody, or the embedding program, submitted it.
    Manual,
    /// It repeats an earlier run.
    Rerun {
        /// The run it repeats.
        of: RunId,
        /// The instant that the repeated run was for, if a schedule made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheduled_for: Option<Timestamp>,
        /// The schedule that made it, whose secrets it gets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule: Option<ScheduleId>,
    },
    /// An instant of a schedule.
    Schedule {
        /// The schedule.
        schedule: ScheduleId,
        /// The instant.
        nominal: Timestamp,
    },
    /// The end of another run.
    Trigger {
        /// The run that ended.
        upstream: RunId,
    },
    /// The success of all runs that it comes after.
    Join {
        /// The last of them.
        last: RunId,
    },
    /// The end of the run before it, of a pipeline that is meant to run always.
    Daemon {
        /// The run before it.
        previous: RunId,
        /// How often it was started again in this burst, this time included. 0 for a planned restart.
        restarts: u32,
    },
}

/// One execution of a pipeline, as the store has it.
///
/// ```
/// use fastflow_core::run::Run;
///
/// fn line(run: &Run) -> String {
///     match run.failure() {
///         Some(failure) => format!("{} {} after {} attempts: {failure}", run.pipeline(), run.status(), run.attempt),
///         None => format!("{} {}", run.pipeline(), run.status()),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What it executes.
    pub spec: Arc<RunSpec>,
    /// Values of this run, given to the program as environment variables.
    pub parameters: BTreeMap<EnvName, String>,
    /// Why it exists.
    pub origin: Origin,
    /// The first run of its chain: itself, unless another run led to it.
    pub chain: RunId,
    /// Higher runs first.
    pub priority: i16,
    /// The caller's own name for the submission.
    pub key: Option<IdempotencyKey>,
    /// Where it is in its life.
    pub state: RunState,
    /// Counts the claims and take-overs. A writer that holds an older number is refused.
    pub epoch: u64,
    /// The number of the newest attempt; 0 before the first.
    pub attempt: u32,
    /// How many attempts failed and count against the retry policy.
    pub failed_attempts: u32,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When the program of the newest attempt began.
    pub started_at: Option<Timestamp>,
    /// When it reached a final state.
    pub finished_at: Option<Timestamp>,
}

impl Run {
    /// The pipeline's name.
    pub fn pipeline(&self) -> &PipelineName {
        &self.spec.pipeline.name
    }

    /// The id of its newest attempt.
    pub fn attempt_id(&self) -> Option<AttemptId> {
        Some(AttemptId { run: self.id, number: NonZeroU32::new(self.attempt)? })
    }

    /// The state as people see it.
    pub fn status(&self) -> Status {
        self.state.status()
    }

    /// The schedule that it is of.
    pub fn schedule(&self) -> Option<&ScheduleId> {
        match &self.origin {
            Origin::Schedule { schedule, .. } => Some(schedule),
            _ => None,
        }
    }

    /// The schedule that it is of, itself or as the repetition of another.
    pub fn scheduled_by(&self) -> Option<&ScheduleId> {
        match &self.origin {
            Origin::Schedule { schedule, .. } => Some(schedule),
            Origin::Rerun { schedule, .. } => schedule.as_ref(),
            _ => None,
        }
    }

    /// The instant of a schedule that it is for, itself or as the repetition of another.
    pub fn scheduled_for(&self) -> Option<Timestamp> {
        match self.origin {
            Origin::Schedule { nominal, .. } => Some(nominal),
            Origin::Rerun { scheduled_for, .. } => scheduled_for,
            _ => None,
        }
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.state {
            RunState::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// What was made ready before a program could start, and how long that took.
///
/// ```
/// use std::time::Duration;
/// use fastflow_core::run::Setup;
///
/// let setup = Setup { duration: Duration::from_millis(40), environment: None, image: None, secrets: Vec::new() };
/// assert!(!setup.environment.is_some_and(|environment| environment.built));
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// How long it took, from the claim to the request to start.
    pub duration: Duration,
    /// The environment it runs in; none where the executor brings its own.
    pub environment: Option<SetupEnvironment>,
    /// The image of its sandbox, by its content: `sha256:…`. None where there is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The secrets that its program gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
}

/// The environment of an attempt, as kept with it.
///
/// ```
/// use fastflow_core::run::SetupEnvironment;
///
/// let kept = SetupEnvironment {
///     id: "0".repeat(64).parse().unwrap(),
///     lock_hash: "f".repeat(64),
///     python_version: "3.12.4".into(),
///     uv_version: "0.9.1".into(),
///     built: true,
/// };
/// assert_eq!(kept.id.as_str().len(), kept.lock_hash.len());
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SetupEnvironment {
    /// The environment's id.
    pub id: EnvironmentId,
    /// SHA-256 of the lock it was built from, in hexadecimal.
    pub lock_hash: String,
    /// The version of the interpreter, such as `3.12.4`.
    pub python_version: String,
    /// The version of the `uv` that built it.
    pub uv_version: String,
    /// Whether this attempt had to wait for it to be built.
    pub built: bool,
}

/// How an attempt ended, seen on its own: the run may go on with another.
///
/// ```
/// use fastflow_core::run::{AttemptEnd, Exit, Failure};
///
/// let end = AttemptEnd::Failed(Failure::Exit(Exit::Code(2)));
/// assert_eq!(serde_json::to_string(&end).unwrap(), r#"{"failed":{"exit":{"code":2}}}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttemptEnd {
    /// It exited with 0 and was not asked to stop.
    Succeeded,
    /// It failed.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
    /// Its program was proven never to have started; it does not count as a try.
    NeverStarted,
}

/// One try of a run, as the store has it.
///
/// ```
/// use fastflow_core::{Timestamp, run::Attempt};
///
/// let attempt = Attempt {
///     id: "019aa2f0-7c3c-7def-8000-000000000001-2".parse().unwrap(),
///     claimed_at: Timestamp::UNIX_EPOCH,
///     started_at: None,
///     finished_at: None,
///     setup: None,
///     handle: None,
///     end: None,
///     report: None,
/// };
/// assert_eq!(attempt.id.number.get(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its id, also the name of its sandbox.
    pub id: AttemptId,
    /// When a host took it on.
    pub claimed_at: Timestamp,
    /// When its program began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What was made ready for it.
    pub setup: Option<Setup>,
    /// Where it runs or ran.
    pub handle: Option<ExecutionHandle>,
    /// How it ended.
    pub end: Option<AttemptEnd>,
    /// What its sandbox reported at the end.
    pub report: Option<ExitReport>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manual => f.write_str("manual"),
            Self::Rerun { of, .. } => write!(f, "rerun of {of}"),
            Self::Schedule { schedule, nominal } => write!(f, "schedule {schedule} at {nominal}"),
            Self::Trigger { upstream } => write!(f, "end of {upstream}"),
            Self::Join { last } => write!(f, "success of {last} and of all others that it comes after"),
            Self::Daemon { previous, restarts: 0 } => write!(f, "planned restart after {previous}"),
            Self::Daemon { previous, restarts } => write!(f, "restart {restarts} after {previous}"),
        }
    }
}

#[cfg(test)]
mod tests;
