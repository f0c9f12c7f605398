//! Secrets: those that are named, and those that stand sealed in the file.

use std::collections::{BTreeMap, BTreeSet};

use super::{Report, env, field::Fields};
use crate::{
    pipeline::{Definition, EnvName, MAX_ENV_VALUE_BYTES, SecretDelivery},
    secret::SecretName,
};

/// How a value begins that was sealed for this file.
const SEALED: &str = "ff1.";
/// How a Fernet token begins: its version, and the first bytes of a time that is not millions of years away.
const FERNET: &str = "gAAAA";
const EXPECTED: &str = "a sealed value, which begins with `ff1.`, or a Fernet token, which begins with `gAAAA`; a secret \
                        that stood here in clear is in the history of the file, too, so replace it by another one";

pub(super) fn named(report: &mut Report<'_>, fields: &mut Fields<'_>) -> BTreeSet<SecretName> {
    let Some(field) = fields.take("secrets") else { return BTreeSet::new() };
    let expected = "a list of names of stored secrets";
    let mut names = BTreeSet::new();
    for item in field.list(report, Definition::MAX_ENV_ENTRIES, expected) {
        let Some(text) = item.text(report, "the name of a stored secret") else { continue };
        match text.parse::<SecretName>() {
            Err(error) => report.error(item.node.place, &item.path, error.message().to_owned()),
            Ok(name) if names.contains(&name) => {
                report.warning(item.node.place, &item.path, "found this name twice; it counts once");
            }
            Ok(name) => {
                names.insert(name);
            }
        }
    }
    names
}

pub(super) fn delivery(report: &mut Report<'_>, fields: &mut Fields<'_>) -> SecretDelivery {
    let choices = [("env", SecretDelivery::Env), ("files", SecretDelivery::Files)];
    fields.take("secrets_as").and_then(|field| field.choice(report, &choices)).unwrap_or_default()
}

/// Variables with sealed values. A value in clear is an error, and is not shown.
pub(super) fn sealed_env(report: &mut Report<'_>, fields: &mut Fields<'_>) -> BTreeMap<EnvName, String> {
    env::variables(
        report,
        fields,
        "encrypted_env",
        |text| if is_sealed(text) { Ok(()) } else { Err(EXPECTED) },
    )
}

/// Whether a text looks sealed, blanks around it aside. Whether it is, only a key can tell.
fn is_sealed(text: &str) -> bool {
    let is_base64 =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let bare = text.trim();
    let sealed = bare.strip_prefix(SEALED).is_some_and(|rest| !rest.is_empty() && is_base64(rest));
    let fernet = bare.starts_with(FERNET) && is_base64(bare.trim_end_matches('='));
    text.len() <= MAX_ENV_VALUE_BYTES && (sealed || fernet)
}

/// The rules between secrets and other fields.
pub(super) fn check(report: &mut Report<'_>, fields: &Fields<'_>, definition: &Definition) {
    if definition.secrets.is_empty() && definition.secrets_as != SecretDelivery::default() {
        report.warning(fields.place_of("secrets_as"), "secrets_as", "has no effect without `secrets`");
    }
    if definition.secrets_as == SecretDelivery::Env {
        check_variables(report, fields, definition);
    }
    check_plain(report, fields, definition);
    let entries = definition.schedules.iter().flat_map(|entry| entry.encrypted_env.keys());
    let sealed: BTreeSet<_> = definition.encrypted_env.keys().chain(entries).collect();
    for name in definition.parameters.declared.keys() {
        let is_named = definition.secrets.iter().any(|secret| secret.variable() == name);
        if is_named || sealed.contains(name) {
            let message = "is the name of a secret, which no caller may set; give the parameter another one";
            report.error(fields.place_of("parameters"), &format!("parameters.{name}"), message);
        }
    }
}

/// Warns of values in clear that are never used, since a sealed one has the same name.
fn check_plain(report: &mut Report<'_>, fields: &Fields<'_>, definition: &Definition) {
    let message = "has no effect because it is in `encrypted_env`, too, which wins; keep one of them";
    let sealed = &definition.encrypted_env;
    for name in definition.default_env.keys().filter(|name| sealed.contains_key(*name)) {
        report.warning(fields.place_of("default_env"), &format!("default_env.{name}"), message);
    }
    for entry in &definition.schedules {
        let is_sealed =
            |name: &&EnvName| sealed.contains_key(*name) || entry.encrypted_env.contains_key(*name);
        for name in entry.default_env.keys().filter(is_sealed) {
            let field = format!("schedules (id {}).default_env.{name}", entry.id);
            report.warning(fields.place_of("schedules"), &field, message);
        }
    }
}

/// Warns of values that are never used, since a stored secret has the same name.
fn check_variables(report: &mut Report<'_>, fields: &Fields<'_>, definition: &Definition) {
    let message =
        "has no effect because it is a stored secret in `secrets`, too, which wins; keep one of them";
    for name in definition.secrets.iter().map(SecretName::variable) {
        for (field, env) in
            [("default_env", &definition.default_env), ("encrypted_env", &definition.encrypted_env)]
        {
            if env.contains_key(name) {
                report.warning(fields.place_of(field), &format!("{field}.{name}"), message);
            }
        }
        for entry in &definition.schedules {
            for (field, env) in [("default_env", &entry.default_env), ("encrypted_env", &entry.encrypted_env)]
            {
                if env.contains_key(name) {
                    let field = format!("schedules (id {}).{field}.{name}", entry.id);
                    report.warning(fields.place_of("schedules"), &field, message);
                }
            }
        }
    }
}
