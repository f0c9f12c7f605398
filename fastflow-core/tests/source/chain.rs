//! Pipelines that name each other.

use std::fs;

use fastflow_core::{
    ErrorKind,
    source::{Catalog, PipelineSource},
};

use super::{Place, errors, name};

impl Place {
    /// A pipeline whose end starts others.
    fn starts(&self, pipeline: &str, others: &[&str]) {
        let trigger = |other: &&str| format!("{{\"pipeline\": \"{other}\"}}");
        let triggers: Vec<String> = others.iter().map(trigger).collect();
        let text = format!("{{\"downstream_triggers\":\n[{}]}}", triggers.join(", "));
        self.write(&format!("{pipeline}/main.py"), "");
        self.write(&format!("{pipeline}/pipeline.json"), &text);
    }
}

fn warnings(catalog: &Catalog, pipeline: &str) -> Vec<String> {
    let read = catalog.get(&name(pipeline)).unwrap().runnable().unwrap();
    read.pipeline.warnings.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn pipelines_in_a_circle_are_broken_with_its_path_and_no_other_is() {
    let place = Place::new();
    place.starts("a", &["b"]);
    place.starts("b", &["c", "out"]);
    place.starts("out", &[]);
    place.starts("in", &["a"]);
    // Closed by the other kind of relation, in a script's own metadata.
    place.write("c.py", "");
    place.write(
        "a/pipeline.json",
        r#"{"after": ["c"], "tags": ["x", "x"], "downstream_triggers": [{"pipeline": "b"}]}"#,
    );
    let source = place.source();
    let catalog = source.catalog().await.unwrap();
    let text = |pipeline: &str| errors(catalog.get(&name(pipeline)).unwrap());
    let a = text("a");
    assert!(
        a.contains("pipeline.json:1:38: downstream_triggers: found a circle")
            && a.contains(": a -> b -> c -> a;"),
        "{a}"
    );
    assert!(a.contains("tags[1]"), "warnings stay beside it: {a}");
    assert!(text("b").starts_with("pipeline.json:1:2: downstream_triggers: found a circle"), "{}", text("b"));
    assert!(text("b").contains(": b -> c -> a -> b;"), "{}", text("b"));
    assert!(text("c").starts_with("c: found a circle"), "it says nothing itself: {}", text("c"));
    for outside in ["in", "out"] {
        assert_eq!(warnings(&catalog, outside), [""; 0]);
    }
    for member in ["a", "b", "c"] {
        let entry = source.refresh(&name(member)).await.unwrap();
        assert_eq!(&entry, catalog.get(&name(member)).unwrap(), "one alone is told the same");
        assert_eq!(entry.runnable().unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(source.refresh(&name("in")).await.unwrap().runnable().is_ok());
}

#[tokio::test]
async fn a_circle_is_broken_and_closed_by_an_edit_of_one() {
    let place = Place::new();
    place.starts("a", &["b"]);
    place.starts("b", &["a"]);
    let source = place.source();
    let runs = async |pipeline: &str| source.refresh(&name(pipeline)).await.unwrap().runnable().is_ok();
    assert!(runs("a").await, "nobody has looked at the other yet");
    assert!(!runs("b").await && !runs("a").await);
    // The other one is read again before it is believed.
    place.starts("b", &[]);
    assert!(runs("a").await && runs("b").await);
    place.starts("b", &["a"]);
    assert!(!runs("b").await && !runs("a").await);
    fs::remove_dir_all(place.pipelines.join("b")).unwrap();
    assert!(runs("a").await);
    assert!(warnings(&source.catalog().await.unwrap(), "a")[0].contains("there is no such pipeline"));
}

#[tokio::test]
async fn what_a_pipeline_names_and_is_not_there_is_a_warning_with_a_likely_name() {
    let place = Place::new();
    place.starts("etl", &["report", "reprot", "zzz"]);
    place.write("report/main.py", "");
    let entry = r#"{"id": "nightly", "schedule_cron": "@daily"}"#;
    place.write("report/pipeline.json", &format!("{{\"after\": [\"etls\"], \"schedules\": [{entry}]}}"));
    place.write("broken/main.py", "");
    place.write("broken/pipeline.json", "{");
    let config =
        r#"{"pipeline": "report", "run_config_id": "weekly"}, {"pipeline": "broken", "run_config_id": "x"}"#;
    place.write("configured.py", "# /// script\n# [tool.fastflow]\n# after = ['broken']\n# ///\n");
    place.write("pick/main.py", "");
    place.write("pick/pipeline.json", &format!("{{\"downstream_triggers\": [{config}]}}"));
    let catalog = place.source().catalog().await.unwrap();
    assert_eq!(
        warnings(&catalog, "etl"),
        [
            "pipeline.json:1:2: downstream_triggers[1].pipeline: found \"reprot\", and there is no such pipeline, so \
             it starts nothing until there is one: did you mean `report`?",
            "pipeline.json:1:2: downstream_triggers[2].pipeline: found \"zzz\", and there is no such pipeline, so it \
             starts nothing until there is one",
        ]
    );
    let report = warnings(&catalog, "report");
    assert_eq!(report.len(), 1, "{report:?}");
    assert!(
        report[0].starts_with("pipeline.json:1:2: after: found \"etls\"") && report[0].ends_with("`etl`?")
    );
    let pick = warnings(&catalog, "pick");
    assert_eq!(pick.len(), 1, "of what cannot be read nothing is said: {pick:?}");
    assert!(
        pick[0].contains("downstream_triggers[0].run_config_id: the pipeline has no such run configuration")
    );
    assert!(pick[0].ends_with("(pipeline: report, found: weekly, expected: nightly)"), "{pick:?}");
    assert_eq!(warnings(&catalog, "configured"), [""; 0], "a broken pipeline is there");
}
