//! The life of attempts, as far as an engine is asked about it.

use std::{
    collections::{BTreeMap, HashMap},
    fs::Permissions,
    num::NonZeroU32,
    os::unix::fs::PermissionsExt as _,
    panic::{AssertUnwindSafe, resume_unwind},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bollard::{
    errors::Error,
    query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder},
};

use fastflow_core::{
    AttemptId, Clock as _, OsEntropy, OwnerId, Result, RunId, SystemClock,
    environment::{SetupLog, ToolCall, ToolFailure, ToolStatus},
    executor::{
        AttemptRef, AttemptSpec, Ended, Execution, Executor, Network, Reattached, Start,
        container::{ContainerConfig, ContainerExecutor, PullPolicy},
    },
    run::{Exit, StopCause},
    testing::tool,
};
use fastflow_docker::{DockerConfig, DockerHost};
use futures::FutureExt as _;
use tempfile::TempDir;

use crate::socket::docker;

/// How long what was used may stay in use.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(20);
const CLEAR_INTERVAL: Duration = Duration::from_millis(50);
/// A grace that no program here needs.
const GRACE: Duration = Duration::from_secs(10);

/// Attempts in folders of their own, and who they belong to.
pub(crate) struct Life {
    folder: TempDir,
    /// In memory.
    orders: TempDir,
    owner: OwnerId,
    image: String,
    /// The engine itself, whatever stands before it for others.
    pub(crate) engine: PathBuf,
}

struct Silent;

impl SetupLog for Silent {
    fn line(&self, _: &str) {}
}

/// Runs a test with an engine, and takes away what it made there, also if it fails.
pub(crate) async fn with_life(test: impl AsyncFnOnce(&Life)) {
    let Some((host, image)) = tool::docker() else {
        return tool::require("docker", "start the engines with `tools/setup-engines`");
    };
    let Ok(DockerHost::Unix(engine)) = host.parse() else {
        return tool::require("docker", "the engine has no socket on this machine");
    };
    let owner = format!("test-{}", RunId::new(&SystemClock::new(), &OsEntropy)).parse().unwrap();
    let private = Permissions::from_mode(0o700);
    let orders = tempfile::Builder::new().permissions(private).tempdir_in("/dev/shm").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let life = Life { folder, orders, owner, image, engine };
    let result = AssertUnwindSafe(test(&life)).catch_unwind().await;
    life.clear().await;
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

impl Life {
    /// An executor over the engine at `address`, as a host of its own would have it.
    pub(crate) fn executor(&self, address: &str) -> ContainerExecutor {
        let mut docker = DockerConfig::default();
        docker.host = Some(address.parse().unwrap());
        let mut containers = ContainerConfig::new(self.folder.path().join("state"));
        containers.image = self.image.parse().unwrap();
        containers.pull = PullPolicy::Never;
        containers.order_dir = Some(self.orders.path().to_owned());
        // Of its own, so that somebody has to make it.
        containers.network = self.network();
        fastflow_docker::executor(docker, containers, Arc::new(SystemClock::new())).unwrap()
    }

    /// An executor that nothing stands before.
    pub(crate) fn direct(&self) -> ContainerExecutor {
        self.executor(&format!("unix://{}", self.engine.display()))
    }

    pub(crate) fn spec(&self, script: &str) -> AttemptSpec {
        let id = AttemptId { run: RunId::new(&SystemClock::new(), &OsEntropy), number: NonZeroU32::MIN };
        let run_dir = self.folder.path().join(id.to_string());
        std::fs::create_dir(&run_dir).unwrap();
        let argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
        AttemptSpec::new(id, self.owner.clone(), argv, run_dir)
    }

    /// Everything that an executor does: tools, starts, waits, finding again, stops, lists, removals.
    pub(crate) async fn live(&self, executor: &dyn Executor, other: &dyn Executor) -> Result<()> {
        executor.probe().await?;
        self.use_tool(executor).await?;
        assert_eq!(self.run(executor, "exit 3").await?, Exit::Code(3));

        let mut spec = self.spec("touch ready; sleep 60");
        spec.network = Network::None;
        let execution = started(executor.start(spec.clone()).await?);
        let listed = executor.list(&self.owner).await?;
        assert_eq!(listed.iter().map(|handle| handle.attempt).collect::<Vec<_>>(), [spec.id]);
        let attempt = AttemptRef {
            id: spec.id,
            owner: self.owner.clone(),
            run_dir: spec.run_dir.clone(),
            handle: Some(execution.handle().clone()),
        };
        let Reattached::Found(again) = other.reattach(&attempt).await? else { panic!("not found") };
        again.stop(GRACE, StopCause::Cancelled).await?;
        for execution in [execution, again] {
            let Ended::Exited(report) = execution.wait().await? else { panic!("not an end") };
            assert_eq!((report.exit, report.stopped_by), (Exit::Signal(15), Some(StopCause::Cancelled)));
            execution.remove().await?;
        }
        assert!(executor.list(&self.owner).await?.is_empty());
        Ok(())
    }

    /// Runs a script to its end.
    pub(crate) async fn run(&self, executor: &dyn Executor, script: &str) -> Result<Exit> {
        let execution = started(executor.start(self.spec(script)).await?);
        let Ended::Exited(report) = execution.wait().await? else { panic!("not an end") };
        execution.remove().await?;
        Ok(report.exit)
    }

    async fn use_tool(&self, executor: &dyn Executor) -> Result<()> {
        let bench = executor.workbench(None, &Silent).await?.unwrap();
        let writes = tempfile::tempdir_in(self.folder.path()).unwrap();
        let call = ToolCall {
            program: "/bin/true".into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            directory: writes.path().to_owned(),
            reads: Vec::new(),
            writes: vec![writes.path().to_owned()],
            timeout: Duration::from_mins(1),
            lock: None,
        };
        match bench.run(call, &Silent).await {
            Ok(end) => assert_eq!(end.status, ToolStatus::Code(0)),
            Err(ToolFailure::Place(error)) => return Err(error),
            Err(other) => panic!("{other:?}"),
        }
        Ok(())
    }

    fn network(&self) -> String {
        format!("fastflow-{}", self.owner)
    }

    /// Removes what is left: at least the network, which executors keep for the next attempt.
    async fn clear(&self) {
        let docker = docker(&self.engine);
        let filters = HashMap::from([("label", vec![format!("fastflow.owner={}", self.owner)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        for container in docker.list_containers(Some(options)).await.unwrap() {
            docker.remove_container(&container.id.unwrap(), Some(force.clone())).await.unwrap();
        }
        // The container of a tool goes after the tool, and until then the network is in use.
        let clock = SystemClock::new();
        let end = clock.elapsed() + CLEAR_TIMEOUT;
        loop {
            match docker.remove_network(&self.network()).await {
                Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => return,
                Err(error) => assert!(clock.elapsed() < end, "{error}"),
            }
            clock.sleep(CLEAR_INTERVAL).await;
        }
    }

    /// Whether nothing is left of any attempt: no container, and no order.
    pub(crate) async fn is_over(&self) -> bool {
        let orders = std::fs::read_dir(self.orders.path()).unwrap();
        orders.count() == 0 && self.direct().list(&self.owner).await.unwrap().is_empty()
    }
}

pub(crate) fn started(start: Start) -> Box<dyn Execution> {
    match start {
        Start::Started(execution) => execution,
        Start::Failed(failure) => panic!("not started: {failure:?}"),
    }
}
