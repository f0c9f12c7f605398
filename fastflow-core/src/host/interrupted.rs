//! What follows an attempt that was interrupted before its program began.

use std::time::Duration;

use super::Ports;
use crate::run::{Failure, Run, RunEvent, StartFailure, StartFailureKind};

/// How many interrupted starts of a run are followed by another at once.
const PROMPT_RESTARTS: u32 = 10;
/// The wait after the first interrupted start that is not; it doubles with each further one.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// The longest such wait, before up to a quarter of it is added by chance.
const MAX_RESTART_DELAY: Duration = Duration::from_mins(1);
/// How many interrupted starts a run survives.
const MAX_INTERRUPTED_STARTS: u32 = 1000;

/// The next attempt follows at once, later when it happens again and again, and not for ever.
pub(super) fn never_started(ports: &Ports, run: &Run) -> RunEvent {
    let earlier = run.attempt.saturating_sub(run.failed_attempts).saturating_sub(1);
    if earlier >= MAX_INTERRUPTED_STARTS {
        let message =
            format!("its start was interrupted {earlier} times, each time before its program began");
        let failure = StartFailure { kind: StartFailureKind::Internal, message };
        return RunEvent::StartFailed { failure: Failure::StartFailed(failure), transient: false };
    }
    let delay = match earlier.checked_sub(PROMPT_RESTARTS) {
        None => Duration::ZERO,
        Some(more) => RESTART_DELAY.saturating_mul(1 << more.min(16)).min(MAX_RESTART_DELAY),
    };
    let mut random = [0];
    ports.entropy.fill(&mut random);
    let delay = delay + delay * u32::from(random[0]) / 1024;
    let now = ports.clock.now();
    RunEvent::NeverStarted { not_before: now.saturating_add(delay).unwrap_or(now) }
}
