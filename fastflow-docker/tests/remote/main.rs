//! An engine that does not see the files of this machine is refused before anything runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    num::NonZeroU32,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use fastflow_core::{
    AttemptId, Error, ErrorKind, OsEntropy, OwnerId, RunId, SystemClock,
    environment::{SetupLog, ToolCall, ToolFailure},
    executor::{
        AttemptSpec, Executor, Network,
        container::{ContainerConfig, ContainerExecutor, PullPolicy},
    },
    testing::tool,
};
use fastflow_docker::DockerConfig;
use tokio::net::{TcpListener, UnixStream};

/// A folder over which this process alone has mounted another.
const FOLDER: &str = "FASTFLOW_TEST_FOLDER";
/// Mounts it, and goes on as the test program.
const SCRIPT: &str = r#"mount -t tmpfs -o mode=0755 tmpfs "$FASTFLOW_TEST_FOLDER" && exec "$0" "$@""#;

struct Silent;

impl SetupLog for Silent {
    fn line(&self, _: &str) {}
}

#[test]
fn an_engine_of_another_machine_is_refused_and_nothing_is_left() {
    if tool::docker().is_none() {
        return tool::require("docker", "start the engines with `tools/setup-engines`");
    }
    let folder = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", SCRIPT]).arg(this);
    command.args(["--exact", "on_another_machine", "--ignored", "--nocapture"]);
    let output = command.env(FOLDER, folder.path()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "the engine's side of the folder");
}

/// Not a test of its own: the process whose files the engine does not see.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the host program of another test"]
async fn on_another_machine() {
    let Some(folder) = variable(FOLDER).map(PathBuf::from) else { return };
    let executor = executor(&folder, &far_engine().await);
    let owner: OwnerId = format!("test-{}", RunId::new(&SystemClock::new(), &OsEntropy)).parse().unwrap();

    let id = AttemptId { run: RunId::new(&SystemClock::new(), &OsEntropy), number: NonZeroU32::MIN };
    let run_dir = folder.join(id.to_string());
    fs::create_dir(&run_dir).unwrap();
    let mut spec = AttemptSpec::new(id, owner.clone(), vec!["/bin/true".to_owned()], run_dir);
    spec.network = Network::None;
    is_clear(&executor.start(spec.clone()).await.unwrap_err());

    // Nor is one kept warm there, and nor does a tool run.
    is_clear(&executor.keep_warm(&spec, 1).await.unwrap_err());
    let bench = executor.workbench(None, &Silent).await.unwrap().unwrap();
    match bench.run(call(&folder), &Silent).await {
        Err(ToolFailure::Place(error)) => is_clear(&error),
        other => panic!("{other:?}"),
    }

    assert!(executor.list(&owner).await.unwrap().is_empty());
    let left: Vec<_> = fs::read_dir(folder.join("orders")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn is_clear(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.to_string().contains("does the engine see the files of this machine?"), "{error:?}");
}

fn executor(folder: &Path, address: &str) -> ContainerExecutor {
    let orders = folder.join("orders");
    fs::DirBuilder::new().mode(0o700).create(&orders).unwrap();
    let mut docker = DockerConfig::default();
    docker.host = Some(address.parse().unwrap());
    let mut containers = ContainerConfig::new(folder.join("state"));
    containers.image = tool::docker().unwrap().1.parse().unwrap();
    containers.pull = PullPolicy::Never;
    containers.order_dir = Some(orders);
    fastflow_docker::executor(docker, containers, Arc::new(SystemClock::new())).unwrap()
}

fn call(folder: &Path) -> ToolCall {
    ToolCall {
        program: "/bin/true".into(),
        args: Vec::new(),
        env: BTreeMap::new(),
        directory: folder.to_owned(),
        reads: Vec::new(),
        writes: Vec::new(),
        timeout: Duration::from_mins(1),
        lock: None,
    }
}

/// The engine over TCP, as one of another machine is reached.
async fn far_engine() -> String {
    let socket = tool::docker().unwrap().0.strip_prefix("unix://").map(PathBuf::from).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = UnixStream::connect(&socket).await.unwrap();
            // Whoever hangs up first ends it.
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    address
}

#[expect(clippy::disallowed_methods, reason = "the host is configured by the test that starts it")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
