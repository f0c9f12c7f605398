//! What values of the fields look like.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    ExecutorName, PipelineName,
    pipeline::{
        ByteSize, CatchUp, ConfigName, CpuMillis, CronText, Definition, DownstreamTrigger, EnvName,
        ImageName, MAX_ENV_VALUE_BYTES, MemoryEscalation, ParameterDeclaration, Parameters, PythonRequest,
        QueuePolicy, RetryPolicy, RetryReason, RetryStrategy, SchedulePolicy, Seconds, TimeZoneName,
        WebhookKey,
    },
    secret::SecretName,
};

macro_rules! described {
    ($($(#[$meta:meta])* $name:ident => $schema:tt;)+) => {$(
        $(#[$meta])*
        pub(super) struct $name;

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
    SealedEnvironment => {
        "type": ["object", "null"],
        "maxProperties": Definition::MAX_ENV_ENTRIES,
        "propertyNames": { "minLength": 1, "maxLength": EnvName::MAX_BYTES, "pattern": "^[!-<>-~]+$" },
        "additionalProperties": {
            "type": "string",
            "maxLength": MAX_ENV_VALUE_BYTES,
            "pattern": r"^\s*(ff1\.[A-Za-z0-9_-]+|gAAAA[A-Za-z0-9_-]*=*)\s*$"
        }
    };
    SecretNames => {
        "type": ["array", "null"],
        "maxItems": Definition::MAX_ENV_ENTRIES,
        "items": {
            "type": "string",
            "maxLength": SecretName::MAX_BYTES,
            "pattern": "^[A-Za-z_][A-Za-z0-9_.-]*$"
        }
    };
    Delivery => { "enum": ["env", "files", null] };
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
    TimeZone => {
        "type": ["string", "null"],
        "maxLength": TimeZoneName::MAX_CHARS,
        "pattern": "^[A-Za-z][A-Za-z0-9/_+-]*$"
    };
    Gap => { "enum": ["shift", "skip", null] };
    Fold => { "enum": ["first", "last", "both", null] };
    Overlaps => { "enum": ["allow", "skip", "queue", "replace", null] };
    CatchUpRuns => { "type": "integer", "minimum": 1, "maximum": CatchUp::MAX_ALL };
    Blackouts => {
        "type": ["array", "null"],
        "maxItems": SchedulePolicy::MAX_BLACKOUTS,
        "items": { "type": "string", "maxLength": ConfigName::MAX_CHARS, "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$" }
    };
    Priority => { "type": ["integer", "null"], "minimum": i16::MIN, "maximum": i16::MAX };
    Full => { "enum": ["queue", "reject", "replace", null] };
    Pools => {
        "type": ["array", "object", "null"],
        "maxItems": QueuePolicy::MAX_POOLS,
        "items": { "type": "string", "maxLength": ConfigName::MAX_CHARS, "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$" },
        "maxProperties": QueuePolicy::MAX_POOLS,
        "propertyNames": { "maxLength": ConfigName::MAX_CHARS, "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$" },
        "additionalProperties": { "type": "integer", "minimum": 1, "maximum": u32::MAX }
    };
    Percent => { "type": ["integer", "null"], "minimum": 0, "maximum": 100 };
    Reasons => {
        "type": ["array", "null"],
        "maxItems": Definition::MAX_LIST_ENTRIES,
        "items": { "enum": RetryReason::ALL.map(RetryReason::as_str) }
    };
    ExitCodes => {
        "type": ["array", "null"],
        "maxItems": Definition::MAX_LIST_ENTRIES,
        "items": { "type": "integer", "minimum": 1, "maximum": u8::MAX }
    };
    Growth => { "type": ["number", "null"], "exclusiveMinimum": 1, "maximum": MemoryEscalation::MAX_FACTOR };
    SomeSize => {
        "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": ByteSize::MAX.0 },
            { "type": "string", "pattern": r"^([0-9]+ *[bB]?|[0-9]+(\.[0-9]{1,9})? *[kKmMgGtT][iI]?[bB]?)$" },
        ]
    };
    Restarts => { "type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX };
    SoftLimit => { "enum": ["record", "stop", null] };
    TypeOfParameter => { "enum": ["string", "integer", "number", "boolean", null] };
    ParameterValue => { "type": ["string", "number", "boolean", "null"], "maxLength": Parameters::MAX_VALUE_CHARS };
    ParameterValues => {
        "type": ["array", "null"],
        "maxItems": ParameterDeclaration::MAX_CHOICES,
        "items": { "type": ["string", "number", "boolean"], "maxLength": Parameters::MAX_VALUE_CHARS }
    };
    ParameterDescription => {
        "type": ["string", "null"],
        "maxLength": ParameterDeclaration::MAX_DESCRIPTION_CHARS
    };
    OthersToo => { "enum": ["allow", "refuse", null] };
    Pipelines => {
        "type": ["array", "null"],
        "maxItems": Definition::MAX_LIST_ENTRIES,
        "items": { "type": "string", "maxLength": PipelineName::MAX_CHARS, "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$" }
    };
    OutputFields => {
        "type": ["object", "null"],
        "maxProperties": Parameters::MAX_ENTRIES,
        "propertyNames": { "minLength": 1, "maxLength": EnvName::MAX_BYTES, "pattern": "^[!-<>-~]+$" },
        "additionalProperties": { "type": "string", "minLength": 1, "maxLength": DownstreamTrigger::MAX_FIELD_CHARS }
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
