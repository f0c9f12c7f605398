//! Parameters that pipelines declare: checked before there is a run, whoever asks for it.

use fastflow_core::{ErrorKind, Submission, run::Status, schedule::Schedule, store::RunQuery};
use serde_json::{Value, json};

use crate::{
    kit::{Place, refused, run},
    stage::{SAY, decided, ended_of, id, is_refused, ledger_of, made},
};

fn declared() -> Value {
    json!({
        "undeclared_parameters": "refuse",
        "parameters": {
            "A": {"type": "integer", "required": true},
            "B": {"choices": ["red", "green"], "default": "green"},
            "TMP_DIR": {},
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_and_says_what_would() {
    let place = Place::new();
    place.declared("etl", SAY, declared());
    let flow = place.start().await;
    let ask = |parameters: &[(&str, &str)]| {
        parameters.iter().fold(Submission::new("etl"), |what, (name, value)| what.parameter(*name, *value))
    };
    let is_refused = async |parameters: &[(&str, &str)], words: &[&str]| {
        refused(flow.submit(ask(parameters)).await, ErrorKind::Invalid, words);
    };
    is_refused(&[], &["required", "A", "whole number"]).await;
    is_refused(&[("A", "May")], &["A", "May", "whole number"]).await;
    is_refused(&[("A", "1.5")], &["A", "1.5"]).await;
    is_refused(&[("A", "1"), ("B", "blue")], &["B", "blue", "red", "green"]).await;
    is_refused(&[("A", "1"), ("BB", "red")], &["BB", "declares no such parameter"]).await;
    assert!(flow.runs().list(&RunQuery::default()).await.unwrap().items.is_empty(), "nothing was accepted");
    assert_eq!(run(&flow, ask(&[("A", "-7")])).await.status(), Status::Success);
    let done = run(&flow, ask(&[("A", "8"), ("B", "red")])).await;
    let of = |name: &str| done.parameters.get(&name.parse().unwrap()).cloned();
    assert_eq!((of("A"), of("B")), (Some("8".into()), Some("red".into())));
    let said: Vec<Vec<String>> = place.lines_of("etl").into_iter().map(|words| words[3..].to_vec()).collect();
    assert_eq!(said, [["-7", "green"], ["8", "red"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_and_triggers_are_held_to_them_too() {
    let place = Place::new();
    let mut scheduled = declared();
    scheduled["schedule_interval_seconds"] = 1.into();
    let other =
        |name: &str| json!({"downstream_triggers": [{"pipeline": name, "parameters": {"A": "count"}}]});
    let leaves = "open('.fastflow-output.json', 'w').write('{\"count\": \"many\"}')";
    place.declared("etl", SAY, declared()).declared("bare", SAY, scheduled).declared(
        "first",
        leaves,
        other("etl"),
    );
    let flow = place.start().await;
    // The file's schedule has no value for what is required.
    for tick in ledger_of(&flow, "bare/schedule", 2).await {
        assert!(is_refused(&tick, &["required", "A"]), "{tick:?}");
    }
    let mut mine = Schedule::new(
        id("etl@mine"),
        fastflow_core::pipeline::ScheduleRule::IntervalSeconds(1.try_into().unwrap()),
    );
    for (value, words) in [(None, ["required", "A"]), (Some("x"), ["A", "whole number"])] {
        mine.parameters = value.map(|value| ("A".parse().unwrap(), value.to_owned())).into_iter().collect();
        refused(flow.schedules().put(mine.clone()).await, ErrorKind::Invalid, &words);
    }
    mine.parameters.insert("A".parse().unwrap(), "12".into());
    flow.schedules().put(mine).await.unwrap();
    let first = made(&ledger_of(&flow, "etl@mine", 1).await)[0];
    ended_of(&flow, "etl", 1).await;
    assert_eq!(flow.runs().get(first).await.unwrap().status(), Status::Success);
    assert_eq!(place.lines_of("etl")[0][3..], ["12", "green"]);
    // The file changes what it takes: what was made before is refused from now on, and says so.
    let mut strict = declared();
    strict["parameters"]["A"] = json!({"type": "boolean", "required": true});
    place.fields("etl", strict);
    let rows = crate::stage::ledger(&flow, "etl@mine").await.len();
    let ticks = ledger_of(&flow, "etl@mine", rows + 2).await;
    assert!(is_refused(ticks.last().unwrap(), &["A", "true or false"]), "{ticks:?}");
    flow.schedules().remove(&id("etl@mine")).await.unwrap();

    let upstream = run(&flow, "first").await;
    let decided = decided(&flow, upstream.id).await;
    assert_eq!(decided.len(), 1, "{decided:?}");
    assert!(decided[0].contains("was to start `etl`") && decided[0].contains("many"), "{decided:?}");
}
