//! The runtime that all hosts ask: it outlives them, and what it knows is the truth about programs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{
    plan::Script,
    stage::{EPOCH, Stage},
};
use crate::{
    AttemptId, RunId,
    executor::Ended,
    run::{Exit, ExitReport, LogSummary, LostCause, StopCause},
};

/// How long a program takes to end that is asked to and obeys.
const OBEDIENCE: Duration = Duration::from_millis(200);

/// Every sandbox that there ever was.
#[derive(Debug, Default)]
pub(super) struct Engine {
    pub(super) sandboxes: BTreeMap<AttemptId, Sandbox>,
    /// How many programs of each run have started.
    pub(super) starts: BTreeMap<RunId, u32>,
}

/// What became of an attempt. Whoever comes first decides, and for good.
#[derive(Debug)]
pub(super) enum Sandbox {
    /// Its program never starts.
    Settled,
    Started(Program),
}

/// A program that was started.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) began: Duration,
    pub(super) ends: Duration,
    pub(super) script: Script,
    /// How it ends; none when nobody can know.
    pub(super) exit: Option<Exit>,
    pub(super) stopped_by: Option<StopCause>,
    pub(super) removed: bool,
    pub(super) changed: Arc<Notify>,
}

impl Program {
    pub(super) fn is_running(&self, now: Duration) -> bool {
        !self.removed && now < self.ends
    }

    /// How it ended, if it did.
    pub(super) fn end(&self, now: Duration) -> Option<Ended> {
        if self.is_running(now) {
            return None;
        }
        let Some(exit) = self.exit else { return Some(Ended::Lost(LostCause::MonitorDied)) };
        Some(Ended::Exited(ExitReport {
            exit,
            stopped_by: self.stopped_by,
            started_at: EPOCH + self.began,
            ended_at: EPOCH + self.ends,
            duration: self.ends.saturating_sub(self.began),
            cpu_time: None,
            peak_memory_bytes: None,
            oom_kills: 0,
            log: LogSummary::empty(),
        }))
    }

    fn stop(&mut self, at: Duration, grace: Duration, cause: StopCause) {
        let (ends, signal) =
            if self.script.obeys && OBEDIENCE <= grace { (at + OBEDIENCE, 15) } else { (at + grace, 9) };
        if at < self.ends {
            self.stopped_by.get_or_insert(cause);
        }
        if ends < self.ends {
            self.ends = ends;
            self.exit = Some(Exit::Signal(signal));
        }
        self.changed.notify_waiters();
    }
}

impl Engine {
    pub(super) fn program(&self, attempt: AttemptId) -> Option<&Program> {
        match self.sandboxes.get(&attempt) {
            Some(Sandbox::Started(program)) => Some(program),
            _ => None,
        }
    }

    /// The programs that run.
    pub(super) fn running(&self, now: Duration) -> impl Iterator<Item = AttemptId> {
        let runs =
            move |sandbox: &Sandbox| matches!(sandbox, Sandbox::Started(program) if program.is_running(now));
        self.sandboxes.iter().filter(move |(_, sandbox)| runs(sandbox)).map(|(attempt, _)| *attempt)
    }
}

impl Stage {
    /// Starts the program of an attempt, unless it was started or settled before: then it is false.
    pub(super) fn start_program(
        &self,
        host: u32,
        attempt: AttemptId,
        limit: Option<Duration>,
        grace: Duration,
    ) -> bool {
        let now = self.now();
        {
            let mut inner = self.inner();
            if inner.engine.sandboxes.contains_key(&attempt) {
                return false;
            }
            let earlier = inner.engine.starts.entry(attempt.run).or_default();
            let script = self.plan.script(attempt.run, *earlier);
            *earlier += 1;
            let mut program = Program {
                began: now,
                ends: now + script.duration,
                script,
                exit: script.exit.map(Exit::Code),
                stopped_by: None,
                removed: false,
                changed: Arc::default(),
            };
            if let Some(limit) = limit.filter(|limit| *limit < script.duration) {
                program.stop(now + limit, grace, StopCause::TimedOut);
            }
            inner.engine.sandboxes.insert(attempt, Sandbox::Started(program));
        }
        self.trace(host, attempt, "its program starts");
        self.check_start(attempt);
        true
    }

    pub(super) fn stop_program(&self, attempt: AttemptId, grace: Duration, cause: StopCause) {
        let now = self.now();
        if let Some(Sandbox::Started(program)) = self.inner().engine.sandboxes.get_mut(&attempt) {
            program.stop(now, grace, cause);
        }
    }

    pub(super) fn remove_program(&self, attempt: AttemptId) {
        self.check_removal(attempt);
        let now = self.now();
        if let Some(Sandbox::Started(program)) = self.inner().engine.sandboxes.get_mut(&attempt) {
            if program.is_running(now) {
                program.stop(now, Duration::ZERO, StopCause::Cancelled);
            }
            program.removed = true;
        }
    }

    /// The start of a program, held against what the store says.
    fn check_start(&self, attempt: AttemptId) {
        let now = self.now();
        let mut inner = self.inner();
        let others: Vec<AttemptId> =
            inner.engine.running(now).filter(|other| other.run == attempt.run && *other != attempt).collect();
        // Reading it is no transaction, and it is never closed here.
        let run =
            self.store.transact(|world| Ok(world.runs.get(&attempt.run).map(|row| row.record.run.clone())));
        let complaint = match run.ok().flatten() {
            None => Some("P1: a program starts of a run that does not exist".to_owned()),
            Some(run) if run.attempt_id() != Some(attempt) || !crate::testing::memory::is_open(&run) => {
                Some(format!("P3, P8: the program of {attempt} starts, but the run is {:?}", run.state))
            }
            Some(_) if !others.is_empty() => {
                Some(format!("P3: the program of {attempt} starts beside that of {others:?}"))
            }
            Some(_) => None,
        };
        if let Some(text) = complaint {
            inner.ledger.violate(text);
        }
    }

    /// The end of an attempt is in the store before its sandbox is removed.
    fn check_removal(&self, attempt: AttemptId) {
        let live = self.store.transact(|world| {
            let run = world.runs.get(&attempt.run).map(|row| &row.record.run);
            Ok(run
                .is_some_and(|run| run.attempt_id() == Some(attempt) && crate::testing::memory::is_open(run)))
        });
        if live.unwrap_or(false) {
            self.violate(format!("P4: the sandbox of {attempt} is removed before its end is in the store"));
        }
    }
}
