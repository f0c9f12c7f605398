//! What an attempt gets that nobody else may see: looked up just before its program starts, and kept nowhere.

use std::collections::BTreeMap;

use super::{Ports, workspace::failed};
use crate::{
    Error, ErrorKind, Result,
    executor::{AttemptSecrets, AttemptSpec},
    pipeline::{EnvName, SecretDelivery, check_env_value},
    run::{Failure, Run, StartFailureKind},
    schedule::{ScheduleId, ScheduleOwner},
    secret::{
        FoundSecret, MAX_SECRETS_BYTES, Secret, SecretName, SecretReader, SecretUse, SecretValue,
        check_secret, open_text,
    },
};

/// What `encrypted_env` is called where a run keeps what it got.
const BROUGHT: &str = "encrypted_env";

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
        ports.secrets.find(&definition.secrets, &reader(run)).await.map_err(|error| refused(&error))?
    };
    let missing: Vec<&str> =
        definition.secrets.iter().filter(|name| !found.contains_key(*name)).map(SecretName::as_str).collect();
    if !missing.is_empty() {
        return Err(failed(StartFailureKind::SecretMissing, &not_there(run, &missing)));
    }
    let mut given = Given::default();
    for (variable, text) in &definition.encrypted_env {
        let stored = definition.secrets.iter().any(|name| name.variable() == variable);
        if stored {
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

/// Who asks. A run configuration that is started by hand, or repeated, has what its schedule has.
fn reader(run: &Run) -> SecretReader {
    let configured = || {
        let name = run.spec.config.clone()?;
        Some(ScheduleId { pipeline: run.pipeline().clone(), owner: ScheduleOwner::Files, name })
    };
    SecretReader { pipeline: run.pipeline().clone(), schedule: run.schedule().cloned().or_else(configured) }
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

fn check_size(secrets: &AttemptSecrets) -> Result<(), Failure> {
    let size = |secret: &Secret| secret.expose().len();
    let bytes: usize = secrets.env.values().chain(secrets.files.values()).map(size).sum();
    if bytes <= MAX_SECRETS_BYTES {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Invalid, "the secrets of the pipeline are too large together")
        .with("bytes", bytes)
        .with("allowed_bytes", MAX_SECRETS_BYTES);
    Err(failed(StartFailureKind::SecretRefused, &error))
}
