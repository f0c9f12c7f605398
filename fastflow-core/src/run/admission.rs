//! Whether a queued run may be taken on, beside those that are in flight. Pure, and the same for every store.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    num::NonZeroU32,
};

use serde::{Deserialize, Serialize};

use super::RunSpec;
use crate::{
    PipelineName, ScheduleId,
    pipeline::{ByteSize, ConfigName, CpuMillis},
};

/// What a host has for all runs in flight together. Its default has no pool and no limit.
///
/// ```
/// use std::num::NonZeroU32;
/// use fastflow_core::run::Capacity;
///
/// let mut capacity = Capacity::default();
/// capacity.pools.insert("db".parse().unwrap(), NonZeroU32::new(2).unwrap());
/// assert!(!capacity.has_budget());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Capacity {
    /// Its pools, with their slots.
    pub pools: BTreeMap<ConfigName, NonZeroU32>,
    /// The most memory that runs in flight may have declared as their limits. None: any.
    pub memory: Option<ByteSize>,
    /// The most processor time that runs in flight may have declared as their limits. None: any.
    pub cpu: Option<CpuMillis>,
}

impl Capacity {
    /// Whether it limits memory or processor time.
    pub fn has_budget(&self) -> bool {
        self.memory.is_some() || self.cpu.is_some()
    }
}

/// What keeps a run in the queue although there is a slot for it.
///
/// ```
/// use fastflow_core::run::Obstacle;
///
/// let obstacle = Obstacle::Pool { pool: "db".parse().unwrap(), used: 2, slots: 2 };
/// assert_eq!(obstacle.to_string(), "waits for pool `db`: 2 of 2 slots are held");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Obstacle {
    /// As many runs of its pipeline are in flight as may be.
    Instances {
        /// The most.
        max: NonZeroU32,
    },
    /// As many runs of its schedule are in flight as may be.
    Schedule {
        /// The schedule.
        schedule: ScheduleId,
        /// The most.
        max: NonZeroU32,
    },
    /// Too few slots of a pool are free.
    Pool {
        /// The pool.
        pool: ConfigName,
        /// The slots that are held.
        used: u32,
        /// All its slots.
        slots: u32,
    },
    /// The host has no such pool.
    NoSuchPool {
        /// The pool.
        pool: ConfigName,
    },
    /// Too little of the host's memory is free, by what the runs in flight have declared.
    Memory {
        /// What they have declared.
        used: ByteSize,
        /// All there is.
        budget: ByteSize,
    },
    /// Too little of the host's processor time is free, by what the runs in flight have declared.
    Cpu {
        /// What they have declared.
        used: CpuMillis,
        /// All there is.
        budget: CpuMillis,
    },
}

/// Which limits can keep a run in the queue: what a store needs to know to look past it.
///
/// ```
/// use fastflow_core::run::Gate;
///
/// assert_eq!(Gate::default(), Gate::Open);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Gate {
    /// None.
    #[default]
    Open,
    /// Only a host's budget of memory and processor time.
    Budget,
    /// Its pipeline's or its schedule's instances, or pools.
    Limited,
}

/// What one run takes while it is in flight.
///
/// ```
/// use fastflow_core::run::{Capacity, Demand, RunSpec, Usage};
///
/// fn may_start(spec: &RunSpec, in_flight: &Usage, capacity: &Capacity) -> bool {
///     in_flight.admits(&Demand::of(spec), capacity).is_ok()
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    spec: &'a RunSpec,
}

impl<'a> Demand<'a> {
    /// What runs with this spec take.
    pub fn of(spec: &'a RunSpec) -> Self {
        Self { spec }
    }

    /// Which limits can keep it in the queue.
    pub fn gate(self) -> Gate {
        let definition = &self.spec.pipeline.definition;
        let queue = &definition.queue;
        if definition.instance_limit().is_some()
            || !queue.pools.is_empty()
            || self.spec.schedule_limit.is_some()
        {
            Gate::Limited
        } else if definition.limits.memory.is_some() || definition.limits.cpu.is_some() {
            Gate::Budget
        } else {
            Gate::Open
        }
    }

    fn memory(self) -> u64 {
        self.spec.pipeline.definition.limits.memory.map_or(0, ByteSize::bytes)
    }

    fn cpu(self) -> u64 {
        self.spec.pipeline.definition.limits.cpu.map_or(0, |cpu| cpu.0.into())
    }
}

/// What the runs in flight take together.
///
/// ```
/// assert_eq!(fastflow_core::run::Usage::default().in_flight(), 0);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    in_flight: u64,
    pipelines: HashMap<PipelineName, u32>,
    schedules: HashMap<ScheduleId, u32>,
    pools: HashMap<ConfigName, u32>,
    memory: u64,
    cpu: u64,
}

impl Usage {
    /// How many runs it counts.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Counts `runs` more runs with this demand.
    pub fn add(&mut self, demand: Demand<'_>, runs: u32) {
        let spec = demand.spec;
        self.in_flight += u64::from(runs);
        *self.pipelines.entry(spec.pipeline.name.clone()).or_default() += runs;
        if let Some(limit) = &spec.schedule_limit {
            *self.schedules.entry(limit.schedule.clone()).or_default() += runs;
        }
        for (pool, slots) in &spec.pipeline.definition.queue.pools {
            let used = self.pools.entry(pool.clone()).or_default();
            *used = used.saturating_add(slots.get().saturating_mul(runs));
        }
        self.memory = self.memory.saturating_add(demand.memory().saturating_mul(runs.into()));
        self.cpu = self.cpu.saturating_add(demand.cpu().saturating_mul(runs.into()));
    }

    /// Whether one more run with this demand may be taken on.
    ///
    /// A run that alone takes more than there is would wait for ever, so it may start when it is alone.
    ///
    /// # Errors
    ///
    /// The first limit that it would exceed.
    pub fn admits(&self, demand: &Demand<'_>, capacity: &Capacity) -> Result<(), Obstacle> {
        let spec = demand.spec;
        let queue = &spec.pipeline.definition.queue;
        let used = |of: Option<&u32>| of.copied().unwrap_or_default();
        if let Some(max) = spec.pipeline.definition.instance_limit()
            && used(self.pipelines.get(&spec.pipeline.name)) >= max.get()
        {
            return Err(Obstacle::Instances { max });
        }
        if let Some(limit) = &spec.schedule_limit
            && used(self.schedules.get(&limit.schedule)) >= limit.max.get()
        {
            return Err(Obstacle::Schedule { schedule: limit.schedule.clone(), max: limit.max });
        }
        for (pool, wanted) in &queue.pools {
            let Some(slots) = capacity.pools.get(pool) else {
                return Err(Obstacle::NoSuchPool { pool: pool.clone() });
            };
            let (used, slots) = (used(self.pools.get(pool)), slots.get());
            if used > 0 && used.saturating_add(wanted.get()) > slots {
                return Err(Obstacle::Pool { pool: pool.clone(), used, slots });
            }
        }
        if let Some(budget) = capacity.memory
            && self.memory > 0
            && demand.memory() > 0
            && self.memory.saturating_add(demand.memory()) > budget.bytes()
        {
            return Err(Obstacle::Memory { used: ByteSize(self.memory), budget });
        }
        if let Some(budget) = capacity.cpu
            && self.cpu > 0
            && demand.cpu() > 0
            && self.cpu.saturating_add(demand.cpu()) > budget.0.into()
        {
            let used = CpuMillis(u32::try_from(self.cpu).unwrap_or(u32::MAX));
            return Err(Obstacle::Cpu { used, budget });
        }
        Ok(())
    }
}

/// What runs wait for that nobody behind them may take: whoever wants of the same waits, too, so that nobody is overtaken
/// for ever.
///
/// ```
/// use fastflow_core::run::{Capacity, Demand, Held, RunSpec, Usage};
///
/// /// How many runs of a queue, in its order, may start.
/// fn may_start(queue: &[RunSpec], usage: &mut Usage, capacity: &Capacity) -> usize {
///     let mut held = Held::default();
///     let mut starts = 0;
///     for demand in queue.iter().map(Demand::of) {
///         if held.keeps(demand) {
///             continue;
///         }
///         match usage.admits(&demand, capacity) {
///             Ok(()) => {
///                 usage.add(demand, 1);
///                 starts += 1;
///             }
///             Err(obstacle) => held.by(&obstacle),
///         }
///     }
///     starts
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Held {
    pools: HashSet<ConfigName>,
    memory: bool,
    cpu: bool,
}

impl Held {
    /// Whether who waits for this holds a place: it is a part of what there is, and not a matter of its own.
    pub fn is_held_by(obstacle: &Obstacle) -> bool {
        matches!(obstacle, Obstacle::Pool { .. } | Obstacle::Memory { .. } | Obstacle::Cpu { .. })
    }

    /// Somebody waits for this.
    pub fn by(&mut self, obstacle: &Obstacle) {
        match obstacle {
            Obstacle::Pool { pool, .. } => drop(self.pools.insert(pool.clone())),
            Obstacle::Memory { .. } => self.memory = true,
            Obstacle::Cpu { .. } => self.cpu = true,
            Obstacle::Instances { .. } | Obstacle::Schedule { .. } | Obstacle::NoSuchPool { .. } => {}
        }
    }

    /// Whether a run with this demand must wait for those before it.
    pub fn keeps(&self, demand: Demand<'_>) -> bool {
        let definition = &demand.spec.pipeline.definition;
        definition.queue.pools.keys().any(|pool| self.pools.contains(pool))
            || (self.memory && definition.limits.memory.is_some())
            || (self.cpu && definition.limits.cpu.is_some())
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instances { max } => {
                write!(f, "waits for its pipeline: {max} of {max} runs are in flight")
            }
            Self::Schedule { schedule, max } => {
                write!(f, "waits for its schedule `{schedule}`: {max} of {max} runs are in flight")
            }
            Self::Pool { pool, used, slots } => {
                write!(f, "waits for pool `{pool}`: {used} of {slots} slots are held")
            }
            Self::NoSuchPool { pool } => write!(f, "waits for pool `{pool}`, which this host does not have"),
            Self::Memory { used, budget } => {
                write!(f, "waits for memory: {used} of {budget} are declared by runs in flight")
            }
            Self::Cpu { used, budget } => {
                write!(f, "waits for processor time: {used} of {budget} cores are declared by runs in flight")
            }
        }
    }
}

#[cfg(test)]
mod tests;
