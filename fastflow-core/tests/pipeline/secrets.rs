//! Secrets that a file names or brings.

use fastflow_core::{pipeline::*, secret::SecretName};

use super::{bad, good, parse};

/// Version 128, a time, and 64 further bytes: what Python's `cryptography` makes.
const FERNET: &str =
    "gAAAAABl8n0AAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw==";

#[test]
fn names_are_those_that_stores_know() {
    let definition = good(r#"{"secrets": ["B", "_a.b-c", "A"]}"#);
    let names: Vec<_> = definition.secrets.iter().map(SecretName::as_str).collect();
    assert_eq!((names, definition.secrets_as), (vec!["A", "B", "_a.b-c"], SecretDelivery::Env));
    for name in ["../A", "A/B", "-A", ".A", "1A", "A B", "PATH", "LD_PRELOAD", "FASTFLOW_X", "", "\u{e4}"] {
        let found = bad(&format!(r#"{{"secrets": ["{name}"]}}"#));
        assert!(found[0].contains("secrets[0]: "), "{name}: {found:?}");
    }
}

#[test]
fn sealed_values_of_both_kinds_are_kept_as_they_are() {
    for sealed in ["ff1.c2VhbGVk", "ff1.-_", FERNET, " ff1.eA\n"] {
        let definition = good(&serde_json::json!({"encrypted_env": {"A": sealed}}).to_string());
        assert_eq!(definition.encrypted_env.values().collect::<Vec<_>>(), [sealed]);
    }
}

#[test]
fn a_secret_in_clear_is_refused_and_not_shown() {
    let long = format!("ff1.{}", "A".repeat(MAX_ENV_VALUE_BYTES));
    for clear in [
        "hunter2",
        "",
        "ff1.",
        "ff1.hunter2!",
        "ff2.hunter2",
        "gAAAA hunter2",
        "gAAAAhunter2=x",
        "FF1.x",
        &long,
    ] {
        for text in [
            format!(r#"{{"encrypted_env": {{"A": "{clear}"}}}}"#),
            format!(
                r#"{{"schedules": [{{"id": "a", "schedule_cron": "@daily", "encrypted_env": {{"A": "{clear}"}}}}]}}"#
            ),
        ] {
            let found = bad(&text);
            assert!(found.len() == 1 && found[0].contains("encrypted_env.A: found a string"), "{found:?}");
            assert!(!found[0].contains("hunter2"), "{found:?}");
        }
    }
}

#[test]
fn a_value_that_a_stored_secret_replaces_is_odd() {
    let odd = |text: &str, part: &str| {
        let (definition, found) = parse(text);
        assert!(definition.is_some() && found.len() == 1 && found[0].contains(part), "{text}: {found:?}");
    };
    odd(r#"{"default_env": {"A": "x"}, "secrets": ["A"]}"#, "default_env.A: has no effect because");
    odd(r#"{"encrypted_env": {"A": "ff1.x"}, "secrets": ["A"]}"#, "encrypted_env.A: has no effect because");
    let entry = |env: &str| {
        format!(r#"{{"secrets": ["A"], "schedules": [{{"id": "e", "schedule_cron": "@daily", {env}}}]}}"#)
    };
    odd(&entry(r#""default_env": {"A": "x"}"#), "schedules (id e).default_env.A: has no effect");
    odd(&entry(r#""encrypted_env": {"A": "ff1.x"}"#), "schedules (id e).encrypted_env.A: has no effect");
    odd(r#"{"secrets_as": "files"}"#, "secrets_as: has no effect without `secrets`");
    // A file and a variable of one name are two things.
    good(
        r#"{"default_env": {"A": "x"}, "encrypted_env": {"B": "ff1.x"}, "secrets": ["A", "B"], "secrets_as": "files"}"#,
    );
}

#[test]
fn no_caller_may_set_a_secret() {
    let refused = |text: &str| {
        let found = bad(text);
        assert!(found.len() == 1 && found[0].contains("parameters.A: is the name of a secret"), "{found:?}");
    };
    refused(r#"{"parameters": {"A": {}}, "secrets": ["A"]}"#);
    refused(r#"{"parameters": {"A": {}}, "secrets": ["A"], "secrets_as": "files"}"#);
    refused(r#"{"parameters": {"A": {}}, "encrypted_env": {"A": "ff1.x"}}"#);
    refused(
        r#"{"parameters": {"A": {}},
            "schedules": [{"id": "e", "schedule_cron": "@daily", "encrypted_env": {"A": "ff1.x"}}]}"#,
    );
    good(r#"{"parameters": {"A": {}}, "secrets": ["B"]}"#);
}
