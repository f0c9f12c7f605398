//! Who gets which value.

use std::collections::BTreeMap;

use fastflow_core::{
    ErrorKind, PipelineName, Submission,
    orchestrator::Rerun,
    pipeline::{EnvName, ScheduleRule},
    run::{StartFailureKind, Status},
    schedule::Schedule,
    secret::{MasterKeySource, Secret, SecretScope},
    store::SecretQuery,
};
use serde_json::json;

use super::{TELL, declared, done, found, key, keyed, name, pipeline, start_failure};
use crate::{
    kit::{Place, attempts, configured, ended, refused, run, started},
    stage::{ended_of, id},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_what_its_pipeline_names_and_nothing_else() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A", "REGION"], "default_env": {"A": "plain", "C": "c"}}));
    declared(&place, "other", &json!({}));
    let flow = started(keyed(&place, &key())).await;
    for secret in ["A", "B"] {
        let value = Secret::new(format!("value-of-{secret}"));
        flow.secrets().set(&SecretScope::Global, &name(secret), value).await.unwrap();
    }
    flow.secrets().set_parameter(&SecretScope::Global, &name("REGION"), "eu").await.unwrap();
    let ran = done(&place, &flow, "etl").await;
    let expected = [("A", "value-of-A"), ("C", "c"), ("REGION", "eu")];
    assert_eq!(found(&place), expected.map(|(name, value)| (name.into(), value.into())).into());

    let setup = attempts(&flow, ran.id).await.remove(0).setup.unwrap();
    let given: Vec<String> = setup.secrets.iter().map(ToString::to_string).collect();
    assert_eq!(given, ["A (sealed, global, version 1)", "REGION (sealed, global, version 1)"]);
    let known = flow.secrets().list(&SecretQuery::default()).await.unwrap();
    let used = |info: &&fastflow_core::orchestrator::SecretInfo| info.last_use.is_some();
    let used: Vec<&str> = known.iter().filter(used).map(|info| info.name.as_str()).collect();
    assert_eq!(used, ["A", "REGION"]);
    assert_eq!(known[0].last_use.unwrap().run, ran.id);

    done(&place, &flow, "other").await;
    assert_eq!(found(&place), BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_narrower_scope_wins_and_is_nobody_elses() {
    let place = Place::new();
    let schedules = json!([{"id": "nightly", "schedule_cron": "0 0 29 2 *"}, {"id": "weekly", "schedule_cron": "0 0 29 2 *"}]);
    declared(&place, "etl", &json!({"secrets": ["A"], "schedules": schedules}));
    declared(&place, "other", &json!({"secrets": ["A"]}));
    let flow = started(keyed(&place, &key())).await;
    let schedule = SecretScope::Schedule("etl/nightly".parse().unwrap());
    for scope in [SecretScope::Global, pipeline("etl"), schedule] {
        flow.secrets().set(&scope, &name("A"), Secret::new(scope.to_string())).await.unwrap();
    }
    let ask = |pipeline: &str, config: Option<&str>| {
        let ask = place.ask(pipeline);
        config.map_or(ask.clone(), |config| ask.config(config))
    };
    for (pipeline, config, expected) in [
        ("etl", Some("nightly"), "schedule:etl/nightly"),
        ("etl", Some("weekly"), "pipeline:etl"),
        ("etl", None, "pipeline:etl"),
        ("other", None, "global"),
    ] {
        let run = run(&flow, ask(pipeline, config)).await;
        assert_eq!(run.status(), Status::Success, "{:?}", run.failure());
        assert_eq!(found(&place)["A"], expected, "{pipeline} {config:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_secret_is_not_there_does_not_start_and_names_it() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A", "TOKEN", "B"]}));
    let flow = started(keyed(&place, &key())).await;
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("value-of-A")).await.unwrap();
    // Another pipeline's.
    flow.secrets().set(&pipeline("other"), &name("B"), Secret::new("value-of-B")).await.unwrap();
    let run = run(&flow, place.ask("etl")).await;
    let (kind, message) = start_failure(&run);
    assert_eq!(*kind, StartFailureKind::SecretMissing);
    assert!(message.contains("B, TOKEN") && !message.contains("value-of"), "{message}");
    assert_eq!(place.said("found"), "", "the program ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_text_of_a_pipeline_is_for_it_alone() {
    let place = Place::new();
    let key = key();
    place.pipeline("first", TELL);
    let flow = started(keyed(&place, &key)).await;
    let seal = |pipeline: &str, variable: &str, value: &str| {
        let (pipeline, variable): (PipelineName, EnvName) =
            (pipeline.parse().unwrap(), variable.parse().unwrap());
        flow.secrets().seal_text(&pipeline, &variable, &Secret::new(value)).unwrap()
    };
    let text = seal("etl", "A", "brought-value");
    declared(&place, "etl", &json!({"encrypted_env": {"A": text}, "default_env": {"A": "plain"}}));
    declared(&place, "thief", &json!({"encrypted_env": {"A": text}}));
    declared(&place, "renamed", &json!({"encrypted_env": {"B": seal("renamed", "A", "brought-value")}}));
    let over = json!({"encrypted_env": {"A": seal("over", "A", "brought-value")}, "secrets": ["A"]});
    declared(&place, "over", &over);
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("stored-value")).await.unwrap();

    let ran = done(&place, &flow, "etl").await;
    assert_eq!(found(&place)["A"], "brought-value");
    let setup = attempts(&flow, ran.id).await.remove(0).setup.unwrap();
    assert_eq!(setup.secrets[0].to_string(), "A (encrypted_env)");
    done(&place, &flow, "over").await;
    assert_eq!(found(&place)["A"], "stored-value");
    for pipeline in ["thief", "renamed"] {
        let run = run(&flow, place.ask(pipeline)).await;
        let (kind, message) = start_failure(&run);
        assert_eq!(*kind, StartFailureKind::SecretRefused);
        assert!(!message.contains("brought-value") && !message.contains(&text), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_cannot_say_what_a_secret_is() {
    let place = Place::new();
    let key = key();
    place.pipeline("first", TELL);
    let flow = started(keyed(&place, &key)).await;
    let text = flow.secrets().seal_text(
        &"etl".parse().unwrap(),
        &"B".parse().unwrap(),
        &Secret::new("brought-value"),
    );
    declared(&place, "etl", &json!({"secrets": ["A"], "encrypted_env": {"B": text.unwrap()}}));
    for parameter in ["A", "B"] {
        let submitted = flow.submit(Submission::new("etl").parameter(parameter, "mine")).await;
        refused(submitted, ErrorKind::Invalid, &[parameter, "secret"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_says_who_wants_what() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A", "TOKEN"]}));
    let flow = started(configured(place.bare_builder()).master_key(MasterKeySource::Key(key()))).await;
    for scope in [SecretScope::Global, pipeline("etl"), pipeline("other")] {
        flow.secrets().set(&scope, &name("A"), Secret::new("value-of-A")).await.unwrap();
    }
    let wanted = flow.secrets().wanted().await.unwrap();
    let wanted: Vec<_> =
        wanted.iter().map(|wanted| (wanted.variable.as_str(), wanted.stored.clone())).collect();
    assert_eq!(wanted, [("A", vec![SecretScope::Global, pipeline("etl")]), ("TOKEN", vec![])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_starts_a_run_configuration_it_has_the_secrets_of_its_schedule() {
    let place = Place::new();
    let schedules = json!([{"id": "nightly", "schedule_cron": "0 0 29 2 *"}]);
    let env = json!({"TMP_DIR": place.tmp().display().to_string()});
    declared(&place, "etl", &json!({"secrets": ["A", "B"], "schedules": schedules, "default_env": env}));
    let flow = started(keyed(&place, &key())).await;
    for (scope, secret) in
        [("schedule:etl/nightly", "A"), ("schedule:etl@mine", "B"), ("global", "A"), ("global", "B")]
    {
        flow.secrets()
            .set(&scope.parse().unwrap(), &name(secret), Secret::new(format!("of-{scope}")))
            .await
            .unwrap();
    }
    let mut mine = Schedule::new(id("etl@mine"), ScheduleRule::IntervalSeconds(1.try_into().unwrap()));
    mine.config = Some("nightly".parse().unwrap());
    flow.schedules().put(mine).await.unwrap();
    let ran = ended_of(&flow, "etl", 1).await.remove(0);
    let expected = [("A", "of-schedule:etl/nightly"), ("B", "of-schedule:etl@mine")];
    let expected: BTreeMap<String, String> = expected.map(|(name, value)| (name.into(), value.into())).into();
    assert_eq!(found(&place), expected);
    flow.schedules().remove(&id("etl@mine")).await.unwrap();
    for again in [Rerun::SameRevision, Rerun::NewestRevision] {
        place.write("found", "");
        let again = flow.runs().rerun(ran.id, again).await.unwrap();
        assert_eq!(ended(&flow, again.id).await.status(), Status::Success);
        assert_eq!(found(&place), expected, "a rerun");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_stand_beside_variables_of_the_same_name() {
    let place = Place::new();
    let key = key();
    place.pipeline("first", TELL);
    let flow = started(keyed(&place, &key)).await;
    let seal = |variable: &str| {
        let secret = Secret::new("brought-value");
        flow.secrets().seal_text(&"etl".parse().unwrap(), &variable.parse().unwrap(), &secret).unwrap()
    };
    let both = format!(
        "{TELL}\nfound['C'] = open(os.environ['FASTFLOW_SECRETS_DIR'] + '/A').read()\nwith open(os.environ['TMP_DIR'] + '/found', 'w') as file:\n    json.dump(found, file)\n"
    );
    let fields = json!({"secrets": ["A"], "secrets_as": "files", "encrypted_env": {"A": seal("A")}});
    place.pipeline("etl", &both).file("etl/pipeline.json", fields.to_string());
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("stored-value")).await.unwrap();
    done(&place, &flow, "etl").await;
    let expected = [("A", "brought-value"), ("C", "stored-value")];
    assert_eq!(found(&place), expected.map(|(name, value)| (name.into(), value.into())).into());
}
