//! The folders in which attempts get their secrets as files.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use fastflow_core::{
    AttemptId, ErrorKind, OwnerId, Result, SystemClock,
    executor::{
        AttemptRef, AttemptSpec, Ended, Execution, Executor, ProcessConfig, ProcessExecutor, Reattached,
        Start,
    },
    run::{Exit, LostCause},
    secret::Secret,
};
use fastflow_shim::{Guard, guard};
use tempfile::TempDir;

/// An executor with a state on the disk and secrets in memory.
struct Scene {
    disk: TempDir,
    memory: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { disk: tempfile::tempdir().unwrap(), memory: tempfile::tempdir_in("/dev/shm").unwrap() }
    }

    fn executor(&self, secrets_dir: &Path) -> Result<ProcessExecutor> {
        let mut config = ProcessConfig::new(self.disk.path().join("state"));
        config.secrets_dir = Some(secrets_dir.to_owned());
        ProcessExecutor::new(&config, Arc::new(SystemClock::new()))
    }

    /// An attempt that goes on until there is a file `go` beside its files.
    fn spec(&self, number: u32) -> AttemptSpec {
        let run_dir = self.disk.path().join(number.to_string());
        fs::create_dir(&run_dir).unwrap();
        let script =
            r#"cat "$FASTFLOW_SECRETS_DIR/KEY" > key; while [ ! -e go ]; do sleep 0.01; done; exit 3"#;
        let argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
        let mut spec = AttemptSpec::new(attempt(number), owner(), argv, run_dir);
        spec.env.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
        spec.secrets.files.insert("KEY".parse().unwrap(), Secret::new("a value of some length"));
        spec
    }

    /// The folder of the executor for all of its attempts: the only one there.
    fn folder(&self) -> PathBuf {
        let mut found: Vec<_> =
            fs::read_dir(self.memory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

fn attempt(number: u32) -> AttemptId {
    format!("019aa2f0-7c3c-7def-8000-{number:012x}-1").parse().unwrap()
}

/// Control groups are the machine's: another run of these tests has others.
fn owner() -> OwnerId {
    format!("secrets-{}", std::process::id()).parse().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn start(executor: &ProcessExecutor, spec: &AttemptSpec) -> Box<dyn Execution> {
    match executor.start(spec.clone()).await.unwrap() {
        Start::Started(execution) => execution,
        Start::Failed(failure) => panic!("{failure:?}"),
    }
}

/// A place that is no place for secrets is no place for an executor either, and is told before anything is made.
#[tokio::test]
async fn a_place_that_is_not_in_memory_is_refused_before_anything_is_made() {
    let scene = Scene::new();
    let error = scene.executor(Path::new("/proc")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.chain().contains("not on a tmpfs"), "{}", error.chain());
    assert_eq!(names(scene.disk.path()), Vec::<String>::new());
    let error = scene.executor(&scene.memory.path().join("not-there")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(names(scene.memory.path()), Vec::<String>::new());
}

/// Each attempt has a folder of its own, in one that only this user can look into and that may be cleaned up while nobody
/// needs it. Nothing is there before it is needed.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_where_they_were_told_to_be() {
    let scene = Scene::new();
    let executor = scene.executor(scene.memory.path()).unwrap();
    assert_eq!(names(scene.memory.path()), Vec::<String>::new());
    for number in 1..=2 {
        let spec = scene.spec(number);
        let execution = start(&executor, &spec).await;
        assert_eq!(fs::metadata(scene.folder()).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(names(&scene.folder()), [spec.id.to_string()]);
        fs::write(spec.run_dir.join("go"), "").unwrap();
        let ended = execution.wait().await.unwrap();
        assert!(matches!(&ended, Ended::Exited(report) if report.exit == Exit::Code(3)), "{ended:?}");
        execution.remove().await.unwrap();
        assert_eq!(names(&scene.folder()), Vec::<String>::new());
        fs::remove_dir(scene.folder()).unwrap();
    }
}

/// An attempt whose entry in the list of live ones was lost, and whose shim did not survive, has its folder all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_found_without_an_entry() {
    let scene = Scene::new();
    let executor = scene.executor(scene.memory.path()).unwrap();
    let spec = scene.spec(1);
    start(&executor, &spec).await.remove().await.unwrap();

    let left = scene.spec(2);
    let folder = scene.folder().join(left.id.to_string());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("KEY"), "a value of some length").unwrap();
    let mut mine = Guard::taken(left.id.to_string()).unwrap();
    if let Guard::Taken { boot_id, .. } = &mut mine {
        "another-boot".clone_into(boot_id);
    }
    assert_eq!(guard::take(&left.run_dir, &mine).unwrap(), None);
    let reference = AttemptRef { id: left.id, owner: owner(), run_dir: left.run_dir, handle: None };
    let reattached = executor.reattach(&reference).await.unwrap();
    assert!(matches!(reattached, Reattached::Lost(LostCause::MachineRestarted)), "{reattached:?}");
    assert_eq!(names(&scene.folder()), Vec::<String>::new());
}
