//! The smallest program that runs a folder of Python.

use fastflow_core::{Orchestrator, Shutdown, Submission};

#[tokio::main]
async fn main() -> fastflow_core::Result<()> {
    let flow = Orchestrator::builder("target/embed").pipelines("examples/pipelines").build().await?;
    flow.start().await?;

    let run = flow.submit(Submission::new("hello").parameter("who", "Rust")).await?;
    let run = flow.runs().wait(run.id).await?;
    assert_eq!(run.failure(), None);

    flow.shutdown(Shutdown::Detach).await
}
