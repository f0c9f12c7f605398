//! What all hosts of one simulation share.

use std::{
    collections::VecDeque,
    fmt::Display,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    Bug,
    dice::{Dice, SimEntropy},
    engine::Engine,
    ledger::{Ledger, View},
    plan::Plan,
};
use crate::{Clock, RunId, Timestamp, testing::MemoryStore};

/// When every simulation begins.
pub(super) const EPOCH: Timestamp = Timestamp::constant(1_800_000_000, 0);
/// More than any simulation needs.
const MAX_STEPS: u64 = 100_000;
/// How much of the trace is kept for people.
const TRACE_LINES: usize = 100;

/// What all hosts share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) plan: Plan,
    pub(super) bug: Option<Bug>,
    pub(super) store: MemoryStore,
    pub(super) deaths: Notify,
    entropy: SimEntropy,
    /// Callers that still wait for an answer.
    pub(super) callers: AtomicUsize,
    /// A run may be open that no living host knows of.
    pub(super) astray: AtomicBool,
    inner: Mutex<Inner>,
    began: Instant,
    /// How often the schedules were edited; none when they were taken away.
    edits: Mutex<Option<usize>>,
    /// Whether things go wrong.
    stormy: AtomicBool,
    /// Whether the trace is kept in words.
    wordy: bool,
}

/// What is changed together.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) dice: Dice,
    pub(super) engine: Engine,
    pub(super) ledger: Ledger,
    hash: DefaultHasher,
    pub(super) steps: u64,
    lines: VecDeque<String>,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) request: Duration,
    pub(super) answer: Duration,
    pub(super) end: Fate,
}

/// Where it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Answered,
    CrashBefore,
    CrashAfter,
    ErrorBefore,
    ErrorAfter,
}

impl Stage {
    pub(super) fn new(seed: u64, bug: Option<Bug>, wordy: bool) -> Self {
        let plan = Plan::new(seed);
        let inner = Inner {
            dice: Dice::new(seed ^ 0x5eed),
            engine: Engine::default(),
            ledger: Ledger::new(wordy),
            hash: DefaultHasher::new(),
            steps: 0,
            lines: VecDeque::new(),
        };
        Self {
            plan,
            bug,
            store: MemoryStore::new(),
            deaths: Notify::new(),
            entropy: SimEntropy::new(seed ^ 0x1d5),
            callers: AtomicUsize::new(0),
            astray: AtomicBool::new(false),
            inner: Mutex::new(inner),
            began: Instant::now(),
            edits: Mutex::new(Some(0)),
            stormy: AtomicBool::new(true),
            wordy,
        }
    }

    /// How long the simulation has lasted, in its own time.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn run_id(&self, clock: &dyn Clock) -> RunId {
        RunId::new(clock, &self.entropy)
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) fn is_stormy(&self) -> bool {
        self.stormy.load(Ordering::Relaxed)
    }

    /// From now on every call is answered.
    pub(super) fn calm(&self) {
        self.stormy.store(false, Ordering::Relaxed);
    }

    pub(super) fn edits(&self) -> Option<usize> {
        *self.edits.lock().unwrap()
    }

    pub(super) fn edit(&self) {
        if let Some(edits) = &mut *self.edits.lock().unwrap() {
            *edits += 1;
        }
    }

    pub(super) fn end_schedules(&self) {
        *self.edits.lock().unwrap() = None;
    }

    pub(super) fn fate(&self) -> Way {
        if !self.is_stormy() {
            return Way { request: Duration::ZERO, answer: Duration::ZERO, end: Fate::Answered };
        }
        let odds = self.plan.odds;
        let dice = &mut self.inner().dice;
        let mut travel = || {
            if !dice.one_in(odds.delay) {
                return Duration::ZERO;
            }
            let longest = dice.pick(&[20, 20, 1_000, 15_000]);
            dice.below_time(Duration::from_millis(longest))
        };
        let (request, answer) = (travel(), travel());
        let end = match (dice.one_in(odds.crash), dice.one_in(odds.error)) {
            (true, _) => dice.pick(&[Fate::CrashBefore, Fate::CrashAfter]),
            (false, true) => dice.pick(&[Fate::ErrorBefore, Fate::ErrorAfter]),
            _ => Fate::Answered,
        };
        Way { request, answer, end }
    }

    /// Says what happened. The order of all that is said is what makes two simulations the same.
    pub(super) fn trace(&self, host: u32, what: impl Display + Hash, how: impl Display + Hash) {
        let now = self.now();
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.steps += 1;
        if inner.steps > MAX_STEPS {
            inner.ledger.violate("it goes round in circles".into());
            // Whoever does so gives nobody else a turn.
            panic!("a host goes round in circles");
        }
        (now, host, &what, &how).hash(&mut inner.hash);
        // What comes after a violation is of no interest.
        if self.wordy && inner.ledger.violation.is_none() {
            if inner.lines.len() == TRACE_LINES {
                inner.lines.pop_front();
            }
            inner.lines.push_back(format!("{:>10.3} s  host {host:<2}  {what}: {how}", now.as_secs_f64()));
        }
    }

    /// Compares the store and the engine with the promises, after each transaction.
    pub(super) fn observe(&self, host: u32) {
        let now = self.now();
        let mut inner = self.inner();
        let Inner { engine, ledger, hash, .. } = &mut *inner;
        // Reading it is no transaction, and it is never closed here.
        let _ = self.store.transact(|world| {
            ledger.observe(View { world, engine, plan: &self.plan, host, now }, hash);
            Ok(())
        });
        let Inner { ledger, lines, .. } = &mut *inner;
        lines.extend(ledger.news.drain(..));
        while lines.len() > TRACE_LINES {
            lines.pop_front();
        }
    }

    pub(super) fn violation(&self) -> Option<String> {
        self.inner().ledger.violation.clone()
    }

    pub(super) fn violate(&self, text: String) {
        self.inner().ledger.violate(text);
    }

    pub(super) fn entropy(&self) -> &SimEntropy {
        &self.entropy
    }

    /// The hash of all that was said, how much it was, and the end of it in words.
    pub(super) fn told(&self) -> (u64, u64, Vec<String>) {
        let inner = self.inner();
        (inner.hash.finish(), inner.steps, inner.lines.iter().cloned().collect())
    }

    /// How many runs and programs there were.
    pub(super) fn counts(&self) -> (usize, usize) {
        let runs = self.store.transact(|world| Ok(world.runs.len())).unwrap_or(0);
        let programs = self.inner().engine.starts.values().map(|starts| *starts as usize).sum();
        (runs, programs)
    }
}
