//! Hosts that die at any moment: the storm over local processes, and moments of its own that it seldom hits.
//!
//! `FASTFLOW_SEED` repeats a plan and its kills, as far as the machine allows; `FASTFLOW_KILLS` sets how many.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod build;
mod drain;
mod host;
#[path = "../host/kit.rs"]
mod kit;
mod lock;
mod restart;

use std::path::Path;

use async_trait::async_trait;
use fastflow_core::{Orchestrator, OrchestratorBuilder, testing::torture::TortureFixture};

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

fastflow_core::executor_torture!(Process);
