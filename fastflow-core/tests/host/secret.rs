//! Secrets, from where they are kept to the program that names them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use fastflow_core::{
    Clock, Error, ErrorKind, Orchestrator, OrchestratorBuilder, OsEntropy, OwnerId, PipelineName, Result,
    Shutdown, Submission, SystemClock, Timestamp,
    executor::{
        AttemptRef, AttemptSpec, Capabilities, Ended, Execution, ExecutionHandle, Executor, ProcessConfig,
        ProcessExecutor, Reattached, Start,
    },
    journal::LogStream,
    orchestrator::Rerun,
    pipeline::{EnvName, ScheduleRule},
    run::{Exit, Failure, Run, StartFailure, StartFailureKind, Status, StopCause},
    schedule::Schedule,
    secret::{
        FoundSecret, MasterKey, MasterKeySource, Secret, SecretName, SecretReader, SecretScope, SecretStore,
    },
    store::SecretQuery,
};
use serde_json::json;

use crate::{
    kit::{Place, attempts, configured, ended, lines, refused, run, started, started_after},
    stage::{ended_of, id},
};

/// Says which of these variables there are, and writes their values where the test reads them.
const TELL: &str = r#"
import json, os
names = ["A", "B", "C", "TOKEN", "REGION"]
found = {name: os.environ[name] for name in names if name in os.environ}
with open(os.environ["TMP_DIR"] + "/found", "w") as file:
    json.dump(found, file)
"#;

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn pipeline(text: &str) -> SecretScope {
    SecretScope::Pipeline(text.parse().unwrap())
}

fn key() -> MasterKey {
    MasterKey::generate(&OsEntropy).unwrap()
}

fn keyed(place: &Place, key: &MasterKey) -> OrchestratorBuilder {
    place.builder().master_key(MasterKeySource::Key(key.clone()))
}

fn declared(place: &Place, pipeline: &str, manifest: &serde_json::Value) {
    place.pipeline(pipeline, TELL).file(&format!("{pipeline}/pipeline.json"), manifest.to_string());
}

/// What the program of the last run found.
fn found(place: &Place) -> BTreeMap<String, String> {
    serde_json::from_str(&place.said("found")).unwrap()
}

async fn done(place: &Place, flow: &Orchestrator, pipeline: &str) -> Run {
    let run = run(flow, place.ask(pipeline)).await;
    assert_eq!(run.status(), Status::Success, "{:?}", run.failure());
    run
}

fn start_failure(run: &Run) -> (&StartFailureKind, &str) {
    match run.failure() {
        Some(Failure::StartFailed(StartFailure { kind, message })) => (kind, message),
        other => panic!("it failed otherwise: {other:?}"),
    }
}

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
async fn a_value_that_somebody_moved_does_not_open_and_nothing_starts() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    let flow = started(keyed(&place, &key())).await;
    for secret in ["A", "B"] {
        let value = Secret::new(format!("value-of-{secret}"));
        flow.secrets().set(&SecretScope::Global, &name(secret), value).await.unwrap();
    }
    place
        .sql("UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'B') WHERE name = 'A'")
        .await;
    let run = run(&flow, place.ask("etl")).await;
    let (kind, message) = start_failure(&run);
    assert_eq!(*kind, StartFailureKind::SecretRefused);
    assert!(message.contains('A') && !message.contains("value-of"), "{message}");
    assert_eq!(place.said("found"), "", "the program ran");
    let revealed = flow.secrets().reveal(&SecretScope::Global, &name("A")).await;
    refused(revealed.map(|_| ()), ErrorKind::Corrupt, &["A"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_put_back_keeps_no_host_from_starting_and_no_key_from_going() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["B"]}));
    let (old, new) = (key(), key());
    let flow = started(keyed(&place, &old)).await;
    for (secret, value) in [("A", "the-first-value"), ("B", "value-of-B")] {
        flow.secrets().set(&SecretScope::Global, &name(secret), Secret::new(value)).await.unwrap();
    }
    place.sql("CREATE TABLE kept AS SELECT version, sealed FROM secrets WHERE name = 'A'").await;
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("the-second-value")).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    place
        .sql("UPDATE secrets SET (version, sealed) = (SELECT version, sealed FROM kept) WHERE name = 'A'")
        .await;

    let both = || keyed(&place, &new).older_master_key(MasterKeySource::Key(old.clone()));
    let flow = started_after(both).await;
    refused(
        flow.secrets().reveal(&SecretScope::Global, &name("A")).await.map(|_| ()),
        ErrorKind::Invalid,
        &["A", "older row"],
    );
    let listed = flow.secrets().list(&SecretQuery::default()).await.unwrap();
    assert_eq!(listed.iter().map(|info| info.is_newest).collect::<Vec<_>>(), [false, true]);
    done(&place, &flow, "etl").await;
    let rotation = flow.secrets().rotate().await.unwrap();
    assert_eq!((rotation.resealed, rotation.values_by_key), (2, [(new.id(), 2)].into()));
    flow.secrets().remove(&SecretScope::Global, &name("A")).await.unwrap();
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
async fn a_new_value_is_for_the_next_attempt_and_an_old_one_is_gone() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    let flow = started(keyed(&place, &key())).await;
    let secrets = flow.secrets();
    let set = secrets.set(&SecretScope::Global, &name("A"), Secret::new("the-first-value")).await.unwrap();
    assert_eq!((set.version.get(), set.is_masked), (1, true));
    done(&place, &flow, "etl").await;
    let set = secrets.set(&SecretScope::Global, &name("A"), Secret::new("short")).await.unwrap();
    assert_eq!((set.version.get(), set.is_masked), (2, false));
    done(&place, &flow, "etl").await;
    assert_eq!(found(&place)["A"], "short");
    secrets.remove(&SecretScope::Global, &name("A")).await.unwrap();
    refused(secrets.remove(&SecretScope::Global, &name("A")).await, ErrorKind::NotFound, &[]);
    let run = run(&flow, place.ask("etl")).await;
    assert_eq!(*start_failure(&run).0, StartFailureKind::SecretMissing);
    let versions = secrets.versions(&SecretScope::Global, &name("A")).await.unwrap();
    assert!(versions.len() == 2 && versions.iter().all(|version| version.ended_at.is_some()), "{versions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_key_that_is_in_use_does_not_start() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    let (old, new) = (key(), key());
    let flow = started(keyed(&place, &old)).await;
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("value-of-A")).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    for builder in [place.builder(), keyed(&place, &new)] {
        let flow = builder.build().await.unwrap();
        let id = old.id().to_string();
        refused(flow.start().await, ErrorKind::Invalid, &["master key", &id]);
        flow.shutdown(Shutdown::Detach).await.unwrap();
    }

    let both = || keyed(&place, &new).older_master_key(MasterKeySource::Key(old.clone()));
    let flow = started_after(both).await;
    done(&place, &flow, "etl").await;
    let rotation = flow.secrets().rotate().await.unwrap();
    assert_eq!((rotation.resealed, rotation.values_by_key), (1, [(new.id(), 1)].into()));
    assert_eq!(flow.secrets().rotate().await.unwrap().resealed, 0);
    let idle = flow.secrets().keys().await.unwrap();
    let idle = idle.iter().find(|key| key.key == old.id()).unwrap();
    assert!(idle.values == 0 && !idle.seals, "{idle:?}");
    flow.shutdown(Shutdown::Detach).await.unwrap();

    let flow = started_after(|| keyed(&place, &new)).await;
    done(&place, &flow, "etl").await;
    assert_eq!(found(&place)["A"], "value-of-A");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_master_key_nothing_is_sealed() {
    let place = Place::new();
    let flow = place.start().await;
    let set = flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("value-of-A")).await;
    refused(set, ErrorKind::Invalid, &["master key"]);
    assert!(flow.secrets().list(&SecretQuery::default()).await.unwrap().is_empty());
    flow.secrets().set_parameter(&SecretScope::Global, &name("REGION"), "eu").await.unwrap();
}

/// Does not answer at first.
#[derive(Debug)]
struct Slow(Arc<AtomicU32>);

#[async_trait::async_trait]
impl SecretStore for Slow {
    fn kind(&self) -> &'static str {
        "slow"
    }

    async fn find(
        &self,
        names: &BTreeSet<SecretName>,
        _: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>> {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            return Err(Error::new(ErrorKind::Unavailable, "the vault is sealed"));
        }
        let found = |name: &SecretName| FoundSecret::secret("slow", name.clone(), Secret::new("slow-value"));
        Ok(names.iter().map(|name| (name.clone(), found(name))).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_those_who_have_secrets_and_takes_the_stores_own_first() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A", "B"]}));
    let asked = Arc::new(AtomicU32::new(0));
    let flow = started(keyed(&place, &key()).secret_store(Slow(Arc::clone(&asked)))).await;
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("stored-value")).await.unwrap();
    let ran = done(&place, &flow, "etl").await;
    assert_eq!(
        found(&place),
        [("A", "stored-value"), ("B", "slow-value")].map(|(a, b)| (a.into(), b.into())).into()
    );
    assert_eq!((asked.load(Ordering::Relaxed), ran.attempt, ran.failed_attempts), (2, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_says_and_hands_on_is_masked() {
    let place = Place::new();
    let say = "import json, os\nprint('token is', os.environ['TOKEN'])\njson.dump({'token': os.environ['TOKEN'], 'rows': 7}, open(os.environ['FASTFLOW_OUTPUT_FILE'], 'w'))\n";
    let triggers = json!([{"pipeline": "next", "parameters": {"A": "token", "B": "rows"}}]);
    place.pipeline("etl", say).file(
        "etl/pipeline.json",
        json!({"secrets": ["TOKEN"], "downstream_triggers": triggers}).to_string(),
    );
    declared(&place, "next", &json!({"default_env": {"TMP_DIR": place.tmp().display().to_string()}}));
    let flow = started(keyed(&place, &key())).await;
    flow.secrets().set(&SecretScope::Global, &name("TOKEN"), Secret::new("canary-value-1")).await.unwrap();
    let ran = run(&flow, "etl").await;
    assert_eq!(ran.status(), Status::Success, "{:?}", ran.failure());
    assert_eq!(lines(&flow, ran.id, LogStream::Out).await, ["token is ***"]);
    let report = attempts(&flow, ran.id).await.remove(0).report.unwrap();
    assert_eq!(report.log.masked, 2);
    crate::kit::until("the next to end", || async { !place.said("found").is_empty() }).await;
    let next = flow.runs().list(&fastflow_core::store::RunQuery::default()).await.unwrap().items.remove(0);
    let next = ended(&flow, next.id).await;
    assert_eq!(next.parameters[&"A".parse::<EnvName>().unwrap()], "***");
    assert_eq!(next.parameters[&"B".parse::<EnvName>().unwrap()], "7");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_installation_is_refused_and_its_owner_helps() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    let key = key();
    let flow = started(keyed(&place, &key)).await;
    flow.secrets().set(&SecretScope::Global, &name("A"), Secret::new("value-of-A")).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let owner = place.data().join("owner");
    let kept = std::fs::read(&owner).unwrap();
    std::fs::remove_file(&owner).unwrap();
    let flow = started_nothing(&place, &key).await;
    refused(flow.start().await, ErrorKind::Invalid, &["another installation", "`owner`"]);
    flow.shutdown(Shutdown::Detach).await.unwrap();
    std::fs::write(&owner, kept).unwrap();
    let flow = started_after(|| keyed(&place, &key)).await;
    done(&place, &flow, "etl").await;
}

/// Built, and not started.
async fn started_nothing(place: &Place, key: &MasterKey) -> Orchestrator {
    keyed(place, key).build().await.unwrap()
}

/// Never answers.
#[derive(Debug)]
struct Deaf;

#[async_trait::async_trait]
impl SecretStore for Deaf {
    fn kind(&self) -> &'static str {
        "deaf"
    }

    async fn find(
        &self,
        _: &BTreeSet<SecretName>,
        _: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>> {
        std::future::pending().await
    }
}

/// The machine's clock, for somebody who cannot wait: the time that stores have passes in a moment.
#[derive(Debug)]
struct Hasty(SystemClock);

#[async_trait::async_trait]
impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        let is_patience = duration == Duration::from_mins(5);
        self.0.sleep(if is_patience { Duration::from_millis(20) } else { duration }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_holds_a_run_for_a_while_and_not_for_ever() {
    let place = Place::new();
    declared(&place, "etl", &json!({"secrets": ["A"]}));
    place.pipeline("other", TELL);
    let builder = keyed(&place, &key()).secret_store(Deaf).clock(Hasty(SystemClock::new()));
    let flow = started(builder.max_concurrent_runs(std::num::NonZeroU32::MIN)).await;
    let held = flow.submit(place.ask("etl")).await.unwrap();
    // There is one place, which the other one needs.
    crate::kit::until("the run to be tried", || async {
        flow.runs().get(held.id).await.unwrap().attempt > 0
    })
    .await;
    done(&place, &flow, "other").await;
    let first = attempts(&flow, held.id).await.remove(0);
    let said = format!("{:?}", first.end);
    assert!(said.contains("SecretsUnavailable") || said.contains("NeverStarted"), "{said}");
    flow.runs().cancel(held.id).await.unwrap();
    assert_eq!(ended(&flow, held.id).await.status(), Status::Cancelled);
}

/// The machine takes the shim with the program for want of memory: nobody has masked anything.
#[derive(Debug)]
struct Starved(ProcessExecutor);

#[derive(Debug)]
struct StarvedExecution {
    inner: Box<dyn Execution>,
    run_dir: PathBuf,
}

#[async_trait::async_trait]
impl Executor for Starved {
    fn kind(&self) -> &'static str {
        "starved"
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn probe(&self) -> Result<()> {
        self.0.probe().await
    }

    async fn start(&self, spec: AttemptSpec) -> Result<Start> {
        let run_dir = spec.run_dir.clone();
        Ok(match self.0.start(spec).await? {
            Start::Started(inner) => Start::Started(Box::new(StarvedExecution { inner, run_dir })),
            failed @ Start::Failed(_) => failed,
        })
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<ExecutionHandle>> {
        self.0.list(owner).await
    }

    async fn reattach(&self, attempt: &AttemptRef) -> Result<Reattached> {
        self.0.reattach(attempt).await
    }
}

#[async_trait::async_trait]
impl Execution for StarvedExecution {
    fn handle(&self) -> &ExecutionHandle {
        self.inner.handle()
    }

    async fn wait(&self) -> Result<Ended> {
        let Ended::Exited(mut report) = self.inner.wait().await? else { panic!("it ran to its end") };
        std::fs::remove_file(self.run_dir.join("exit.json"))?;
        std::fs::write(self.run_dir.join("work/.fastflow-output.json"), r#"{"token": "canary-value-1"}"#)?;
        report.exit = Exit::OutOfMemory;
        Ok(Ended::Exited(report))
    }

    async fn stop(&self, grace: Duration, cause: StopCause) -> Result<()> {
        self.inner.stop(grace, cause).await
    }

    async fn remove(&self) -> Result<()> {
        self.inner.remove().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_nobody_has_masked_are_handed_on_to_nobody() {
    let place = Place::new();
    let triggers =
        json!([{"pipeline": "next", "on_failure": true, "on_success": false, "parameters": {"A": "token"}}]);
    declared(&place, "etl", &json!({"secrets": ["TOKEN"], "downstream_triggers": triggers}));
    declared(&place, "next", &json!({}));
    let inner = ProcessExecutor::new(&ProcessConfig::new(place.root().join("executor")), crate::kit::clock());
    let flow = started(keyed(&place, &key()).executor("starved", Starved(inner.unwrap()))).await;
    flow.secrets().set(&SecretScope::Global, &name("TOKEN"), Secret::new("canary-value-1")).await.unwrap();
    let ran = run(&flow, place.ask("etl")).await;
    assert_eq!(ran.failure(), Some(&Failure::Exit(Exit::OutOfMemory)));
    let said = crate::stage::decided(&flow, ran.id).await;
    assert!(said.iter().any(|note| note.contains("killed before its outputs")), "{said:?}");
    assert!(crate::stage::runs_of(&flow, "next").await.is_empty());
}
