//! Who gets to know what a program was given.

use std::{fs, path::PathBuf};

use super::{
    bench::{Bench, file, lines},
    outside::strangers_that_know,
};
use crate::{
    ErrorKind, OsEntropy, RunId,
    executor::{AttemptSpec, Start},
};

/// A program that says that it runs, and goes on until it is told.
const UNTIL_TOLD: &str = "echo >> ready; while [ ! -e go ]; do sleep 0.01; done; exit 0";

/// A word that is nowhere else on this machine, given to a program as an argument and as a variable.
pub(super) fn give(bench: &Bench<'_>, spec: &mut AttemptSpec) -> String {
    let secret = format!("canary-{}", RunId::new(bench.clock(), &OsEntropy));
    spec.env.insert("SECRET".to_owned(), secret.clone());
    spec.argv.push(secret.clone());
    secret
}

/// Arguments and variables are for the program alone: no handle, no file of the executor, no other process and no
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
    assert_eq!(strangers_that_know(&spec, &secret), Vec::<u32>::new());
}
