//! Secrets that are files.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use super::{entrust, word};
use crate::{
    executor::{AttemptSpec, Ended, Reattached},
    run::{Exit, LostCause, StopCause},
    secret::Secret,
    testing::conformance::executor::{
        Interference,
        bench::{Bench, file, lines, reference},
        outside::secrets_dir,
    },
};

/// A program that says what it finds in the folder of its secrets.
const LOOKS: &str = r#"
    work=$PWD; mkdir found; id -u > user
    cd "$FASTFLOW_SECRETS_DIR" || exit 9
    ls -A > "$work/names"; stat -f -c %T . > "$work/kind"
    stat -c '%a %u %n' . * > "$work/modes"; cp -- * "$work/found"
    cat /proc/$$/environ > "$work/environment""#;

/// Secrets are files of the program's user alone, in memory, byte for byte, and nothing lies beside them.
///
/// Kills: a folder that others can look into; files on a disk; a line ending added or taken away; secrets that are to
/// be files as variables.
pub async fn secrets_reach_the_program_as_files(bench: &Bench<'_>) {
    if !bench.can("secrets", |can| can.secrets) {
        return;
    }
    let mut spec = bench.spec(LOOKS);
    let given = [
        ("KEY", "-----BEGIN KEY-----\nMIIB\r\n-----END KEY-----\n"),
        ("db.password", " no end of line é🦀"),
        ("_", ""),
    ];
    for (name, value) in given {
        spec.secrets.files.insert(name.parse().unwrap(), Secret::new(value));
    }
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(0));
    let read = |name: &str| fs::read_to_string(file(&spec, name)).unwrap();
    let user = read("user");
    let mut modes: Vec<_> = given.map(|(name, _)| format!("400 {} {name}", user.trim())).to_vec();
    modes.push(format!("700 {} .", user.trim()));
    modes.sort();
    let mut seen: Vec<_> = read("modes").lines().map(str::to_owned).collect();
    seen.sort();
    assert_eq!(seen, modes);
    assert_eq!((read("kind").trim(), read("names").lines().count()), ("tmpfs", given.len()));
    for (name, value) in given {
        assert_eq!(read(&format!("found/{name}")), value);
        assert!(value.is_empty() || !read("environment").contains(value), "{name} is a variable, too");
    }
}

/// What a program got as files is gone with it, however it ends and whatever it has put beside them.
///
/// Kills: files that only an orderly end takes away; a folder that is removed only as it was made.
pub async fn secret_files_are_gone_when_the_attempt_is_over(bench: &Bench<'_>) {
    if !bench.can("secrets", |can| can.secrets) {
        return;
    }
    let copies = r#"cd "$FASTFLOW_SECRETS_DIR"; mkdir -p a/b; cp KEY a/b; exit 3"#;
    let ends = BTreeMap::from([
        ("it exits", ("exit 3", false)),
        ("it leaves a copy", (copies, false)),
        ("it is killed", ("kill -9 $$", false)),
        ("it is asked to stop", ("exec sleep 1000", true)),
        ("it does not listen", ("trap '' TERM; while :; do sleep 0.01; done", true)),
    ]);
    for (how, (script, is_stopped)) in ends {
        let (spec, secret) = spec_with_files(bench, script);
        let execution = bench.start(&spec).await;
        let seen = folder_of(bench, &spec, &secret).await;
        fs::write(file(&spec, "go"), "").unwrap();
        if is_stopped {
            bench.until("the program goes on", || lines(&spec, "gone") == 1).await;
            execution.stop(Duration::from_millis(200), StopCause::Cancelled).await.unwrap();
        }
        let ended = execution.wait().await.unwrap();
        assert!(matches!(ended, Ended::Exited(_)), "{how}: {ended:?}");
        // Now, and not only once it is removed: that may be long after.
        assert!(seen.is_none_or(|dir| !dir.exists()), "{how}");
        assert_eq!(bench.files_that_know(&spec, &secret), Vec::<PathBuf>::new(), "{how}");
        execution.remove().await.unwrap();
        assert_eq!(bench.places_of(&spec), Vec::<PathBuf>::new(), "{how}");
    }
}

/// The same where nobody was left who could see the end: whoever frees the attempt takes its secrets away.
///
/// Kills: a folder that only the shim knows of; one that a host remembers, and the next host does not.
pub async fn secret_files_are_gone_when_nobody_watched_their_end(bench: &Bench<'_>) {
    if !bench.can("secrets", |can| can.secrets) {
        return;
    }
    for is_found_by_another in [false, true] {
        let (spec, secret) = spec_with_files(bench, "exec sleep 1000");
        let execution = bench.start(&spec).await;
        let seen = folder_of(bench, &spec, &secret).await;
        if !bench.interfere(&*execution, Interference::Kill).await {
            return;
        }
        assert_eq!(execution.wait().await.unwrap(), Ended::Lost(LostCause::MonitorDied));
        if is_found_by_another {
            match bench.other().reattach(&reference(&spec, None)).await.unwrap() {
                Reattached::Found(found) => found.remove().await.unwrap(),
                Reattached::Lost(_) => {}
                Reattached::NeverStarted => panic!("it was started"),
            }
        } else {
            execution.remove().await.unwrap();
        }
        assert!(seen.is_none_or(|dir| !dir.exists()));
        assert_eq!(bench.files_that_know(&spec, &secret), Vec::<PathBuf>::new());
        assert_eq!(bench.places_of(&spec), Vec::<PathBuf>::new());
    }
}

/// An attempt with secrets that says that it runs, and goes on with `script` when it is told.
fn spec_with_files(bench: &Bench<'_>, script: &str) -> (AttemptSpec, String) {
    let script = format!("echo >> ready; while [ ! -e go ]; do sleep 0.01; done; echo >> gone; {script}");
    let (mut spec, secret) = (bench.spec(&script), word(bench));
    entrust(&mut spec, &secret);
    (spec, secret)
}

/// Waits until the program runs, and answers where its secrets are on this machine: nowhere, if it is isolated.
async fn folder_of(bench: &Bench<'_>, spec: &AttemptSpec, secret: &str) -> Option<PathBuf> {
    bench.until("the program runs", || lines(spec, "ready") == 1).await;
    if bench.executor().capabilities().isolation {
        return None;
    }
    let dir = secrets_dir(spec).expect("a variable with the folder");
    assert_eq!(fs::read_to_string(dir.join("KEY")).unwrap(), secret);
    Some(dir)
}
