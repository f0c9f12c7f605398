//! Whom a value is for, and who asks.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, PipelineName, Result, ScheduleId};

/// Whom a value is for. The narrower scope wins: a schedule's over its pipeline's, a pipeline's over the global one.
///
/// ```
/// use fastflow_core::secret::SecretScope;
///
/// let scope: SecretScope = "pipeline:etl".parse().unwrap();
/// assert_eq!(scope, SecretScope::Pipeline("etl".parse().unwrap()));
/// assert_eq!(scope.to_string(), "pipeline:etl");
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum SecretScope {
    /// Every pipeline that names it.
    #[default]
    Global,
    /// One pipeline.
    Pipeline(PipelineName),
    /// The runs of one schedule, and those of the run configuration behind it.
    Schedule(ScheduleId),
}

/// Who asks for secrets: a run of a pipeline.
///
/// ```
/// use fastflow_core::secret::{SecretReader, SecretScope};
///
/// let reader = SecretReader { pipeline: "etl".parse().unwrap(), schedules: Vec::new() };
/// assert_eq!(reader.scopes(), [SecretScope::Pipeline("etl".parse().unwrap()), SecretScope::Global]);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretReader {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The schedule that the run is of, and then the one whose run configuration it has.
    pub schedules: Vec<ScheduleId>,
}

impl SecretReader {
    /// The scopes whose values it may have, the one that wins first. Code that is in no source has the global one: its
    /// name is chosen by whoever submits it.
    pub fn scopes(&self) -> Vec<SecretScope> {
        if self.pipeline.is_code() {
            return vec![SecretScope::Global];
        }
        let schedules = self.schedules.iter().cloned().map(SecretScope::Schedule);
        schedules.chain([SecretScope::Pipeline(self.pipeline.clone()), SecretScope::Global]).collect()
    }
}

impl SecretScope {
    /// Whether no run can have its values: code has those of the global scope.
    pub(crate) fn is_of_code(&self) -> bool {
        match self {
            Self::Global => false,
            Self::Pipeline(name) => name.is_code(),
            Self::Schedule(id) => id.pipeline.is_code(),
        }
    }
}

impl fmt::Display for SecretScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Pipeline(name) => write!(f, "pipeline:{name}"),
            Self::Schedule(id) => write!(f, "schedule:{id}"),
        }
    }
}

impl FromStr for SecretScope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "global" => Ok(Self::Global),
            Some(("pipeline", name)) => Ok(Self::Pipeline(name.parse()?)),
            Some(("schedule", id)) => Ok(Self::Schedule(id.parse()?)),
            _ => Err(Error::new(
                ErrorKind::Invalid,
                "not a scope of a secret: `global`, `pipeline:<name>` or `schedule:<id>`",
            )
            .with("scope", text.escape_debug().take(80).collect::<String>())),
        }
    }
}

impl TryFrom<String> for SecretScope {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<SecretScope> for String {
    fn from(scope: SecretScope) -> Self {
        scope.to_string()
    }
}
