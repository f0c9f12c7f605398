//! What is left of a secret in what a program says and leaves.

use std::{path::PathBuf, time::Duration};

use fastflow_core::{
    OwnerId, Result,
    executor::{
        AttemptRef, AttemptSpec, Capabilities, Ended, Execution, ExecutionHandle, Executor, ProcessConfig,
        ProcessExecutor, Reattached, Start,
    },
    journal::LogStream,
    pipeline::EnvName,
    run::{Exit, Failure, Status, StopCause},
    secret::{Secret, SecretScope},
};
use serde_json::json;

use super::{declared, key, keyed, name};
use crate::kit::{Place, attempts, ended, lines, run, started};

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
