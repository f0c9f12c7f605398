//! The names of schedules.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, PipelineName, Result, pipeline::ConfigName};

/// A schedule's id, which never changes: `etl/nightly` for one that the files of the pipeline `etl` declare,
/// `etl@nightly` for one that was made through the API.
///
/// ```
/// use fastflow_core::schedule::{ScheduleId, ScheduleOwner};
///
/// let id: ScheduleId = "etl@nightly".parse().unwrap();
/// assert_eq!((id.pipeline.as_str(), id.owner), ("etl", ScheduleOwner::Api));
/// assert_eq!(id.to_string(), "etl@nightly");
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScheduleId {
    /// The pipeline that it starts.
    pub pipeline: PipelineName,
    /// Who says what it is.
    pub owner: ScheduleOwner,
    /// Its name among those of the pipeline and the owner.
    pub name: ConfigName,
}

/// Who says what a schedule is.
///
/// ```
/// use fastflow_core::schedule::ScheduleOwner;
///
/// assert!(ScheduleOwner::Files < ScheduleOwner::Api);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ScheduleOwner {
    /// The pipeline's files: each sync makes it what they say.
    Files,
    /// Whoever made it through the API: no sync touches it.
    Api,
}

impl ScheduleOwner {
    /// What stands between the names of the pipeline and the schedule.
    fn mark(self) -> char {
        match self {
            Self::Files => '/',
            Self::Api => '@',
        }
    }
}

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.pipeline, self.owner.mark(), self.name)
    }
}

impl FromStr for ScheduleId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let split = |owner: ScheduleOwner| text.split_once(owner.mark()).map(|parts| (owner, parts));
        let parts = split(ScheduleOwner::Files).or_else(|| split(ScheduleOwner::Api));
        let Some((owner, (pipeline, name))) = parts else {
            return Err(Error::new(ErrorKind::Invalid, "not a schedule id")
                .with("found", text.escape_debug().take(160).collect::<String>())
                .with("expected", "`<pipeline>/<name>` or `<pipeline>@<name>`"));
        };
        Ok(Self { pipeline: pipeline.parse()?, owner, name: name.parse()? })
    }
}

impl TryFrom<String> for ScheduleId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ScheduleId> for String {
    fn from(id: ScheduleId) -> Self {
        id.to_string()
    }
}
