//! The storm: the host is killed again and again, at random moments, with runs in flight.

use std::{collections::BTreeMap, path::Path, time::Duration};

use tempfile::TempDir;

use super::{
    Books, Chance, HostProcess, TortureFixture,
    books::witnesses,
    plan::{self, End, Planned},
    seed, variable,
    work::{self, CALM, WORK},
};
use crate::{Clock as _, SystemClock, layout::DataDir, run::IdempotencyKey, testing::tool};

/// How long the runtime may still hold something after the last host has ended.
const CLEARED: Duration = Duration::from_mins(1);
/// Between two looks at that.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Kills hosts with runs in flight, lets the last one come to rest, and checks everything. `host` is the path of the
/// ignored test that calls [`play`](super::play), with the name of its crate.
///
/// # Panics
///
/// When something was lost, doubled, pretended or left behind, or when the executor is missing where it is required.
#[expect(clippy::print_stdout, reason = "what was hit belongs to the answer of the test")]
pub async fn storm(fixture: &dyn TortureFixture, host: &str) {
    let place = TempDir::new().unwrap();
    let stage = place.path().canonicalize().unwrap();
    if fixture.builder(&stage).await.is_none() {
        tool::require(fixture.name(), "there is no such executor here");
        return;
    }
    let how = fixture.storm();
    let kills = variable("FASTFLOW_KILLS").map_or(how.kills, |text| text.parse().unwrap());
    let seed = seed();
    plan::write_pipelines(fixture, &stage);
    let clock = SystemClock::new();
    let mut chance = Chance::new(seed);
    for _ in 0..kills {
        let host = HostProcess::start(host, WORK, &stage, seed);
        clock.sleep(chance.moment(how.shortest_life, how.longest_life)).await;
        host.kill(chance.below(2) == 0);
    }
    let stormed = clock.elapsed();
    HostProcess::start(host, CALM, &stage, seed).ended(how.calm).await;
    let calm = clock.elapsed().saturating_sub(stormed);
    let books = Books::open(&stage).await;
    check_plan(&stage, seed, &books);
    let bytes = books.check_logs(&stage);
    books.check_machine(&stage);
    check_runtime(fixture, &stage).await;
    println!(
        "{kills} kills in {stormed:.1?}, calm after {calm:.1?} more: {} runs, {} attempts, {} events, {bytes} bytes of log",
        books.runs.len(),
        books.attempts.values().sum::<u32>(),
        books.events.len(),
    );
    assert!(books.runs.len() as u64 >= kills / 2, "the storm hit too few runs to prove anything");
}

/// The runtime has nothing of this installation any more, soon after the last host.
pub(in crate::testing) async fn check_runtime(fixture: &dyn TortureFixture, stage: &Path) {
    let owner = std::fs::read_to_string(DataDir::new(stage.join("data")).root().join("owner")).unwrap();
    let owner = owner.trim().parse().unwrap();
    let clock = SystemClock::new();
    loop {
        let left = fixture.left(stage, &owner).await;
        if left.is_empty() {
            return;
        }
        assert!(clock.elapsed() < CLEARED, "the runtime still has, {CLEARED:?} after the end: {left:#?}");
        clock.sleep(LOOK_EVERY).await;
    }
}

/// Every accepted run has come to what was planned, by as many starts as were planned.
#[expect(clippy::print_stdout, reason = "what was hit belongs to the answer of the test")]
fn check_plan(stage: &Path, seed: u64, books: &Books) {
    let accepted = work::accepted(stage);
    assert_eq!(accepted.len(), books.runs.len(), "runs were lost, or came from nowhere");
    let mut wrong = Vec::new();
    let mut modes: BTreeMap<&str, u32> = BTreeMap::new();
    for (number, id) in accepted {
        let planned = Planned::new(seed, number);
        let Some(run) = books.runs.iter().find(|run| run.id == id) else {
            wrong.push(format!("accepted and lost: {id} {planned:?}"));
            continue;
        };
        *modes.entry(planned.mode).or_default() += 1;
        if run.key.as_ref().map(IdempotencyKey::as_str) != Some(planned.key().as_str()) {
            wrong.push(format!("a run with the key of another: {run:?}"));
        }
        if !planned.end.is(&run.state) {
            wrong.push(format!("ended otherwise than planned: {planned:?}: {:?} {run:?}", run.state));
        }
        let starts = witnesses(stage, &planned.key());
        if starts.keys().any(|(of, _)| *of != id) || starts.values().any(|count| *count != 1) {
            wrong.push(format!("an attempt started more than once: {planned:?}: {starts:?}"));
        }
        let early = planned.end == End::Cancelled && planned.cancel == Some(plan::Cancel::AtOnce);
        let count = starts.len() as u64;
        if count != planned.starts && !(early && count == 0) {
            wrong.push(format!("started {count} times instead of {}: {planned:?}: {run:?}", planned.starts));
        }
        if starts.keys().any(|(_, attempt)| *attempt > books.attempts[&id]) {
            wrong.push(format!("an attempt that the store does not know: {planned:?}: {starts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), books.runs.len(), wrong.join("\n"));
    println!("{modes:?}");
}
