//! Code that is in no source.

mod apart;
mod kept;
mod refused;

use std::{fs, path::PathBuf, time::SystemTime};

use fastflow_core::{
    Code, Orchestrator, Shutdown, Submission,
    journal::LogStream,
    orchestrator::Rerun,
    run::{Failure, Run, Status},
    store::RunQuery,
};
use serde_json::json;

use crate::{
    kit::{Place, attempt, ended, lines, run, started, until},
    lab::{Lab, environments},
    stage::runs_of,
};

/// Code of one file.
pub(super) fn code(name: &str, main: &str) -> Code {
    Code::new(name).unwrap().file("main.py", main)
}

pub(super) fn settings(fields: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    match fields {
        serde_json::Value::Object(fields) => fields,
        other => panic!("{other}"),
    }
}

/// The folders of code that was submitted, with what is not finished.
pub(super) fn shelf(place: &Place) -> Vec<PathBuf> {
    fs::read_dir(place.data().join("code")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn said(flow: &Orchestrator, run: &Run) -> Vec<String> {
    assert_eq!(run.status(), Status::Success, "{:?}", lines(flow, run.id, LogStream::Err).await);
    lines(flow, run.id, LogStream::Out).await
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_run_with_its_files_settings_and_parameters_and_shown_among_the_runs_only() {
    let place = Place::new();
    place.pipeline("sum", "print('the pipeline')");
    let flow = place.start().await;
    let main = "import os, add\nprint(add.up('data/table.csv'), os.environ['MONTH'], os.environ['UNIT'])\n\
                print(os.environ['FASTFLOW_PIPELINE'])";
    let sum = code("sum", main)
        .file("add.py", "def up(path): return sum(map(int, open(path).read().split(',')))")
        .file("data/table.csv", "1,2,3")
        .settings(&settings(json!({"default_env": {"UNIT": "kg"}, "tags": ["ad-hoc"], "priority": 3})));
    let done = run(&flow, Submission::code(sum).parameter("MONTH", "11")).await;
    assert_eq!(said(&flow, &done).await, ["6 11 kg", "code.sum"]);
    assert_eq!((done.pipeline().as_str(), done.priority), ("code.sum", 3));
    assert_eq!(done.spec.pipeline.definition.tags, ["ad-hoc"]);

    let pipeline = run(&flow, "sum").await;
    assert_eq!(said(&flow, &pipeline).await, ["the pipeline"]);
    let names: Vec<String> =
        flow.pipelines().list().await.unwrap().into_iter().map(|info| info.name.to_string()).collect();
    assert_eq!(names, ["sum"]);
    let all = flow.runs().list(&RunQuery::default()).await.unwrap().items;
    assert_eq!(all.iter().map(|run| run.id).collect::<Vec<_>>(), [pipeline.id, done.id]);
    assert_eq!(runs_of(&flow, "code.sum").await.iter().map(|run| run.id).collect::<Vec<_>>(), [done.id]);
    let text = flow.runs().explain(done.id).await.unwrap().to_string();
    assert!(text.starts_with(&format!("run {} of `code.sum` is SUCCESS", done.id)), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_returns_is_found_in_the_directory_of_its_attempt() {
    const RESULT_BYTES: usize = 16 << 20;
    let place = Place::new();
    let flow = place.start().await;
    let main = format!("open('result.json', 'w').write('\"' + 'x' * {} + '\"')", RESULT_BYTES - 2);
    let done = run(&flow, code("function", &main)).await;
    said(&flow, &done).await;
    let dir = flow.runs().directory(attempt(done.id, 1)).await.unwrap();
    assert_eq!(fs::metadata(dir.join("work/result.json")).unwrap().len(), RESULT_BYTES as u64);
}

/// When a copy was last begun, finished or taken away.
fn touched(place: &Place) -> SystemTime {
    fs::metadata(place.data().join("code")).unwrap().modified().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_code_is_written_once_by_all_hosts_together_and_whatever_it_is_called() {
    let place = Place::new();
    let flow = place.start().await;
    let first = run(&flow, code("one", "print('hello')")).await;
    let written = touched(&place);
    let second = run(&flow, code("one", "print('hello')")).await;
    let renamed = run(&flow, code("two", "print('hello')")).await;
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let flow = place.start().await;
    let third = run(&flow, code("one", "print('hello')")).await;
    for same in [&first, &second, &renamed, &third] {
        assert_eq!(said(&flow, same).await, ["hello"]);
        assert_eq!(same.spec.revision, first.spec.revision);
    }
    assert_eq!(renamed.pipeline().as_str(), "code.two");
    assert_eq!(touched(&place), written);
    let other = run(&flow, code("one", "print('other')")).await;
    assert_ne!(other.spec.revision, first.spec.revision);
    let mut expected = [first, other].map(|run| place.data().join("code").join(run.spec.revision.as_str()));
    let mut found = shelf(&place);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_key_the_first_run_is_returned_whatever_the_code_is() {
    let place = Place::new();
    place.pipeline("other", "pass");
    let flow = place.start().await;
    let ask = |main: &str| Submission::code(code("once", main)).key("the-key");
    let first = run(&flow, ask("print('first')")).await;
    for again in [ask("print('first')"), ask("print('second')"), Submission::new("other").key("the-key")] {
        let same = flow.submit(again).await.unwrap();
        assert_eq!((same.id, &same.spec.revision), (first.id, &first.spec.revision));
    }
    assert_eq!(said(&flow, &first).await, ["first"]);
    assert_eq!(flow.runs().list(&RunQuery::default()).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_fails_is_tried_again_and_a_rerun_is_the_same_code() {
    let place = Place::new();
    let flow = place.start().await;
    let main = "import os, pathlib\nprint('attempt', os.environ['FASTFLOW_ATTEMPT'], os.environ['WHO'])\n\
                raise SystemExit(0 if pathlib.Path(os.environ['TMP_DIR'], 'well').exists() else 7)";
    let retry = json!({"retry_attempts": 1, "retry_strategy": {"type": "fixed_delay", "delay": 0}});
    let ask = Submission::code(code("retried", main).settings(&settings(retry)))
        .parameter("TMP_DIR", place.tmp().display().to_string())
        .parameter("WHO", "me");
    let failed = run(&flow, ask).await;
    assert_eq!((failed.status(), failed.attempt), (Status::Failed, 2));
    assert!(matches!(failed.failure(), Some(Failure::Exit(_))), "{failed:?}");
    place.write("well", "yes");
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let flow = place.start().await;
    for of in [Rerun::SameRevision, Rerun::NewestRevision] {
        let again = flow.runs().rerun(failed.id, of).await.unwrap();
        assert_eq!((&again.spec, again.chain), (&failed.spec, failed.chain), "{of:?}");
        let again = ended(&flow, again.id).await;
        assert_eq!(said(&flow, &again).await, ["attempt 1 me"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_come_from_the_first_lines_of_the_script_or_from_requirements() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    lab.wheel("tiny", "2.0", &[]);
    let place = Place::new();
    let flow = started(place.bare_builder().environments(environments(lab.offline()))).await;
    let main = "import tiny; print(tiny.VERSION)\n";
    let inline = format!("# /// script\n# dependencies = [\"tiny==1.0\"]\n# ///\n{main}");
    let by_script = run(&flow, code("inline", &inline)).await;
    let by_file = run(&flow, code("listed", main).file("requirements.txt", "tiny==2.0\n")).await;
    let none = run(&flow, code("none", main)).await;
    assert_eq!(said(&flow, &by_script).await, ["1.0"]);
    assert_eq!(said(&flow, &by_file).await, ["2.0"]);
    assert_eq!(none.status(), Status::Failed, "nobody asked for the package");
    until("the packages to be recorded", || async { flow.packages().of_run(by_script.id).await.is_ok() })
        .await;
    let recorded = flow.packages().of_run(by_script.id).await.unwrap();
    let recorded: Vec<&str> =
        recorded.packages.iter().flatten().map(|package| package.name.as_str()).collect();
    assert_eq!(recorded, ["tiny"]);
}
