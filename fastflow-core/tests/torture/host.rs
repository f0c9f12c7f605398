//! The host process of the tests that wait for a moment of their own: this test program, started again to be killed.

use std::{fs, path::Path};

use fastflow_core::{
    Orchestrator, OrchestratorBuilder,
    testing::torture::{HostProcess, Part},
};

use crate::{drain, kit::configured, restart};

/// Starts one.
pub(crate) fn start(role: &str, root: &Path) -> HostProcess {
    HostProcess::start(concat!(module_path!(), "::as_another_host"), role, root, 0)
}

/// Not a test of its own: what the driver starts.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the host process of other tests"]
async fn as_another_host() {
    let Some(part) = Part::of_this_process() else { return };
    match part.role.as_str() {
        "drain" => drain::drain(&part.stage).await,
        "restart" => restart::restart_often(&part.stage).await,
        "idle" => idle(&part.stage).await,
        other => panic!("no such role: {other}"),
    }
}

pub(crate) fn builder(root: &Path) -> OrchestratorBuilder {
    configured(Orchestrator::builder(root.join("data")).pipelines(root.join("pipelines")))
}

/// Tells whether it could be built, and then only is there.
async fn idle(root: &Path) {
    let answer = root.join(format!("answer-{}", std::process::id()));
    match builder(root).build().await {
        Ok(flow) => {
            flow.start().await.unwrap();
            fs::write(answer, "started").unwrap();
            std::future::pending::<()>().await;
        }
        Err(error) => fs::write(answer, error.chain()).unwrap(),
    }
}
