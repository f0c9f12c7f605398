//! The storm: the host is killed again and again, at random moments, with ten runs in flight.

use std::{collections::BTreeMap, path::Path, time::Duration};

use fastflow_core::{Clock, SystemClock, run::IdempotencyKey};

use crate::{
    audit::{Books, witnesses},
    driver::Host,
    host,
    kit::{Place, variable},
    plan::{self, End, Planned},
    seed::{Chance, seed},
};

/// Kills unless `FASTFLOW_KILLS` says otherwise.
const KILLS: u64 = 60;
/// A host lives between these times; early deaths are as likely as late ones, by orders of magnitude.
const SHORTEST_LIFE: Duration = Duration::from_millis(1);
const LONGEST_LIFE: Duration = Duration::from_secs(3);
/// After the last kill, everything must have ended so soon.
const CALM: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn sixty_kills_lose_nothing_and_double_nothing() {
    let kills = variable("FASTFLOW_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let seed = seed();
    let place = Place::new();
    let root = place.root().canonicalize().unwrap();
    plan::write_pipelines(&root);
    let clock = SystemClock::new();
    let mut chance = Chance::new(seed);
    for _ in 0..kills {
        let host = Host::start("work", &root, seed);
        clock.sleep(chance.moment(SHORTEST_LIFE, LONGEST_LIFE)).await;
        host.kill(chance.below(2) == 0);
    }
    let stormed = clock.elapsed();
    Host::start("calm", &root, seed).ended(CALM).await;
    let calm = clock.elapsed().saturating_sub(stormed);
    let books = Books::open(&root).await;
    check_plan(&root, seed, &books);
    let bytes = books.check_logs(&root);
    books.check_machine(&root);
    println!(
        "{kills} kills in {stormed:.1?}, calm after {calm:.1?} more: {} runs, {} attempts, {} events, {bytes} bytes of log",
        books.runs.len(),
        books.attempts.values().sum::<u32>(),
        books.events.len(),
    );
    assert!(books.runs.len() as u64 >= kills / 2, "the storm hit too few runs to prove anything");
}

/// Every accepted run has come to what was planned, by as many starts as were planned.
fn check_plan(root: &Path, seed: u64, books: &Books) {
    let accepted = host::accepted(root);
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
        let starts = witnesses(root, &planned.key());
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

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_on_one_directory_the_second_is_refused_until_the_first_is_dead() {
    let place = Place::new();
    plan::write_pipelines(place.root());
    let answer = |host: &Host| place.root().join(format!("answer-{}", host.id()));
    let mut first = Host::start("idle", place.root(), 0);
    first.until_there(&answer(&first)).await;
    let mut second = Host::start("idle", place.root(), 0);
    let refused = answer(&second);
    second.until_there(&refused).await;
    second.ended(Duration::from_secs(10)).await;
    let words = std::fs::read_to_string(refused).unwrap();
    assert!(words.contains(&first.id().to_string()), "the owner is named: {words}");
    first.kill(false);
    let mut third = Host::start("idle", place.root(), 0);
    let started = answer(&third);
    third.until_there(&started).await;
    let clock = SystemClock::new();
    while std::fs::read_to_string(&started).unwrap().is_empty() {
        clock.sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(std::fs::read_to_string(started).unwrap(), "started");
    third.kill(true);
}
