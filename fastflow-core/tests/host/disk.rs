//! Disks that are full, read-only or not there.

use std::fs;

use fastflow_core::{
    ErrorKind, Orchestrator, Shutdown,
    environment::EnvironmentFailureKind,
    run::{Exit, Failure, StartFailureKind, Status},
    store::RunQuery,
};

use crate::kit::{MachinePython, Place, SmallDisk, attempt, attempts, ended, refused, run, until};

/// Fills its working directory to the last byte, keeps that, and says how it went by its exit code.
const FILLER: &str = r"
import os, sys
def fill(path, size):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    block = bytes(size)
    try:
        while True:
            os.write(fd, block)
    except OSError as error:
        return error.errno
for size in (1 << 20, 4096, 1):
    errno = fill(f'fill.{size}', size)
sys.stderr.write('the disk is full\n' * 1000)
os._exit(5 if errno == 28 else 6)
";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_what_needs_it_and_is_forgotten_when_there_is_room_again() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.root().join("disk"), "size=48m") else { return };
    place.pipeline("filler", FILLER).pipeline("hello", "print('hello')");
    let data = disk.path().join("data");
    let builder = || Orchestrator::builder(&data).pipelines(place.pipelines()).environments(MachinePython);
    let flow = crate::kit::started(builder()).await;
    assert_eq!(run(&flow, "hello").await.status(), Status::Success);

    let filler = run(&flow, "filler").await;
    assert_eq!(
        filler.failure(),
        Some(&Failure::Exit(Exit::Code(5))),
        "its end is known although nothing fits"
    );
    let report = attempts(&flow, filler.id).await.remove(0).report.unwrap();
    assert_eq!(report.log.complete, report.log.dropped_bytes == 0, "{report:?}");

    // The disk is still full: what comes now is refused, or fails and says why.
    let during = flow.submit("hello").await;
    let during = match during {
        Ok(accepted) => Some(ended(&flow, accepted.id).await),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error:?}");
            None
        }
    };
    if let Some(done) = &during {
        let full = match done.failure() {
            Some(Failure::StartFailed(failure)) => failure.kind == StartFailureKind::StorageFull,
            Some(Failure::EnvironmentFailed(failure)) => failure.kind == EnvironmentFailureKind::StorageFull,
            _ => false,
        };
        assert!(full, "{done:?}");
    }
    let work = flow.runs().directory(attempt(filler.id, 1)).await.unwrap().join("work");
    for size in [1 << 20, 4096, 1] {
        let _ = fs::remove_file(work.join(format!("fill.{size}")));
    }
    // There is room again, and the store finds that out by itself.
    until("submissions to be taken", || async { flow.submit("hello").await.is_ok() }).await;
    let newest = flow.runs().list(&RunQuery::default()).await.unwrap().items.remove(0);
    assert_eq!(ended(&flow, newest.id).await.status(), Status::Success);
    let runs = flow.runs().list(&RunQuery::default()).await.unwrap().items;
    assert_eq!(runs.len(), 3 + usize::from(during.is_some()));
    flow.shutdown(Shutdown::Detach).await.unwrap();
    assert_eq!(crate::machine::integrity(&data.join("fastflow.db")).await, "ok");
    let flow = crate::kit::started(builder()).await;
    assert_eq!(flow.runs().list(&RunQuery::default()).await.unwrap().items, runs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_fills_the_disk_with_its_log_ends_and_the_log_says_what_is_missing() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.root().join("disk"), "size=48m") else { return };
    place.pipeline(
        "loud",
        "import os\nblock = b'x' * 99 + b'\\n'\nfor _ in range(1000): os.write(1, block * 1000)\n",
    );
    let data = disk.path().join("data");
    let builder = Orchestrator::builder(&data).pipelines(place.pipelines()).environments(MachinePython);
    let flow = crate::kit::started(builder).await;
    let done = run(&flow, "loud").await;
    assert_eq!(done.status(), Status::Success, "a log that does not fit does not stop the program: {done:?}");
    let report = attempts(&flow, done.id).await.remove(0).report.unwrap();
    assert!(!report.log.complete && report.log.dropped_bytes > 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_data_directory_is_an_error_that_names_it() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.root().join("disk"), "size=24m") else { return };
    disk.remount("ro").await;
    let data = disk.path().join("data");
    let build = || Orchestrator::builder(&data).pipelines(place.pipelines()).build();
    refused(build().await, ErrorKind::Denied, &[&data.display().to_string()]);
    disk.remount("rw").await;
    let flow = build().await.unwrap();
    drop(flow);
    disk.remount("ro").await;
    until("the store to be let go", || async { build().await.unwrap_err().kind() != ErrorKind::Conflict })
        .await;
    let error = build().await.unwrap_err();
    assert!(error.chain().contains(&data.display().to_string()), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_is_a_file_is_an_error_that_names_it() {
    let place = Place::new();
    place.write("file", "x");
    let file = place.tmp().join("file");
    let build = Orchestrator::builder(&file).pipelines(place.pipelines()).build();
    let error = build.await.unwrap_err();
    assert!(error.chain().contains(&file.display().to_string()), "{error:?}");
    assert_eq!(place.said("file"), "x");
}
