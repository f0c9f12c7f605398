//! Whether what was planned has happened: without that, nothing could have been found.

use std::{collections::BTreeMap, fs, num::NonZeroU32, path::Path};

use fastflow_shim::{ExitRecord, Outcome, layout};
use sha2::{Digest as _, Sha256};

use super::{
    host::accepted,
    plan::{FOLLOWER, Planned},
    search,
    values::Values,
};
use crate::{
    AttemptId,
    hex::hex,
    layout::DataDir,
    run::{Run, Status},
    testing::torture::Books,
};

/// What stands in the place of a secret.
const MASKED: &str = "***";

/// Every run has ended as planned, its program had each secret unchanged, and what it said of them was masked.
#[expect(clippy::print_stdout, reason = "what was hit belongs to the answer of the test")]
pub(super) fn ends(stage: &Path, plan: &[Planned], values: &Values, books: &Books) {
    let expected = Expected::of(stage, values);
    let accepted = accepted(stage);
    assert_eq!(accepted.len(), plan.len(), "runs were lost");
    let (mut wrong, mut masked, mut attempts) = (Vec::new(), 0, 0);
    for (number, id) in &accepted {
        let planned = plan[*number];
        let run = books.runs.iter().find(|run| run.id == *id).expect("an accepted run is kept");
        if !planned.fate.is(&run.state) {
            wrong.push(format!("{planned:?} has ended otherwise: {:?}", run.state));
        }
        for number in (1..=books.attempts[id]).filter_map(NonZeroU32::new) {
            let told = expected.check(&planned, run, AttemptId { run: *id, number });
            attempts += 1;
            masked += told.masked;
            wrong.extend(
                told.wrong.into_iter().map(|wrong| format!("{planned:?}, attempt {number}: {wrong}")),
            );
        }
    }
    wrong.extend(follower(&expected, books));
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
    println!("{} runs with {attempts} attempts, {masked} times something was masked", books.runs.len());
}

/// What programs should have had.
struct Expected {
    data: DataDir,
    digests: BTreeMap<&'static str, String>,
    control: String,
}

/// What the files of an attempt tell.
#[derive(Default)]
struct Told {
    masked: u64,
    wrong: Vec<String>,
}

impl Expected {
    fn of(stage: &Path, values: &Values) -> Self {
        let digest = |(name, value): (&'static str, String)| (name, hex(&Sha256::digest(value)));
        Self {
            data: DataDir::new(stage.join("data")),
            digests: values.of_programs().into_iter().map(digest).collect(),
            control: values.control.clone(),
        }
    }

    fn log(&self, run: &Run, attempt: AttemptId) -> String {
        let path = self.data.attempt_dir(run.pipeline(), attempt).join(layout::LOG);
        let said = search::decoded(&fs::read(path).unwrap_or_default());
        said.iter().map(|said| String::from_utf8_lossy(said)).collect()
    }

    fn exit(&self, run: &Run, attempt: AttemptId) -> Option<ExitRecord> {
        let path = self.data.attempt_dir(run.pipeline(), attempt).join(layout::EXIT);
        Some(serde_json::from_slice(&fs::read(path).ok()?).unwrap())
    }

    fn check(&self, planned: &Planned, run: &Run, attempt: AttemptId) -> Told {
        let log = self.log(run, attempt);
        let mut told = Told::default();
        let said: BTreeMap<&str, &str> =
            log.lines().filter_map(|line| line.strip_prefix("digest ")?.split_once(' ')).collect();
        for (name, digest) in &said {
            // The last line may be cut short, where a program was killed.
            if self.digests.get(name).is_none_or(|expected| !expected.starts_with(digest)) {
                told.wrong.push(format!("{name} was another one, or changed on its way"));
            }
        }
        if planned.fate.never_starts() && !said.is_empty() {
            told.wrong.push("its program has started".to_owned());
        }
        let exit = self.exit(run, attempt);
        told.masked = exit.as_ref().map_or(0, |exit| exit.log.masked);
        let has_run = exit.is_some_and(|exit| !matches!(exit.outcome, Outcome::ExecFailed { .. }));
        // A program that was ended as soon as it was there may have said nothing.
        if has_run && log.contains(MASKED) && told.masked == 0 {
            told.wrong.push("what was masked was not counted".to_owned());
        }
        // Others never began: their host was killed when it had taken them on.
        let is_last = attempt.number.get() == run.attempt;
        if planned.fate.says_all() && (has_run || is_last) {
            let is_whole =
                said.len() == self.digests.len() && log.contains(&self.control) && log.contains(MASKED);
            if !is_whole {
                told.wrong.push("its program has not said everything".to_owned());
            }
            if told.masked < said.len() as u64 {
                told.wrong.push(format!("only {} times something was masked", told.masked));
            }
        }
        told
    }
}

/// What follows gets masked values, and no secret of its own.
fn follower(expected: &Expected, books: &Books) -> Vec<String> {
    let runs: Vec<&Run> = books.runs.iter().filter(|run| run.pipeline().as_str() == FOLLOWER).collect();
    let mut wrong = Vec::new();
    if runs.is_empty() {
        wrong.push("nothing was handed on".to_owned());
    }
    for run in runs {
        let log = run.attempt_id().map(|attempt| expected.log(run, attempt)).unwrap_or_default();
        let is_right = run.status() == Status::Success && log.contains("was handed ***\nfinds []\n");
        if !is_right {
            // What it was handed may be a secret.
            wrong.push(format!(
                "the follower was given what it should not have, or has failed: {:?}",
                run.state
            ));
        }
    }
    wrong
}
