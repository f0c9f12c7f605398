//! What befalls programs from outside, at moments that follow from the seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    CanaryFixture, Chance, SandboxEnd,
    host::{MOMENTS, accepted},
    plan::{Fate, Planned},
    processes::Member,
};
use crate::{Clock as _, SystemClock};

/// The trouble that is still to come.
pub(super) struct Troubles {
    stage: PathBuf,
    plan: Vec<Planned>,
    /// When it comes, from when the program was seen first.
    moments: BTreeMap<usize, Duration>,
    /// When programs were seen first, by their run.
    first_seen: BTreeMap<String, Duration>,
    done: BTreeSet<usize>,
    clock: SystemClock,
}

impl Troubles {
    pub(super) fn new(stage: &Path, seed: u64) -> Self {
        let plan = Planned::all(seed);
        let mut chance = Chance::new(seed);
        let (from, to) = MOMENTS;
        let moments = plan.iter().map(|planned| (planned.number, chance.moment(from, to))).collect();
        Self {
            stage: stage.to_owned(),
            plan,
            moments,
            first_seen: BTreeMap::new(),
            done: BTreeSet::new(),
            clock: SystemClock::new(),
        }
    }

    /// The runs that there are by now.
    pub(super) fn runs(&self) -> BTreeSet<String> {
        accepted(&self.stage).into_values().map(|run| run.to_string()).collect()
    }

    /// Makes what is due.
    pub(super) async fn make(&mut self, fixture: &dyn CanaryFixture, members: &[Member]) {
        let now = self.clock.elapsed();
        let accepted = accepted(&self.stage);
        for planned in self.plan.clone() {
            let Some(run) = accepted.get(&planned.number).map(ToString::to_string) else { continue };
            // The program is the one that has nobody of its run above it.
            let is_within = |pid: u32| members.iter().any(|other| other.pid == pid && other.run == run);
            let program = members.iter().find(|member| member.run == run && !is_within(member.parent));
            let Some(program) = program.filter(|_| !self.done.contains(&planned.number)) else { continue };
            let since = *self.first_seen.entry(run).or_insert(now);
            if now.saturating_sub(since) >= self.moments[&planned.number]
                && befall(fixture, planned.fate, program).await
            {
                self.done.insert(planned.number);
            }
        }
    }
}

/// Whether it has come to something. A host that is killed in between does not matter to it.
async fn befall(fixture: &dyn CanaryFixture, fate: Fate, program: &Member) -> bool {
    match fate {
        Fate::Kill => kill(program.pid),
        Fate::Monitor => kill(program.parent),
        Fate::Sandbox => fixture.end_sandbox(program.pid, SandboxEnd::Killed).await || kill(program.parent),
        Fate::Remove => fixture.end_sandbox(program.pid, SandboxEnd::Removed).await || kill(program.parent),
        _ => false,
    }
}

fn kill(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|pid| !pid.is_init());
    pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}
