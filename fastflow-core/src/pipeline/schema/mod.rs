//! The JSON Schema of `pipeline.json`, for editors, and the same as a table, for people.
//!
//! These types only describe: the schema is generated from them, and tests hold them against the reader.

mod item;
mod top;
mod value;

use std::fmt::Write;

use schemars::schema_for;
use serde_json::Value;

/// The JSON Schema (2020-12) of `pipeline.json`. The file `docs/pipeline.schema.json` holds it.
///
/// ```
/// let schema = fastflow_core::pipeline::manifest_schema();
/// assert_eq!(schema["properties"]["timeout"]["minimum"], 0);
/// ```
pub fn manifest_schema() -> Value {
    schema_for!(top::Manifest).to_value()
}

/// The fields of `pipeline.json` as a Markdown table. It stands in `docs/guide/pipeline-json.md`.
///
/// ```
/// assert!(fastflow_core::pipeline::manifest_table().contains("| `timeout` |"));
/// ```
pub fn manifest_table() -> String {
    let schema = manifest_schema();
    let items = |name: &str| &schema["$defs"][name];
    let mut table = String::from("| Field | Type | Default | Meaning |\n| --- | --- | --- | --- |\n");
    rows(&mut table, "", &schema);
    table.push_str(
        "| `retry_strategy.type` | string | required | `\"fixed_delay\"`, `\"exponential_backoff\"` or \
         `\"custom_schedule\"`. |\n",
    );
    for variant in schema["$defs"]["Strategy"]["oneOf"].as_array().into_iter().flatten() {
        rows(&mut table, "retry_strategy.", variant);
    }
    for (prefix, name) in [
        ("retry_memory.", "Escalation"),
        ("daylight.", "Daylight"),
        ("catch_up.", "CatchUpAll"),
        ("schedules[].", "ScheduleItem"),
        ("parameters.*.", "ParameterItem"),
        ("downstream_triggers[].", "TriggerItem"),
        ("cells[].", "CellItem"),
    ] {
        rows(&mut table, prefix, items(name));
    }
    table
}

/// One row per described property of an object.
fn rows(table: &mut String, prefix: &str, object: &Value) {
    let required = object["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        let Some(kind) = field["x-type"].as_str() else { continue };
        let meaning =
            field["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let default = match &field["default"] {
            _ if required.iter().any(|required| required == name) => "required".to_owned(),
            Value::Null => "none".to_owned(),
            value => format!("`{value}`"),
        };
        let _ = writeln!(table, "| `{prefix}{name}` | {kind} | {default} | {meaning} |");
    }
}
