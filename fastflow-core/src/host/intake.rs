//! From what is asked for to what a run executes. Whoever makes runs asks here: callers, schedules, and the ends of
//! other runs.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Ports, program};
use crate::{
    Code, Error, ErrorKind, ExecutorName, PipelineName, Result,
    executor::Executor,
    pipeline::{ConfigName, DependencySource, EnvName, Parameters, Pipeline, check_env_value},
    run::{Run, RunSpec, ScheduleLimit},
    source::{CatalogEntry, CommitId, RevisedPipeline, Revision},
};

/// The least likeness of a name that is worth a "did you mean".
const LIKE: f64 = 0.75;
/// Resolved pipelines that are remembered, so that asking for the same again resolves nothing.
const MAX_REMEMBERED_SPECS: usize = 16_384;

/// How a pipeline is to run, beside what it says itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// On this executor, whatever it says.
    pub(crate) executor: Option<ExecutorName>,
    /// As this entry of its `schedules`.
    pub(crate) config: Option<ConfigName>,
    /// With no more runs of its schedule in flight than this.
    pub(crate) schedule_limit: Option<ScheduleLimit>,
}

/// What was resolved before. The same question has the same `Arc` for an answer.
#[derive(Debug, Default)]
pub(crate) struct Specs {
    remembered: Mutex<HashMap<Question, Arc<RunSpec>>>,
}

/// Of a pipeline at a revision of a commit, on an executor, by a run configuration, within a limit.
type Question =
    (PipelineName, (Revision, Option<CommitId>), ExecutorName, Option<ConfigName>, Option<String>);

impl Ports {
    /// The newest state of a pipeline that can be run, by what the caller wrote.
    pub(crate) async fn runnable(&self, text: &str) -> Result<RevisedPipeline> {
        let name: PipelineName = text.parse()?;
        if name.is_code() {
            return Err(Error::new(
                ErrorKind::NotFound,
                "no such pipeline: this is a name of code, which is submitted with its files; to repeat a run of it, \
                 rerun that",
            )
            .with("pipeline", name));
        }
        let entry = match self.source.refresh(&name).await {
            Ok(entry) => entry,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let catalog = self.source.catalog().await?;
                return Err(unknown(text, catalog.entries.iter().map(|entry| entry.name.as_str())));
            }
            Err(error) => return Err(error),
        };
        enabled(&entry)
    }

    /// Code that can be run, in a snapshot that is durable.
    pub(crate) async fn runnable_code(&self, code: &Code) -> Result<RevisedPipeline> {
        enabled(&self.code.entry(code).await?)
    }

    /// The folder that holds what a run executes.
    pub(crate) async fn checkout(&self, spec: &RunSpec) -> Result<PathBuf> {
        if spec.pipeline.name.is_code() {
            return self.code.checkout(&spec.revision).await;
        }
        self.source.checkout(&spec.revision, spec.provenance.as_deref()).await
    }

    /// What a run of this pipeline executes, checked against what this version, the host and the executor can do.
    pub(crate) fn spec(&self, found: &RevisedPipeline, asked: &Asked) -> Result<Arc<RunSpec>> {
        let name = &found.pipeline.name;
        let executor_name = asked
            .executor
            .as_ref()
            .or(found.pipeline.definition.executor.as_ref())
            .unwrap_or(&self.executors.default);
        let executor = self.executors.get(executor_name).map_err(|error| error.with("pipeline", name))?;
        let limit = asked.schedule_limit.as_ref();
        let question = (
            name.clone(),
            (found.revision.clone(), found.provenance.as_ref().map(|found| found.commit.id.clone())),
            executor_name.clone(),
            asked.config.clone(),
            limit.map(|limit| format!("{} {}", limit.max, limit.schedule)),
        );
        let mut remembered = self.specs.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spec) = remembered.get(&question) {
            return Ok(Arc::clone(spec));
        }
        let pipeline = match &asked.config {
            Some(config) => found.pipeline.configured(config)?,
            None => Pipeline::clone(&found.pipeline),
        };
        self.check(&pipeline, &**executor)
            .map_err(|error| error.with("pipeline", name).with("executor", executor_name))?;
        let spec = Arc::new(RunSpec {
            pipeline,
            revision: found.revision.clone(),
            provenance: found.provenance.clone(),
            executor: executor_name.clone(),
            config: asked.config.clone(),
            schedule_limit: asked.schedule_limit.clone(),
        });
        if remembered.len() >= MAX_REMEMBERED_SPECS {
            remembered.clear();
        }
        remembered.insert(question, Arc::clone(&spec));
        Ok(spec)
    }

    /// What is checked of a new run, for one that was accepted before.
    pub(crate) async fn check_rerun(&self, earlier: &Run) -> Result<()> {
        let executor = self.executors.get(&earlier.spec.executor)?;
        self.check(&earlier.spec.pipeline, &**executor)?;
        let there = self.checkout(&earlier.spec).await;
        there.map(drop).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::new(
                ErrorKind::NotFound,
                "the revision of this run is not kept any more; submit the pipeline anew",
            )
            .with("run", earlier.id)
            .because(error),
            _ => error,
        })
    }

    /// The parameters of a run, with the defaults of those that nobody gave.
    pub(crate) fn parameters(
        spec: &RunSpec,
        given: BTreeMap<EnvName, String>,
    ) -> Result<BTreeMap<EnvName, String>> {
        let pipeline = &spec.pipeline;
        // Not only callers give some: what programs and schedules give must not make a run that can never start.
        check_parameters(&given).map_err(|error| error.with("pipeline", &pipeline.name))?;
        check_secrets(pipeline, &given)?;
        pipeline.definition.parameters.check(given).map_err(|error| error.with("pipeline", &pipeline.name))
    }

    fn check(&self, pipeline: &Pipeline, executor: &dyn Executor) -> Result<()> {
        check_supported(pipeline)?;
        self.check_pools(pipeline)?;
        check_capabilities(pipeline, executor)
    }

    /// A run that waits for slots that this host will never have would wait for ever.
    fn check_pools(&self, pipeline: &Pipeline) -> Result<()> {
        let pools = &self.settings.capacity.pools;
        for (pool, wanted) in &pipeline.definition.queue.pools {
            let error = match pools.get(pool) {
                Some(slots) if wanted <= slots => continue,
                Some(slots) => {
                    Error::new(ErrorKind::Invalid, "the pipeline asks for more slots than the pool has")
                        .with("pool", pool)
                        .with("asked", wanted)
                        .with("slots", slots)
                }
                None => {
                    let known: Vec<&str> = pools.keys().map(ConfigName::as_str).collect();
                    Error::new(ErrorKind::Invalid, "the host has no such pool; give its builder `.pool(…)`")
                        .with("pool", pool)
                        .with("known", if known.is_empty() { "none".into() } else { known.join(", ") })
                }
            };
            return Err(error);
        }
        Ok(())
    }
}

/// What can be run and may be.
fn enabled(entry: &CatalogEntry) -> Result<RevisedPipeline> {
    let found = entry.runnable()?;
    if !found.pipeline.definition.enabled {
        return Err(Error::new(ErrorKind::Conflict, "the pipeline is disabled: its `enabled` is false")
            .with("pipeline", &entry.name));
    }
    Ok(found.clone())
}

/// What holds for parameters of every pipeline. A value may be secret, and is not shown.
pub(crate) fn check_parameters(given: &BTreeMap<EnvName, String>) -> Result<()> {
    if given.len() > Parameters::MAX_ENTRIES {
        return Err(Error::new(ErrorKind::Invalid, "too many parameters")
            .with("found", given.len())
            .with("allowed", Parameters::MAX_ENTRIES));
    }
    for (name, value) in given {
        check_env_value(value).map_err(|error| error.with("parameter", name))?;
        if value.chars().count() > Parameters::MAX_VALUE_CHARS {
            return Err(Error::new(ErrorKind::Invalid, "the value of a parameter is too long")
                .with("parameter", name)
                .with("allowed_chars", Parameters::MAX_VALUE_CHARS));
        }
    }
    Ok(())
}

/// Whoever may start a pipeline may not say what its secrets are.
fn check_secrets(pipeline: &Pipeline, given: &BTreeMap<EnvName, String>) -> Result<()> {
    let definition = &pipeline.definition;
    let secret = |name: &&EnvName| {
        definition.encrypted_env.contains_key(*name)
            || definition.secrets.iter().any(|secret| secret.variable() == *name)
    };
    let Some(name) = given.keys().find(secret) else { return Ok(()) };
    Err(Error::new(
        ErrorKind::Invalid,
        "this is a secret of the pipeline, and cannot be given as a parameter",
    )
    .with("pipeline", &pipeline.name)
    .with("parameter", name))
}

/// Refuses what this version reads but does not act on: it is never run without it.
fn check_supported(pipeline: &Pipeline) -> Result<()> {
    let fields = pipeline.unsupported();
    if fields.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = fields.iter().map(ToString::to_string).collect();
    Err(Error::new(
        ErrorKind::Unsupported,
        "the pipeline uses fields that this version does not act on yet, and is not run without them",
    )
    .with("fields", named.join(", ")))
}

/// Refuses what the executor cannot keep or give, before there is a run.
fn check_capabilities(pipeline: &Pipeline, executor: &dyn Executor) -> Result<()> {
    let capabilities = executor.capabilities();
    capabilities.check(program::requirements(&pipeline.definition))?;
    if capabilities.environments {
        return Ok(());
    }
    let needs = [
        (pipeline.dependencies != DependencySource::None, "its packages"),
        (pipeline.definition.python_version.is_some(), "python_version"),
        (pipeline.requires_python.is_some(), "requires-python"),
    ];
    match needs.into_iter().find(|(needed, _)| *needed) {
        None => Ok(()),
        Some((_, field)) => {
            Err(Error::new(ErrorKind::Unsupported, "the executor does not run programs in environments")
                .with("field", field))
        }
    }
}

/// An error for a name that no pipeline has, with the nearest one.
pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let error = Error::new(ErrorKind::NotFound, "no such pipeline").with("pipeline", name);
    let likeness = |known: &str| strsim::jaro_winkler(name, known);
    match known.map(|known| (likeness(known), known)).max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((like, nearest)) if like >= LIKE => error.with("did you mean", nearest),
        _ => error,
    }
}
