use std::collections::BTreeMap;

use super::*;
use crate::pipeline::{Definition, DependencySource, Limits, Pipeline, Program, QueuePolicy};

fn spec(definition: Definition) -> RunSpec {
    let pipeline = Pipeline {
        name: "etl".parse().unwrap(),
        definition,
        program: Program::script("main.py"),
        dependencies: DependencySource::None,
        requires_python: None,
        warnings: Vec::new(),
        locations: BTreeMap::new(),
    };
    RunSpec::new(pipeline, "ab".repeat(32).parse().unwrap(), "process".parse().unwrap())
}

fn some(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[test]
fn instances_are_counted_by_pipeline_whatever_the_revision() {
    let queue = QueuePolicy { max_instances: Some(some(2)), ..QueuePolicy::default() };
    let limited = spec(Definition { queue, ..Definition::default() });
    let other = spec(Definition::default());
    let (mut usage, capacity) = (Usage::default(), Capacity::default());
    assert_eq!(Demand::of(&limited).gate(), Gate::Limited);
    usage.add(Demand::of(&limited), 1);
    assert_eq!(usage.admits(&Demand::of(&limited), &capacity), Ok(()));
    usage.add(Demand::of(&other), 1);
    assert_eq!(usage.admits(&Demand::of(&limited), &capacity), Err(Obstacle::Instances { max: some(2) }));
    assert_eq!(usage.admits(&Demand::of(&other), &capacity), Ok(()));
}

#[test]
fn slots_of_pools_are_held_together_or_not_at_all() {
    let pools = [("db".parse().unwrap(), some(2)), ("net".parse().unwrap(), some(1))].into();
    let both =
        spec(Definition { queue: QueuePolicy { pools, ..QueuePolicy::default() }, ..Definition::default() });
    let mut capacity = Capacity::default();
    let usage = Usage::default();
    let nowhere = Obstacle::NoSuchPool { pool: "db".parse().unwrap() };
    assert_eq!(usage.admits(&Demand::of(&both), &capacity), Err(nowhere));
    capacity.pools = [("db".parse().unwrap(), some(3)), ("net".parse().unwrap(), some(5))].into();
    let mut usage = Usage::default();
    assert_eq!(usage.admits(&Demand::of(&both), &capacity), Ok(()));
    usage.add(Demand::of(&both), 1);
    let db = Obstacle::Pool { pool: "db".parse().unwrap(), used: 2, slots: 3 };
    assert_eq!(usage.admits(&Demand::of(&both), &capacity), Err(db));
}

#[test]
fn a_budget_is_kept_by_what_runs_declare_and_lets_a_giant_run_alone() {
    let with = |memory: u64| {
        let limits = Limits { memory: Some(ByteSize(memory)), ..Limits::default() };
        spec(Definition { limits, ..Definition::default() })
    };
    let (small, giant, silent) = (with(600), with(5000), spec(Definition::default()));
    let capacity = Capacity { memory: Some(ByteSize(1000)), ..Capacity::default() };
    let mut usage = Usage::default();
    assert_eq!(usage.admits(&Demand::of(&giant), &capacity), Ok(()));
    usage.add(Demand::of(&small), 1);
    let full = Obstacle::Memory { used: ByteSize(600), budget: ByteSize(1000) };
    assert_eq!(usage.admits(&Demand::of(&small), &capacity), Err(full.clone()));
    assert_eq!(usage.admits(&Demand::of(&giant), &capacity), Err(full));
    assert_eq!(usage.admits(&Demand::of(&silent), &capacity), Ok(()));
    assert_eq!(usage.admits(&Demand::of(&small), &Capacity::default()), Ok(()));
}
