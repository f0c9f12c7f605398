//! Why a run that was accepted does not run yet.

use std::{fmt, num::NonZeroU32};

use super::Runs;
use crate::{
    ExecutorName, Result, RunId, Timestamp,
    executor::Health,
    run::{Capacity, Demand, Held, Obstacle, Run, RunState, Usage},
};

/// The most runs that are named as those that hold something.
const MAX_HOLDERS: usize = 10;
/// The most runs that are looked at before one.
const MAX_AHEAD: NonZeroU32 = NonZeroU32::new(1000).expect("it is not 0");

/// What a run waits for, as this orchestrator sees it at this moment.
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
    /// For a host: no process hosts the data directory. Nothing that is queued starts, and of what has begun only the
    /// next host sees what became of it.
    NoHost,
    /// For something that runs in flight hold.
    Limit {
        /// What that is.
        obstacle: Obstacle,
        /// Those that hold it, the oldest first; ten at most.
        held_by: Vec<RunId>,
        /// How many runs in the queue come before it.
        ahead: u64,
    },
    /// For a run before it in the queue, which waits for something that both want: nobody is overtaken for ever.
    Behind {
        /// That run.
        run: RunId,
        /// What that waits for.
        obstacle: Obstacle,
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
            Self::NoHost => f.write_str("waits for a host: no process hosts the data directory now"),
            Self::Behind { run, obstacle } => {
                write!(f, "waits behind run {run}, which wants of the same and {obstacle}")
            }
            Self::Limit { obstacle, held_by, .. } => {
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
    /// What a run waits for; `None` when it has ended, or has begun and there is a host that sees to it.
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
        let RunState::Queued { not_before } = run.state else {
            let is_left_alone = !run.state.is_terminal() && self.is_hosted_by_nobody().await;
            return Ok(is_left_alone.then_some(Waiting::NoHost));
        };
        let health = ports.executors.get(&run.spec.executor).map(|executor| executor.health());
        if let Ok(Health::Down { since, retry_at, reason }) = health {
            let executor = run.spec.executor.clone();
            return Ok(Some(Waiting::Executor { executor, since, retry_at, reason }));
        }
        if not_before > ports.clock.now() {
            return Ok(Some(Waiting::Until(not_before)));
        }
        // Before what others hold: that is only what the last host wrote of them.
        if self.is_hosted_by_nobody().await {
            return Ok(Some(Waiting::NoHost));
        }
        let in_flight = ports.store.in_flight().await?;
        let mut usage = Usage::default();
        for run in &in_flight {
            usage.add(Demand::of(&run.spec), 1);
        }
        let settings = &ports.settings;
        let ahead = ports.store.queue_position(run.id).await?.unwrap_or_default();
        if let Err(obstacle) = usage.admits(&Demand::of(&run.spec), &settings.capacity) {
            let holds = |holder: &&Run| holds(holder, run, &obstacle);
            let held_by = in_flight.iter().filter(holds).take(MAX_HOLDERS).map(|run| run.id).collect();
            return Ok(Some(Waiting::Limit { obstacle, held_by, ahead }));
        }
        let before = ports.store.queue_ahead(run.id, MAX_AHEAD).await?;
        Ok(Some(match behind(&before, run, &usage, &settings.capacity) {
            Some((run, obstacle)) => Waiting::Behind { run, obstacle },
            None => Waiting::Slot { ahead, in_flight: usage.in_flight(), max: settings.max_concurrent_runs },
        }))
    }

    /// Not where it cannot be found out: somebody has the lock of a host then.
    async fn is_hosted_by_nobody(&self) -> bool {
        matches!(self.flow.host().await, Ok(None))
    }
}

/// The first run before this one that keeps it waiting, and what that waits for.
fn behind(before: &[Run], run: &Run, usage: &Usage, capacity: &Capacity) -> Option<(RunId, Obstacle)> {
    before.iter().find_map(|other| {
        let obstacle = usage.admits(&Demand::of(&other.spec), capacity).err()?;
        let mut held = Held::default();
        held.by(&obstacle);
        held.keeps(Demand::of(&run.spec)).then_some((other.id, obstacle))
    })
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
