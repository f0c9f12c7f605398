//! Code that is not taken, and names that are kept for it.

use fastflow_core::{
    Code, ErrorKind, PipelineName, Submission,
    pipeline::ScheduleRule,
    schedule::Schedule,
    source::{Catalog, CatalogEntry, SyncRequest, TreeLimits},
};
use serde_json::json;

use super::{code, settings, shelf};
use crate::{
    kit::{Place, refused, run},
    stage::id,
};

#[tokio::test(flavor = "multi_thread")]
async fn no_pipeline_has_a_name_of_code() {
    let place = Place::new();
    place
        .pipeline("good", "pass")
        .pipeline("code.etl", "pass")
        .pipeline("Code.other", "pass")
        .file("code.script.py", "pass")
        .file("code.data/table.csv", "1")
        .pipeline("code", "pass");
    let flow = place.start().await;
    let names = || async {
        let infos = flow.pipelines().list().await.unwrap();
        infos.into_iter().map(|info| info.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["code", "good"]);
    let warnings = flow.source().status().await.unwrap().warnings;
    let warned: Vec<&str> = warnings.iter().map(|warning| warning.file.as_str()).collect();
    assert_eq!(warned, ["Code.other", "code.etl", "code.script.py"], "a folder of data is nobody's business");
    assert!(warnings.iter().all(|warning| warning.message.contains("`code.`")), "{warnings:?}");

    refused(flow.submit("code.etl").await, ErrorKind::NotFound, &["code.etl", "a name of code"]);
    let schedule = Schedule::new(id("code.etl@nightly"), ScheduleRule::Cron("0 0 * * *".parse().unwrap()));
    refused(flow.schedules().put(schedule).await, ErrorKind::NotFound, &["code.etl"]);
    // Neither does it become one by being run.
    run(&flow, code("etl", "pass")).await;
    refused(flow.submit("code.etl").await, ErrorKind::NotFound, &["code.etl"]);
    flow.source().sync(SyncRequest::default()).await.unwrap();
    assert_eq!(names().await, ["code", "good"]);
}

#[test]
fn a_catalog_of_any_source_leaves_names_of_code_out() {
    let entry = |name: &str| CatalogEntry { name: name.parse().unwrap(), pipeline: Err(Vec::new()) };
    let catalog = Catalog::of(vec![entry("code.etl"), entry("etl")], Vec::new());
    let names: Vec<&str> = catalog.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["etl"]);
    assert_eq!(catalog.warnings.len(), 1);
    assert_eq!(catalog.warnings[0].file, "code.etl");
}

#[test]
fn a_name_is_one_that_a_pipeline_could_have_after_the_prefix() {
    let long = "x".repeat(Code::MAX_NAME_CHARS);
    for good in ["report", "_helper", "etl.Transform.run", "1-a", &long] {
        let name = Code::new(good).unwrap().name().clone();
        assert!(name.is_code() && name.as_str() == format!("code.{good}"));
        assert_eq!(name.as_str().parse::<PipelineName>().unwrap(), name);
    }
    let longer = "x".repeat(Code::MAX_NAME_CHARS + 1);
    for bad in ["", ".", "..", "-x", "a/b", "<lambda>", "a b", "ä", "a\n", &longer] {
        refused(Code::new(bad), ErrorKind::Invalid, &["58 characters"]);
    }
}

/// A value as a pipeline may bring it; nobody opens it.
const SEALED: &str =
    "gAAAAABl8n0AAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw==";

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_pipelines_are_refused_by_name_wherever_they_stand() {
    let place = Place::new();
    let flow = place.start().await;
    for (field, value) in [
        ("schedule_cron", json!("0 0 * * *")),
        ("schedules", json!([{"id": "nightly", "schedule_cron": "0 0 * * *"}])),
        ("run_once_at", json!("2030-01-01T00:00:00Z")),
        ("webhook_key", json!("0123456789abcdef0123456789abcdef")),
        ("warm", json!(2)),
        ("restart_on_crash", json!(true)),
        ("restart_interval", json!(60)),
        ("after", json!(["etl"])),
        ("downstream_triggers", json!([{"pipeline": "etl"}])),
        ("encrypted_env", json!({"A": SEALED})),
    ] {
        let given = code("refused", "pass").settings(&settings(json!({field: value})));
        let words = ["code.refused", "pipeline.json:1:", &format!(" {field}: "), "make this a pipeline"];
        refused(flow.submit(given).await, ErrorKind::Invalid, &words);
    }
    let inline = "# /// script\n# dependencies = []\n# [tool.fastflow]\n# warm = 2\n# ///\n";
    refused(
        flow.submit(code("refused", inline)).await,
        ErrorKind::Invalid,
        &["main.py:4:", "warm", "kept warm"],
    );
    // And what is wrong with any pipeline is wrong here.
    let wrong = code("refused", "pass").settings(&settings(json!({"timeout": "abc", "memry": 1})));
    refused(flow.submit(wrong).await, ErrorKind::Invalid, &["timeout", "\"abc\""]);
    let disabled = code("refused", "pass").settings(&settings(json!({"enabled": false})));
    refused(flow.submit(disabled).await, ErrorKind::Conflict, &["disabled"]);
    let twice = code("refused", "pass").file("pipeline.json", "{}").settings(&settings(json!({})));
    refused(flow.submit(twice).await, ErrorKind::Invalid, &["pipeline.json", "given twice"]);
    refused(flow.submit(Code::new("refused").unwrap()).await, ErrorKind::Invalid, &["main.py"]);
    refused(
        flow.submit(Submission::code(code("refused", "pass")).config("nightly")).await,
        ErrorKind::NotFound,
        &["nightly"],
    );
}

/// Of a pipeline, they are warnings, which somebody sees; nobody lists code.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_nobody_knows_are_refused_by_name_wherever_they_stand() {
    let place = Place::new();
    place.pipeline("misspelt", "pass").file("misspelt/pipeline.json", r#"{"mem_hardlimit": "64m"}"#);
    let flow = place.start().await;
    for (given, words) in [
        (json!({"mem_hardlimit": "64m"}), ["mem_hardlimit: unknown field", "did you mean `mem_hard_limit`?"]),
        (json!({"nothing_like_it": 1}), ["nothing_like_it: unknown field", "check its name"]),
        (
            json!({"retry_strategy": {"type": "fixed_delay", "delay": 1, "dealys": 2}}),
            ["retry_strategy.dealys: unknown field", "did you mean `delay`?"],
        ),
    ] {
        let given = code("refused", "pass").settings(&settings(given));
        refused(flow.submit(given).await, ErrorKind::Invalid, &words);
    }
    for (line, unknown) in
        [("[tool.fastflow]\n# mem_hardlimit = \"64m\"", "mem_hardlimit"), ("dependency = []", "dependency")]
    {
        let inline = format!("# /// script\n# dependencies = []\n# {line}\n# ///\n");
        let words = ["main.py:", unknown, "unknown field"];
        refused(flow.submit(code("refused", &inline)).await, ErrorKind::Invalid, &words);
    }
    run(&flow, code("taken", "pass").settings(&settings(json!({"$schema": "x", "tags": ["a", "a"]})))).await;
    flow.submit("misspelt").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_written_outside_and_no_more_than_there_may_be() {
    let place = Place::new();
    let flow = place.start().await;
    let absolute = place.tmp().join("absolute").display().to_string();
    for path in
        ["../escaped", "../../escaped", "a/../../escaped", &absolute, "", "a//b", "a\\..\\..\\escaped"]
    {
        let given = code("outside", "pass").file(path, "x");
        refused(flow.submit(given).await, ErrorKind::Invalid, &["expected the path of a file inside"]);
    }
    let large = code("large", "pass").file("data", vec![0; usize::try_from(Code::LIMITS.max_bytes).unwrap()]);
    refused(flow.submit(large).await, ErrorKind::Invalid, &["67108864 bytes"]);
    let many = |files: usize| {
        (0..files).fold(code("many", "pass"), |code, index| code.file(format!("file-{index}"), "x"))
    };
    refused(flow.submit(many(Code::LIMITS.max_files)).await, ErrorKind::Invalid, &["1000 files and folders"]);
    let deep = code("deep", "pass").file(format!("{}x", "a/".repeat(TreeLimits::MAX_DEPTH + 1)), "x");
    refused(flow.submit(deep).await, ErrorKind::Invalid, &["32 folders inside each other"]);
    assert!(shelf(&place).is_empty(), "what is refused for its paths is not written");
    assert!(std::fs::read_dir(place.tmp()).unwrap().next().is_none());
    assert!(!place.data().join("escaped").exists() && !place.root().join("escaped").exists());

    let most = run(&flow, many(Code::LIMITS.max_files - 1)).await;
    assert!(most.state.is_terminal() && most.failure().is_none(), "{most:?}");
}
