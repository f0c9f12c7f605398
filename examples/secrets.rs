//! A secret, from the database to a program, and what is left of it in the log.

use std::path::Path;

use fastflow_core::{
    Orchestrator, OsEntropy, Shutdown,
    secret::{MasterKeySource, Secret, SecretScope, generate_key_file, leave_no_dumps},
};

/// Shows its secret in a few ways in which that happens by accident.
const PROGRAM: &str = r#"import base64, os

token = os.environ["TOKEN"]
print("as it is:", token)
print("in a header:", base64.b64encode(f"user:{token}".encode()).decode())
print("its length:", len(token))
"#;

#[tokio::main]
async fn main() -> fastflow_core::Result<()> {
    leave_no_dumps()?;
    let folder = Path::new("target/secrets");
    let pipeline = folder.join("pipelines/upload");
    std::fs::create_dir_all(&pipeline)?;
    std::fs::write(pipeline.join("main.py"), PROGRAM)?;
    std::fs::write(pipeline.join("pipeline.json"), r#"{"secrets": ["TOKEN"]}"#)?;

    // Beside the data, not in it: a copy of the one is worth nothing without the other.
    let key = folder.join("keys/master.key");
    if !key.exists() {
        generate_key_file(&key, &OsEntropy)?;
    }
    let flow = Orchestrator::builder(folder.join("data"))
        .pipelines(folder.join("pipelines"))
        .master_key(MasterKeySource::File(key))
        .build()
        .await?;
    flow.start().await?;

    let name = "TOKEN".parse()?;
    let set = flow.secrets().set(&SecretScope::Global, &name, Secret::new("correct horse battery")).await?;
    anstream::println!("TOKEN has version {}", set.version);
    let run = flow.submit("upload").await?;
    let mut lines = flow.runs().follow(run.id);
    while let Some(line) = futures::StreamExt::next(&mut lines).await.transpose()? {
        anstream::println!("  {}", line.line.text());
    }
    let run = flow.runs().wait(run.id).await?;
    anstream::println!("  {}", run.status());
    for attempt in flow.runs().attempts(run.id).await? {
        for used in attempt.setup.into_iter().flat_map(|setup| setup.secrets) {
            anstream::println!("it got {used}");
        }
        let masked = attempt.report.map_or(0, |report| report.log.masked);
        anstream::println!("masked {masked} times");
    }
    flow.shutdown(Shutdown::Detach).await
}
