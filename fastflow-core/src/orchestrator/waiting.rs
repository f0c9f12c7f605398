//! Why a run that was accepted does not run yet.

use std::{fmt, num::NonZeroU32};

use super::Runs;
use crate::{
    ExecutorName, Result, RunId, Timestamp,
    executor::Health,
    run::{Demand, Obstacle, Run, RunState, Usage},
};

/// The most runs that are named as those that hold something.
const MAX_HOLDERS: usize = 10;

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
    /// For something that runs in flight hold.
    Limit {
        /// What that is.
        obstacle: Obstacle,
        /// Those that hold it, the oldest first; ten at most.
        held_by: Vec<RunId>,
    },
    /// For a slot: as many runs as may are in flight, or a host is only about to claim it.
    Slot {
        /// How many runs in the queue come before it.
        ahead: u64,
        /// How many runs are in flight.
        in_flight: u64,
        /// How many may be.
        max: NonZeroU32,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Executor { executor, since, retry_at, reason } => write!(
                f,
                "waits for the executor `{executor}`, which has not answered since {since} and is asked again at {retry_at}: {reason}"
            ),
            Self::Until(at) => write!(f, "waits until {at}"),
            Self::Limit { obstacle, held_by } => {
                obstacle.fmt(f)?;
                for (index, run) in held_by.iter().enumerate() {
                    write!(f, "{}{run}", if index == 0 { ", by run " } else { ", run " })?;
                }
                Ok(())
            }
            Self::Slot { ahead, in_flight, max } => write!(
                f,
                "waits for a slot: {in_flight} of {max} runs are in flight, and {ahead} in the queue come before it"
            ),
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
        let run = self.ports().store.run(id).await?;
        self.waiting_of(&run).await
    }

    pub(super) async fn waiting_of(&self, run: &Run) -> Result<Option<Waiting>> {
        let ports = self.ports();
        let RunState::Queued { not_before } = run.state else { return Ok(None) };
        let health = ports.executors.get(&run.spec.executor).map(|executor| executor.health());
        if let Ok(Health::Down { since, retry_at, reason }) = health {
            let executor = run.spec.executor.clone();
            return Ok(Some(Waiting::Executor { executor, since, retry_at, reason }));
        }
        if not_before > ports.clock.now() {
            return Ok(Some(Waiting::Until(not_before)));
        }
        let in_flight = ports.store.in_flight().await?;
        let mut usage = Usage::default();
        for run in &in_flight {
            usage.add(Demand::of(&run.spec), 1);
        }
        let settings = &ports.settings;
        Ok(Some(match usage.admits(&Demand::of(&run.spec), &settings.capacity) {
            Err(obstacle) => {
                let holds = |holder: &&Run| holds(holder, run, &obstacle);
                let held_by = in_flight.iter().filter(holds).take(MAX_HOLDERS).map(|run| run.id).collect();
                Waiting::Limit { obstacle, held_by }
            }
            Ok(()) => Waiting::Slot {
                ahead: ports.store.queue_position(run.id).await?.unwrap_or_default(),
                in_flight: usage.in_flight(),
                max: settings.max_concurrent_runs,
            },
        }))
    }
}

/// Whether a run in flight holds what another waits for.
fn holds(holder: &Run, waiting: &Run, obstacle: &Obstacle) -> bool {
    let definition = &holder.spec.pipeline.definition;
    match obstacle {
        Obstacle::Instances { .. } => holder.pipeline() == waiting.pipeline(),
        Obstacle::Schedule { schedule, .. } => {
            holder.spec.schedule_limit.as_ref().is_some_and(|limit| limit.schedule == *schedule)
        }
        Obstacle::Pool { pool, .. } => definition.queue.pools.contains_key(pool),
        Obstacle::NoSuchPool { .. } => false,
        Obstacle::Memory { .. } => definition.limits.memory.is_some(),
        Obstacle::Cpu { .. } => definition.limits.cpu.is_some(),
    }
}
