//! A real engine, containers in it that are gone after the test, and a second way to ask about them.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastflow_core::{
    Clock, SystemClock,
    environment::SetupLog,
    executor::container::{ContainerEngine, ContainerId, ContainerSpec, ContainerState, ContainerUser},
    testing::tool,
};
use fastflow_docker::{DockerConfig, DockerEngine, DockerHost};
use futures::FutureExt;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// How long something may take that takes no time at all on a machine with nothing else to do.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
const LABEL: &str = "fastflow.test";

/// What a test needs of the engine.
pub(crate) struct Lab {
    pub(crate) engine: DockerEngine,
    pub(crate) socket: PathBuf,
    /// The name of an image with a shell and Python.
    pub(crate) image: String,
    /// A folder that the engine can mount.
    pub(crate) folder: tempfile::TempDir,
    /// No other test has it.
    pub(crate) id: String,
}

/// Runs a test with the engine that `FASTFLOW_TEST_DOCKER` names, and takes away what it made there, also if it fails.
pub(crate) async fn with_docker(test: impl AsyncFnOnce(&Lab)) {
    let (Some(host), Some(image)) = (variable("FASTFLOW_TEST_DOCKER"), variable("FASTFLOW_TEST_IMAGE"))
    else {
        return tool::require(
            "docker",
            "FASTFLOW_TEST_DOCKER and FASTFLOW_TEST_IMAGE name no engine and no image",
        );
    };
    let Ok(DockerHost::Unix(socket)) = host.parse() else {
        panic!("FASTFLOW_TEST_DOCKER is no socket: {host}")
    };
    let folder = tempfile::tempdir().unwrap();
    let id = folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_lowercase();
    let lab = Lab { engine: engine(&config(&socket)), socket, image, folder, id: format!("ff-test-{id}") };
    let result = AssertUnwindSafe(test(&lab)).catch_unwind().await;
    lab.clean().await;
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is configured by the one who starts it")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn config(socket: &Path) -> DockerConfig {
    let mut config = DockerConfig::default();
    config.host = Some(DockerHost::Unix(socket.to_owned()));
    config
}

pub(crate) fn engine(config: &DockerConfig) -> DockerEngine {
    DockerEngine::new(config.clone(), Arc::new(SystemClock::new())).unwrap()
}

impl Lab {
    /// The labels of all containers of this test.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.to_owned(), self.id.clone())])
    }

    /// A container of this test that runs a shell's script.
    pub(crate) fn spec(&self, name: &str, script: &str) -> ContainerSpec {
        let entrypoint = ["/bin/sh", "-c", script].map(String::from).to_vec();
        let user = ContainerUser { uid: 10_001, gid: 10_001, keep_id: false };
        let mut spec = ContainerSpec::new(format!("{}-{name}", self.id), &self.image, entrypoint, user);
        spec.labels = self.labels();
        spec
    }

    pub(crate) async fn started(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.engine.create(spec).await.unwrap();
        self.engine.start(&id).await.unwrap();
        id
    }

    pub(crate) async fn state(&self, id: &ContainerId) -> ContainerState {
        self.engine.inspect(id.as_str()).await.unwrap().unwrap()
    }

    /// Runs a container to its end.
    pub(crate) async fn run(&self, spec: &ContainerSpec) -> ContainerState {
        let id = self.started(spec).await;
        within("a container to end", self.engine.wait(&id)).await.unwrap();
        self.state(&id).await
    }

    /// A folder that a container may write to, whoever it runs as.
    pub(crate) fn shared(&self, name: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        for path in [self.folder.path(), &path] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        path
    }

    /// The networks of this name, as the engine has them.
    pub(crate) async fn networks(&self, name: &str) -> Vec<Value> {
        self.all("/networks", |network| network["Name"] == name).await
    }

    async fn all(&self, path: &str, choose: impl Fn(&Value) -> bool) -> Vec<Value> {
        let (_, found) = self.raw("GET", path, None).await;
        found.as_array().unwrap().iter().filter(|one| choose(one)).cloned().collect()
    }

    /// All that has the test's id in its name.
    async fn clean(&self) {
        for container in self.engine.list(&self.labels()).await.unwrap() {
            self.engine.remove(container.id.as_str()).await.unwrap();
        }
        let is_ours = |name: &Value| name.as_str().is_some_and(|name| name.contains(&self.id));
        for network in self.all("/networks", |network| is_ours(&network["Name"])).await {
            self.raw("DELETE", &format!("/networks/{}", network["Id"].as_str().unwrap()), None).await;
        }
        let names = |image: &Value| {
            [&image["RepoTags"], &image["RepoDigests"]]
                .map(Value::as_array)
                .into_iter()
                .flatten()
                .flatten()
                .any(is_ours)
        };
        for image in self.all("/images/json", names).await {
            self.raw("DELETE", &format!("/images/{}?force=1", image["Id"].as_str().unwrap()), None).await;
        }
    }

    /// Asks the engine without what is tested here.
    pub(crate) async fn raw(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = format!(
            "{method} /v1.41{path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        within("an answer", stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, serde_json::from_str(body).unwrap_or(json!(body)))
    }
}

/// What must come to an end.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let clock = SystemClock::new();
    tokio::select! {
        result = future => result,
        () = clock.sleep(PATIENCE) => panic!("waited too long for {what}"),
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::new();
    within(what, async {
        while !condition().await {
            clock.sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Keeps the lines.
#[derive(Default)]
pub(crate) struct Lines(std::sync::Mutex<Vec<String>>);

impl Lines {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl SetupLog for Lines {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}
