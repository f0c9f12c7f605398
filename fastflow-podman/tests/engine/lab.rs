//! A real engine, containers that are gone after the test, and a way to the engine beside the port.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastflow_core::{
    Clock, SystemClock,
    executor::container::{Access, ContainerEngine, ContainerSpec, ContainerState, ContainerUser, Mount},
    testing::tool,
};
use fastflow_podman::{PodmanConfig, PodmanEngine, PodmanHost};
use tempfile::TempDir;

/// Whom containers run as. Nobody of this machine.
pub(crate) const USER: ContainerUser = ContainerUser { uid: 10_001, gid: 10_001, keep_id: false };

/// How long anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Lab {
    pub(crate) engine: PodmanEngine,
    pub(crate) socket: PathBuf,
    /// The image, by its id.
    pub(crate) image: String,
    /// A folder of this machine that containers have as `/out`, and may write to.
    pub(crate) out: TempDir,
    name: String,
}

impl Lab {
    /// None where there is no engine, after having said so.
    pub(crate) async fn new() -> Option<Self> {
        let (Some(host), Some(image)) = (variable("FASTFLOW_TEST_PODMAN"), variable("FASTFLOW_TEST_IMAGE"))
        else {
            tool::require(
                "podman",
                "FASTFLOW_TEST_PODMAN or FASTFLOW_TEST_IMAGE is not set: run tools/setup-engines",
            );
            return None;
        };
        let Ok(PodmanHost::Unix(socket)) = host.parse() else { panic!("{host} is not a socket") };
        let engine = engine(&socket, |_| {});
        let image = engine.image(&image.parse().unwrap()).await.unwrap().expect("the image is not there").id;
        let out = tempfile::tempdir().unwrap();
        fs::set_permissions(out.path(), fs::Permissions::from_mode(0o777)).unwrap();
        // The folder's name is like no other one's.
        let random = out.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
        let name = format!("ff-test-{}-{random}", std::process::id());
        Some(Self { engine, socket, image, out, name })
    }

    /// A name that no other test has.
    pub(crate) fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }

    /// Labels that no other test has.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("fastflow.test".to_owned(), self.name.clone())])
    }

    /// A container that runs a script of the shell.
    pub(crate) fn spec(&self, suffix: &str, script: &str) -> ContainerSpec {
        let entrypoint = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let mut spec = ContainerSpec::new(self.name(suffix), self.image.as_str(), entrypoint, USER);
        spec.labels = self.labels();
        spec.mounts = vec![Mount::new(self.out.path(), "/out", Access::ReadWrite)];
        spec
    }

    /// What the container has written to a file in `/out`, once the file is there whole.
    pub(crate) async fn written(&self, file: &str) -> String {
        let path = self.out.path().join(file);
        until(&format!("{file} is written"), async || {
            fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))
        })
        .await
    }

    /// Runs a container to its end.
    pub(crate) async fn run(&self, spec: &ContainerSpec) -> ContainerState {
        let id = self.engine.create(spec).await.unwrap();
        self.engine.start(&id).await.unwrap();
        self.ended(id.as_str()).await
    }

    pub(crate) async fn ended(&self, container: &str) -> ContainerState {
        until("the container has ended", async || {
            self.engine.inspect(container).await.unwrap().filter(|state| state.exit_code.is_some())
        })
        .await
    }

    /// Asks the engine beside the port: what a person does with `podman`.
    pub(crate) fn ask(&self, method: &str, path: &str) -> String {
        ask(&self.socket, method, path)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // In a thread of its own: this may be dropped by a runtime, which cannot wait for another one.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    for state in self.engine.list(&self.labels()).await.unwrap_or_default() {
                        self.engine.remove(state.id.as_str()).await.ok();
                    }
                });
            });
        });
    }
}

/// An engine behind a socket.
pub(crate) fn engine(socket: &Path, change: impl FnOnce(&mut PodmanConfig)) -> PodmanEngine {
    let mut config = PodmanConfig::default();
    config.host = Some(PodmanHost::Unix(socket.to_owned()));
    change(&mut config);
    PodmanEngine::new(config, Arc::new(SystemClock::new())).unwrap()
}

/// Looks until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let clock = SystemClock::new();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(clock.elapsed() < DEADLINE, "in vain: {what}");
        clock.sleep(Duration::from_millis(10)).await;
    }
}

/// What is done in time.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> T {
    let clock = SystemClock::new();
    tokio::select! {
        done = work => done,
        () = clock.sleep(limit) => panic!("it takes longer than {limit:?}"),
    }
}

fn ask(socket: &Path, method: &str, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = format!("{method} /v4.0.0/libpod{path} HTTP/1.0\r\nHost: podman\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.split(' ').nth(1).is_some_and(|code| code.starts_with('2')), "{path}: {answer}");
    body.to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a test is configured by the one who starts it")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
