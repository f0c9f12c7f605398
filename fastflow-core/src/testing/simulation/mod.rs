//! Hosts in simulated time, driven by a seed: they crash at any call, stand still, hear answers late or never, and
//! their clocks jump. Whatever happens, what was promised holds.
//!
//! The dispatcher, its supervisors and the scheduler are the real ones, and so is what the store decides. Simulated are the machine
//! under them: the time, the randomness, the executor's runtime and its programs, and each host's way to them. All of
//! it happens in one thread, in an order that follows from the seed, so that the same seed always gives the same
//! simulation. What a host writes to its disk is not simulated: programs of this executor have no log and no folder, so that
//! P7, of logs, is not looked at here, and neither is the janitor.
//!
//! One simulation has a storm, in which things go wrong, and then a calm, in which everything must come to rest.
//! The promises are held against the store after each transaction, against the runtime at each start of a program, and
//! against both at the end:
//!
//! | | |
//! |---|---|
//! | P1 | every run that was accepted is there; a key is good for one |
//! | P2 | the ledger of a schedule has each instant of its calendar up to the cursor, once, with its run |
//! | P3 | the program of an attempt starts at most once, and beside no other of its run; no attempt is left out |
//! | P4 | each run ends as its programs did, and leads to what its pipeline says, once; so does a daemon |
//! | P5 | a success has a program that exited with 0 and was not stopped |
//! | P6 | no program runs whose attempt is over |
//! | P8 | a cancelled run is over: nothing follows; a final state never changes; a stop takes no longer than it may |
//! | P9 | nobody writes a run that another host has |
//!
//! And the limits: slots, instances and pools are never exceeded.

#![expect(clippy::unwrap_used, reason = "what a simulation is made of is known to be good")]

mod callers;
mod chain;
mod dice;
mod drive;
mod engine;
mod executor;
mod host;
mod judge;
mod ledger;
mod plan;
mod source;
mod stage;
mod store;

use std::{fmt, sync::Arc};

use self::stage::Stage;
use crate::Entropy;

/// A mistake that is made on purpose, to see that it is found.
///
/// ```
/// use fastflow_core::testing::simulation::Bug;
///
/// assert!(Bug::ALL.contains(&Bug::StaleEpoch));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Bug {
    /// Whoever asks what became of a start does not make sure that it never comes: a late one starts a program beside
    /// that of the next attempt.
    UnsettledStart,
    /// What the end of a run leads to is created after that end, not with it: a crash in between loses it.
    LateFollowUp,
    /// A host that lost a run can still write it.
    StaleEpoch,
    /// The cursor of a schedule is moved before the rows of its ledger are written: a crash in between loses instants.
    CursorFirst,
    /// A cancel is only in the memory of the host, which stops the program; then the run is tried again.
    ForgottenCancel,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::UnsettledStart,
        Self::LateFollowUp,
        Self::StaleEpoch,
        Self::CursorFirst,
        Self::ForgottenCancel,
    ];
}

/// What a simulation came to in which every promise held.
///
/// ```
/// let first = fastflow_core::testing::simulation::simulate(7, None).unwrap();
/// assert_eq!(fastflow_core::testing::simulation::simulate(7, None).unwrap(), first);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// A hash of everything that happened, in its order.
    pub trace: u64,
    /// How many things happened.
    pub steps: u64,
    /// How many runs there were.
    pub runs: usize,
    /// How many programs started.
    pub programs: usize,
}

/// A promise that was broken.
///
/// ```
/// use fastflow_core::testing::simulation::{Bug, simulate};
///
/// let found = (0..).find_map(|seed| simulate(seed, Some(Bug::StaleEpoch)).err()).unwrap();
/// assert!(found.to_string().contains(&format!("FASTFLOW_SIMULATION_SEED={}", found.seed)));
/// ```
#[derive(Clone, Debug)]
pub struct Violation {
    /// The seed that breaks it again.
    pub seed: u64,
    /// Which, and how.
    pub what: String,
    /// The last things that happened.
    pub trace: Vec<String>,
}

/// Simulates what follows from a seed, with a planted bug or none.
///
/// # Errors
///
/// The first promise that was broken.
///
/// # Panics
///
/// When there are no threads or files for a runtime.
pub fn simulate(seed: u64, bug: Option<Bug>) -> Result<Outcome, Violation> {
    match play(seed, bug, false) {
        (None, outcome, _) => Ok(outcome),
        // Once more, in words.
        (Some(what), ..) => {
            let (again, _, trace) = play(seed, bug, true);
            let what = if again.as_ref() == Some(&what) {
                what
            } else {
                format!("{what}; it does not happen again: {again:?}")
            };
            Err(Violation { seed, what, trace })
        }
    }
}

fn play(seed: u64, bug: Option<Bug>, wordy: bool) -> (Option<String>, Outcome, Vec<String>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let stage = Arc::new(Stage::new(seed, bug, wordy));
        drive::drive(&stage).await;
        let (trace, steps, lines) = stage.told();
        let (runs, programs) = stage.counts();
        (stage.violation(), Outcome { trace, steps, runs, programs }, lines)
    })
}

impl Entropy for Stage {
    fn fill(&self, bytes: &mut [u8]) {
        self.entropy().fill(bytes);
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        write!(
            f,
            "again: FASTFLOW_SIMULATION_SEED={} cargo nextest run -p fastflow-core --test simulation",
            self.seed
        )
    }
}
