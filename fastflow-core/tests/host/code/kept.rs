//! Code is there as long as somebody may want it, whoever dies.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use fastflow_core::{
    ErrorKind, Orchestrator, Retention, RunId, Shutdown, Submission,
    orchestrator::Rerun,
    run::{Run, Status},
    testing::torture::{HostProcess, Part},
};

use super::code;
use crate::{
    kit::{Place, attempts, configured, ended, refused, run, started, started_after, until},
    queue::GATE,
    stage::host,
};

fn snapshot(place: &Place, run: &Run) -> PathBuf {
    place.data().join("code").join(run.spec.revision.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn code_goes_with_the_last_that_is_kept_of_its_runs() {
    let place = Place::new();
    let flow = place.start().await;
    let old = run(&flow, code("report", "print('old')")).await;
    let new = run(&flow, code("report", "print('new')")).await;
    // Of an older run, and of a newer one that is kept.
    let shared = run(&flow, code("shared", "print('shared')")).await;
    run(&flow, code("shared", "print('shared')")).await;
    let later = Submission::code(code("later", "print('later')")).delay(Duration::from_hours(1));
    let later = flow.submit(later).await.unwrap();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    // Long ago, whatever tells when it was handed out.
    for run in [&old, &new, &shared, &later] {
        let folder = fs::File::open(snapshot(&place, run)).unwrap();
        folder.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    let retention = Retention { max_runs_per_pipeline: 1, ..Retention::default() };
    let flow = started(place.builder().retention(retention)).await;
    until("the code of a run that is not kept to go", || async { !snapshot(&place, &old).exists() }).await;
    for kept in [&new, &shared, &later] {
        assert!(snapshot(&place, kept).exists(), "{kept:?}");
    }
    let again = flow.runs().rerun(old.id, Rerun::SameRevision).await;
    refused(again, ErrorKind::NotFound, &["not kept any more", &old.id.to_string()]);
    for kept in [&new, &shared] {
        let again = flow.runs().rerun(kept.id, Rerun::NewestRevision).await.unwrap();
        assert_eq!(ended(&flow, again.id).await.status(), Status::Success);
    }
    // Submitted again, it is there again.
    let again = run(&flow, code("report", "print('old')")).await;
    assert_eq!((again.status(), &again.spec.revision), (Status::Success, &old.spec.revision));
}

/// Not a test of its own: accepts a run of code, and dies before anything could start it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the host process of other tests"]
async fn as_one_who_submits() {
    let Some(part) = Part::of_this_process() else { return };
    let root = part.stage;
    let builder = Orchestrator::builder(root.join("data")).pipelines(root.join("pipelines"));
    let flow = configured(builder).build().await.unwrap();
    let ask =
        Submission::code(code("gate", GATE)).parameter("TMP_DIR", root.join("tmp").display().to_string());
    let run = flow.submit(ask).await.unwrap();
    note(&root, &run.id.to_string());
    std::future::pending::<()>().await;
}

fn note(root: &Path, text: &str) {
    fs::write(root.join("submitted.new"), text).unwrap();
    fs::rename(root.join("submitted.new"), root.join("submitted")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_was_accepted_is_run_whoever_dies_before_and_meanwhile() {
    let place = Place::new();
    let test = concat!(module_path!(), "::as_one_who_submits");
    let dies = HostProcess::start(test, "submits", place.root(), 0);
    let submitted = place.root().join("submitted");
    until("code to be submitted", || async { submitted.exists() }).await;
    dies.kill(true);
    let run: RunId = fs::read_to_string(&submitted).unwrap().parse().unwrap();

    let second = host(&place);
    place.until_said("waiting").await;
    second.kill(false);
    let flow = started_after(|| place.builder()).await;
    place.write("go", "go");
    let done = ended(&flow, run).await;
    assert_eq!((done.status(), done.pipeline().as_str()), (Status::Success, "code.gate"));
    assert_eq!(attempts(&flow, run).await.len(), 1, "its program was joined, and not begun again");
}
