use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::{Value, json};

use super::*;

fn folder(config: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

fn find_in(folder: &Path, image: &str) -> Result<Found> {
    find(Some(folder), &image.parse().unwrap())
}

/// What the engine will read out of the header.
fn read(found: &Found) -> Value {
    let Found::Auth(header) = found else { return Value::Null };
    serde_json::from_slice(&URL_SAFE.decode(header.as_bytes()).unwrap()).unwrap()
}

#[test]
fn each_registry_gets_its_own_credentials_and_no_other() {
    // The alphabets of base64 differ in what these become.
    let folder = folder(&json!({ "auths": {
        "127.0.0.1:5000": { "auth": "bWU6cH5+fj8/Pz4+Pg==" },
        "https://index.docker.io/v1/": { "username": "hub", "password": "secret" },
        "registry.example.org": { "identitytoken": "token" },
        "empty.example.org": {},
    }}));
    let read = |image: &str| read(&find_in(folder.path(), image).unwrap());
    let local = json!({ "username": "me", "password": "p~~~???>>>", "serveraddress": "127.0.0.1:5000" });
    assert_eq!(read("127.0.0.1:5000/a/b:c"), local);
    let hub =
        json!({ "username": "hub", "password": "secret", "serveraddress": "https://index.docker.io/v1/" });
    for image in ["python", "library/python:3.12", "docker.io/library/python", "index.docker.io/a/b"] {
        assert_eq!(read(image), hub, "{image}");
    }
    let token = json!({ "identitytoken": "token", "serveraddress": "registry.example.org" });
    assert_eq!(read("registry.example.org/a"), token);
    for image in
        ["empty.example.org/a", "127.0.0.1:5001/a", "example.org/a", "evil.example/index.docker.io/a"]
    {
        assert_eq!(read(image), Value::Null, "{image}");
    }
}

#[test]
fn the_hub_is_known_by_its_short_name_as_well() {
    let folder = folder(&json!({ "auths": { "docker.io": { "username": "hub", "password": "secret" } } }));
    assert_eq!(read(&find_in(folder.path(), "python").unwrap())["username"], "hub");
}

#[test]
fn without_a_file_there_are_none_and_one_that_cannot_be_read_is_an_error() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(find_in(empty.path(), "python"), Ok(Found::Nothing)));
    assert!(matches!(find(None, &"python".parse().unwrap()), Ok(Found::Nothing)));

    std::fs::write(empty.path().join("config.json"), "{").unwrap();
    let error = find_in(empty.path(), "python").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
}

#[test]
fn a_header_is_not_printed() {
    let folder = folder(&json!({ "auths": { "a.example": { "username": "me", "password": "secret" } } }));
    let found = find_in(folder.path(), "a.example/b").unwrap();
    let text = format!("{found:?}");
    let Found::Auth(header) = found else { panic!("{text}") };
    assert!(!text.contains(header.to_str().unwrap()), "{text}");
}

#[test]
fn the_programs_that_keep_credentials_are_asked() {
    let helpers = tempfile::tempdir().unwrap();
    let helper = |name: &str, script: &str| {
        let path = helpers.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    helper("keeps", r#"printf '{"ServerURL": "%s", "Username": "kept", "Secret": "%s"}' "$(cat)" "$1""#);
    helper("odd", "cat >/dev/null; echo secret");
    helper("empty", "echo 'credentials not found in native keychain, secret'; exit 1");

    // Its variables cannot be changed in this process, so that another one looks.
    let path = std::env::join_paths([helpers.path().to_owned(), "/usr/bin".into(), "/bin".into()]).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "credentials::tests::in_a_process_with_helpers"])
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
#[ignore = "started by the test above, with programs that keep credentials"]
fn in_a_process_with_helpers() {
    let folder = folder(&json!({
        "auths": { "a.example": {} },
        "credHelpers": { "b.example": "empty", "c.example": "missing", "d.example": "odd" },
        "credsStore": "keeps",
    }));
    let kept = read(&find_in(folder.path(), "a.example/image").unwrap());
    assert_eq!(kept, json!({ "username": "kept", "password": "get", "serveraddress": "a.example" }));

    for image in ["b.example/image", "c.example/image", "d.example/image"] {
        let found = find_in(folder.path(), image).unwrap();
        assert!(matches!(&found, Found::HelperFailed(reason) if !reason.contains("secret")), "{found:?}");
    }
}
