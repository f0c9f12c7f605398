//! Ten thousand simulations, each of which keeps every promise; and planted bugs, each of which is found.
//!
//! `FASTFLOW_SIMULATION_SEED` repeats one of them, `FASTFLOW_SIMULATIONS` sets how many there are.

use std::ops::Range;

use fastflow_core::testing::simulation::{Bug, Outcome, simulate};

/// How many simulations there are, in four tests beside each other.
const SIMULATIONS: u64 = 10_000;
const PARTS: u64 = 4;
/// So soon each planted bug is found.
const SOON: u64 = 1_000;

/// The one seed that was asked for, or these.
fn seeds(all: Range<u64>) -> Range<u64> {
    number("FASTFLOW_SIMULATION_SEED").map_or(all, |seed| seed..seed + 1)
}

#[expect(clippy::disallowed_methods, reason = "whoever repeats a simulation says which")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[expect(clippy::print_stdout, reason = "whoever looks sees how much was simulated")]
fn keep_every_promise(part: u64) {
    let (mut runs, mut programs, mut steps) = (0, 0, 0);
    let each = number("FASTFLOW_SIMULATIONS").unwrap_or(SIMULATIONS).div_ceil(PARTS);
    let seeds = seeds(part * each..(part + 1) * each);
    let simulated = seeds.end - seeds.start;
    for seed in seeds {
        match simulate(seed, None) {
            Ok(outcome) => {
                runs += outcome.runs;
                programs += outcome.programs;
                steps += outcome.steps;
            }
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("{simulated} simulations: {runs} runs, {programs} programs, {steps} steps");
}

#[test]
fn every_promise_is_kept_1() {
    keep_every_promise(0);
}

#[test]
fn every_promise_is_kept_2() {
    keep_every_promise(1);
}

#[test]
fn every_promise_is_kept_3() {
    keep_every_promise(2);
}

#[test]
fn every_promise_is_kept_4() {
    keep_every_promise(3);
}

#[test]
fn a_seed_always_gives_the_same_simulation() {
    for seed in seeds(0..50) {
        let outcomes: Vec<Outcome> = (0..2).filter_map(|_| simulate(seed, None).ok()).collect();
        assert!(matches!(outcomes[..], [first, again] if first == again), "seed {seed}: {outcomes:?}");
    }
}

#[test]
fn every_planted_bug_is_found_soon() {
    for bug in Bug::ALL {
        let found = seeds(0..SOON).find_map(|seed| simulate(seed, Some(bug)).err());
        let found = found.unwrap_or_else(|| panic!("{bug:?} was not found within {SOON} seeds"));
        assert!(!found.what.contains("does not happen again"), "{found}");
        println!("{bug:?}: seed {}: {}", found.seed, found.what);
    }
}
