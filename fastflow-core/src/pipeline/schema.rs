//! The JSON Schema of `pipeline.json`, for editors, and the same as a table, for people.
//!
//! These types only describe: the schema is generated from them, and a test holds them against the reader.

use std::fmt::Write;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde_json::Value;

use super::{
    ByteSize, ConfigName, CpuMillis, CronText, Definition, DownstreamTrigger, EnvName, ImageName,
    MAX_ENV_VALUE_BYTES, PythonRequest, RetryPolicy, RetryStrategy, Seconds, WebhookKey,
};
use crate::{ExecutorName, PipelineName};

/// The JSON Schema (2020-12) of `pipeline.json`. The file `docs/pipeline.schema.json` holds it.
///
/// ```
/// let schema = fastflow_core::pipeline::manifest_schema();
/// assert_eq!(schema["properties"]["timeout"]["minimum"], 0);
/// ```
pub fn manifest_schema() -> Value {
    schema_for!(Manifest).to_value()
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
    rows(&mut table, "schedules[].", items("ScheduleItem"));
    rows(&mut table, "downstream_triggers[].", items("TriggerItem"));
    rows(&mut table, "cells[].", items("CellItem"));
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

macro_rules! described {
    ($($(#[$meta:meta])* $name:ident => $schema:tt;)+) => {$(
        $(#[$meta])*
        struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

described! {
    Size => {
        "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": ByteSize::MAX.0 },
            { "type": "string", "pattern": r"^([0-9]+ *[bB]?|[0-9]+(\.[0-9]{1,9})? *[kKmMgGtT][iI]?[bB]?)$" },
            { "type": "null" },
        ]
    };
    /// Not as exact as the reader, which knows the calendar.
    Instant => {
        "type": ["string", "null"],
        "pattern": r"^[+-]?[0-9]{4,6}-?[0-9]{2}-?[0-9]{2}([Tt ].+)?$"
    };
    Cron => {
        "type": ["string", "null"],
        "maxLength": CronText::MAX_BYTES,
        "pattern": r"^\s*(@[a-z]+|[A-Za-z0-9*/,?#-]+(\s+[A-Za-z0-9*/,?#-]+){4,5})\s*$"
    };
    Restart => {
        "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": Seconds::MAX.0 },
            { "type": "string", "minLength": 1, "maxLength": CronText::MAX_BYTES },
            { "type": "null" },
        ]
    };
    Python => {
        "type": ["string", "null"],
        "maxLength": PythonRequest::MAX_CHARS,
        "pattern": r"^\s*[A-Za-z0-9<>=!~][A-Za-z0-9.,<>=!~*@+ _-]*\s*$"
    };
    Name => {
        "type": "string",
        "maxLength": PipelineName::MAX_CHARS,
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$"
    };
    OptionalName => {
        "type": ["string", "null"],
        "maxLength": ConfigName::MAX_CHARS.max(ExecutorName::MAX_CHARS),
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$"
    };
    Environment => {
        "type": ["object", "null"],
        "maxProperties": Definition::MAX_ENV_ENTRIES,
        "propertyNames": { "minLength": 1, "maxLength": EnvName::MAX_BYTES, "pattern": "^[!-<>-~]+$" },
        "additionalProperties": { "type": "string", "maxLength": MAX_ENV_VALUE_BYTES }
    };
    SecretNames => {
        "type": ["array", "null"],
        "maxItems": Definition::MAX_ENV_ENTRIES,
        "items": { "type": "string", "minLength": 1, "maxLength": EnvName::MAX_BYTES, "pattern": "^[!-<>-~]+$" }
    };
    Tags => {
        "type": ["array", "null"],
        "maxItems": Definition::MAX_TAGS,
        "items": { "type": "string", "minLength": 1, "maxLength": Definition::MAX_TAG_CHARS, "pattern": "^[^,]+$" }
    };
    Key => {
        "type": ["string", "null"],
        "maxLength": WebhookKey::MAX_CHARS,
        "pattern": "^[A-Za-z0-9_.~-]*$"
    };
    Kind => { "enum": ["script", "notebook", null] };
    Image => {
        "type": ["string", "null"],
        "maxLength": ImageName::MAX_BYTES,
        "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*(@[A-Za-z0-9+._-]+:[A-Fa-f0-9]{32,})?$"
    };
    Reach => { "enum": ["bridge", "none", null] };
    Sandboxes => { "type": ["integer", "null"], "minimum": 0, "maximum": Definition::MAX_WARM };
    Waits => {
        "type": "array",
        "minItems": 1,
        "maxItems": RetryStrategy::MAX_DELAYS,
        "items": { "type": "integer", "minimum": 0, "maximum": Seconds::MAX.0 }
    };
    Cores => {
        "type": ["number", "null"],
        "minimum": CpuMillis::MIN.cores() - 0.0005,
        "maximum": CpuMillis::MAX.cores()
    };
    AnySeconds => { "type": ["integer", "null"], "minimum": 0, "maximum": Seconds::MAX.0 };
    SomeSeconds => { "type": ["integer", "null"], "minimum": 1, "maximum": Seconds::MAX.0 };
    GraceSeconds => { "type": ["integer", "null"], "minimum": 0, "maximum": Definition::MAX_STOP_GRACE.0 };
    Positive => { "type": ["integer", "null"], "minimum": 1, "maximum": u32::MAX };
    Attempts => { "type": ["integer", "null"], "minimum": 0, "maximum": RetryPolicy::MAX_ATTEMPTS };
    Flag => { "type": ["boolean", "null"] };
    Factor => { "type": ["number", "null"], "minimum": 1, "maximum": RetryStrategy::MAX_MULTIPLIER };
    Description => { "type": ["string", "null"], "maxLength": Definition::MAX_DESCRIPTION_CHARS };
    Route => { "type": ["string", "null"], "minLength": 1, "maxLength": DownstreamTrigger::MAX_ROUTE_CHARS };
}

/// How a Fast-Flow pipeline runs. Every field may be left out.
#[derive(JsonSchema)]
#[schemars(title = "pipeline.json", rename = "Manifest")]
#[expect(dead_code, reason = "only its schema is used")]
struct Manifest {
    /// Shown to people.
    #[schemars(default, with = "Description", extend("x-type" = "string"))]
    description: (),
    /// For filters and groups; each of at most 63 characters without commas.
    #[schemars(default, with = "Tags", extend("x-type" = "list of strings", "default" = []))]
    tags: (),
    /// Whether it may start at all.
    #[schemars(default, with = "Flag", extend("x-type" = "boolean", "default" = true))]
    enabled: (),
    /// `"script"` runs `main.py`; `"notebook"` runs `main.ipynb`. *Notebooks are not acted on yet.*
    #[schemars(default, with = "Kind", extend("x-type" = "string", "default" = "script"))]
    r#type: (),
    /// The Python it wants, as `uv` takes it: `"3.12"`, `"3.12.4"`, `"pypy@3.10"` or a range such as
    /// `">=3.11,<3.14"`. None: what its folder says, else the host's default.
    #[schemars(default, with = "Python", extend("x-type" = "string", "examples" = ["3.12", ">=3.11,<3.14"]))]
    python_version: (),
    /// Which of the host's executors runs it. None: the host's default.
    #[schemars(default, with = "OptionalName", extend("x-type" = "string", "examples" = ["process"]))]
    executor: (),
    /// The container image it runs in, for executors that have images. None: the executor's own choice.
    #[schemars(default, with = "Image", extend("x-type" = "string", "examples" = ["python:3.12-slim"]))]
    image: (),
    /// What its program reaches: `"bridge"` is what the machine reaches but no other run, `"none"` is nothing. Only
    /// executors that isolate can take the network away.
    #[schemars(default, with = "Reach", extend("x-type" = "string", "default" = "bridge"))]
    network: (),
    /// How many sandboxes are kept ready for its next runs, at most 64. Only container executors have such, and
    /// each takes its memory while it waits.
    #[schemars(default, with = "Sandboxes", extend("x-type" = "whole number", "default" = 0))]
    warm: (),
    /// The most processor time, in cores; fractions count, the least is 0.01. None: no limit.
    #[schemars(default, with = "Cores", extend("x-type" = "number", "examples" = [0.5, 2]))]
    cpu_hard_limit: (),
    /// The most memory, at least 6 MiB; there is no swap beyond it. None: no limit.
    #[schemars(default, with = "Size", extend("x-type" = "size", "examples" = ["512m", "1.5g", "2GB", "512Mi"]))]
    mem_hard_limit: (),
    /// The cores above which samples of its usage are marked; it goes on.
    #[schemars(default, with = "Cores", extend("x-type" = "number", "examples" = [0.5]))]
    cpu_soft_limit: (),
    /// The memory above which samples of its usage are marked; it goes on.
    #[schemars(default, with = "Size", extend("x-type" = "size", "examples" = ["400m"]))]
    mem_soft_limit: (),
    /// The most processes and threads at one time. None: no limit.
    #[schemars(default, with = "Positive", extend("x-type" = "whole number", "examples" = [64]))]
    max_processes: (),
    /// The longest run time of one attempt, in seconds; 0 is no limit. None: no limit.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "examples" = [3600]))]
    timeout: (),
    /// The time between asking a run to end and killing it, in seconds, at most 3600.
    #[schemars(default, with = "GraceSeconds", extend("x-type" = "seconds", "default" = Definition::DEFAULT_STOP_GRACE.0))]
    stop_grace: (),
    /// The most log that is kept of one attempt, at least 64 KiB; of a longer one the middle is left out.
    #[schemars(default, with = "Size", extend("x-type" = "size", "default" = "1Gi"))]
    log_max_size: (),
    /// Further attempts after a failed one, at most 1000.
    #[schemars(default, with = "Attempts", extend("x-type" = "whole number", "default" = 0))]
    retry_attempts: (),
    /// How long to wait before each further attempt. None: 60 seconds each time.
    #[schemars(default, with = "Option<Strategy>", extend("x-type" = "object"))]
    retry_strategy: (),
    /// Environment variables, all strings; the caller's win over them. Names that decide which code runs, such as
    /// `PATH` and `PYTHONPATH`, are refused.
    #[schemars(default, with = "Environment", extend("x-type" = "object of strings", "default" = {}))]
    default_env: (),
    /// Environment variables with sealed values. *Not acted on yet.*
    #[schemars(default, with = "Environment", extend("x-type" = "object of strings", "default" = {}))]
    encrypted_env: (),
    /// The stored secrets it may see, as environment variables. *Not acted on yet.*
    #[schemars(default, with = "SecretNames", extend("x-type" = "list of strings", "default" = []))]
    secrets: (),
    /// The key that opens its webhook; `""` is none. *Not acted on yet.*
    #[schemars(default, with = "Key", extend("x-type" = "string", "default" = ""))]
    webhook_key: (),
    /// When it starts by itself: a cron expression of 5 or 6 fields, or a nickname such as `"@daily"`. Not beside
    /// `schedule_interval_seconds`. *Not acted on yet.*
    #[schemars(default, with = "Cron", extend("x-type" = "string", "examples" = ["0 4 * * *", "@daily"]))]
    schedule_cron: (),
    /// Starts by itself every so many seconds. *Not acted on yet.*
    #[schemars(default, with = "SomeSeconds", extend("x-type" = "seconds", "examples" = [300]))]
    schedule_interval_seconds: (),
    /// From when the schedule counts: a date (its first instant) or a time; UTC without an offset. *Not acted on
    /// yet.*
    #[schemars(default, with = "Instant", extend("x-type" = "ISO 8601 string", "examples" = ["2026-01-31"]))]
    schedule_start: (),
    /// To when the schedule counts: a date (its last instant) or a time. *Not acted on yet.*
    #[schemars(default, with = "Instant", extend("x-type" = "ISO 8601 string", "examples" = ["2026-01-31T08:00:00Z"]))]
    schedule_end: (),
    /// Starts once, at this time. *Not acted on yet.*
    #[schemars(default, with = "Instant", extend("x-type" = "ISO 8601 string", "examples" = ["2026-01-31T08:00:00Z"]))]
    run_once_at: (),
    /// Several run configurations; when there are any, the schedule above has no effect. *Not acted on yet.*
    #[schemars(
        default,
        with = "Option<Vec<ScheduleItem>>",
        length(max = 1000),
        extend("x-type" = "list of objects", "default" = [])
    )]
    schedules: (),
    /// Starts again after a failure, always. *Not acted on yet.*
    #[schemars(default, with = "Flag", extend("x-type" = "boolean", "default" = false))]
    restart_on_crash: (),
    /// The pause before such a start, in seconds. *Not acted on yet.*
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = 60))]
    restart_cooldown: (),
    /// When a running one is replaced: seconds, or a cron expression. *Not acted on yet.*
    #[schemars(default, with = "Restart", extend("x-type" = "seconds or string", "examples" = [86400, "0 4 * * *"]))]
    restart_interval: (),
    /// The most runs that wait or run at one time. None: any number. *Not acted on yet.*
    #[schemars(default, with = "Positive", extend("x-type" = "whole number", "examples" = [1]))]
    max_instances: (),
    /// What its end starts. *Not acted on yet.*
    #[schemars(
        default,
        with = "Option<Vec<TriggerItem>>",
        length(max = 1000),
        extend("x-type" = "list of objects", "default" = [])
    )]
    downstream_triggers: (),
    /// Retries of a notebook's code cells, in their order. *Not acted on yet.*
    #[schemars(
        default,
        with = "Option<Vec<CellItem>>",
        length(max = 1000),
        extend("x-type" = "list of objects", "default" = [])
    )]
    cells: (),
}

/// The waits between attempts.
#[derive(JsonSchema)]
#[schemars(rename = "Strategy", tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Strategy {
    /// Always the same wait.
    FixedDelay {
        /// `fixed_delay`: the wait, in seconds.
        #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = 60))]
        delay: (),
    },
    /// Growing waits: `min(max_delay, initial_delay * multiplier ^ (n - 1))` after attempt n.
    ExponentialBackoff {
        /// `exponential_backoff`: the first wait, in seconds.
        #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = 60))]
        initial_delay: (),
        /// `exponential_backoff`: the longest wait, in seconds.
        #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = 3600))]
        max_delay: (),
        /// `exponential_backoff`: the growth per attempt, from 1 to 1000.
        #[schemars(default, with = "Factor", extend("x-type" = "number", "default" = 2))]
        multiplier: (),
    },
    /// Waits as listed; the last one repeats.
    CustomSchedule {
        /// `custom_schedule`: the waits in seconds, at least one; the last one repeats.
        #[schemars(with = "Waits", extend("x-type" = "list of seconds", "examples" = [[10, 60, 600]]))]
        delays: (),
    },
}

/// One run configuration. What it leaves open, the pipeline's own fields say.
#[derive(JsonSchema)]
#[schemars(rename = "ScheduleItem")]
#[expect(dead_code, reason = "only its schema is used")]
struct ScheduleItem {
    /// Unique within the file.
    #[schemars(with = "Name", extend("x-type" = "string", "examples" = ["nightly"]))]
    id: (),
    /// A cron expression; exactly one of this and `schedule_interval_seconds` is required.
    #[schemars(default, with = "Cron", extend("x-type" = "string", "examples" = ["0 4 * * *"]))]
    schedule_cron: (),
    /// Seconds between two starts.
    #[schemars(default, with = "SomeSeconds", extend("x-type" = "seconds", "examples" = [300]))]
    schedule_interval_seconds: (),
    /// As at the top of the file.
    #[schemars(default, with = "Instant", extend("x-type" = "ISO 8601 string", "examples" = ["2026-01-31"]))]
    schedule_start: (),
    /// As at the top of the file.
    #[schemars(default, with = "Instant", extend("x-type" = "ISO 8601 string", "examples" = ["2026-12-31"]))]
    schedule_end: (),
    /// Whether it fires at all.
    #[schemars(default, with = "Flag", extend("x-type" = "boolean", "default" = true))]
    enabled: (),
    /// Added to the pipeline's own, and winning over them.
    #[schemars(default, with = "Environment", extend("x-type" = "object of strings", "default" = {}))]
    default_env: (),
    /// Added to the pipeline's own, and winning over them.
    #[schemars(default, with = "Environment", extend("x-type" = "object of strings", "default" = {}))]
    encrypted_env: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "Cores", extend("x-type" = "number", "examples" = [0.5]))]
    cpu_hard_limit: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "Size", extend("x-type" = "size", "examples" = ["512m"]))]
    mem_hard_limit: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "Cores", extend("x-type" = "number", "examples" = [0.5]))]
    cpu_soft_limit: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "Size", extend("x-type" = "size", "examples" = ["400m"]))]
    mem_soft_limit: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "examples" = [3600]))]
    timeout: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "Attempts", extend("x-type" = "whole number", "examples" = [2]))]
    retry_attempts: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "Option<Strategy>", extend("x-type" = "object"))]
    retry_strategy: (),
    /// The key of its own webhook; no other one in the file may be the same.
    #[schemars(default, with = "Key", extend("x-type" = "string", "default" = ""))]
    webhook_key: (),
}

/// Another pipeline that the end of a run starts.
#[derive(JsonSchema)]
#[schemars(rename = "TriggerItem")]
#[expect(dead_code, reason = "only its schema is used")]
struct TriggerItem {
    /// What is started.
    #[schemars(with = "Name", extend("x-type" = "string", "examples" = ["report"]))]
    pipeline: (),
    /// Whether success starts it.
    #[schemars(default, with = "Flag", extend("x-type" = "boolean", "default" = true))]
    on_success: (),
    /// Whether failure starts it.
    #[schemars(default, with = "Flag", extend("x-type" = "boolean", "default" = false))]
    on_failure: (),
    /// The route that the run must have named.
    #[schemars(default, with = "Route", extend("x-type" = "string", "examples" = ["large"]))]
    on_route: (),
    /// The entry of the other pipeline's `schedules` to start it with.
    #[schemars(default, with = "OptionalName", extend("x-type" = "string", "examples" = ["nightly"]))]
    run_config_id: (),
}

/// How often one code cell of a notebook is tried again.
#[derive(JsonSchema)]
#[schemars(rename = "CellItem")]
#[expect(dead_code, reason = "only its schema is used")]
struct CellItem {
    /// Further tries of the cell, at most 1000.
    #[schemars(default, with = "Attempts", extend("x-type" = "whole number", "default" = 0))]
    retries: (),
    /// The wait before each, in seconds.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = 1))]
    delay_seconds: (),
}
