//! Secrets in what programs say and leave.

use std::{fs, path::PathBuf};

use super::{entrust, word};
use crate::{
    executor::Capabilities,
    run::Exit,
    secret::Secret,
    testing::conformance::executor::bench::{Bench, file},
};

/// A program that says its secrets in the ways in which they are said by accident, and keeps a list of them.
const SAYS: &str = r#"
    say() {
        printf '%s\n' "$1"
        printf %s "$1" | base64 -w 0; echo
        printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; echo
        printf '%s\n' "$1" | sed 's/["\\]/\\&/g'
    }
    { say "$TOKEN"; say "$(cat "$FASTFLOW_SECRETS_DIR/KEY")"; } > said
    cat said; cat said >&2
    printf %s "${TOKEN%????????}"; sleep 0.3; printf '%s\n' "${TOKEN#"${TOKEN%????????}"}""#;

/// What the log says of a secret.
const MASK: &str = "***";

fn can(can: Capabilities) -> bool {
    can.secrets && can.output
}

/// No byte of the log is a secret's, also where the program has encoded it, on either stream or in two pieces.
///
/// Kills: masks for variables and not for files, for one stream, for whole writes only; the value beside its mask.
pub async fn secrets_are_masked_in_the_log(bench: &Bench<'_>) {
    if !bench.can("secrets", can) {
        return;
    }
    let mut spec = bench.spec(SAYS);
    for (name, is_file) in [("TOKEN", false), ("KEY", true)] {
        let value = Secret::new(format!("a\"b\\c+d/{}", word(bench)));
        if is_file {
            spec.secrets.files.insert(name.parse().unwrap(), value);
        } else {
            spec.secrets.env.insert(name.parse().unwrap(), value);
        }
    }
    let report = bench.run_spec(&spec).await;
    assert_eq!(report.exit, Exit::Code(0));
    let said = fs::read_to_string(file(&spec, "said")).unwrap();
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said.len(), 8);
    assert!(
        said[0].starts_with("a\"b\\c+d/canary-") && said[3].starts_with(r#"a\"b\\c+d/canary-"#),
        "{said:?}"
    );
    let log = bench.log(&spec).await;
    assert_eq!(log.len(), 17);
    for line in log.iter().map(|line| line.text()) {
        assert!(line.contains(MASK), "{line}");
        assert!(said.iter().all(|secret| !line.contains(secret)), "{line}");
    }
    for secret in said {
        assert_eq!(bench.files_that_know(&spec, secret), Vec::<PathBuf>::new());
    }
    assert_eq!(report.log.masked, 17);
}

/// What the program leaves for others has no secret in it when the attempt is over; the rest is the program's own.
///
/// Kills: masks in the log alone; every file masked; files masked that the sandbox has elsewhere.
pub async fn secrets_are_masked_in_the_files_that_others_read(bench: &Bench<'_>) {
    if !bench.can("secrets", can) {
        return;
    }
    let mut spec = bench.spec(r#"printf '{"token":"%s"}' "$TOKEN" | tee result.json > own.json"#);
    let secret = word(bench);
    entrust(&mut spec, &secret);
    spec.masked_files = ["result.json", "never-written.json"].map(|name| file(&spec, name)).to_vec();
    let report = bench.run_spec(&spec).await;
    assert_eq!((report.exit, report.log.masked), (Exit::Code(0), 1));
    let read = |name: &str| fs::read_to_string(file(&spec, name)).unwrap();
    assert_eq!(read("result.json"), format!(r#"{{"token":"{MASK}"}}"#));
    assert_eq!(read("own.json"), format!(r#"{{"token":"{secret}"}}"#));
    assert!(!file(&spec, "never-written.json").exists());
}
