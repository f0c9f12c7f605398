//! The objects inside the file.

use schemars::JsonSchema;

use super::value::{
    AnySeconds, Attempts, Blackouts, CatchUpRuns, Cores, Cron, Environment, Factor, Flag, Fold, Gap, Growth,
    Instant, Key, Name, OptionalName, OutputFields, Overlaps, ParameterDescription, ParameterValue,
    ParameterValues, Positive, Route, SealedEnvironment, Size, SomeSeconds, SomeSize, TimeZone,
    TypeOfParameter, Waits,
};

/// The waits between attempts.
#[derive(JsonSchema)]
#[schemars(rename = "Strategy", tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Strategy {
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
pub(super) struct ScheduleItem {
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
    /// Replaces the pipeline's own.
    #[schemars(default, with = "TimeZone", extend("x-type" = "string", "examples" = ["Europe/Berlin"]))]
    timezone: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "Option<Daylight>", extend("x-type" = "object"))]
    daylight: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "Overlaps", extend("x-type" = "string", "examples" = ["queue"]))]
    overlap: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "Option<Late>", extend("x-type" = "string or object", "examples" = [{"all": 10}]))]
    catch_up: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds"))]
    catch_up_window: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds"))]
    jitter: (),
    /// Replaces the pipeline's own.
    #[schemars(default, with = "Blackouts", extend("x-type" = "list of strings"))]
    blackouts: (),
    /// The most runs of this entry that may be unfinished before `overlap` decides. None: one.
    #[schemars(default, with = "Positive", extend("x-type" = "whole number", "examples" = [2]))]
    max_instances: (),
    /// Whether it fires at all.
    #[schemars(default, with = "Flag", extend("x-type" = "boolean", "default" = true))]
    enabled: (),
    /// Added to the pipeline's own, and winning over them; sealed values win over all in clear.
    #[schemars(default, with = "Environment", extend("x-type" = "object of strings", "default" = {}))]
    default_env: (),
    /// Added to the pipeline's own, and winning over them.
    #[schemars(default, with = "SealedEnvironment", extend("x-type" = "object of strings", "default" = {}))]
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
pub(super) struct TriggerItem {
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
    /// Parameters of the run that it starts, each by the field of this run's output that has its value.
    #[schemars(default, with = "OutputFields", extend("x-type" = "object of strings", "default" = {}))]
    parameters: (),
}

/// What happens at local times that do not exist, or exist twice. What is left open is as cron does: a pattern whose
/// minutes or hours begin with `*` runs in every real hour, any other once a local time.
#[derive(JsonSchema)]
#[schemars(rename = "Daylight")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Daylight {
    /// For times that do not exist: `"shift"` to the first instant that does, or `"skip"`.
    #[schemars(default, with = "Gap", extend("x-type" = "string"))]
    gap: (),
    /// For times that exist twice: the `"first"`, the `"last"` or `"both"`.
    #[schemars(default, with = "Fold", extend("x-type" = "string"))]
    fold: (),
}

/// What becomes of instants at which no host was there.
#[derive(JsonSchema)]
#[schemars(rename = "Late", rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Late {
    /// None of them runs.
    None,
    /// The latest of them runs.
    Latest,
    /// The latest of them run, so many.
    #[schemars(untagged)]
    All(CatchUpAll),
}

/// The latest instants.
#[derive(JsonSchema)]
#[schemars(rename = "CatchUpAll")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct CatchUpAll {
    /// How many, from 1 to 1000.
    #[schemars(with = "CatchUpRuns", extend("x-type" = "whole number", "examples" = [10]))]
    all: (),
}

/// How the limit of memory grows.
#[derive(JsonSchema)]
#[schemars(rename = "Escalation")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Escalation {
    /// The growth each time, above 1 and at most 16.
    #[schemars(default, with = "Growth", extend("x-type" = "number", "default" = 2))]
    factor: (),
    /// The highest limit.
    #[schemars(with = "SomeSize", extend("x-type" = "size", "examples" = ["4g"]))]
    max: (),
}

/// One declared parameter. Programs get it as text, in an environment variable.
#[derive(JsonSchema)]
#[schemars(rename = "ParameterItem")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct ParameterItem {
    /// What its text must be: `"string"`, `"integer"`, `"number"` or `"boolean"`.
    #[schemars(default, with = "TypeOfParameter", extend("x-type" = "string", "default" = "string"))]
    r#type: (),
    /// Shown to people.
    #[schemars(default, with = "ParameterDescription", extend("x-type" = "string"))]
    description: (),
    /// Its value where the caller gives none; it must fit `type` and `choices`.
    #[schemars(default, with = "ParameterValue", extend("x-type" = "as `type` says"))]
    default: (),
    /// Whether a caller must give it.
    #[schemars(default, with = "Flag", extend("x-type" = "boolean", "default" = false))]
    required: (),
    /// The only values that it may have, at most 100, compared as text. None: any.
    #[schemars(default, with = "ParameterValues", extend("x-type" = "list", "default" = []))]
    choices: (),
}

/// How often one code cell of a notebook is tried again.
#[derive(JsonSchema)]
#[schemars(rename = "CellItem")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct CellItem {
    /// Further tries of the cell, at most 1000.
    #[schemars(default, with = "Attempts", extend("x-type" = "whole number", "default" = 0))]
    retries: (),
    /// The wait before each, in seconds.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = 1))]
    delay_seconds: (),
}
