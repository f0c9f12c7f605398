//! What is run, and what each run must come to.

use std::{fs, path::Path};

use fastflow_core::{
    Submission,
    run::{Exit, Failure, LostCause, RunState},
};

use crate::seed::Chance;

/// What every planned program is. The first thing it does is to leave a witness of its start.
const MAIN: &str = include_str!("program.py");

/// One planned run: a function of the seed and its number, so that every process knows the same plan.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) number: u64,
    pub(crate) mode: &'static str,
    /// Ends in this state.
    pub(crate) end: End,
    /// Its program starts so often, each time in an attempt of its own.
    pub(crate) starts: u64,
    /// The seed of what its program says.
    pub(crate) seed: u64,
    /// When the host cancels it.
    pub(crate) cancel: Option<Cancel>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cancel {
    /// As soon as it is accepted: its program may or may not have started.
    AtOnce,
    /// When its program has left its witness.
    Running,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Success,
    Exit(i32),
    Signal(i32),
    TimedOut,
    /// Nobody can know how it ended: it has killed the process that watched over it.
    Lost,
    Cancelled,
}

impl End {
    /// Whether a run has ended so, and for this reason.
    pub(crate) fn is(self, state: &RunState) -> bool {
        match (self, state) {
            (Self::Success, RunState::Succeeded) | (Self::Cancelled, RunState::Cancelled) => true,
            (Self::TimedOut, RunState::Failed(failure)) => *failure == Failure::TimedOut,
            (Self::Lost, RunState::Failed(failure)) => *failure == Failure::Lost(LostCause::MonitorDied),
            (Self::Exit(code), RunState::Failed(failure)) => *failure == Failure::Exit(Exit::Code(code)),
            (Self::Signal(signal), RunState::Failed(failure)) => {
                *failure == Failure::Exit(Exit::Signal(signal))
            }
            _ => false,
        }
    }
}

impl Planned {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut chance = Chance::new(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let signals = [9, 15, 11, 6];
        let (mode, end, starts, cancel) = match chance.below(17) {
            0 | 1 => ("quick", End::Success, 1, None),
            2 => ("exit", End::Exit(3), 1, None),
            3 => ("raise", End::Exit(1), 1, None),
            4 => ("signal", End::Signal(signals[usize::try_from(chance.below(4)).unwrap()]), 1, None),
            5 => ("timeout", End::TimedOut, 1, None),
            6 | 7 => ("flaky", End::Success, 3, None),
            8 => ("hopeless", End::Exit(7), 3, None),
            9 | 10 => ("chatty", End::Success, 1, None),
            11 => ("leave", End::Success, 1, None),
            12 | 13 => ("long", End::Success, 1, None),
            14 => ("betray", End::Lost, 1, None),
            15 => ("stubborn", End::Cancelled, 1, Some(Cancel::Running)),
            _ => ("early", End::Cancelled, 1, Some(Cancel::AtOnce)),
        };
        Self { number, mode, end, starts, seed: chance.next() >> 32, cancel }
    }

    pub(crate) fn key(&self) -> String {
        format!("planned-{}", self.number)
    }

    pub(crate) fn submission(&self, root: &Path) -> Submission {
        let signal = if let End::Signal(signal) = self.end { signal } else { 0 };
        Submission::new(pipeline(self.mode))
            .key(self.key())
            .parameter("KEY", self.key())
            .parameter("ROOT", root.display().to_string())
            .parameter("MODE", self.mode)
            .parameter("SEED", self.seed.to_string())
            .parameter("SIGNAL", signal.to_string())
    }
}

fn pipeline(mode: &str) -> &'static str {
    match mode {
        "flaky" | "hopeless" => "again",
        "timeout" => "hurried",
        "stubborn" | "early" => "stubborn",
        _ => "plain",
    }
}

/// Writes the pipelines of all plans, and the folders of their witnesses.
pub(crate) fn write_pipelines(root: &Path) {
    for (name, json) in [
        ("plain", "{}"),
        (
            "again",
            r#"{"retry_attempts": 2, "retry_strategy": {"type": "custom_schedule", "delays": [0, 1]}}"#,
        ),
        ("hurried", r#"{"timeout": 3, "stop_grace": 1}"#),
        (
            "stubborn",
            r#"{"stop_grace": 1, "retry_attempts": 2, "retry_strategy": {"type": "fixed_delay", "delay": 0}}"#,
        ),
    ] {
        let dir = root.join("pipelines").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("main.py"), MAIN).unwrap();
        fs::write(dir.join("pipeline.json"), json).unwrap();
    }
    for dir in ["witness", "said"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
}
