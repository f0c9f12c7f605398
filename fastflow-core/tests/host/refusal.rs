//! Bad input: a clear error, and nothing lost.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink};

use fastflow_core::{ErrorKind, Orchestrator, Submission, run::Status, source::SyncRequest, store::RunQuery};
use futures::future::join_all;

use crate::kit::{Place, ended, refused, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pipeline_is_refused_with_all_its_errors_and_stops_no_other() {
    let place = Place::new();
    place
        .pipeline("good", "print('good')")
        .pipeline("broken", "pass")
        .file(
            "broken/pipeline.json",
            "{\n  \"timeout\": \"abc\",\n  \"mem_hard_limit\": [1],\n  \"tagz\": []\n}\n",
        )
        .pipeline("garbled", "pass")
        .file("garbled/pipeline.json", "{\n  \"timeout\": 1,,\n}")
        .pipeline("binary", "pass")
        .file("binary/pipeline.json", [0xff, 0xfe, 0x00, 0x7b]);
    let flow = place.start().await;
    let errors = ["pipeline.json:2:", "timeout", "abc", "pipeline.json:3:", "mem_hard_limit"];
    refused(flow.submit("broken").await, ErrorKind::Invalid, &errors);
    refused(flow.submit("garbled").await, ErrorKind::Invalid, &["pipeline.json:2:"]);
    refused(flow.submit("binary").await, ErrorKind::Invalid, &["pipeline.json"]);
    assert_eq!(run(&flow, "good").await.status(), Status::Success);
    let broken = flow.pipelines().get(&"broken".parse().unwrap()).await.unwrap();
    assert!(broken.pipeline.is_none() && broken.present);
    assert!(broken.diagnostics.iter().filter(|d| d.is_error()).count() >= 2, "{:?}", broken.diagnostics);
    assert!(broken.diagnostics.iter().any(|d| d.to_string().contains("tags")), "did you mean: {broken:?}");
    // Put right, it runs, and nobody has to be told.
    place.file("broken/pipeline.json", "{\"timeout\": 60}");
    assert_eq!(run(&flow, "broken").await.status(), Status::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_built_yet_is_refused_by_name() {
    let place = Place::new();
    let fields = [
        ("schedules", r#"[{"id": "a", "schedule_cron": "0 4 * * *", "webhook_key": "0123456789abcdef"}]"#),
        ("webhook_key", r#""0123456789abcdef0123456789abcdef""#),
    ];
    for (index, (field, value)) in fields.iter().enumerate() {
        let name = format!("needs{index}");
        place
            .pipeline(&name, "pass")
            .file(&format!("{name}/pipeline.json"), format!("{{\"{field}\": {value}}}"));
    }
    let flow = place.start().await;
    for (index, (field, _)) in fields.iter().enumerate() {
        refused(
            flow.submit(format!("needs{index}")).await,
            ErrorKind::Unsupported,
            &[field, "pipeline.json:1:"],
        );
    }
    assert!(flow.runs().list(&RunQuery::default()).await.unwrap().items.is_empty(), "nothing was accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disabled_and_the_unknown_are_refused() {
    let place = Place::new();
    place
        .pipeline("nightly-report", "pass")
        .pipeline("off", "pass")
        .file("off/pipeline.json", r#"{"enabled": false}"#);
    let flow = place.start().await;
    refused(flow.submit("off").await, ErrorKind::Conflict, &["off", "enabled"]);
    refused(flow.submit("nightly-rapport").await, ErrorKind::NotFound, &["did you mean", "nightly-report"]);
    let error = flow.submit("zzz").await.unwrap_err();
    assert!(!error.chain().contains("did you mean"), "{error:?}");
    for name in ["../off", "off/../off", "/etc", "", ".", "..", ".git", "off\0", "a b", "ä", &"x".repeat(300)]
    {
        refused(flow.submit(name).await, ErrorKind::Invalid, &[]);
    }
    let elsewhere = Submission::new("nightly-report").executor("docker".parse().unwrap());
    refused(flow.submit(elsewhere).await, ErrorKind::Invalid, &["docker", "process"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_checked_and_their_values_are_not_shown() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    let flow = place.start().await;
    for name in ["", "A=B", "A B", "ä", "A\0", "LD_PRELOAD", "PYTHONPATH", "UV_INDEX", "FASTFLOW_RUN_ID"] {
        let what = Submission::new("hello").parameter(name, "value");
        refused(flow.submit(what).await, ErrorKind::Invalid, &[]);
    }
    let long = "x".repeat(Submission::MAX_PARAMETER_CHARS + 1);
    for value in ["top\0secret", long.as_str()] {
        let error = flow.submit(Submission::new("hello").parameter("TOKEN", value)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.chain().contains("TOKEN") && !error.chain().contains("secret"), "{error:?}");
    }
    let many = |count: usize| {
        (0..count).fold(Submission::new("hello"), |what, index| what.parameter(format!("P{index}"), "x"))
    };
    let most = Submission::MAX_PARAMETERS;
    refused(flow.submit(many(most + 1)).await, ErrorKind::Invalid, &[&most.to_string()]);
    let largest = many(most).parameter("P0", "ü".repeat(Submission::MAX_PARAMETER_CHARS));
    assert_eq!(run(&flow, largest).await.status(), Status::Success, "what is allowed works");
    for key in ["", "a\nb", &"k".repeat(256)] {
        refused(flow.submit(Submission::new("hello").key(key)).await, ErrorKind::Invalid, &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_run_whoever_comes_first() {
    let place = Place::new();
    place.pipeline("hello", "import os; open(os.environ['TMP_DIR'] + '/starts', 'a').write('x')");
    let flow = place.start().await;
    let submit = |flow: Orchestrator, what: Submission| tokio::spawn(async move { flow.submit(what).await });
    let tasks = (0..32).map(|_| submit(flow.clone(), place.ask("hello").key("order-4711")));
    let ids: BTreeSet<_> = join_all(tasks).await.into_iter().map(|run| run.unwrap().unwrap().id).collect();
    assert_eq!(ids.len(), 1);
    let id = *ids.first().unwrap();
    ended(&flow, id).await;
    let again = flow.submit(place.ask("hello").key("order-4711")).await.unwrap();
    assert_eq!((again.id, again.status()), (id, Status::Success), "also when it has ended");
    assert_ne!(flow.submit(place.ask("hello").key("order-4712")).await.unwrap().id, id);
    assert_eq!(flow.runs().list(&RunQuery::default()).await.unwrap().items.len(), 2);
    flow.shutdown(crate::shutdown::DRAIN).await.unwrap();
    assert_eq!(place.said("starts"), "xx");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_folders_are_errors_of_their_own_and_of_nobody_else() {
    let place = Place::new();
    place.pipeline("good", "pass");
    fs::create_dir_all(place.pipelines().join("folder/main.py")).unwrap();
    place.pipeline("escape", "pass").pipeline("escape-dir", "pass").pipeline("inside", "import helper");
    symlink("/etc/passwd", place.pipelines().join("escape/passwd")).unwrap();
    symlink("../../tmp", place.pipelines().join("escape-dir/tmp")).unwrap();
    place.file("inside/lib.py", "pass");
    symlink("lib.py", place.pipelines().join("inside/helper.py")).unwrap();
    for odd in ["-dash/main.py", "a b/main.py", "ä/main.py", ".hidden/main.py"] {
        place.file(odd, "pass");
    }
    fs::create_dir_all(place.pipelines().join("empty")).unwrap();
    let flow = place.start().await;
    refused(flow.submit("folder").await, ErrorKind::Invalid, &["main.py"]);
    refused(flow.submit("escape").await, ErrorKind::Invalid, &["passwd"]);
    refused(flow.submit("escape-dir").await, ErrorKind::Invalid, &["tmp"]);
    assert_eq!(run(&flow, "good").await.status(), Status::Success);
    assert_eq!(run(&flow, "inside").await.status(), Status::Success, "a link that stays inside is fine");
    flow.source().sync(SyncRequest::default()).await.unwrap();
    let warned = flow
        .source()
        .status()
        .await
        .unwrap()
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    for odd in ["-dash", "a b", "ä"] {
        assert!(warned.contains(odd), "{odd:?} is not named in: {warned}");
    }
    let infos = flow.pipelines().list().await.unwrap();
    assert!(infos.iter().all(|info| info.name.as_str() != ".hidden"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_without_pipelines_or_with_two_sources_is_not_built() {
    let place = Place::new();
    refused(Orchestrator::builder(place.data()).build().await, ErrorKind::Invalid, &["pipelines"]);
    assert!(!place.data().exists(), "a builder that refuses touches nothing");
    let gone = place.root().join("nowhere");
    let result = Orchestrator::builder(place.data()).pipelines(&gone).build().await;
    let error = match result {
        Ok(flow) => flow.start().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(error.chain().contains("nowhere"), "{error:?}");
}
