//! Secrets from variables of this process.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, process::Command};

use fastflow_core::{
    ErrorKind,
    secret::{EnvironmentSecrets, MAX_SECRET_BYTES},
};

use super::stores_kit::{find, value, words};

/// Tells the child that it is one.
const CHILD: &str = "FASTFLOW_TEST_VARIABLES";

/// A process cannot change its own variables, so the test is started again with some.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the parent tells the child like this")]
async fn only_variables_with_the_prefix_are_secrets() {
    if std::env::var_os(CHILD).is_some() {
        return in_the_child().await;
    }
    let test = concat!(module_path!(), "::only_variables_with_the_prefix_are_secrets");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test.split_once("::").unwrap().1, "--nocapture"])
        .env(CHILD, "1")
        .env("PREFIX_TOKEN", "s3cret-s3cret\n")
        .env("PREFIX_my.to-ken", "other")
        .env("PREFIX_EMPTY", "")
        .env("PREFIX_BROKEN", OsString::from_vec(b"canary\xff".to_vec()))
        .env("PREFIX_FULL", "x".repeat(MAX_SECRET_BYTES))
        .env("PREFIX_LONG", "canary".repeat(MAX_SECRET_BYTES / 6 + 1))
        .env("TOKEN", "of the host")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

async fn in_the_child() {
    let store = EnvironmentSecrets::new("PREFIX_").unwrap();
    let found = find(&store, &["TOKEN", "my.to-ken", "EMPTY", "OTHER", "HOME"]).await.unwrap();
    let environment = |value: &str| (value.to_owned(), "environment".to_owned());
    let expected = [("EMPTY", ""), ("TOKEN", "s3cret-s3cret\n"), ("my.to-ken", "other")];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), environment(value))).into());
    assert_eq!(value(&store, "FULL").await.unwrap().unwrap().len(), MAX_SECRET_BYTES);
    for name in ["BROKEN", "LONG"] {
        let error = value(&store, name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let words = words(&error);
        assert!(words.contains(&format!("PREFIX_{name}")) && !words.contains("canary"), "{words}");
    }
}

#[test]
fn a_prefix_that_gives_all_away_is_refused() {
    for prefix in ["", " ", "A=B", "a b", "a\0", "\u{e4}"] {
        let error = EnvironmentSecrets::new(prefix).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{prefix:?}");
    }
    assert!(EnvironmentSecrets::new("P").is_ok());
}
