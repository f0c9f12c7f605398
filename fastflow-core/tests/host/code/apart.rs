//! Runs of code and pipelines of the same name have nothing in common.

use fastflow_core::{
    Code, ErrorKind, Submission,
    run::{StartFailureKind, Status},
    secret::{Secret, SecretScope},
};
use serde_json::json;

use super::{code, settings};
use crate::{
    kit::{Place, ended, refused, run, started},
    secret::{TELL, declared, found, key, keyed, name, pipeline, start_failure},
    stage::{FOREVER, decided, runs_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_counters_of_a_pipeline_are_not_those_of_code() {
    let place = Place::new();
    place.declared("etl", FOREVER, json!({"max_instances": 1}));
    let flow = place.start().await;
    let forever = flow.submit("etl").await.unwrap();
    place.until_said(&format!("began-{}", forever.id)).await;
    let done =
        run(&flow, code("etl", "raise SystemExit(1)").settings(&settings(json!({"max_instances": 1})))).await;
    assert_eq!(done.status(), Status::Failed);
    let info = flow.pipelines().get(&"etl".parse().unwrap()).await.unwrap();
    assert_eq!(info.counters.failed, 0);
    flow.runs().cancel(forever.id).await.unwrap();
    ended(&flow, forever.id).await;
}

fn tells(place: &Place, name: &str, secrets: &serde_json::Value) -> Submission {
    let code: Code = code(name, TELL).settings(&settings(json!({"secrets": secrets})));
    Submission::code(code).parameter("TMP_DIR", place.tmp().display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn code_gets_the_global_secrets_that_it_names_and_those_of_no_pipeline() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    let flow = started(keyed(&place, &key())).await;
    let secrets = flow.secrets();
    secrets.set(&SecretScope::Global, &name("A"), Secret::new("the-global-A")).await.unwrap();
    secrets.set(&pipeline("etl"), &name("A"), Secret::new("the-A-of-etl")).await.unwrap();
    secrets.set(&pipeline("etl"), &name("B"), Secret::new("the-B-of-etl")).await.unwrap();

    let done = run(&flow, tells(&place, "etl", &json!([]))).await;
    assert_eq!((done.status(), found(&place).len()), (Status::Success, 0), "it named none");
    let done = run(&flow, tells(&place, "etl", &json!(["A"]))).await;
    assert_eq!(done.status(), Status::Success, "{:?}", done.failure());
    assert_eq!(found(&place)["A"], "the-global-A");
    let missing = run(&flow, tells(&place, "etl", &json!(["B"]))).await;
    let (kind, message) = start_failure(&missing);
    assert!(*kind == StartFailureKind::SecretMissing && message.contains('B'), "{message}");

    for scope in [pipeline("code.etl"), SecretScope::Schedule("code.etl@nightly".parse().unwrap())] {
        let set = secrets.set(&scope, &name("B"), Secret::new("the-B-of-code")).await;
        refused(set, ErrorKind::Invalid, &["global secrets only", "code.etl"]);
        refused(secrets.set_parameter(&scope, &name("B"), "b").await, ErrorKind::Invalid, &["code.etl"]);
    }
    let sealed =
        secrets.seal_text(&"code.etl".parse().unwrap(), &"B".parse().unwrap(), &Secret::new("value-of-B"));
    refused(sealed, ErrorKind::Invalid, &["code.etl"]);
}

/// Values that came into the store in another way than through the door that refuses them.
#[test]
fn whoever_asks_for_code_asks_for_the_global_scope_only() {
    let reader =
        fastflow_core::secret::SecretReader { pipeline: "Code.etl".parse().unwrap(), schedules: Vec::new() };
    assert_eq!(reader.scopes(), [SecretScope::Global]);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_starts_no_pipeline_and_no_pipeline_starts_code() {
    let place = Place::new();
    place.declared("waits", "pass", json!({"after": ["code.first"]})).declared(
        "leads",
        "pass",
        json!({"downstream_triggers": [{"pipeline": "code.first"}]}),
    );
    let flow = place.start().await;
    let done = run(&flow, code("first", "pass")).await;
    assert_eq!(done.status(), Status::Success);
    assert_eq!(decided(&flow, done.id).await, Vec::<String>::new());
    assert!(runs_of(&flow, "waits").await.is_empty());
    let leads = run(&flow, "leads").await;
    let noted = decided(&flow, leads.id).await;
    assert!(noted.len() == 1 && noted[0].contains("code.first"), "{noted:?}");
    assert_eq!(runs_of(&flow, "code.first").await.len(), 1);
}
