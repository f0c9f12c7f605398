//! What is run, and what each run must come to.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::json;

use super::{Chance, TortureFixture};
use crate::{
    Submission,
    run::{Exit, Failure, LostCause, RunState},
};

/// What every planned program is. The first thing it does is to leave a witness of its start.
const MAIN: &str = include_str!("program.py");

/// One planned run: a function of the seed and its number, so that every process knows the same plan.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) number: u64,
    pub(super) mode: &'static str,
    /// Ends in this state.
    pub(super) end: End,
    /// Its program starts so often, each time in an attempt of its own.
    pub(super) starts: u64,
    /// The seed of what its program says.
    pub(super) seed: u64,
    /// When the host cancels it.
    pub(super) cancel: Option<Cancel>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cancel {
    /// As soon as it is accepted: its program may or may not have started.
    AtOnce,
    /// When its program has left its witness.
    Running,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Success,
    Exit(i32),
    Signal(i32),
    TimedOut,
    /// Nobody can know how it ended: what watched over it was killed.
    Lost,
    Cancelled,
}

impl End {
    /// Whether a run has ended so, and for this reason.
    pub(super) fn is(self, state: &RunState) -> bool {
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
    pub(super) fn new(seed: u64, number: u64) -> Self {
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

    pub(super) fn key(&self) -> String {
        format!("planned-{}", self.number)
    }

    pub(super) fn submission(&self, root: &Path) -> Submission {
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
pub(super) fn write_pipelines(fixture: &dyn TortureFixture, stage: &Path) {
    for (name, own) in [
        ("plain", json!({})),
        (
            "again",
            json!({
                "retry_attempts": 2,
                "retry_strategy": { "type": "custom_schedule", "delays": [0, 1] },
            }),
        ),
        ("hurried", json!({ "timeout": 3, "stop_grace": 1 })),
        (
            "stubborn",
            json!({
                "stop_grace": 1,
                "retry_attempts": 2,
                "retry_strategy": { "type": "fixed_delay", "delay": 0 },
            }),
        ),
    ] {
        let mut settings = fixture.settings();
        settings.extend(own.as_object().unwrap().clone());
        let dir = stage.join("pipelines").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("main.py"), MAIN).unwrap();
        fs::write(dir.join("pipeline.json"), serde_json::Value::from(settings).to_string()).unwrap();
    }
    for dir in ["witness", "said"] {
        let dir = stage.join(dir);
        fs::create_dir_all(&dir).unwrap();
        // Programs may be another user. The folder around it is private.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
}
