//! Registers an executor of our own, and runs a pipeline on it.

mod executor;

use std::{error::Error, sync::Arc};

use executor::PatientExecutor;
use fastflow_core::{
    Orchestrator, Shutdown, Submission, SystemClock,
    executor::{ProcessConfig, ProcessExecutor},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let data = std::path::absolute("target/custom_executor")?;
    let config = ProcessConfig::new(data.join("patient"));
    let patient = PatientExecutor::new(ProcessExecutor::new(&config, Arc::new(SystemClock::new()))?)?;

    let flow = Orchestrator::builder(data)
        .pipelines("examples/pipelines")
        .executor("patient", patient)
        .build()
        .await?;
    flow.start().await?;

    // The first executor is the default; a pipeline chooses another with `"executor": "name"`.
    let run = flow.submit(Submission::new("hello").parameter("who", "everybody else first")).await?;
    let run = flow.runs().wait(run.id).await?;
    assert_eq!(run.failure(), None);

    flow.shutdown(Shutdown::Detach).await?;
    Ok(())
}
