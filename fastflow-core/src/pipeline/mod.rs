//! What is run: a pipeline, its definition, and what is wrong with it. Plain data, no input or output.
//!
//! A pipeline is a folder with a `main.py`. Everything else has a default: a [`Definition`] comes from
//! `pipeline.json` and from the `[tool.fastflow]` table of the script's inline metadata (PEP 723), and a file
//! that is wrong yields [`Diagnostic`]s, never a pipeline with half of its limits.

mod assemble;
pub(crate) mod chain;
mod configured;
mod daemon;
mod definition;
mod delivery;
mod diagnostic;
mod env;
mod health;
mod image;
mod inline;
pub(crate) mod likeness;
mod limits;
mod manifest;
mod network;
mod parameter;
mod python;
mod quantity;
mod queue;
mod retry;
mod schedule;
mod schedule_policy;
mod schema;
mod text;
mod trigger;
mod unsupported;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::PipelineName;

pub use self::{
    assemble::{PipelineTexts, TextFile},
    chain::{Cycle, Edge, EdgeKind, Graph, Node},
    daemon::{DaemonPolicy, RestartInterval},
    definition::{CellPolicy, Definition},
    delivery::SecretDelivery,
    diagnostic::{Diagnostic, Location, Position, Severity},
    env::{EnvName, MAX_ENV_VALUE_BYTES, check_env_value},
    health::{HealthPolicy, SoftLimitAction},
    image::ImageName,
    inline::{ScriptMetadata, parse_script},
    limits::{Limits, Seconds, Timeout},
    manifest::{MAX_DEPTH, MAX_FILE_BYTES, parse_manifest},
    network::Network,
    parameter::{ParameterDeclaration, ParameterType, Parameters, Undeclared},
    python::PythonRequest,
    quantity::{ByteSize, CpuMillis},
    queue::{QueuePolicy, WhenFull},
    retry::{MemoryEscalation, RetryPolicy, RetryReason, RetryStrategy, RetryWhen},
    schedule::{CronText, Moment, ScheduleEntry, ScheduleRule, ScheduleWindow, TopSchedule},
    schedule_policy::{CatchUp, DaylightPolicy, FoldRule, GapRule, Overlap, SchedulePolicy, TimeZoneName},
    schema::{manifest_schema, manifest_table},
    text::{ConfigName, WebhookKey},
    trigger::DownstreamTrigger,
    unsupported::UnsupportedField,
};

/// One pipeline, read from one revision of its folder.
///
/// ```
/// use fastflow_core::pipeline::{Definition, DependencySource, Pipeline, Program};
///
/// let pipeline = Pipeline {
///     name: "hello".parse().unwrap(),
///     definition: Definition::default(),
///     program: Program::script("main.py"),
///     dependencies: DependencySource::None,
///     requires_python: None,
///     warnings: Vec::new(),
///     locations: Default::default(),
/// };
/// assert!(pipeline.unsupported().is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// The folder's name.
    pub name: PipelineName,
    /// What `pipeline.json` and `[tool.fastflow]` say, with defaults for the rest.
    pub definition: Definition,
    /// What to start.
    pub program: Program,
    /// Where its packages are named.
    pub dependencies: DependencySource,
    /// The Python versions that the script's metadata or `pyproject.toml` allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<PythonRequest>,
    /// What was odd but did not make the pipeline unusable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Diagnostic>,
    /// Where each top-level field of the definition stands.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub locations: BTreeMap<String, Location>,
}

impl Pipeline {
    /// The fields that this version reads but does not act on yet, with their places. A host does not run a
    /// pipeline that has any.
    pub fn unsupported(&self) -> Vec<UnsupportedField> {
        let mut fields = self.definition.unsupported();
        for field in &mut fields {
            let top = field.pointer.split('/').nth(1).unwrap_or_default();
            field.location = self.locations.get(top).cloned();
        }
        fields
    }
}

/// What a run starts.
///
/// ```
/// use fastflow_core::pipeline::{PipelineKind, Program};
///
/// assert_eq!(Program::script("main.py").kind, PipelineKind::Script);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The file to run, relative to the pipeline's folder.
    pub entry: PathBuf,
    /// How to run it.
    pub kind: PipelineKind,
}

impl Program {
    /// A Python script at `entry`, relative to the pipeline's folder.
    pub fn script(entry: impl Into<PathBuf>) -> Self {
        Self { entry: entry.into(), kind: PipelineKind::Script }
    }
}

/// How a pipeline's entry file is run.
///
/// ```
/// use fastflow_core::pipeline::PipelineKind;
///
/// assert_eq!(PipelineKind::Notebook.entry(), "main.ipynb");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PipelineKind {
    /// A Python script, run from top to bottom.
    #[default]
    Script,
    /// A Jupyter notebook, run cell by cell.
    Notebook,
}

impl PipelineKind {
    /// The name of the entry file in a pipeline's folder.
    pub fn entry(self) -> &'static str {
        match self {
            Self::Script => "main.py",
            Self::Notebook => "main.ipynb",
        }
    }
}

/// The one place that names a pipeline's packages. Paths are relative to the pipeline's folder.
///
/// The variants stand in the order in which they are looked for; the first one found wins.
///
/// ```
/// use fastflow_core::pipeline::DependencySource;
///
/// let source = DependencySource::Requirements { path: "requirements.txt".into() };
/// assert_eq!(serde_json::to_string(&source).unwrap(), r#"{"requirements":{"path":"requirements.txt"}}"#);
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DependencySource {
    /// The standard library is enough.
    #[default]
    None,
    /// A script whose inline metadata (PEP 723) lists dependencies.
    Script {
        /// The script.
        path: PathBuf,
    },
    /// A `uv.lock` beside a `pyproject.toml`.
    UvLock {
        /// The folder that holds both; empty for the pipeline's own.
        dir: PathBuf,
    },
    /// A `pylock.toml` (PEP 751).
    Pylock {
        /// The lock.
        path: PathBuf,
    },
    /// A `requirements.txt.lock`: pinned requirements.
    RequirementsLock {
        /// The lock.
        path: PathBuf,
    },
    /// A `requirements.txt`.
    Requirements {
        /// The file.
        path: PathBuf,
    },
    /// A `pyproject.toml` without a lock.
    Project {
        /// The folder that holds it; empty for the pipeline's own.
        dir: PathBuf,
    },
}

#[cfg(test)]
mod tests;
