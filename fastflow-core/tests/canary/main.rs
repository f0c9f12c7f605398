//! Secrets of local processes are found nowhere, whatever becomes of them.
//!
//! `FASTFLOW_SEED` repeats the order of the runs and the moments of their ends, as far as the machine allows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../host/kit.rs"]
mod kit;

use std::path::Path;

use async_trait::async_trait;
use fastflow_core::{
    Orchestrator, OrchestratorBuilder,
    testing::{canary::CanaryFixture, torture::TortureFixture},
};

use self::kit::configured;

/// Local processes.
struct Process;

#[async_trait]
impl TortureFixture for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn builder(&self, stage: &Path) -> Option<OrchestratorBuilder> {
        Some(configured(Orchestrator::builder(stage.join("data")).pipelines(stage.join("pipelines"))))
    }
}

impl CanaryFixture for Process {}

fastflow_core::executor_canary!(Process);
