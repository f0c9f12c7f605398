//! What an attempt executes: its command and its environment variables.

use std::{collections::BTreeMap, num::NonZeroU32};

use crate::{
    environment::{Environment, Workbench},
    executor::{self, AttemptSpec, Network, Requirements},
    pipeline::{ByteSize, Definition, Timeout},
    run::{Origin, Run},
};

/// What programs find where the embedding program has no `PATH` to inherit.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command of a run: the environment's interpreter, or `python3` where the executor brings its own.
pub(super) fn argv(run: &Run, environment: Option<&Environment>) -> Vec<String> {
    let python = environment.map_or_else(|| "python3".to_owned(), |found| found.python.display().to_string());
    vec![python, run.spec.pipeline.program.entry.display().to_string()]
}

/// Variables that say where things are on this machine, and mean nothing elsewhere.
const OF_THIS_MACHINE: [&str; 7] =
    ["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What a program finds before anything is set: what it inherits, or in another place what that place has, with what
/// can be inherited there.
pub(super) fn base_env(
    inherited: &BTreeMap<String, String>,
    place: Option<&dyn Workbench>,
) -> BTreeMap<String, String> {
    let Some(place) = place.filter(|place| !place.is_this_machine()) else { return inherited.clone() };
    let travels = inherited.iter().filter(|(name, _)| !OF_THIS_MACHINE.contains(&name.as_str()));
    let mut env: BTreeMap<_, _> = travels.map(|(name, value)| (name.clone(), value.clone())).collect();
    env.extend(place.base_env().clone());
    env
}

/// What a pipeline needs of its executor.
pub(crate) fn requirements(definition: &Definition) -> Requirements {
    let mut needs = limits(definition).requirements();
    needs.images = definition.image.is_some();
    needs.network = definition.network == Network::None;
    needs.no_output = definition.health.no_output_timeout.is_some();
    needs.secrets = !definition.secrets.is_empty() || !definition.encrypted_env.is_empty();
    needs.heartbeat = definition.health.heartbeat_timeout.is_some();
    needs
}

/// The environment of a run's program, but for its secrets, which win over all of it. Later wins: what is there, the environment's own, `default_env`,
/// parameters; the names that Fast-Flow sets cannot be set by anybody else.
pub(super) fn env(
    run: &Run,
    base: &BTreeMap<String, String>,
    environment: Option<&Environment>,
) -> BTreeMap<String, String> {
    let mut env = base.clone();
    let path = env.get("PATH").map_or(DEFAULT_PATH, String::as_str).to_owned();
    if let Some(found) = environment {
        env.insert("PATH".into(), format!("{}:{path}", found.directory.join("bin").display()));
        env.insert("VIRTUAL_ENV".into(), found.directory.display().to_string());
    } else {
        env.insert("PATH".into(), path);
    }
    // Lines are seen when they are written, not when a buffer is full.
    env.insert("PYTHONUNBUFFERED".into(), "1".into());
    env.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
    let defaults = run.spec.pipeline.definition.default_env.iter();
    for (name, value) in defaults.chain(&run.parameters) {
        env.insert(name.as_str().to_owned(), value.clone());
    }
    env.insert("FASTFLOW_PIPELINE".into(), run.pipeline().to_string());
    env.insert("FASTFLOW_RUN_ID".into(), run.id.to_string());
    env.insert("FASTFLOW_ATTEMPT".into(), run.attempt.to_string());
    // The same for every attempt, so that effects outside can be made once.
    env.insert("FASTFLOW_IDEMPOTENCY_KEY".into(), run.id.to_string());
    if let Some(nominal) = run.scheduled_for() {
        env.insert("FASTFLOW_SCHEDULED_FOR".into(), nominal.to_string());
    }
    match &run.origin {
        Origin::Schedule { schedule, .. } => {
            env.insert("FASTFLOW_SCHEDULE".into(), schedule.to_string());
        }
        Origin::Trigger { upstream: run } | Origin::Join { last: run } => {
            env.insert("FASTFLOW_UPSTREAM_RUN_ID".into(), run.to_string());
        }
        Origin::Manual | Origin::Rerun { .. } | Origin::Daemon { .. } => {}
    }
    env
}

/// The limits of a run, from its definition.
pub(crate) fn limits(definition: &Definition) -> executor::Limits {
    let asked = &definition.limits;
    let log_max_bytes = definition.log_max_size.bytes();
    let mut limits = executor::Limits::default();
    limits.cpu_millis = asked.cpu.map(|cpu| cpu.0);
    limits.memory_bytes = asked.memory.map(ByteSize::bytes);
    limits.max_processes = definition.max_processes.map(NonZeroU32::get);
    limits.soft_cpu_millis = asked.soft_cpu.map(|cpu| cpu.0);
    limits.soft_memory_bytes = asked.soft_memory.map(ByteSize::bytes);
    limits.timeout = asked.timeout.and_then(Timeout::duration);
    limits.stop_grace = definition.stop_grace.duration();
    limits.log_max_bytes = log_max_bytes;
    limits.log_tail_bytes = limits.log_tail_bytes.min(log_max_bytes / 4);
    limits
}

/// Everything the executor needs, from what was made ready.
pub(super) fn complete(
    mut spec: AttemptSpec,
    run: &Run,
    base_env: &BTreeMap<String, String>,
    environment: Option<&Environment>,
) -> AttemptSpec {
    spec.argv = argv(run, environment);
    spec.env = env(run, base_env, environment);
    fit(&mut spec, &run.spec.pipeline.definition, environment);
    spec
}

/// What attempts of a pipeline have in common: all that their sandboxes are made with.
pub(super) fn fit(spec: &mut AttemptSpec, definition: &Definition, environment: Option<&Environment>) {
    spec.image.clone_from(&definition.image);
    spec.network = definition.network;
    spec.limits = limits(definition);
    spec.read_only = environment.map(|found| found.reads.clone()).unwrap_or_default();
}
