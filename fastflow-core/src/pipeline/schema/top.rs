//! The fields at the top of the file.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{
    item::{CellItem, Daylight, Escalation, Late, ParameterItem, ScheduleItem, Strategy, TriggerItem},
    value::{
        AnySeconds, Attempts, Blackouts, Cores, Cron, Delivery, Description, Environment, ExitCodes, Flag,
        Full, GraceSeconds, Image, Instant, Key, Kind, OptionalName, OthersToo, Overlaps, Percent, Pipelines,
        Pools, Positive, Priority, Python, Reach, Reasons, Restart, Restarts, Sandboxes, SealedEnvironment,
        SecretNames, Size, SoftLimit, SomeSeconds, Tags, TimeZone,
    },
};
use crate::pipeline::{Definition, EnvName, Parameters, SchedulePolicy};

/// How a Fast-Flow pipeline runs. Every field may be left out.
#[derive(JsonSchema)]
#[schemars(title = "pipeline.json", rename = "Manifest")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Manifest {
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
    /// The cores above which its use is marked and noted; `soft_limit_action` says what else happens.
    #[schemars(default, with = "Cores", extend("x-type" = "number", "examples" = [0.5]))]
    cpu_soft_limit: (),
    /// The memory above which its use is marked and noted; `soft_limit_action` says what else happens.
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
    /// How much of each wait is left to chance, in percent of it: with 100 it is anything between none and all of it.
    #[schemars(default, with = "Percent", extend("x-type" = "whole number", "default" = 0))]
    retry_jitter_percent: (),
    /// The longest wait before a further attempt, whatever `retry_strategy` says. None: its own.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "examples" = [600]))]
    retry_max_delay: (),
    /// Which failures are followed by another attempt: `"exit"`, `"signal"`, `"out_of_memory"`, `"timed_out"`,
    /// `"unhealthy"`, `"interrupted"`, `"environment_failed"`, `"start_failed"` or `"lost"`. With neither these nor
    /// exit codes, all are.
    #[schemars(default, with = "Reasons", extend("x-type" = "list of strings", "default" = [], "examples" = [["lost", "timed_out"]]))]
    retry_on: (),
    /// Which exit codes are followed by another attempt, beside what `retry_on` names; from 1 to 255.
    #[schemars(default, with = "ExitCodes", extend("x-type" = "list of whole numbers", "default" = [], "examples" = [[75]]))]
    retry_exit_codes: (),
    /// How `mem_hard_limit` grows after each attempt that ran out of memory. None: it stays.
    #[schemars(default, with = "Option<Escalation>", extend("x-type" = "object", "examples" = [{"max": "4g"}]))]
    retry_memory: (),
    /// Environment variables, all strings; the caller's win over them. Names that decide which code runs, such as
    /// `PATH` and `PYTHONPATH`, are refused.
    #[schemars(default, with = "Environment", extend("x-type" = "object of strings", "default" = {}))]
    default_env: (),
    /// Environment variables with sealed values, each as `seal_text` makes it for this pipeline, or a Fernet token of
    /// Python Fast-Flow. They win over `default_env`, and no caller may set them.
    #[schemars(default, with = "SealedEnvironment", extend("x-type" = "object of strings", "default" = {}))]
    encrypted_env: (),
    /// The stored secrets that it may see, by their names. It gets no others, does not start without one of them, and no
    /// caller may set them.
    #[schemars(default, with = "SecretNames", extend("x-type" = "list of strings", "default" = []))]
    secrets: (),
    /// How it gets those: with `"env"` as environment variables, which win over all others; with `"files"` as files, in
    /// the folder that `FASTFLOW_SECRETS_DIR` names. `encrypted_env` are variables in any case.
    #[schemars(default, with = "Delivery", extend("x-type" = "string", "default" = "env"))]
    secrets_as: (),
    /// The key that opens its webhook; `""` is none.
    #[schemars(default, with = "Key", extend("x-type" = "string", "default" = ""))]
    webhook_key: (),
    /// When it starts by itself: a cron expression of 5 or 6 fields, or a nickname such as `"@daily"`. Not beside
    /// `schedule_interval_seconds`.
    #[schemars(default, with = "Cron", extend("x-type" = "string", "examples" = ["0 4 * * *", "@daily"]))]
    schedule_cron: (),
    /// Starts by itself every so many seconds.
    #[schemars(default, with = "SomeSeconds", extend("x-type" = "seconds", "examples" = [300]))]
    schedule_interval_seconds: (),
    /// From when the schedule counts: a date (its first instant) or a time; UTC without an offset.
    #[schemars(default, with = "Instant", extend("x-type" = "ISO 8601 string", "examples" = ["2026-01-31"]))]
    schedule_start: (),
    /// To when the schedule counts: a date (its last instant) or a time.
    #[schemars(default, with = "Instant", extend("x-type" = "ISO 8601 string", "examples" = ["2026-01-31T08:00:00Z"]))]
    schedule_end: (),
    /// Starts once, at this time.
    #[schemars(default, with = "Instant", extend("x-type" = "ISO 8601 string", "examples" = ["2026-01-31T08:00:00Z"]))]
    run_once_at: (),
    /// The IANA time zone in which cron expressions are read.
    #[schemars(default, with = "TimeZone", extend("x-type" = "string", "default" = "UTC", "examples" = ["Europe/Berlin"]))]
    timezone: (),
    /// What happens at local times that do not exist, or exist twice. None: as cron does.
    #[schemars(default, with = "Option<Daylight>", extend("x-type" = "object"))]
    daylight: (),
    /// What the schedule does while an earlier run of it has not ended: `"allow"` runs beside it, `"skip"` does not
    /// run, `"queue"` waits for its end, `"replace"` cancels it.
    #[schemars(default, with = "Overlaps", extend("x-type" = "string", "default" = "skip"))]
    overlap: (),
    /// What becomes of instants at which no host was there: `"none"` of them runs, the `"latest"`, or the latest n:
    /// `{"all": n}`.
    #[schemars(default, with = "Option<Late>", extend("x-type" = "string or object", "default" = "latest", "examples" = [{"all": 10}]))]
    catch_up: (),
    /// How old such an instant may be and still run, in seconds.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = SchedulePolicy::DEFAULT_CATCH_UP_WINDOW.0))]
    catch_up_window: (),
    /// The most by which a schedule's runs are later than its instants, always the same for one schedule, so that many
    /// schedules of one instant are spread.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = 0))]
    jitter: (),
    /// The host's blackout calendars that schedules keep, at most 16, beside those that all keep.
    #[schemars(default, with = "Blackouts", extend("x-type" = "list of strings", "default" = []))]
    blackouts: (),
    /// Several run configurations; when there are any, the schedule above has no effect.
    #[schemars(
        default,
        with = "Option<Vec<ScheduleItem>>",
        length(max = 1000),
        extend("x-type" = "list of objects", "default" = [])
    )]
    schedules: (),
    /// Starts again after a failure, always.
    #[schemars(default, with = "Flag", extend("x-type" = "boolean", "default" = false))]
    restart_on_crash: (),
    /// The pause before such a start, in seconds.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = 60))]
    restart_cooldown: (),
    /// The longest such pause: it doubles with each restart in a row. None: 3600, or `restart_cooldown` where that is
    /// longer.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = 3600))]
    restart_max_cooldown: (),
    /// After how many restarts in a row it is given up; 0 is never.
    #[schemars(default, with = "Restarts", extend("x-type" = "whole number", "default" = 10))]
    restart_limit: (),
    /// How long a run must have gone well for the next restart to be the first in a row again.
    #[schemars(default, with = "AnySeconds", extend("x-type" = "seconds", "default" = 600))]
    restart_healthy_after: (),
    /// When a running one is replaced: seconds, or a cron expression.
    #[schemars(default, with = "Restart", extend("x-type" = "seconds or string", "examples" = [86400, "0 4 * * *"]))]
    restart_interval: (),
    /// The most runs in flight at one time; others wait. None: any number, and one for a daemon.
    #[schemars(default, with = "Positive", extend("x-type" = "whole number", "examples" = [1]))]
    max_instances: (),
    /// What becomes of a run that is submitted while `max_instances` are there: it waits in the `"queue"`, it is
    /// refused with `"reject"`, or it cancels the oldest with `"replace"`.
    #[schemars(default, with = "Full", extend("x-type" = "string", "default" = "queue"))]
    when_full: (),
    /// From -32768 to 32767: of waiting runs, those with higher ones start first. A caller's own wins.
    #[schemars(default, with = "Priority", extend("x-type" = "whole number", "default" = 0))]
    priority: (),
    /// The host's pools of which each run holds one slot, at most 16; or an object with the number of slots of each.
    #[schemars(default, with = "Pools", extend("x-type" = "list of strings or object", "default" = [], "examples" = [["database"], {"database": 2}]))]
    pools: (),
    /// The parameters that a caller may give, at most 50, by the names of environment variables.
    #[schemars(
        default,
        with = "Option<BTreeMap<String, ParameterItem>>",
        extend(
            "x-type" = "object of objects",
            "default" = {},
            "examples" = [{"MONTH": {"required": true}}],
            "maxProperties" = Parameters::MAX_ENTRIES,
            "propertyNames" = {"minLength": 1, "maxLength": EnvName::MAX_BYTES, "pattern": "^[!-<>-~]+$"}
        )
    )]
    parameters: (),
    /// Whether a caller may give parameters that are not declared: `"allow"` passes them on, `"refuse"` does not.
    #[schemars(default, with = "OthersToo", extend("x-type" = "string", "default" = "allow"))]
    undeclared_parameters: (),
    /// How long its program may write nothing before it is ended. None: for ever.
    #[schemars(default, with = "SomeSeconds", extend("x-type" = "seconds", "examples" = [600]))]
    no_output_timeout: (),
    /// How long its program may leave the file named by `FASTFLOW_HEARTBEAT_FILE` untouched before it is ended. None:
    /// there is no such file.
    #[schemars(default, with = "SomeSeconds", extend("x-type" = "seconds", "examples" = [60]))]
    heartbeat_timeout: (),
    /// What happens when a soft limit is crossed: `"record"` notes it, `"stop"` ends the program, too.
    #[schemars(default, with = "SoftLimit", extend("x-type" = "string", "default" = "record"))]
    soft_limit_action: (),
    /// What its end starts.
    #[schemars(
        default,
        with = "Option<Vec<TriggerItem>>",
        length(max = 1000),
        extend("x-type" = "list of objects", "default" = [])
    )]
    downstream_triggers: (),
    /// The pipelines that must all have succeeded in one chain; then it starts by itself, once a chain.
    #[schemars(default, with = "Pipelines", extend("x-type" = "list of strings", "default" = [], "examples" = [["extract", "clean"]]))]
    after: (),
    /// Retries of a notebook's code cells, in their order. *Not acted on yet.*
    #[schemars(
        default,
        with = "Option<Vec<CellItem>>",
        length(max = 1000),
        extend("x-type" = "list of objects", "default" = [])
    )]
    cells: (),
}
