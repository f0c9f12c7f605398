//! What the end of a run is to lead to: the pipelines that follow it, those that wait for several, and the restart of
//! a pipeline that is meant to run always. It is made ready before the end is written, so that both are one
//! transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use fastflow_shim::{layout::EXIT, regular};

use super::{Ports, backoff::Backoff, daemon, intake::Asked};
use crate::{
    PipelineName, Result, RunId, Timestamp,
    layout::{OUTPUT_FILE, ROUTE_FILE, WORK_DIR},
    pipeline::{DownstreamTrigger, EnvName},
    run::{Decision, Exit, ExitReport, NewRun, Origin, Run, RunEvent},
    source::Catalog,
    store::{FollowOn, FollowUp, FollowUpAction},
};

/// The largest document of outputs, in bytes.
const MAX_OUTPUT_BYTES: u64 = 64 << 10;
/// What stands where a secret was.
const MASKED: &[u8] = b"***";
/// The largest file that names a route, in bytes.
const MAX_ROUTE_BYTES: u64 = 1 << 10;
/// How often a source or a store that does not answer is asked about one follow-up.
const MAX_TRIES: u32 = 5;

/// Which pipelines wait for which others, as the source had them when it was last read.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    /// By a pipeline, those that come after it.
    after: RwLock<BTreeMap<PipelineName, BTreeSet<PipelineName>>>,
}

impl Joins {
    /// Takes over what a source has.
    pub(crate) fn learn(&self, catalog: &Catalog) {
        let mut after: BTreeMap<PipelineName, BTreeSet<PipelineName>> = BTreeMap::new();
        for found in catalog.entries.iter().filter_map(|entry| entry.runnable().ok()) {
            for upstream in &found.pipeline.definition.after {
                after.entry(upstream.clone()).or_default().insert(found.pipeline.name.clone());
            }
        }
        *self.after.write().unwrap_or_else(PoisonError::into_inner) = after;
    }

    fn of(&self, upstream: &PipelineName) -> BTreeSet<PipelineName> {
        self.after.read().unwrap_or_else(PoisonError::into_inner).get(upstream).cloned().unwrap_or_default()
    }
}

/// Everything that the end of the run leads to, should this event end it.
pub(super) async fn prepare(
    ports: &Ports,
    run: &Run,
    event: &RunEvent,
    report: Option<&ExitReport>,
    at: Timestamp,
) -> Vec<FollowUp> {
    let may_end = matches!(
        event,
        RunEvent::Exited { .. }
            | RunEvent::StartFailed { .. }
            | RunEvent::Lost(_)
            | RunEvent::NeverStarted { .. }
    );
    // Nothing follows code: whoever may submit some must not start pipelines by a name that they wait for.
    if !may_end || run.pipeline().is_code() {
        return Vec::new();
    }
    let definition = &run.spec.pipeline.definition;
    let mut follow_ups = Vec::new();
    let said = Said::read(ports, run, event).await;
    for trigger in &definition.downstream_triggers {
        let Some(on) = follows_on(trigger, &said) else { continue };
        let parameters = said.parameters(&trigger.parameters);
        let action = match parameters {
            Ok(parameters) => {
                let asked = Asked { config: trigger.run_config_id.clone(), ..Asked::default() };
                let origin = Origin::Trigger { upstream: run.id };
                start(ports, &trigger.pipeline, &asked, (origin, at), parameters).await
            }
            Err(reason) => not_followed(&trigger.pipeline, reason),
        };
        follow_ups.push(FollowUp { on, after: BTreeSet::new(), action });
    }
    for downstream in ports.joins.of(run.pipeline()) {
        follow_ups.extend(join(ports, run, &downstream, at).await);
    }
    follow_ups.extend(daemon::restart(ports, run, report, at).await);
    follow_ups
}

/// Which ends of the run a trigger follows; none when it follows none that is possible now.
fn follows_on(trigger: &DownstreamTrigger, said: &Said) -> Option<FollowOn> {
    // A route is what a run says that went well, so that to wait for one is to wait for success.
    let on_success = match &trigger.on_route {
        Some(route) => said.route.as_ref() == Some(route),
        None => trigger.on_success,
    };
    match (on_success, trigger.on_failure) {
        (true, true) => Some(FollowOn::Any),
        (true, false) => Some(FollowOn::Success),
        (false, true) => Some(FollowOn::Failure),
        (false, false) => None,
    }
}

/// The run of a pipeline that comes after several.
async fn join(ports: &Ports, run: &Run, downstream: &PipelineName, at: Timestamp) -> Option<FollowUp> {
    let origin = Origin::Join { last: run.id };
    let action = start(ports, downstream, &Asked::default(), (origin, at), BTreeMap::new()).await;
    let after = match &action {
        FollowUpAction::Start(new) => new.spec.pipeline.definition.after.clone(),
        FollowUpAction::Note(_) => BTreeSet::new(),
    };
    // It may have been changed since the source was read as a whole.
    let still = !matches!(action, FollowUpAction::Start(_)) || after.contains(run.pipeline());
    still.then_some(FollowUp { on: FollowOn::Success, after, action })
}

/// A new run, or why there is none.
async fn start(
    ports: &Ports,
    pipeline: &PipelineName,
    asked: &Asked,
    (origin, at): (Origin, Timestamp),
    given: BTreeMap<EnvName, String>,
) -> FollowUpAction {
    match resolve(ports, pipeline, asked, given).await {
        Ok((spec, parameters)) => {
            let id = RunId::new(&*ports.clock, &*ports.entropy);
            FollowUpAction::Start(Box::new(NewRun { parameters, ..NewRun::new(id, spec, origin, at) }))
        }
        Err(error) => not_followed(pipeline, error.to_string()),
    }
}

pub(super) async fn resolve(
    ports: &Ports,
    pipeline: &PipelineName,
    asked: &Asked,
    given: BTreeMap<EnvName, String>,
) -> Result<(Arc<crate::run::RunSpec>, BTreeMap<EnvName, String>)> {
    let mut backoff = Backoff::new();
    let mut tries = 1;
    let found = loop {
        match ports.runnable(pipeline.as_str()).await {
            Err(error) if error.is_transient() && tries < MAX_TRIES => {
                tries += 1;
                backoff.wait(&*ports.clock).await;
            }
            other => break other?,
        }
    };
    let spec = ports.spec(&found, asked)?;
    let parameters = Ports::parameters(&spec, given)?;
    Ok((spec, parameters))
}

pub(super) fn not_followed(pipeline: &PipelineName, reason: String) -> FollowUpAction {
    FollowUpAction::Note(Decision::NotFollowed { pipeline: pipeline.clone(), reason })
}

/// What a program that went well left for those that follow it.
#[derive(Debug, Default)]
struct Said {
    route: Option<String>,
    /// The fields of its document, or why there are none.
    output: Option<Result<serde_json::Map<String, serde_json::Value>, String>>,
}

impl Said {
    /// Reads it only where somebody wants to know.
    async fn read(ports: &Ports, run: &Run, event: &RunEvent) -> Self {
        let triggers = &run.spec.pipeline.definition.downstream_triggers;
        let wanted =
            triggers.iter().any(|trigger| trigger.on_route.is_some() || !trigger.parameters.is_empty());
        let ran = matches!(event, RunEvent::Exited { .. });
        let Some(attempt) = run.attempt_id().filter(|_| wanted && ran) else { return Self::default() };
        let well = matches!(event, RunEvent::Exited { exit: Exit::Code(0), stopped_by: None });
        let out_of_memory = matches!(event, RunEvent::Exited { exit: Exit::OutOfMemory, .. });
        let run_dir = ports.data.attempt_dir(run.pipeline(), attempt);
        let read = tokio::task::spawn_blocking(move || {
            // A shim that ran out of memory itself has masked nothing in these files.
            if out_of_memory && !run_dir.join(EXIT).exists() {
                let reason = "the run was killed before its outputs were ready to be read";
                return Self { route: None, output: Some(Err(reason.to_owned())) };
            }
            let work = run_dir.join(WORK_DIR);
            Self { route: if well { read_route(&work) } else { None }, output: read_output(&work) }
        });
        read.await.unwrap_or_default()
    }

    /// The parameters of a run that follows, each from the field that is named for it.
    fn parameters(&self, wanted: &BTreeMap<EnvName, String>) -> Result<BTreeMap<EnvName, String>, String> {
        let mut parameters = BTreeMap::new();
        for (name, field) in wanted {
            let document = match &self.output {
                Some(Ok(document)) => document,
                Some(Err(reason)) => return Err(reason.clone()),
                None => return Err(format!("the run left no outputs, and `{name}` is to be its `{field}`")),
            };
            let value = match document.get(field) {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                    value.to_string()
                }
                Some(_) => return Err(format!("the output `{field}` is no text, number or truth value")),
                None => return Err(format!("the run left no output `{field}` for `{name}`")),
            };
            parameters.insert(name.clone(), value);
        }
        Ok(parameters)
    }
}

fn read_route(work: &Path) -> Option<String> {
    let bytes = regular::read_in(work, ROUTE_FILE, MAX_ROUTE_BYTES).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim().to_owned()).filter(|route| !route.is_empty())
}

/// None where there is no such file.
fn read_output(work: &Path) -> Option<Result<serde_json::Map<String, serde_json::Value>, String>> {
    let bytes = match regular::read_in(work, OUTPUT_FILE, MAX_OUTPUT_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(format!("the outputs of the run cannot be read: {error}"))),
    };
    let read = serde_json::from_slice(&bytes);
    Some(read.map_err(|error| {
        // Not the error's own text: it quotes what it found.
        let (line, column) = (error.line(), error.column());
        let masked = bytes.windows(MASKED.len()).any(|found| found == MASKED);
        let why = if masked { "; a secret was masked in them" } else { "" };
        format!("the outputs of the run are no JSON object, by line {line}, column {column}{why}")
    }))
}
