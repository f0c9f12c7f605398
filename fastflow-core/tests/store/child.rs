//! A host process of its own, to be killed: this test binary, started again with one test.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
};

use fastflow_core::{
    Clock, OsEntropy, RunId, SystemClock, Timestamp,
    run::{Exit, NewRun, Origin, RunEvent},
    secret::{SecretName, SecretScope},
    store::{Claim, PutSecret, SecretContent, SqliteOptions, SqliteStore, Step, Store},
};

const PATH: &str = "FASTFLOW_TEST_STORE";
/// What the child says first.
pub(crate) const OPEN: &str = "child: open";

/// A running child.
pub(crate) struct Host {
    process: Child,
    _stdin: ChildStdin,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Host {
    /// Starts a child that has the store at `path` open and, with `busy`, works on it.
    pub(crate) fn start(path: &Path, busy: bool) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::the_child", "--nocapture"])
            .env(PATH, path)
            .env("FASTFLOW_TEST_BUSY", if busy { "1" } else { "0" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut host = Self { process, _stdin: stdin, lines };
        while host.line().expect("the child opens the store") != OPEN {}
        host
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next line; none when the child is gone.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.lines.next().transpose().unwrap()
    }

    /// Kills it with SIGKILL, and returns what it had still said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::iter::from_fn(|| self.line()).collect()
    }
}

/// A plain run that is due.
pub(crate) fn new_run(clock: &dyn Clock, parameter: &str) -> NewRun {
    let id = RunId::new(clock, &OsEntropy);
    NewRun {
        parameters: [("P".parse().unwrap(), parameter.to_owned())].into(),
        ..NewRun::new(id, crate::spec(), Origin::Manual, clock.now())
    }
}

/// The newest version that there ever was; 0 for none.
async fn newest_version(store: &SqliteStore, secret: &SecretName) -> u32 {
    let versions = store.secret_versions(&SecretScope::Global, secret).await.unwrap();
    versions.first().map_or(0, |newest| newest.version.get())
}

/// Puts a value that says which version it is.
async fn put_secret(store: &SqliteStore, secret: &SecretName, version: u32, at: Timestamp) {
    let content = SecretContent::Parameter(version.to_string());
    let (name, version) = (secret.clone(), version.try_into().unwrap());
    store.put_secret(PutSecret { scope: SecretScope::Global, name, version, content, at }).await.unwrap();
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Not a test of its own: it is the child, and does nothing unless it was started as one.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the parent hands its wishes over like this")]
async fn the_child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let clock = Arc::new(SystemClock::new());
    let store = SqliteStore::open(path, SqliteOptions::default(), clock.clone()).await.unwrap();
    store.host(None).await.unwrap();
    say("");
    say(OPEN);
    if std::env::var_os("FASTFLOW_TEST_BUSY").is_some_and(|busy| busy == "1") {
        for worker in 0..8 {
            let (store, clock) = (store.clone(), clock.clone());
            let secret: SecretName = format!("S{worker}").parse().unwrap();
            tokio::spawn(async move {
                let mut version = newest_version(&store, &secret).await;
                loop {
                    let id = store.create_run(new_run(&*clock, "x")).await.unwrap().id;
                    say(&format!("created {id}"));
                    for run in store.claim(Claim::new(clock.now(), 2.try_into().unwrap())).await.unwrap() {
                        let exit = RunEvent::Exited { exit: Exit::Code(0), stopped_by: None };
                        store.advance(Step::new(run.id, Some(run.epoch), exit, clock.now())).await.unwrap();
                        say(&format!("succeeded {}", run.id));
                    }
                    version += 1;
                    put_secret(&store, &secret, version, clock.now()).await;
                    say(&format!("put {secret} {version}"));
                }
            });
        }
    }
    // The parent never writes: this ends when it dies.
    tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().count()).await.unwrap();
}
