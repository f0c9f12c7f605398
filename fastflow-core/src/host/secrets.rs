//! What an attempt gets that nobody else may see: looked up just before its program starts, and kept nowhere.

use std::{collections::BTreeMap, time::Duration};

use fastflow_shim::mask::Patterns;

use super::{Ports, workspace::failed};
use crate::{
    Error, ErrorKind, Result,
    executor::{AttemptSecrets, AttemptSpec},
    pipeline::{EnvName, SecretDelivery, check_env_value},
    run::{Failure, Run, StartFailureKind},
    schedule::{ScheduleId, ScheduleOwner},
    secret::{
        FoundSecret, MAX_SECRETS_BYTES, SecretName, SecretReader, SecretUse, SecretValue, check_secret,
        open_text,
    },
};

/// What `encrypted_env` is called where a run keeps what it got.
const BROUGHT: &str = "encrypted_env";

/// How long all stores may take together.
const FIND_TIMEOUT: Duration = Duration::from_mins(5);
/// So many bytes of secrets can be masked, whatever they are.
const SURELY_MASKED_BYTES: usize = 16 << 10;
/// The longest kind of a store that a run keeps, in bytes.
const MAX_KIND_BYTES: usize = 64;

/// What was found for an attempt.
#[derive(Default)]
pub(super) struct Given {
    secrets: AttemptSecrets,
    /// Values beside the secrets that anybody may see.
    parameters: BTreeMap<EnvName, String>,
    uses: Vec<SecretUse>,
}

impl Given {
    /// Hands it over; what is left says what it was.
    pub(super) fn hand_over(self, spec: &mut AttemptSpec) -> Vec<SecretUse> {
        spec.secrets = self.secrets;
        let parameters = self.parameters.into_iter();
        spec.env.extend(parameters.map(|(name, value)| (name.as_str().to_owned(), value)));
        self.uses
    }
}

/// Finds everything that the pipeline names. One that is not there, or cannot be opened, is a run that does not start.
pub(super) async fn resolve(ports: &Ports, run: &Run) -> Result<Given, Failure> {
    let definition = &run.spec.pipeline.definition;
    if definition.secrets.is_empty() && definition.encrypted_env.is_empty() {
        return Ok(Given::default());
    }
    let found = if definition.secrets.is_empty() {
        BTreeMap::new()
    } else {
        find(ports, run).await.map_err(|error| refused(&error))?
    };
    let missing: Vec<&str> =
        definition.secrets.iter().filter(|name| !found.contains_key(*name)).map(SecretName::as_str).collect();
    if !missing.is_empty() {
        return Err(failed(StartFailureKind::SecretMissing, &not_there(run, &missing)));
    }
    let mut given = Given::default();
    for (variable, text) in &definition.encrypted_env {
        let is_stored = definition.secrets.iter().any(|name| name.variable() == variable);
        if is_stored && definition.secrets_as == SecretDelivery::Env {
            continue;
        }
        let opened = open_text(&ports.sealed.keyring, run.pipeline(), variable, text);
        let secret = opened.map_err(|error| refused(&error.with(BROUGHT, variable)))?;
        given.secrets.env.insert(variable.clone(), secret);
        given.uses.extend(brought(variable));
    }
    for (name, FoundSecret { value, used }) in found {
        check(&name, &value)?;
        match (value, definition.secrets_as) {
            (SecretValue::Parameter(value), _) => {
                given.parameters.insert(name.variable().clone(), value);
            }
            (SecretValue::Secret(secret), SecretDelivery::Env) => {
                given.secrets.env.insert(name.variable().clone(), secret);
            }
            (SecretValue::Secret(secret), SecretDelivery::Files) => {
                given.secrets.files.insert(name, secret);
            }
        }
        given.uses.push(used);
    }
    check_size(&given.secrets)?;
    Ok(given)
}

/// Asks everybody who has secrets. Whoever does not answer must not hold a run, and its place, for ever.
async fn find(ports: &Ports, run: &Run) -> Result<BTreeMap<SecretName, FoundSecret>> {
    let reader = reader(run);
    tokio::select! {
        biased;
        found = ports.secrets.find(&run.spec.pipeline.definition.secrets, &reader) => found,
        () = ports.clock.sleep(FIND_TIMEOUT) => {
            let message = "whoever has the secrets of the pipeline has not answered";
            Err(Error::new(ErrorKind::Unavailable, message).with("limit_secs", FIND_TIMEOUT.as_secs()))
        }
    }
}

/// Who asks. A run configuration has what the schedule behind it has, whoever starts it.
pub(super) fn reader(run: &Run) -> SecretReader {
    let pipeline = run.pipeline().clone();
    let mut schedules: Vec<ScheduleId> = run.scheduled_by().cloned().into_iter().collect();
    if let Some(name) = run.spec.config.clone() {
        let configured = ScheduleId { pipeline: pipeline.clone(), owner: ScheduleOwner::Files, name };
        if !schedules.contains(&configured) {
            schedules.push(configured);
        }
    }
    SecretReader { pipeline, schedules }
}

/// Those of `uses` that a run of this pipeline could have had: others were not written by a host.
pub(super) fn plausible(run: &Run, uses: &mut Vec<SecretUse>) {
    let definition = &run.spec.pipeline.definition;
    let scopes = reader(run).scopes();
    uses.retain(|used| {
        let is_named = definition.secrets.contains(&used.name);
        let is_brought = definition.encrypted_env.contains_key(used.name.variable());
        let is_for_it = used.scope.as_ref().is_none_or(|scope| scopes.contains(scope));
        used.store.len() <= MAX_KIND_BYTES && is_for_it && (is_named || is_brought)
    });
}

/// None for a variable whose name no stored secret could have.
fn brought(variable: &EnvName) -> Option<SecretUse> {
    let name = variable.as_str().parse().ok()?;
    Some(SecretUse { name, store: BROUGHT.into(), scope: None, version: None })
}

fn not_there(run: &Run, missing: &[&str]) -> Error {
    Error::new(
        ErrorKind::NotFound,
        "the pipeline names secrets that nobody has; set them, or take them out of its `secrets`",
    )
    .with("pipeline", run.pipeline())
    .with("missing", missing.join(", "))
}

fn refused(error: &Error) -> Failure {
    if error.kind() == ErrorKind::Unavailable {
        failed(StartFailureKind::SecretsUnavailable, error)
    } else {
        failed(StartFailureKind::SecretRefused, error)
    }
}

/// Whoever had it may be anybody's own.
fn check(name: &SecretName, value: &SecretValue) -> Result<(), Failure> {
    let checked = match value {
        SecretValue::Secret(secret) => check_secret(secret),
        SecretValue::Parameter(value) => check_env_value(value),
    };
    checked.map_err(|error| failed(StartFailureKind::SecretRefused, &error.with("secret", name)))
}

/// What the shim could not mask is refused here, where the reason can be said.
fn check_size(secrets: &AttemptSecrets) -> Result<(), Failure> {
    let values =
        || secrets.env.values().chain(secrets.files.values()).map(|secret| secret.expose().as_bytes());
    let bytes: usize = values().map(<[u8]>::len).sum();
    let refused = |message: &'static str| {
        failed(StartFailureKind::SecretRefused, &Error::new(ErrorKind::Invalid, message).with("bytes", bytes))
    };
    if bytes > MAX_SECRETS_BYTES {
        return Err(refused("the secrets of the pipeline have more than 256 KiB together"));
    }
    // Fewer are never too many, and to find out costs what the shim is about to do anyway.
    if bytes > SURELY_MASKED_BYTES && Patterns::new(values()).is_err() {
        return Err(refused(
            "the secrets of the pipeline are too large to be masked in logs: values of many lines can have about \
             100 KB together",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        OsEntropy, RunId, SystemClock, Timestamp,
        pipeline::PipelineTexts,
        run::{Origin, RunSpec, RunState},
        secret::SecretScope,
    };

    fn run() -> Run {
        let texts = PipelineTexts {
            script: Some(("main.py", "")),
            manifest: Some((
                "pipeline.json",
                r#"{"secrets": ["TOKEN"], "encrypted_env": {"SEALED": "gAAAAx"}}"#,
            )),
            ..PipelineTexts::default()
        };
        let pipeline = texts.assemble("etl".parse().unwrap()).unwrap();
        let spec = RunSpec::new(pipeline, "ab".repeat(32).parse().unwrap(), "process".parse().unwrap());
        let id = RunId::new(&SystemClock::new(), &OsEntropy);
        Run {
            id,
            spec: Arc::new(spec),
            parameters: BTreeMap::new(),
            origin: Origin::Manual,
            chain: id,
            priority: 0,
            key: None,
            state: RunState::Starting,
            epoch: 1,
            attempt: 1,
            failed_attempts: 0,
            created_at: Timestamp::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
        }
    }

    #[test]
    fn what_a_program_may_have_written_is_believed_only_where_it_could_be() {
        let used = |name: &str, store: &str, scope: Option<&str>| SecretUse {
            name: name.parse().unwrap(),
            store: store.into(),
            scope: scope.map(|scope| scope.parse::<SecretScope>().unwrap()),
            version: None,
        };
        let there = vec![
            used("TOKEN", "sealed", Some("global")),
            used("TOKEN", "sealed", Some("pipeline:etl")),
            used("TOKEN", "vault", None),
            used("SEALED", BROUGHT, None),
        ];
        let mut found = there.clone();
        found.extend([
            used("OTHER", "sealed", Some("global")),
            used("TOKEN", "sealed", Some("pipeline:other")),
            used("TOKEN", "sealed", Some("schedule:etl/nightly")),
            used("TOKEN", &"x".repeat(MAX_KIND_BYTES + 1), None),
        ]);
        plausible(&run(), &mut found);
        assert_eq!(found, there);
    }
}
