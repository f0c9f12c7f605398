//! Several processes and one folder: built once together, and a killed one leaves nothing in the way.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use fastflow_core::environment::EnvironmentBuilder;

use crate::{
    build::wait_for,
    lab::{Lab, Said, environments, prepare, requirements, run_in},
};

const CHILD: &str = "FASTFLOW_TEST_ENVIRONMENT_CHILD";

/// What a process of its own does: one `prepare` in the lab whose root it is given.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the other tests of this file"]
async fn one_prepare_of_a_child() {
    #[expect(clippy::disallowed_methods, reason = "this is how the parent tells it where to work")]
    let Ok(root) = std::env::var(CHILD) else { return };
    let root = PathBuf::from(root);
    let mut config = fastflow_core::environment::UvConfig::new(root.join("environments"));
    config.uv = Some(root.join("uv"));
    config.python_downloads = false;
    for (name, value) in [
        ("UV_OFFLINE", "1".into()),
        ("UV_FIND_LINKS", root.join("wheels").display().to_string()),
        ("UV_CACHE_DIR", root.join("cache").display().to_string()),
    ] {
        config.extra_env.insert(name.into(), value);
    }
    prepare(&environments(config), &requirements(&root.join("pipelines/a"))).await.unwrap();
}

fn child(root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::one_prepare_of_a_child", "--ignored", "--nocapture"])
        .env(CHILD, root)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_build_once() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    lab.pipeline("a", &[("requirements.txt", "tiny\n")]);
    let children: Vec<Child> = (0..3).map(|_| child(lab.root.path())).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(lab.calls("pip compile"), 1);
    assert_eq!(lab.calls(" venv "), 1);
    assert_eq!(lab.calls("pip sync"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_in_the_middle_the_next_build_waits_for_the_orphan_and_works() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    let folder = lab.pipeline("a", &[("requirements.txt", "tiny\n")]);
    let real = fs::read_to_string(lab.root.path().join("uv")).unwrap();
    let real = real.lines().last().unwrap().to_owned();
    let held = lab.root.path().join("held");
    fs::write(&held, "").unwrap();
    // The installation hangs while `held` is there, then writes into the place it was given.
    let slow = format!(
        "case \"$*\" in *'pip sync'*) while [ -e '{held}' ]; do sleep 0.02; done; echo orphan ended >> '{witness}'; \
         exit 1;; esac\n{real}",
        held = held.display(),
        witness = lab.witness().display(),
    );
    lab.wrap(&slow);
    let mut killed = child(lab.root.path());
    wait_for(Duration::from_mins(1), || lab.calls("pip sync") == 1).await;
    killed.kill().unwrap();
    killed.wait().unwrap();

    lab.wrap(&real);
    let (builder, said) = (lab.environments(), Arc::new(Said::default()));
    let heard = Arc::clone(&said);
    let waits = tokio::spawn(async move { builder.prepare(&requirements(&folder), &*heard).await });
    let is_waiting = || said.text().contains("waiting for another process");
    wait_for(Duration::from_mins(1), || waits.is_finished() || is_waiting()).await;
    assert!(!waits.is_finished(), "it built where the orphan of the killed process still writes");
    fs::remove_file(&held).unwrap();
    let environment = waits.await.unwrap().unwrap();
    assert_eq!(run_in(&environment, "import tiny; print(tiny.VERSION)"), "1.0");
    let witness = fs::read_to_string(lab.witness()).unwrap();
    let ended = witness.find("orphan ended").unwrap();
    assert!(ended < witness.rfind("pip sync").unwrap(), "{witness}");
    assert_eq!(lab.calls("pip compile"), 1, "the lock of the killed process was kept");
}
