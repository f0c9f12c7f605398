//! Why a run that was accepted does not run yet.

use std::fmt;

use crate::{ExecutorName, Result, RunId, Timestamp, executor::Health, run::RunState};

use super::Runs;

/// What a queued run waits for, as this host sees it at this moment.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator, id: fastflow_core::RunId) -> fastflow_core::Result<()> {
/// if let Some(waiting) = flow.runs().waiting(id).await? {
///     println!("{waiting}");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Waiting {
    /// For its executor, which does not answer. No attempt is used up meanwhile.
    Executor {
        /// The executor.
        executor: ExecutorName,
        /// Since when it does not answer.
        since: Timestamp,
        /// When it is asked again.
        retry_at: Timestamp,
        /// What it said, or that it said nothing.
        reason: String,
    },
    /// For an instant: that of its next attempt.
    Until(Timestamp),
    /// For a slot: as many runs as may are in flight, or a host is only about to claim it.
    Slot,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Executor { executor, since, retry_at, reason } => write!(
                f,
                "waits for the executor `{executor}`, which has not answered since {since} and is asked again at {retry_at}: {reason}"
            ),
            Self::Until(at) => write!(f, "waits until {at}"),
            Self::Slot => f.write_str("waits for a slot"),
        }
    }
}

impl Runs<'_> {
    /// What a run waits for; `None` when it does not wait in the queue.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn waiting(&self, id: RunId) -> Result<Option<Waiting>> {
        let ports = self.ports();
        let run = ports.store.run(id).await?;
        let RunState::Queued { not_before } = run.state else { return Ok(None) };
        let health = ports.executors.get(&run.spec.executor).map(|executor| executor.health());
        Ok(Some(match health {
            Ok(Health::Down { since, retry_at, reason }) => {
                Waiting::Executor { executor: run.spec.executor.clone(), since, retry_at, reason }
            }
            _ if not_before > ports.clock.now() => Waiting::Until(not_before),
            _ => Waiting::Slot,
        }))
    }
}
