//! What a state change does to a run and its newest attempt. Pure, and the same for every store.

use std::{num::NonZeroU32, time::Duration};

use super::Step;
pub(crate) use super::whole_micros;
use crate::{
    AttemptId, Error, ErrorKind, Result, RunId, Timestamp,
    pipeline::RetryReason,
    run::{
        Attempt, AttemptEnd, Decision, Failure, NewRun, Note, Retry, Run, RunEvent, RunState, StartFailure,
        StartFailureKind,
    },
};

/// How often a start is tried again because the executor could not be reached. These tries are the machinery's
/// and not the pipeline's: they count against no policy, and together they last about five minutes.
const EXECUTOR_RETRIES: u32 = 10;
/// The wait before the first of them; each next one is twice as long.
const EXECUTOR_RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two of them.
const EXECUTOR_RETRY_MAX: Duration = Duration::from_mins(1);
/// Waits are spread over this part more, so that many runs do not come back at one instant.
const EXECUTOR_RETRY_SPREAD_PERCENT: u32 = 25;

/// A run with its newest attempt and what only the store needs of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunRecord {
    pub(crate) run: Run,
    /// The newest attempt; none before the first.
    pub(crate) newest: Option<Attempt>,
    /// Starts in a row for which the executor could not be reached.
    pub(crate) start_retries: u32,
    /// How long the program of the newest attempt ran.
    pub(crate) run_time: Duration,
}

impl RunRecord {
    pub(crate) fn new(new: NewRun) -> Self {
        let run = Run {
            id: new.id,
            spec: new.spec,
            parameters: new.parameters,
            origin: new.origin,
            chain: new.chain.unwrap_or(new.id),
            priority: new.priority,
            key: new.key,
            state: RunState::Queued { not_before: whole_micros(new.not_before) },
            epoch: 0,
            attempt: 0,
            failed_attempts: 0,
            created_at: whole_micros(new.at),
            started_at: None,
            finished_at: None,
        };
        Self { run, newest: None, start_retries: 0, run_time: Duration::ZERO }
    }

    /// Takes on a queued run: a new attempt under a new epoch.
    pub(crate) fn claim(&mut self, at: Timestamp) -> Result<()> {
        self.run.state = self.run.state.apply(&RunEvent::Claimed, Retry::Exhausted)?;
        self.run.epoch += 1;
        self.run.attempt += 1;
        self.run.started_at = None;
        self.run_time = Duration::ZERO;
        self.newest = self.run.attempt_id().map(|id| new_attempt(id, whole_micros(at)));
        Ok(())
    }

    /// Moves it by one event, and says what was decided with it. A refused step leaves it as it was.
    pub(crate) fn advance(&mut self, step: &Step) -> Result<Option<Note>> {
        if step.epoch.is_some_and(|epoch| epoch != self.run.epoch) {
            return Err(Error::new(ErrorKind::Conflict, "another host took this run over")
                .with("run", self.run.id)
                .with("epoch", self.run.epoch));
        }
        if matches!(step.event, RunEvent::Claimed) {
            return Err(Error::new(ErrorKind::Invalid, "runs are taken on by `claim`, not by a step")
                .with("run", self.run.id));
        }
        let at = whole_micros(step.at);
        let id = self.run.id;
        let refused = |refused| Error::from(refused).with("run", id);
        let last = self.run.state.apply(&step.event, Retry::Exhausted).map_err(refused)?;
        let may_go_on = last != self.run.state.apply(&step.event, Retry::At(at)).map_err(refused)?;

        let was_queued = matches!(self.run.state, RunState::Queued { .. });
        let (retry, decision) = match &last {
            RunState::Failed(failure) if may_go_on => self.retry(failure, at),
            _ => (Retry::Exhausted, None),
        };
        let attempt = self.run.attempt;
        let next = self.run.state.apply(&step.event, retry).map_err(refused)?;
        self.run.state = rounded(next);
        if self.run.state.is_terminal() {
            self.run.finished_at = Some(at);
        }
        if !was_queued {
            self.keep(step, &last, at);
        }
        Ok(decision.map(|decision| Note { at, attempt, decision }))
    }

    /// Counts the failure, and says whether another attempt follows, and why.
    fn retry(&mut self, failure: &Failure, at: Timestamp) -> (Retry, Option<Decision>) {
        if let Failure::StartFailed(StartFailure { kind, .. }) = failure
            && matches!(kind, StartFailureKind::ExecutorUnavailable | StartFailureKind::SecretsUnavailable)
            && let Some(delay) = executor_retry_delay(self.run.id, self.start_retries)
        {
            self.start_retries += 1;
            let at = later(at, delay);
            return (Retry::At(at), Some(Decision::Retry { at, failed_attempts: 0 }));
        }
        self.run.failed_attempts += 1;
        let failed_attempts = self.run.failed_attempts;
        let policy = &self.run.spec.pipeline.definition.retry;
        match NonZeroU32::new(failed_attempts).and_then(|failed| policy.delay(failed)) {
            Some(_) if !policy.follows(failure) => {
                (Retry::Exhausted, Some(Decision::NotRetried { reason: RetryReason::of(failure) }))
            }
            Some(delay) => {
                let at = later(at, policy.spread(delay, chance(self.run.id, self.run.attempt)));
                (Retry::At(at), Some(Decision::Retry { at, failed_attempts }))
            }
            // Where no retries were asked for, there is nothing to explain.
            None if policy.attempts == 0 => (Retry::Exhausted, None),
            None => (Retry::Exhausted, Some(Decision::Exhausted { failed_attempts })),
        }
    }

    /// Writes what the event says into the newest attempt.
    fn keep(&mut self, step: &Step, last: &RunState, at: Timestamp) {
        let Some(attempt) = &mut self.newest else { return };
        if step.setup.is_some() {
            attempt.setup.clone_from(&step.setup);
        }
        if let Some(report) = &step.report {
            // The sandbox knows better than a host that may have come later.
            attempt.started_at = Some(whole_micros(report.started_at));
            attempt.report = Some(report.clone());
        }
        match &step.event {
            RunEvent::Started(handle) => {
                attempt.started_at = Some(at);
                attempt.handle = Some(handle.clone());
                self.start_retries = 0;
            }
            RunEvent::Claimed | RunEvent::StopRequested(_) => {}
            RunEvent::StartFailed { .. }
            | RunEvent::NeverStarted { .. }
            | RunEvent::Exited { .. }
            | RunEvent::Lost(_) => {
                attempt.end = Some(match last {
                    RunState::Succeeded => AttemptEnd::Succeeded,
                    RunState::Failed(failure) => AttemptEnd::Failed(failure.clone()),
                    RunState::Cancelled => AttemptEnd::Cancelled,
                    _ => AttemptEnd::NeverStarted,
                });
                let ended_at = step.report.as_ref().map_or(at, |report| whole_micros(report.ended_at));
                attempt.finished_at = Some(ended_at);
                self.run_time = match (&step.report, attempt.started_at) {
                    (Some(report), _) => report.duration,
                    (None, Some(began)) => {
                        Duration::try_from(ended_at.duration_since(began)).unwrap_or_default()
                    }
                    (None, None) => Duration::ZERO,
                };
            }
        }
        self.run.started_at = attempt.started_at;
    }
}

fn new_attempt(id: AttemptId, claimed_at: Timestamp) -> Attempt {
    Attempt {
        id,
        claimed_at,
        started_at: None,
        finished_at: None,
        setup: None,
        handle: None,
        end: None,
        report: None,
    }
}

/// The wait after `tries` earlier waits; `None` after the last. The id's random end spreads it, so that the same
/// input always gives the same answer.
fn executor_retry_delay(id: RunId, tries: u32) -> Option<Duration> {
    if tries >= EXECUTOR_RETRIES {
        return None;
    }
    let delay = EXECUTOR_RETRY_FIRST.saturating_mul(1 << tries.min(16)).min(EXECUTOR_RETRY_MAX);
    let random = u32::from(id.as_bytes()[15].wrapping_add(tries.to_le_bytes()[0].wrapping_mul(97)));
    Some(delay + delay * (random * EXECUTOR_RETRY_SPREAD_PERCENT / 255) / 100)
}

/// Any number, each as likely, and always the same for one attempt: the random end of the run's id, with the attempt
/// mixed in (splitmix64).
fn chance(id: RunId, attempt: u32) -> u32 {
    let random = id.as_bytes().iter().rev().take(8).fold(0, |random, byte| (random << 8) | u64::from(*byte));
    let mut mixed = random.wrapping_add(u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let [low @ .., _, _, _, _] = (mixed ^ (mixed >> 31)).to_le_bytes();
    u32::from_le_bytes(low)
}

/// `at + delay`, or the last instant there is.
fn later(at: Timestamp, delay: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(delay)
        .ok()
        .and_then(|delay| at.checked_add(delay).ok())
        .map_or(Timestamp::MAX, whole_micros)
}

fn rounded(state: RunState) -> RunState {
    match state {
        RunState::Queued { not_before } => RunState::Queued { not_before: whole_micros(not_before) },
        other => other,
    }
}
