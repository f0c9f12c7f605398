//! Death while an environment is built.

use std::{path::Path, process::Command, time::Duration};

use fastflow_core::{
    Clock, Shutdown, SystemClock,
    run::Status,
    testing::{
        tool,
        torture::{Books, Chance, seed},
    },
};

use crate::{
    host,
    kit::{Place, within},
};

const KILLS: u64 = 12;
/// Makes a package whose installation takes a while, because it has many files.
const MAKE_WHEEL: &str = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/thing-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("thing/__init__.py", "WORD = 'whole'\n")
    for i in range(1500):
        wheel.writestr(f"thing/part{i}.py", f"NUMBER = {i}\n")
    wheel.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    wheel.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("thing-1.0.dist-info/RECORD", "")
"#;
/// Whether all of it is there.
const USE: &str = r"
import importlib, thing
assert sum(importlib.import_module(f'thing.part{i}').NUMBER for i in range(1500)) == sum(range(1500))
print(thing.WORD)
";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_while_it_builds_leaves_no_half_environment() {
    if tool::uv().is_none() {
        tool::require("uv", "there is none: run tools/setup-uv");
        return;
    }
    let place = Place::new();
    let root = place.root().canonicalize().unwrap();
    place
        .pipeline("needy", USE)
        .file("needy/requirements.txt", "--no-index\n--find-links wheels\nthing==1.0\n");
    std::fs::create_dir_all(place.pipelines().join("needy/wheels")).unwrap();
    let made =
        Command::new("python3").args(["-c", MAKE_WHEEL]).arg(place.pipelines().join("needy/wheels")).status();
    assert!(made.unwrap().success());
    // Accepted once, by a host that has not begun to work.
    let flow = host::builder(&root).build().await.unwrap();
    let accepted = flow.submit("needy").await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let mut chance = Chance::new(seed());
    let clock = SystemClock::new();
    for _ in 0..KILLS {
        let host = host::start("idle", &root);
        clock.sleep(chance.moment(Duration::from_millis(30), Duration::from_millis(900))).await;
        host.kill(chance.below(2) == 0);
    }
    let flow = host::builder(&root).build().await.unwrap();
    flow.start().await.unwrap();
    let done = within("the run to end", flow.runs().wait(accepted.id)).await.unwrap();
    assert_eq!(done.status(), Status::Success, "{done:?}");
    assert_eq!(done.failed_attempts, 0);
    let again = flow.submit("needy").await.unwrap();
    assert_eq!(within("the run to end", flow.runs().wait(again.id)).await.unwrap().status(), Status::Success);
    let how = Shutdown::Drain { patience: Duration::from_secs(20), grace: Duration::ZERO };
    flow.shutdown(how).await.unwrap();
    let environments = environments(&root.join("data/environments"));
    assert_eq!(environments.len(), 1, "built once, and nothing half is left: {environments:?}");
    let books = Books::open(&root).await;
    books.check_machine(&root);
}

/// The folders below `dir`, at any depth, that hold an interpreter's `bin`.
fn environments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.join("pyvenv.cfg").exists() {
            found.push(path);
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(environments(&path));
        }
    }
    found
}
