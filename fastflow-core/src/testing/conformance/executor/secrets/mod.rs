//! Who gets to know what a program was given, and that the program gets its secrets.

mod files;
mod masking;

use std::{fs, path::PathBuf};

pub use self::{
    files::{
        secret_files_are_gone_when_nobody_watched_their_end, secret_files_are_gone_when_the_attempt_is_over,
        secrets_reach_the_program_as_files,
    },
    masking::{secrets_are_masked_in_the_files_that_others_read, secrets_are_masked_in_the_log},
};
use super::{
    bench::{Bench, file, given, lines, seen_environment},
    outside::strangers_that_know,
};
use crate::{
    ErrorKind, OsEntropy, RunId,
    executor::{AttemptSpec, Start},
    run::Exit,
    secret::Secret,
};

/// A program that says that it runs, and goes on until it is told.
const UNTIL_TOLD: &str = "echo >> ready; while [ ! -e go ]; do sleep 0.01; done; exit 0";

/// A word that is nowhere else on this machine.
pub(super) fn word(bench: &Bench<'_>) -> String {
    format!("canary-{}", RunId::new(bench.clock(), &OsEntropy))
}

/// A word that is nowhere else on this machine, given to a program as an argument and as a variable, and where the
/// executor has secrets, as such in both ways.
pub(super) fn give(bench: &Bench<'_>, spec: &mut AttemptSpec) -> String {
    let secret = word(bench);
    spec.env.insert("SECRET".to_owned(), secret.clone());
    spec.argv.push(secret.clone());
    if bench.executor().capabilities().secrets {
        entrust(spec, &secret);
    }
    secret
}

/// Gives a program this as the secret variable `TOKEN` and as the secret file `KEY`.
pub(super) fn entrust(spec: &mut AttemptSpec, secret: &str) {
    spec.secrets.env.insert("TOKEN".parse().unwrap(), Secret::new(secret));
    spec.secrets.files.insert("KEY".parse().unwrap(), Secret::new(secret));
}

/// Arguments, variables and secrets are for the program alone: no handle, no file of the executor, no other process and no
/// description of the sandbox has them, while it runs and afterwards.
///
/// Kills: variables in the engine's description of a container; arguments of the program as those of the sandbox;
/// the order kept beside the journal.
pub async fn what_was_given_shows_nowhere_outside(bench: &Bench<'_>) {
    let mut spec = bench.spec(UNTIL_TOLD);
    let secret = give(bench, &mut spec);
    let execution = bench.start(&spec).await;
    bench.until("the program runs", || lines(&spec, "ready") == 1).await;
    for end in [false, true] {
        if end {
            fs::write(file(&spec, "go"), "").unwrap();
            execution.wait().await.unwrap();
        }
        let handle = serde_json::to_string(execution.handle()).unwrap();
        assert!(!handle.contains(&secret), "{handle}");
        assert!(!format!("{execution:?}").contains(&secret), "{execution:?}");
        assert!(!format!("{spec:?}").contains(&secret), "{spec:?}");
        assert_eq!(bench.files_that_know(&spec, &secret), Vec::<PathBuf>::new());
        assert_eq!(strangers_that_know(&spec, &secret), Vec::<u32>::new());
        for view in bench.fixture().outside_view(&execution.handle().native_id).await {
            assert!(!view.contains(&secret), "{view}");
        }
    }
    let error = bench.executor().start(spec.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(!format!("{error:?}").contains(&secret), "{error:?}");
}

/// What tells a sandbox what to run is gone once it was read, whether or not the program could be started, and the
/// program finds no trace of it.
///
/// Kills: the order left where it was handed over; the order open in the program.
pub async fn the_order_is_gone_once_read(bench: &Bench<'_>) {
    let search = if bench.executor().capabilities().isolation {
        // The halves of the word are in the command line of this program, too, and that is no file of the sandbox.
        r#"grep -rlsF -D skip --exclude-dir=proc --exclude-dir=sys "$1$2" / >> traces; "#
    } else {
        ""
    };
    let mut spec = bench.spec(&format!("{search}echo >> ready; exec sleep 1000"));
    let secret = give(bench, &mut spec);
    let (first, second) = secret.split_at(secret.len() / 2);
    spec.argv.pop();
    spec.secrets.files.clear();
    spec.argv.extend([first, second].map(str::to_owned));
    let (_execution, program) = bench.start_and_find(&spec).await;
    assert_eq!(bench.files_that_know(&spec, &secret), Vec::<PathBuf>::new());
    assert_eq!(lines(&spec, "traces"), 0);
    let open = fs::read_dir(format!("/proc/{program}/fd")).unwrap();
    let mut open: Vec<_> = open.map(|entry| entry.unwrap().file_name()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);

    let mut spec = bench.spec(UNTIL_TOLD);
    let secret = give(bench, &mut spec);
    "/nonexistent/program".clone_into(&mut spec.argv[0]);
    let start = bench.executor().start(spec.clone()).await.unwrap();
    assert!(matches!(start, Start::Failed(_)), "{start:?}");
    assert!(!format!("{start:?}").contains(&secret), "{start:?}");
    assert_eq!(bench.files_that_know(&spec, &secret), Vec::<PathBuf>::new());
    assert_eq!(bench.places_of(&spec), Vec::<PathBuf>::new());
    assert_eq!(strangers_that_know(&spec, &secret), Vec::<u32>::new());
}

/// Secrets are variables of the program, byte for byte, and win over others of the same name.
///
/// Kills: a variable that hides the secret of its name; values that something expands or trims; a value in the words of
/// an error.
pub async fn secrets_reach_the_program_as_variables(bench: &Bench<'_>) {
    if !bench.can("secrets", |can| can.secrets) {
        return;
    }
    let value = "two\nlines, \"quoted\" \\ $HOME `id` %s é🦀 ";
    let mut spec = bench.spec("cat /proc/$$/environ > environment");
    spec.env.insert("TOKEN".to_owned(), "a plain value".to_owned());
    spec.secrets.env.insert("TOKEN".parse().unwrap(), Secret::new(value));
    spec.secrets.env.insert("EMPTY".parse().unwrap(), Secret::new(""));
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(0));
    spec.env.extend([("TOKEN".to_owned(), value.to_owned()), ("EMPTY".to_owned(), String::new())]);
    assert_eq!(seen_environment(&spec), given(&spec));

    let (mut spec, secret) = (bench.spec("exit 0"), word(bench));
    spec.secrets.env.insert("TOKEN".parse().unwrap(), Secret::new(format!("{secret}\0")));
    let error = bench.executor().start(spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!format!("{error:?} {}", error.chain()).contains(&secret), "{error:?}");
}
