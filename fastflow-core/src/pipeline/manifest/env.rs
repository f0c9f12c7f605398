//! Environment variables and the key of the webhook: what may not be shown.

use std::collections::BTreeMap;

use super::{Place, Report, field::Fields, node::Kind};
use crate::pipeline::{Definition, EnvName, MAX_ENV_VALUE_BYTES, WebhookKey, check_env_value};

pub(super) fn env(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    name: &'static str,
) -> BTreeMap<EnvName, String> {
    let expected = format!("a string without NUL of at most {MAX_ENV_VALUE_BYTES} bytes");
    variables(
        report,
        fields,
        name,
        |text| if check_env_value(text).is_ok() { Ok(()) } else { Err(&expected) },
    )
}

/// The variables of a field. `check` says what is expected of a value that cannot be one.
pub(super) fn variables<'e>(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    name: &'static str,
    check: impl Fn(&str) -> Result<(), &'e str>,
) -> BTreeMap<EnvName, String> {
    let mut env = BTreeMap::new();
    let Some(field) = fields.take(name) else { return env };
    let entries = field.entries(report);
    if entries.len() > Definition::MAX_ENV_ENTRIES {
        let message =
            format!("found {} entries, expected at most {}", entries.len(), Definition::MAX_ENV_ENTRIES);
        report.error(field.node.place, &field.path, message);
        return env;
    }
    for (name, place, value) in entries {
        let name = env_name(report, place, &value.path, name);
        let Kind::Text(text) = &value.node.kind else {
            value.wrong_unseen(report, "a string; put the value in quotes");
            continue;
        };
        if let Err(expected) = check(text) {
            value.wrong_unseen(report, expected);
        } else if let Some(name) = name {
            env.insert(name, text.clone());
        }
    }
    env
}

pub(super) fn env_name(report: &mut Report<'_>, place: Place, path: &str, name: &str) -> Option<EnvName> {
    let parsed = name.parse();
    parsed.map_err(|error: crate::Error| report.error(place, path, error.message().to_owned())).ok()
}

/// An empty key means that there is no webhook.
pub(super) fn webhook_key(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<WebhookKey> {
    let field = fields.take("webhook_key")?;
    let expected = format!(
        "a key of at most {} letters, digits, `_`, `-`, `.` or `~`, or \"\" for none",
        WebhookKey::MAX_CHARS
    );
    let Kind::Text(text) = &field.node.kind else {
        field.wrong_unseen(report, expected);
        return None;
    };
    if text.is_empty() {
        return None;
    }
    if text.len() > WebhookKey::MAX_CHARS
        || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte))
    {
        field.wrong_unseen(report, expected);
        return None;
    }
    if text.len() < WebhookKey::SAFE_CHARS {
        let message = format!("is short enough to be guessed; take at least {}", WebhookKey::SAFE_CHARS);
        report.warning(field.node.place, &field.path, format!("{message} random characters"));
    }
    Some(WebhookKey::new(text.as_str()))
}
