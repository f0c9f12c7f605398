//! Secrets, from where they are kept to the program that names them.

mod given;
mod keys;
mod masked;
mod stores;

use std::collections::BTreeMap;

use crate::kit::{Place, run};
use fastflow_core::{
    Orchestrator, OrchestratorBuilder, OsEntropy,
    run::{Failure, Run, StartFailure, StartFailureKind, Status},
    secret::{MasterKey, MasterKeySource, SecretName, SecretScope},
};

/// Says which of these variables there are, and writes their values where the test reads them.
pub(super) const TELL: &str = r#"
import json, os
names = ["A", "B", "C", "TOKEN", "REGION"]
found = {name: os.environ[name] for name in names if name in os.environ}
with open(os.environ["TMP_DIR"] + "/found", "w") as file:
    json.dump(found, file)
"#;

pub(super) fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

pub(super) fn pipeline(text: &str) -> SecretScope {
    SecretScope::Pipeline(text.parse().unwrap())
}

pub(super) fn key() -> MasterKey {
    MasterKey::generate(&OsEntropy).unwrap()
}

pub(super) fn keyed(place: &Place, key: &MasterKey) -> OrchestratorBuilder {
    place.builder().master_key(MasterKeySource::Key(key.clone()))
}

pub(super) fn declared(place: &Place, pipeline: &str, manifest: &serde_json::Value) {
    place.pipeline(pipeline, TELL).file(&format!("{pipeline}/pipeline.json"), manifest.to_string());
}

/// What the program of the last run found.
pub(super) fn found(place: &Place) -> BTreeMap<String, String> {
    serde_json::from_str(&place.said("found")).unwrap()
}

pub(super) async fn done(place: &Place, flow: &Orchestrator, pipeline: &str) -> Run {
    let run = run(flow, place.ask(pipeline)).await;
    assert_eq!(run.status(), Status::Success, "{:?}", run.failure());
    run
}

pub(super) fn start_failure(run: &Run) -> (&StartFailureKind, &str) {
    match run.failure() {
        Some(Failure::StartFailed(StartFailure { kind, message })) => (kind, message),
        other => panic!("it failed otherwise: {other:?}"),
    }
}
