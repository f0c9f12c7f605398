//! Keys that a program has, with real programs.

use std::time::Duration;

use fastflow_core::{
    Clock as _, ErrorKind, SystemClock,
    secret::{MasterKey, MasterKeyId, MasterKeySource},
};

use crate::seal_kit::{KEY, assert_hides};

/// A source that asks a shell.
fn shell(script: &str, args: &[&str], inherit: &[&str]) -> MasterKeySource {
    let args = ["-c", script, "sh"].into_iter().chain(args.iter().copied()).map(str::to_owned);
    let inherit = inherit.iter().map(|&name| name.to_owned());
    MasterKeySource::Command { program: "/bin/sh".into(), args: args.collect(), inherit: inherit.collect() }
}

async fn load(source: &MasterKeySource) -> fastflow_core::Result<MasterKeyId> {
    source.load(&SystemClock::new()).await.map(|key| key.id())
}

/// Kills: a line end that becomes part of the key; arguments that a shell takes apart.
#[tokio::test]
async fn a_key_comes_from_a_program() {
    let id = MasterKey::parse(KEY).unwrap().id();
    for script in ["echo \"$1\"", "printf %s \"$1\"", "printf '%s\\r\\n' \"$1\"; echo a warning >&2"] {
        assert_eq!(load(&shell(script, &[KEY], &[])).await.unwrap(), id, "{script}");
    }
    assert_eq!(load(&shell("echo \"$2\"", &["; exit 1", KEY], &[])).await.unwrap(), id);
}

/// Kills: the whole environment of the host in every program; one that cannot be told where its vault is.
#[tokio::test]
async fn a_program_finds_the_variables_that_are_named() {
    // Cargo gives it to every test.
    let name = "CARGO_MANIFEST_DIR";
    let script = format!("[ -n \"${name}\" ] && echo \"$1\"");
    assert!(load(&shell(&script, &[KEY], &[name])).await.is_ok());
    assert_eq!(load(&shell(&script, &[KEY], &[])).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// Kills: an answer, a standard error or an argument in a message.
#[tokio::test]
async fn a_program_that_gives_no_key_says_nothing_of_what_it_had() {
    let secret = ["canary"];
    let failures = [
        ("echo canary-out; echo canary-err >&2; exit 3", ErrorKind::Unavailable),
        ("echo canary-out", ErrorKind::Invalid),
        ("kill -9 $$", ErrorKind::Unavailable),
        ("true", ErrorKind::Invalid),
        ("printf 'canary\\377'", ErrorKind::Invalid),
        ("yes canary", ErrorKind::Invalid),
    ];
    for (script, kind) in failures {
        let source = shell(script, &secret, &[]);
        let error = load(&source).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{script}: {error:?}");
        assert_hides(&error, "canary");
        assert!(error.to_string().contains("/bin/sh"), "{error}");
        assert!(!format!("{source:?}").contains("canary"), "{source:?}");
    }
    let missing = MasterKeySource::Command {
        program: "/nowhere/vault".into(),
        args: vec!["canary".to_owned()],
        inherit: std::collections::BTreeSet::new(),
    };
    let error = load(&missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert_hides(&error, "canary");
}

/// Kills: a program that goes on when nobody waits for it any more.
#[tokio::test]
async fn a_load_that_is_dropped_ends_its_program() {
    let place = tempfile::tempdir().unwrap();
    let pid = place.path().join("pid");
    let source =
        shell("echo $$ > \"$1.new\"; mv \"$1.new\" \"$1\"; sleep 600", &[pid.to_str().unwrap()], &[]);
    let clock = SystemClock::new();
    let written = async {
        while !pid.exists() {
            clock.sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        loaded = load(&source) => panic!("{loaded:?}"),
        () = written => {}
    }
    let pid = std::fs::read_to_string(&pid).unwrap();
    crate::kit::until("the program to end", || async {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        // Gone, or dead and not yet collected.
        stat.is_err()
            || stat.is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")))
    })
    .await;
}
