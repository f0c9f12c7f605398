//! What the end of a run leads to: which pipelines, with what, how often, and what is said where nothing follows.

use fastflow_core::{
    ErrorKind, Orchestrator, RunId,
    run::{Decision, Exit, Failure, Origin, Run, Status},
    source::SyncRequest,
};
use serde_json::{Value, json};

use crate::{
    kit::{Place, ended, refused, run, until},
    stage::{FOREVER, SAY, decided, ended_of, notes, runs_of},
};

/// Ends with the code that a file of this pipeline's name says; with 0 where there is none.
pub(crate) const AS_TOLD: &str = r"
import os, pathlib
told = pathlib.Path(os.environ['TMP_DIR']) / ('end-' + os.environ['FASTFLOW_PIPELINE'])
codes = told.read_text().split() if told.exists() else []
attempt = int(os.environ['FASTFLOW_ATTEMPT'])
raise SystemExit(int(codes[min(attempt, len(codes)) - 1]) if codes else 0)
";

fn starts(triggers: &Value) -> Value {
    json!({"downstream_triggers": triggers})
}

/// The runs that followed a run, by the notes about it.
async fn followers(flow: &Orchestrator, run: RunId) -> Vec<(String, RunId)> {
    let followed = notes(flow, run).await.into_iter().filter_map(|note| match note.decision {
        Decision::Followed { pipeline, run } => Some((pipeline.to_string(), run)),
        _ => None,
    });
    followed.collect()
}

async fn names_of_followers(flow: &Orchestrator, run: RunId) -> Vec<String> {
    followers(flow, run).await.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn success_failure_and_any_end_are_followed_by_those_that_ask_for_them() {
    let place = Place::new();
    for name in ["on-success", "on-failure", "on-any"] {
        place.declared(name, SAY, json!({}));
    }
    let triggers = json!([
        {"pipeline": "on-success"},
        {"pipeline": "on-failure", "on_success": false, "on_failure": true},
        {"pipeline": "on-any", "on_failure": true},
        {"pipeline": "gone", "on_failure": true},
    ]);
    place.declared("first", AS_TOLD, starts(&triggers));
    let flow = place.start().await;
    let good = run(&flow, "first").await;
    assert_eq!(names_of_followers(&flow, good.id).await, ["on-success", "on-any"]);
    place.write("end-first", "3");
    let bad = run(&flow, "first").await;
    assert_eq!(bad.failure(), Some(&Failure::Exit(Exit::Code(3))));
    assert_eq!(names_of_followers(&flow, bad.id).await, ["on-failure", "on-any"]);
    for upstream in [&good, &bad] {
        for (name, follower) in followers(&flow, upstream.id).await {
            let done = ended(&flow, follower).await;
            assert_eq!(done.origin, Origin::Trigger { upstream: upstream.id });
            assert_eq!((done.pipeline().as_str(), done.chain), (name.as_str(), upstream.id));
            assert_eq!(done.status(), Status::Success);
        }
        let missing = decided(&flow, upstream.id).await.pop().unwrap();
        assert!(missing.contains("was to start `gone`") && missing.contains("no such pipeline"), "{missing}");
    }
    for (name, count) in [("on-success", 1), ("on-failure", 1), ("on-any", 2)] {
        assert_eq!(runs_of(&flow, name).await.len(), count, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_followed_only_after_the_last_retry_and_a_late_success_is_one() {
    let place = Place::new();
    place.declared("repair", SAY, json!({})).declared("report", SAY, json!({}));
    let fields = json!({
        "retry_attempts": 2, "retry_strategy": {"type": "fixed_delay", "delay": 0},
        "downstream_triggers": [
            {"pipeline": "report"}, {"pipeline": "repair", "on_success": false, "on_failure": true},
        ],
    });
    place.declared("first", AS_TOLD, fields);
    let flow = place.start().await;
    place.write("end-first", "1 1 0");
    let late = run(&flow, "first").await;
    assert_eq!((late.status(), late.attempt), (Status::Success, 3));
    assert_eq!(names_of_followers(&flow, late.id).await, ["report"]);
    assert!(runs_of(&flow, "repair").await.is_empty(), "the failures in between started nothing");
    place.write("end-first", "1 2 3");
    let never = run(&flow, "first").await;
    assert_eq!((never.failure(), never.attempt), (Some(&Failure::Exit(Exit::Code(3))), 3));
    assert_eq!(names_of_followers(&flow, never.id).await, ["repair"]);
    assert_eq!((runs_of(&flow, "repair").await.len(), runs_of(&flow, "report").await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_runs_as_the_entry_it_is_asked_for_and_only_on_its_route() {
    let place = Place::new();
    let entries = json!({"default_env": {"A": "of-all"}, "schedules": [
        {"id": "full", "schedule_cron": "0 0 1 1 *", "default_env": {"A": "full"}},
    ]});
    place.declared("etl", SAY, entries);
    let route = "import os\nif 'ROUTE' in os.environ:\n    open(os.environ['FASTFLOW_ROUTE_FILE'], 'w').write(os.environ['ROUTE'])";
    let triggers = json!([
        {"pipeline": "etl", "run_config_id": "full", "on_route": "new data"},
        {"pipeline": "etl", "on_route": "old data"},
        {"pipeline": "etl", "on_success": false, "on_route": "alone"},
        {"pipeline": "etl", "run_config_id": "empty", "on_route": "strange"},
    ]);
    place.declared("first", route, starts(&triggers));
    let flow = place.start().await;
    for (route, expected) in [
        ("new data", Some("full")),
        (" old data\n", Some("of-all")),
        ("alone", Some("of-all")),
        ("other", None),
        ("", None),
    ] {
        let before = place.lines_of("etl").len();
        let done = run(&flow, place.ask("first").parameter("ROUTE", route)).await;
        let followed = followers(&flow, done.id).await;
        assert_eq!(followed.len(), usize::from(expected.is_some()), "{route:?}");
        for (_, follower) in followed {
            ended(&flow, follower).await;
            assert_eq!(place.lines_of("etl")[before][3], expected.unwrap());
        }
    }
    assert!(followers(&flow, run(&flow, "first").await.id).await.is_empty(), "no route, no follower");
    let strange = run(&flow, place.ask("first").parameter("ROUTE", "strange")).await;
    let said = decided(&flow, strange.id).await;
    assert!(said[0].contains("no such run configuration") && said[0].contains("empty"), "{said:?}");
}

/// A pipeline `first` whose run leaves what the program says, and that hands `rows` on as `A`.
async fn handed_on(place: &Place, program: &str) -> (Orchestrator, Run) {
    let program = format!("import os\nout = os.environ['FASTFLOW_OUTPUT_FILE']\n{program}");
    let triggers = json!([{"pipeline": "etl", "parameters": {"A": "rows"}}]);
    place.declared("etl", SAY, json!({})).declared("first", &program, starts(&triggers));
    let flow = place.start().await;
    let done = run(&flow, "first").await;
    (flow, done)
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_become_parameters() {
    for (document, value) in
        [("{\"rows\": 12, \"more\": []}", "12"), ("{\"rows\": \"a-b\"}", "a-b"), ("{\"rows\": true}", "true")]
    {
        let place = Place::new();
        let program = format!("open(out, 'w').write('{document}')");
        let (flow, done) = handed_on(&place, &program).await;
        let (_, follower) = followers(&flow, done.id).await[0].clone();
        assert_eq!(ended(&flow, follower).await.status(), Status::Success);
        assert_eq!(place.lines_of("etl")[0][3], value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_output_nothing_follows_and_the_run_says_why() {
    const SECRET: &str = "{\"rows\": \"of another file\"}";
    let place = Place::new();
    place.write("elsewhere.json", SECRET);
    let elsewhere = place.tmp().join("elsewhere.json");
    let link = format!("import os\nos.symlink('{}', '.fastflow-output.json')", elsewhere.display());
    let write = |text: &str| format!("open('.fastflow-output.json', 'w').write({text})");
    let cases = [
        ("pass".to_owned(), "left no outputs"),
        (write("'{}'"), "no output `rows`"),
        (write("'{\"rows\": [1]}'"), "no text, number or truth value"),
        (write("'{\"rows\": null}'"), "no text, number or truth value"),
        (write("'[1]'"), "no JSON object"),
        (write("'{\"rows\": 1'"), "no JSON object"),
        (write("'{\"rows\": \"' + 'x' * 70000 + '\"}'"), "cannot be read"),
        (write("'{\"rows\": \"a\\\\u0000b\"}'"), "was not possible"),
        (link, "cannot be read"),
        ("import os\nos.mkfifo('.fastflow-output.json')".to_owned(), "cannot be read"),
        ("import os\nos.mkdir('.fastflow-output.json')".to_owned(), "cannot be read"),
    ];
    let triggers = json!([{"pipeline": "etl", "parameters": {"A": "rows"}}]);
    place.declared("etl", SAY, json!({}));
    for (index, (program, _)) in cases.iter().enumerate() {
        place.declared(&format!("first{index}"), program, starts(&triggers));
    }
    let flow = place.start().await;
    for (index, (program, reason)) in cases.iter().enumerate() {
        let done = run(&flow, format!("first{index}")).await;
        assert_eq!(done.status(), Status::Success, "its own success does not depend on it: {program}");
        let said = decided(&flow, done.id).await;
        assert!(said.len() == 1 && said[0].contains("was to start `etl`"), "{program}: {said:?}");
        assert!(said[0].contains(reason), "{program}: {said:?}");
    }
    assert!(runs_of(&flow, "etl").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_is_followed_by_nothing() {
    let place = Place::new();
    place.declared("etl", SAY, json!({})).declared("join", SAY, json!({"after": ["first"]}));
    let fields = json!({"stop_grace": 0, "downstream_triggers": [{"pipeline": "etl", "on_failure": true}]});
    place.declared("first", FOREVER, fields);
    let flow = place.start().await;
    let first = flow.submit("first").await.unwrap().id;
    place.until_said(&format!("began-{first}")).await;
    flow.runs().cancel(first).await.unwrap();
    assert_eq!(ended(&flow, first).await.status(), Status::Cancelled);
    let queued = flow.submit(place.ask("first").delay(std::time::Duration::from_hours(1))).await.unwrap().id;
    flow.runs().cancel(queued).await.unwrap();
    // Whatever was to follow would have been made with its end.
    assert!(decided(&flow, first).await.is_empty());
    assert!(runs_of(&flow, "etl").await.is_empty() && runs_of(&flow, "join").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn circles_are_refused_with_their_path_and_stop_no_other() {
    let place = Place::new();
    place
        .declared("a", SAY, starts(&json!([{"pipeline": "b"}])))
        .declared("b", SAY, starts(&json!([{"pipeline": "c"}])))
        .declared("c", SAY, json!({}))
        .declared("a", SAY, json!({"after": ["c"], "downstream_triggers": [{"pipeline": "b"}]}));
    let flow = place.start().await;
    refused(flow.submit("a").await, ErrorKind::Invalid, &["a -> b -> c -> a"]);
    refused(flow.submit("b").await, ErrorKind::Invalid, &["b -> c -> a -> b"]);
    place.declared("a", SAY, json!({"downstream_triggers": [{"pipeline": "b"}]}));
    flow.source().sync(SyncRequest::default()).await.unwrap();
    run(&flow, "a").await;
    assert_eq!(ended_of(&flow, "c", 1).await.len(), 1, "a chain is no circle");
    let chain: Vec<RunId> = runs_of(&flow, "c").await.iter().map(|run| run.chain).collect();
    until("the whole chain to be one", || async { chain == [runs_of(&flow, "a").await[0].id] }).await;
}
