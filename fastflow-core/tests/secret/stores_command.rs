//! Secrets from other programs: what they are asked, what they find, and what they say.

use std::{collections::BTreeMap, fs};

use fastflow_core::{
    ErrorKind,
    secret::{CommandSecrets, MAX_SECRET_BYTES, Secret},
};

use super::stores_kit::{find, soon, value, words};

/// A shell that runs this script, with the names of the secret and the pipeline as `$1` and `$2`.
fn shell(script: &str) -> CommandSecrets {
    CommandSecrets::new("sh", ["-c", script, "sh", "{name}", "{pipeline}"]).unwrap()
}

#[tokio::test]
async fn names_are_put_into_arguments_and_nothing_is_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let trap = format!("$(touch {}/trap)", folder.path().display());
    let args = ["%s|", "op://{pipeline}/{name}/{name}", "{pipelines}", &trap, "*", "{name", "-n"];
    let store = CommandSecrets::new("printf", args).unwrap();
    let found = find(&store, &["A", "_b.c-d"]).await.unwrap();
    for name in ["A", "_b.c-d"] {
        let expected = format!("op://etl/{name}/{name}|{{pipelines}}|{trap}|*|{{name|-n|");
        assert_eq!(found[name], (expected, "command".to_owned()));
    }
    assert!(!folder.path().join("trap").exists());
}

#[test]
fn a_program_that_would_say_the_same_for_every_name_is_refused() {
    let error = CommandSecrets::new("vault", ["read", "{pipeline}", "name"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// Cargo sets some variables for each test.
#[tokio::test]
async fn of_the_variables_it_finds_those_that_are_named() {
    let script = "cat; tr '\\0' '\\n' < /proc/self/environ";
    let variables = async |store: CommandSecrets| -> BTreeMap<String, String> {
        let text = value(&store, "A").await.unwrap().unwrap();
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.lines().filter_map(pair).collect()
    };
    let mut plain = variables(shell(script)).await;
    assert!(plain.remove("PATH").is_some_and(|path| path.contains("/bin")));
    plain.retain(|name, _| name != "HOME" && name != "LANG");
    assert_eq!(plain, BTreeMap::new());
    let more = shell(script)
        .inherit(["CARGO_PKG_NAME", "CARGO_PKG_VERSION", "NOT_THERE"])
        .env("VAULT_TOKEN", Secret::new("s3cret"))
        .env("CARGO_PKG_VERSION", Secret::new("mine"));
    let mut more = variables(more).await;
    more.retain(|name, _| name != "HOME" && name != "LANG" && name != "PATH");
    let expected =
        [("CARGO_PKG_NAME", "fastflow-core"), ("CARGO_PKG_VERSION", "mine"), ("VAULT_TOKEN", "s3cret")];
    assert_eq!(more, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[tokio::test]
async fn one_line_end_is_removed_where_it_is_the_only_one() {
    for (script, expected) in [
        ("printf plain", "plain"),
        ("echo line", "line"),
        ("printf 'line\\r\\n'", "line"),
        ("printf 'two\\nlines\\n'", "two\nlines\n"),
        ("printf 'line\\n\\n'", "line\n\n"),
        ("echo", ""),
        ("echo line; echo canary >&2", "line"),
    ] {
        assert_eq!(value(&shell(script), "A").await.unwrap().as_deref(), Some(expected), "{script}");
    }
}

#[tokio::test]
async fn what_can_be_no_secret_is_refused_and_not_shown() {
    let largest = "head -c 65536 /dev/zero | tr '\\0' x";
    for script in [largest.to_owned(), format!("{largest}; echo"), format!("{largest}; printf '\\r\\n'")] {
        let found = value(&shell(&script), "A").await.unwrap().unwrap();
        assert_eq!(found.len(), MAX_SECRET_BYTES, "{script}");
    }
    for script in [
        "printf 'canary\\0canary'",
        "printf 'canary\\377'",
        "true",
        "printf c; head -c 65536 /dev/zero | tr '\\0' x",
        // These would never end by themselves.
        "yes canary",
        "yes canary; exit 1",
        "yes canary | cat & wait",
    ] {
        let error = soon(value(&shell(script), "A")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{script}: {error:?}");
        let words = words(&error);
        assert!(words.contains("secret: A") && !words.contains("canary"), "{words}");
    }
}

#[tokio::test]
async fn a_failure_says_its_code_and_shows_nothing_else() {
    let error = value(&shell("echo canary; echo canary >&2; exit 3"), "A").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = words(&error);
    for part in ["program: sh", "code: 3", "secret: A", "reason: on its standard error, not shown"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("canary"), "{text}");
    let silent = words(&value(&shell("exit 1"), "A").await.unwrap_err());
    assert!(silent.contains("reason: none"), "{silent}");
    let killed = value(&shell("echo canary; kill -KILL $$"), "A").await.unwrap_err();
    assert_eq!(killed.kind(), ErrorKind::Unavailable);
    assert!(words(&killed).contains("signal: 9") && !words(&killed).contains("canary"), "{killed}");
}

#[tokio::test]
async fn one_code_says_that_there_is_none() {
    let script = "case $1 in A) echo value;; B) echo canary; exit 44;; *) exit 45;; esac";
    let store = shell(script).missing_code(44);
    assert_eq!(find(&store, &["A", "B"]).await.unwrap().keys().collect::<Vec<_>>(), ["A"]);
    let error = find(&store, &["A", "B", "C"]).await.unwrap_err();
    assert!(words(&error).contains("secret: C") && words(&error).contains("code: 45"), "{error}");
    assert!(find(&shell(script), &["B"]).await.is_err(), "nobody said what 44 means");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no-program");
    fs::write(&file, "x").unwrap();
    for (program, kind) in [(folder.path().join("gone"), ErrorKind::NotFound), (file, ErrorKind::Denied)] {
        let store = CommandSecrets::new(&program, ["canary", "{name}"]).unwrap();
        let error = value(&store, "A").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        let words = words(&error);
        assert!(words.contains(program.to_str().unwrap()) && !words.contains("canary"), "{words}");
    }
}
