//! A push is a deployment: a host that follows a git repository, and a push that it shows.
//!
//! Without an address it makes a repository of its own, which needs git; with one (`-- https://…`) it shows what is there.

use std::{path::Path, process::Command};

use fastflow_core::{
    Orchestrator, Shutdown,
    source::{GitConfig, InsecureScheme, SyncOutcome, SyncRequest},
};

#[tokio::main]
async fn main() -> fastflow_core::Result<()> {
    let folder = Path::new("target/deploy");
    let given = std::env::args().nth(1);
    let address = match &given {
        Some(address) => address.clone(),
        None => push(folder, "print('hello from the first commit')").await?,
    };
    let mut config = GitConfig::new(address);
    if given.is_none() {
        // The repository is a folder of this machine, which a host takes only where it is told so.
        config.insecure_schemes = vec![InsecureScheme::File];
    }
    let flow = Orchestrator::builder(folder.join("data")).git(config).build().await?;
    flow.start().await?;
    show(&flow).await?;

    if given.is_none() {
        run(&flow).await?;
        push(folder, "print('hello from the second commit')").await?;
        let sync = flow.source().sync(SyncRequest::default()).await?;
        if let SyncOutcome::Published { changes } = &sync.outcome {
            for change in changes {
                anstream::println!("{change}");
            }
        }
        show(&flow).await?;
        run(&flow).await?;
    }
    flow.shutdown(Shutdown::Detach).await
}

/// What is shown, and since when.
async fn show(flow: &Orchestrator) -> fastflow_core::Result<()> {
    let status = flow.source().status().await?;
    if let Some(commit) = &status.commit {
        let id = commit.id.short();
        anstream::println!("{} pipelines of {id} by {}: {}", status.pipelines, commit.author, commit.subject);
    }
    Ok(())
}

/// Runs the pipeline, and prints what it said.
async fn run(flow: &Orchestrator) -> fastflow_core::Result<()> {
    let run = flow.submit("greet").await?;
    let mut lines = flow.runs().follow(run.id);
    while let Some(line) = futures::StreamExt::next(&mut lines).await.transpose()? {
        anstream::println!("  {}", line.line.text());
    }
    anstream::println!("  {}", flow.runs().wait(run.id).await?.status());
    Ok(())
}

/// Commits a program to a repository in the folder, which is made if there is none, and returns its address.
async fn push(folder: &Path, program: &str) -> fastflow_core::Result<String> {
    let (repository, program) = (folder.join("repository"), program.to_owned());
    let pushed = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(repository.join("greet"))?;
        let repository = std::fs::canonicalize(repository)?;
        std::fs::write(repository.join("greet/main.py"), &program)?;
        let init: &[&str] = &["init", "--quiet", "--initial-branch=main"];
        for arguments in [
            if repository.join(".git").exists() { &["status", "--short"] } else { init },
            &["add", "--all"],
            &[
                "-c",
                "user.name=Ada",
                "-c",
                "user.email=ada@example.org",
                "commit",
                "--quiet",
                "--allow-empty",
            ],
        ] {
            let mut git = Command::new("git");
            git.current_dir(&repository).args(arguments);
            if arguments.contains(&"commit") {
                git.args(["--message", &format!("Say {}", &program[7..program.len() - 2])]);
            }
            if !git.status()?.success() {
                return Err(std::io::Error::other("git could not do it"));
            }
        }
        Ok(repository.display().to_string())
    });
    let pushed: std::io::Result<String> = pushed.await.map_err(std::io::Error::other)?;
    Ok(pushed?)
}
