//! What is run, how each run is to end, and who sees to that.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use super::{
    CanaryFixture,
    values::{Canary, Values, Vault},
};
use crate::{
    Submission,
    run::{Exit, Failure, LostCause, RunState, StartFailureKind},
};

const MAIN: &str = include_str!("program.py");
const NEXT: &str = include_str!("next.py");
/// The pipeline that gets no secret, and follows another one.
pub(super) const FOLLOWER: &str = "next";
/// Together, these variables and parameters are more than the kernel lets a program start with.
const HUGE_VARIABLES: usize = 7;
const HUGE_VARIABLE_BYTES: usize = 127 * 1024;
const HUGE_PARAMETERS: usize = 28;

/// How secrets are given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Delivery {
    Env,
    Files,
}

/// What a run goes through.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fate {
    /// Says everything, leaves everything, and succeeds.
    Quick,
    /// Hands on what it leaves to another pipeline.
    Hand,
    /// Leaves children behind that go on saying it.
    Children,
    /// An exception with the values in its text.
    Raise,
    /// Calls a command that is not there, with a value in its name.
    Command,
    Abort,
    /// Fails, and is tried again.
    Again,
    Timeout,
    Cancel,
    /// Is cancelled and does not listen.
    Deaf,
    /// Its program is killed.
    Kill,
    /// What watches over it is killed.
    Monitor,
    /// Its sandbox is killed with the runtime's own tools.
    Sandbox,
    /// Its sandbox is taken away with them.
    Remove,
    /// One of its secrets is nowhere.
    Refused,
    /// Its program cannot be started.
    Huge,
}

impl Fate {
    const ALL: [Self; 16] = [
        Self::Quick,
        Self::Hand,
        Self::Children,
        Self::Raise,
        Self::Command,
        Self::Abort,
        Self::Again,
        Self::Timeout,
        Self::Cancel,
        Self::Deaf,
        Self::Kill,
        Self::Monitor,
        Self::Sandbox,
        Self::Remove,
        Self::Refused,
        Self::Huge,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Hand => "hand",
            Self::Children => "children",
            Self::Raise => "raise",
            Self::Command => "command",
            Self::Abort => "abort",
            Self::Again => "again",
            Self::Timeout => "timeout",
            Self::Cancel => "cancel",
            Self::Deaf => "deaf",
            Self::Kill => "kill",
            Self::Monitor => "monitor",
            Self::Sandbox => "sandbox",
            Self::Remove => "remove",
            Self::Refused => "refused",
            Self::Huge => "huge",
        }
    }

    /// Whether its program says everything before anything can happen to it.
    pub(super) fn says_all(self) -> bool {
        matches!(
            self,
            Self::Quick
                | Self::Hand
                | Self::Children
                | Self::Raise
                | Self::Command
                | Self::Abort
                | Self::Again
        )
    }

    /// Whether its program is never there.
    pub(super) fn never_starts(self) -> bool {
        matches!(self, Self::Refused | Self::Huge)
    }

    /// Whether the host cancels it.
    pub(super) fn is_cancelled(self) -> bool {
        matches!(self, Self::Cancel | Self::Deaf)
    }

    /// Whether a run has ended as it should.
    pub(super) fn is(self, state: &RunState) -> bool {
        let failure = match state {
            RunState::Failed(failure) => Some(failure),
            _ => None,
        };
        match self {
            Self::Quick | Self::Hand | Self::Children | Self::Again => *state == RunState::Succeeded,
            Self::Raise | Self::Command => failure == Some(&Failure::Exit(Exit::Code(1))),
            Self::Abort => failure == Some(&Failure::Exit(Exit::Signal(6))),
            Self::Kill => failure == Some(&Failure::Exit(Exit::Signal(9))),
            Self::Timeout => failure == Some(&Failure::TimedOut),
            Self::Cancel | Self::Deaf => *state == RunState::Cancelled,
            Self::Monitor | Self::Sandbox => failure == Some(&Failure::Lost(LostCause::MonitorDied)),
            // Podman asks its program to end first.
            Self::Remove => matches!(failure, Some(Failure::Lost(_) | Failure::Interrupted)),
            Self::Refused => matches!(failure, Some(Failure::StartFailed(failed))
                if failed.kind == StartFailureKind::SecretMissing),
            Self::Huge => matches!(failure, Some(Failure::StartFailed(failed))
                if failed.kind != StartFailureKind::SecretMissing),
        }
    }

    /// The fields of its own in `pipeline.json`.
    fn fields(self) -> Value {
        match self {
            Self::Again => json!({
                "retry_attempts": 1,
                "retry_strategy": { "type": "custom_schedule", "delays": [0] },
            }),
            Self::Timeout => json!({ "timeout": 1, "stop_grace": 1 }),
            Self::Cancel | Self::Deaf => json!({ "stop_grace": 1 }),
            Self::Hand => json!({ "downstream_triggers": [
                { "pipeline": FOLLOWER, "parameters": { "HANDED": "token" } },
            ] }),
            Self::Huge => {
                let value = "x".repeat(HUGE_VARIABLE_BYTES);
                let variables: Map<String, Value> = (0..HUGE_VARIABLES)
                    .map(|number| (format!("LARGE_{number}"), value.clone().into()))
                    .collect();
                json!({ "default_env": variables })
            }
            _ => json!({}),
        }
    }
}

/// One planned run: a function of its number, so that every process knows the same plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) number: usize,
    pub(super) fate: Fate,
    delivery: Delivery,
    seed: u64,
}

impl Planned {
    /// All runs of a test: each fate with either delivery, in an order that follows from the seed.
    pub(super) fn all(seed: u64) -> Vec<Self> {
        let both = [Delivery::Env, Delivery::Files];
        let mut plan: Vec<(Fate, Delivery)> =
            Fate::ALL.into_iter().flat_map(|fate| both.map(|delivery| (fate, delivery))).collect();
        let mut chance = super::Chance::new(seed);
        for last in (1..plan.len()).rev() {
            plan.swap(last, usize::try_from(chance.below(last as u64 + 1)).unwrap());
        }
        let planned =
            |(number, (fate, delivery))| Self { number, fate, delivery, seed: chance.below(1 << 32) };
        plan.into_iter().enumerate().map(planned).collect()
    }

    /// Several pipelines end in the same way.
    fn pipeline(&self) -> String {
        pipeline(self.fate, self.delivery)
    }

    pub(super) fn submission(&self, control: &str) -> Submission {
        let submission = Submission::new(self.pipeline())
            .key(format!("planned-{}", self.number))
            .parameter("CONTROL", control)
            .parameter("MODE", self.fate.name())
            .parameter("SEED", self.seed.to_string());
        if self.fate != Fate::Huge {
            return submission;
        }
        // Characters of four bytes: parameters are counted in characters.
        let value = "🦀".repeat(Submission::MAX_PARAMETER_CHARS);
        (0..HUGE_PARAMETERS)
            .fold(submission, |submission, number| submission.parameter(format!("HUGE_{number}"), &value))
    }
}

fn pipeline(fate: Fate, delivery: Delivery) -> String {
    let delivery = match delivery {
        Delivery::Env => "env",
        Delivery::Files => "files",
    };
    format!("{delivery}-{}", fate.name())
}

/// Writes the pipelines, each with sealed text of its own.
pub(super) async fn write_pipelines(fixture: &dyn CanaryFixture, stage: &Path, values: &Values) {
    let vault = Vault::of(stage);
    for fate in Fate::ALL {
        for delivery in [Delivery::Env, Delivery::Files] {
            let name = pipeline(fate, delivery);
            let mut secrets = [Canary::Stored, Canary::Pem, Canary::External].map(Canary::name).to_vec();
            if fate == Fate::Refused {
                secrets.push("NOBODY_HAS_IT");
            }
            let mut manifest = fixture.settings();
            manifest.insert("secrets".into(), json!(secrets));
            manifest.insert("encrypted_env".into(), vault.sealed(&name.parse().unwrap(), values).await);
            if delivery == Delivery::Files {
                manifest.insert("secrets_as".into(), json!("files"));
            }
            manifest.extend(fate.fields().as_object().unwrap().clone());
            write(stage, &name, MAIN, &manifest);
        }
    }
    write(stage, FOLLOWER, NEXT, &fixture.settings());
    // Fixtures of a torture give these folders to every sandbox. Nobody has anything to say there.
    for folder in ["witness", "said"] {
        fs::create_dir(stage.join(folder)).unwrap();
    }
}

fn write(stage: &Path, name: &str, main: &str, manifest: &Map<String, Value>) {
    let dir = stage.join("pipelines").join(name);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("main.py"), main).unwrap();
    fs::write(dir.join("pipeline.json"), serde_json::to_vec(manifest).unwrap()).unwrap();
}
