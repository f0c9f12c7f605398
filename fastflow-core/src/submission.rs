//! What a caller asks for.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Code, Error, ErrorKind, ExecutorName, Result, Timestamp,
    host::intake::check_parameters,
    pipeline::{ConfigName, EnvName, Parameters},
    run::IdempotencyKey,
    store::whole_micros,
};

/// A request to run a pipeline, or code that is in no source.
///
/// ```
/// use fastflow_core::{Code, Submission};
///
/// let submission = Submission::new("report").parameter("month", "2026-11").priority(5);
/// assert_eq!(submission.pipeline(), "report");
/// let code = Code::new("report").unwrap().file("main.py", "print('hello')");
/// assert_eq!(Submission::code(code).pipeline(), "code.report");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a submission does nothing until it is submitted"]
pub struct Submission {
    pub(crate) subject: Subject,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) priority: Option<i16>,
    pub(crate) config: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) delay: Duration,
    pub(crate) executor: Option<ExecutorName>,
}

/// What is to run.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Pipeline(String),
    Code(Code),
}

impl Submission {
    /// The most parameters of one run.
    pub const MAX_PARAMETERS: usize = Parameters::MAX_ENTRIES;
    /// The longest delay: 366 days.
    pub const MAX_DELAY: Duration = Duration::from_hours(366 * 24);
    /// The longest value of a parameter, in characters.
    pub const MAX_PARAMETER_CHARS: usize = Parameters::MAX_VALUE_CHARS;

    /// A request to run this pipeline now.
    pub fn new(pipeline: impl Into<String>) -> Self {
        Self::of(Subject::Pipeline(pipeline.into()))
    }

    /// A request to run this code now. Everything else is as for a pipeline.
    pub fn code(code: Code) -> Self {
        Self::of(Subject::Code(code))
    }

    fn of(subject: Subject) -> Self {
        Self {
            subject,
            parameters: BTreeMap::new(),
            priority: None,
            config: None,
            key: None,
            delay: Duration::ZERO,
            executor: None,
        }
    }

    /// The name of the pipeline asked for; that which runs of the code have.
    pub fn pipeline(&self) -> &str {
        match &self.subject {
            Subject::Pipeline(name) => name,
            Subject::Code(code) => code.name().as_str(),
        }
    }

    /// Gives the program an environment variable.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.insert(name.into(), value.into());
        self
    }

    /// Higher runs first; without it, the pipeline's own.
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Runs it as the entry of its `schedules` with this id does: with that entry's environment, limits and retries.
    pub fn config(mut self, id: impl Into<String>) -> Self {
        self.config = Some(id.into());
        self
    }

    /// Names the submission, so that repeating it returns the run of the first.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Does not start the run before so much time has passed; at most [`MAX_DELAY`](Self::MAX_DELAY).
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Runs it on this executor, whatever the pipeline asks for.
    pub fn executor(mut self, executor: ExecutorName) -> Self {
        self.executor = Some(executor);
        self
    }

    /// The parameters, checked.
    pub(crate) fn checked_parameters(&self) -> Result<BTreeMap<EnvName, String>> {
        let named = |(name, value): (&String, &String)| Ok((name.parse()?, value.clone()));
        let parameters = self.parameters.iter().map(named).collect::<Result<_>>()?;
        check_parameters(&parameters)?;
        Ok(parameters)
    }

    /// When the run is due.
    pub(crate) fn due(&self, now: Timestamp) -> Result<Timestamp> {
        let due = Some(self.delay).filter(|delay| *delay <= Self::MAX_DELAY);
        due.and_then(|delay| now.checked_add(delay).ok()).map(whole_micros).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "the delay is too long")
                .with("found_seconds", self.delay.as_secs())
                .with("allowed_seconds", Self::MAX_DELAY.as_secs())
        })
    }

    /// The entry of the pipeline's `schedules`, checked.
    pub(crate) fn checked_config(&self) -> Result<Option<ConfigName>> {
        self.config.as_deref().map(str::parse).transpose()
    }

    pub(crate) fn checked_key(&self) -> Result<Option<IdempotencyKey>> {
        self.key.as_deref().map(IdempotencyKey::new).transpose()
    }
}

impl From<Code> for Submission {
    fn from(code: Code) -> Self {
        Self::code(code)
    }
}

impl<T: Into<String>> From<T> for Submission {
    fn from(pipeline: T) -> Self {
        Self::new(pipeline)
    }
}
