//! The torture of executors over a container engine.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Monitor, Storm, TortureFixture};
use crate::{
    Clock, Orchestrator, OrchestratorBuilder, OwnerId, Result, SystemClock,
    environment::SetupLog,
    executor::{
        Executor as _, ImageName,
        container::{
            Access, ContainerConfig, ContainerEngine, ContainerExecutor, ContainerId, ContainerSignal,
            ContainerSpec, ContainerState, EngineInfo, ImageInfo, Mount, PullPolicy,
        },
    },
};

/// Containers of an engine under torture. The engine has Docker's API on a socket of this machine, besides its own.
///
/// ```
/// use std::sync::Arc;
/// use fastflow_core::{Clock, executor::container::ContainerEngine, testing::{tool, torture::Containers}};
///
/// fn docker(connect: fn(&str, Arc<dyn Clock>) -> Arc<dyn ContainerEngine>) -> Containers {
///     Containers { name: "docker", engine: tool::docker, connect }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Containers {
    /// The name by which `FASTFLOW_REQUIRE` requires the engine.
    pub name: &'static str,
    /// Where the engine is, and the image of the tests in it. `None` where there is none.
    pub engine: fn() -> Option<(String, String)>,
    /// Talks to it.
    pub connect: fn(&str, Arc<dyn Clock>) -> Arc<dyn ContainerEngine>,
}

impl Containers {
    fn executor(&self, stage: &Path) -> Option<ContainerExecutor> {
        let (address, image) = (self.engine)()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let engine = Witnessed {
            engine: (self.connect)(&address, Arc::clone(&clock)),
            folders: ["witness", "said"].map(|folder| stage.join(folder)),
        };
        let mut config = ContainerConfig::new(state_dir(stage));
        config.image = image.parse().unwrap();
        config.pull = PullPolicy::Never;
        config.order_dir = Some(order_dir(stage));
        Some(ContainerExecutor::new(engine, config, clock).unwrap())
    }
}

#[async_trait]
impl TortureFixture for Containers {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn builder(&self, stage: &Path) -> Option<OrchestratorBuilder> {
        let executor = self.executor(stage)?;
        let builder = Orchestrator::builder(stage.join("data")).pipelines(stage.join("pipelines"));
        Some(builder.executor(self.name, executor))
    }

    fn settings(&self) -> Map<String, Value> {
        json!({ "network": "none", "warm": WARM }).as_object().unwrap().clone()
    }

    /// Containers take a while to make. Their hosts live so long that many die in the middle of that.
    fn storm(&self) -> Storm {
        Storm {
            in_flight: 4,
            shortest_life: Duration::from_millis(100),
            longest_life: Duration::from_secs(5),
            calm: Duration::from_secs(90),
            ..Storm::default()
        }
    }

    fn monitor(&self) -> Monitor {
        Monitor::FirstProcess
    }

    async fn left(&self, stage: &Path, owner: &OwnerId) -> Vec<String> {
        // The last host may have died over a sandbox that it was making; the next one clears that away.
        self.executor(stage).unwrap().list(owner).await.unwrap();
        let (stage, owner) = (stage.to_owned(), owner.clone());
        let (address, _) = (self.engine)().unwrap();
        let asked = move || {
            let (waiting, others): (Vec<_>, Vec<_>) = containers(&address, &stage, &owner)
                .into_iter()
                .partition(|one| is_waiting(one, &stage, &owner));
            let mut left: Vec<String> =
                others.iter().map(|one| format!("{} {}", one.name, one.state)).collect();
            left.extend(files(&order_dir(&stage)));
            for folder in ["serving", "tools"] {
                left.extend(files(&state_dir(&stage).join(folder)));
            }
            left.extend(
                slots(&stage, &owner).into_iter().filter(|slot| !waiting.iter().any(|one| one.name == *slot)),
            );
            if left.is_empty() {
                // What waits ends with the test; nothing but what is in memory outlives the stage.
                for one in &waiting {
                    remove(&address, &one.name);
                }
                let _ = fs::remove_dir_all(order_dir(&stage));
            }
            left
        };
        tokio::task::spawn_blocking(asked).await.unwrap()
    }
}

/// How many sandboxes wait for each pipeline. All pipelines of a storm can use the same.
const WARM: u32 = 2;

/// Whether a sandbox waits for an attempt, as it should: it lives, and a folder of its name does.
fn is_waiting(container: &Container, stage: &Path, owner: &OwnerId) -> bool {
    container.state == "running" && slots(stage, owner).contains(&container.name)
}

/// The names in the folders of warm sandboxes.
fn slots(stage: &Path, owner: &OwnerId) -> Vec<String> {
    let classes = names(&state_dir(stage).join("warm").join(owner.as_str()));
    classes
        .iter()
        .flat_map(|class| names(class))
        .filter_map(|slot| Some(slot.file_name()?.to_str()?.to_owned()))
        .collect()
}

fn names(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn remove(address: &str, container: &str) {
    curl(address, &["--request", "DELETE"], &format!("/containers/{container}?force=1&v=1"));
}

fn state_dir(stage: &Path) -> PathBuf {
    stage.join("containers")
}

/// In memory, and nobody else's.
fn order_dir(stage: &Path) -> PathBuf {
    Path::new("/dev/shm").join(format!("fastflow-torture{}", stage.file_name().unwrap().display()))
}

/// All containers of this installation and this stage, as the engine itself tells without the code that is tested.
fn containers(address: &str, stage: &Path, owner: &OwnerId) -> Vec<Container> {
    let listed = ask(address, "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22fastflow.kind%22%5D%7D");
    let of_stage = |container: &&Value| {
        if container["Labels"]["fastflow.owner"] == owner.as_str() {
            return true;
        }
        // Containers of tools belong to no installation. Gone meanwhile is fine.
        let found = ask(address, &format!("/containers/{}/json", container["Id"].as_str().unwrap()));
        let mounts = found["Mounts"].as_array().cloned().unwrap_or_default();
        mounts
            .iter()
            .any(|mount| mount["Source"].as_str().is_some_and(|path| Path::new(path).starts_with(stage)))
    };
    let listed = listed.as_array().expect("the engine lists its containers");
    let seen = |one: &Value| Container {
        name: one["Names"][0].as_str().unwrap_or_default().trim_start_matches('/').to_owned(),
        state: one["State"].as_str().unwrap_or_default().to_owned(),
    };
    listed.iter().filter(of_stage).map(seen).collect()
}

/// A container as its engine tells.
struct Container {
    name: String,
    state: String,
}

pub(in crate::testing) fn ask(address: &str, path: &str) -> Value {
    serde_json::from_slice(&curl(address, &[], path)).unwrap()
}

pub(in crate::testing) fn curl(address: &str, options: &[&str], path: &str) -> Vec<u8> {
    let socket = address.strip_prefix("unix://").expect("the engine of the tests has a socket");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30", "--unix-socket", socket]);
    let answer = curl.args(options).arg(format!("http://engine{path}")).output().unwrap();
    assert!(answer.status.success(), "{path}: {}", String::from_utf8_lossy(&answer.stderr));
    answer.stdout
}

/// Everything in a folder that is no folder, at any depth, and what lies directly in it.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return found,
        entries => entries.unwrap(),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

/// An engine that adds the folders of witnesses to every container, and changes nothing else.
#[derive(Debug)]
struct Witnessed {
    engine: Arc<dyn ContainerEngine>,
    folders: [PathBuf; 2],
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ContainerEngine for Witnessed {
    fn kind(&self) -> &'static str {
        self.engine.kind()
    }

    async fn info(&self) -> Result<EngineInfo> {
        self.engine.info().await
    }

    async fn image(&self, image: &ImageName) -> Result<Option<ImageInfo>> {
        self.engine.image(image).await
    }

    async fn pull(&self, image: &ImageName, log: &dyn SetupLog) -> Result<()> {
        self.engine.pull(image, log).await
    }

    async fn ensure_network(&self, name: &str) -> Result<bool> {
        self.engine.ensure_network(name).await
    }

    async fn create(&self, container: &ContainerSpec) -> Result<ContainerId> {
        let mut container = container.clone();
        for folder in &self.folders {
            container.mounts.push(Mount::new(folder, folder, Access::ReadWrite));
        }
        self.engine.create(&container).await
    }

    async fn start(&self, container: &ContainerId) -> Result<()> {
        self.engine.start(container).await
    }

    async fn inspect(&self, container: &str) -> Result<Option<ContainerState>> {
        self.engine.inspect(container).await
    }

    async fn wait(&self, container: &ContainerId) -> Result<()> {
        self.engine.wait(container).await
    }

    async fn signal(&self, container: &ContainerId, signal: ContainerSignal) -> Result<bool> {
        self.engine.signal(container, signal).await
    }

    async fn unpause(&self, container: &ContainerId) -> Result<()> {
        self.engine.unpause(container).await
    }

    async fn remove(&self, container: &str) -> Result<()> {
        self.engine.remove(container).await
    }

    async fn list(&self, labels: &BTreeMap<String, String>) -> Result<Vec<ContainerState>> {
        self.engine.list(labels).await
    }
}
