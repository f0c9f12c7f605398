//! A run executes the content it was submitted with, in a copy of its own.

use std::{collections::BTreeMap, fs, path::Path};

use fastflow_core::{
    ErrorKind, Submission, journal::LogStream, orchestrator::Rerun, run::Status, source::SyncRequest,
};

use crate::kit::{Place, attempt, ended, lines, refused, run};

/// Says its version, waits, and says that of a module it imports only then.
const TWO_VERSIONS: &str = r"
import os, pathlib, time
print('main VERSION')
tmp = pathlib.Path(os.environ['TMP_DIR'])
(tmp / 'waiting').write_text('yes')
while not (tmp / 'go').exists():
    time.sleep(0.01)
import helper
print('helper ' + helper.VERSION)
";

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_run_next_and_does_not_touch_what_runs() {
    let place = Place::new();
    let write = |version: &str| {
        place
            .pipeline("edited", &TWO_VERSIONS.replace("VERSION'", &format!("{version}'")))
            .file("edited/helper.py", format!("VERSION = '{version}'"));
    };
    write("one");
    let flow = place.start().await;
    let old = flow.submit(place.ask("edited")).await.unwrap();
    place.until_said("waiting").await;
    write("two");
    let new = flow.submit(place.ask("edited")).await.unwrap();
    assert_ne!(old.spec.revision, new.spec.revision);
    place.write("go", "go");
    for (run, version) in [(old, "one"), (new, "two")] {
        assert_eq!(ended(&flow, run.id).await.status(), Status::Success);
        let said = lines(&flow, run.id, LogStream::Out).await;
        assert_eq!(said, [format!("main {version}"), format!("helper {version}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_keeps_revision_and_parameters_although_the_folder_has_changed() {
    let place = Place::new();
    place.pipeline("report", "import os; print('old', os.environ.get('MONTH'))");
    let flow = place.start().await;
    let first = run(&flow, Submission::new("report").parameter("MONTH", "11")).await;
    place.pipeline("report", "raise SystemExit('new')");
    assert_eq!(run(&flow, "report").await.status(), Status::Failed, "the edit is there");
    let again = flow.runs().rerun(first.id, Rerun::SameRevision).await.unwrap();
    assert_eq!(again.spec.revision, first.spec.revision);
    assert_eq!(ended(&flow, again.id).await.status(), Status::Success);
    assert_eq!(lines(&flow, again.id, LogStream::Out).await, ["old 11"]);
    // Even when the folder is gone.
    fs::remove_dir_all(place.pipelines().join("report")).unwrap();
    flow.source().sync(SyncRequest::default()).await.unwrap();
    refused(flow.submit("report").await, ErrorKind::NotFound, &["report"]);
    let again = flow.runs().rerun(first.id, Rerun::SameRevision).await.unwrap();
    assert_eq!(ended(&flow, again.id).await.status(), Status::Success);
}

/// Every file below a folder, with its content.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_may_write_next_to_itself_and_changes_nothing_for_others() {
    let place = Place::new();
    place
        .pipeline(
            "writer",
            "import os, pathlib\nhere = pathlib.Path(__file__).parent\n\
             print(sorted(p.name for p in here.iterdir()))\n\
             assert here == pathlib.Path.cwd(), (here, pathlib.Path.cwd())\n\
             (here / 'state.txt').write_text('x')\n(here / 'data' / 'more.csv').write_text('1')\n\
             (here / 'data' / 'table.csv').write_text('spoiled')\n(here / 'main.py').write_text('spoiled')\n",
        )
        .file("writer/data/table.csv", "a,b\n");
    let flow = place.start().await;
    let source = content(&place.pipelines());
    let first = run(&flow, "writer").await;
    assert_eq!(first.status(), Status::Success, "{:?}", lines(&flow, first.id, LogStream::Err).await);
    let snapshots = content(&place.data().join("snapshots"));
    let second = run(&flow, "writer").await;
    assert_eq!(second.status(), Status::Success, "{:?}", lines(&flow, second.id, LogStream::Err).await);
    assert_eq!(lines(&flow, second.id, LogStream::Out).await, ["['data', 'main.py']"]);
    assert_eq!(content(&place.pipelines()), source);
    assert_eq!(content(&place.data().join("snapshots")), snapshots);
    assert!(!snapshots.is_empty() && snapshots.values().all(|bytes| bytes != b"spoiled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_leaves_behind_is_found_in_its_directory() {
    let place = Place::new();
    place.pipeline("leaver", "open('out.csv', 'w').write('1,2')");
    let flow = place.start().await;
    let done = run(&flow, "leaver").await;
    let dir = flow.runs().directory(attempt(done.id, 1)).await.unwrap();
    assert_eq!(fs::read_to_string(dir.join("work/out.csv")).unwrap(), "1,2");
    refused(flow.runs().directory(attempt(done.id, 2)).await, ErrorKind::NotFound, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_file_is_a_pipeline() {
    let place = Place::new();
    place.file("alone.py", "print('alone')");
    let flow = place.start().await;
    let done = run(&flow, "alone").await;
    assert_eq!(lines(&flow, done.id, LogStream::Out).await, ["alone"]);
}
