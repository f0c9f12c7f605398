//! Cases on whose turn it is, and on what may be in flight together.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{at, changed, end, exited, handle, id, many, new_run, spec, spec_on, step};
use crate::{
    RunId,
    pipeline::{ByteSize, CpuMillis},
    run::{Capacity, Exit, Origin, Run, RunEvent, RunSpec, ScheduleLimit, StopCause},
    store::{Claim, EventId, Step, Store},
};

/// A spec of a pipeline with at most so many runs in flight.
pub(super) fn limited(pipeline: &str, max: u32) -> Arc<RunSpec> {
    changed(pipeline, |spec| spec.pipeline.definition.queue.max_instances = Some(many(max)))
}

/// A spec of a pipeline whose runs hold slots of the pool `db`.
pub(super) fn pooled(pipeline: &str, slots: u32) -> Arc<RunSpec> {
    changed(pipeline, |spec| spec.pipeline.definition.queue.pools = [(db(), many(slots))].into())
}

fn db() -> crate::pipeline::ConfigName {
    "db".parse().unwrap()
}

/// A claim of at most `limit` by a host whose pool `db` has so many slots.
pub(super) fn claim_with(slots: u32, limit: u32) -> Claim {
    let capacity = Capacity { pools: [(db(), many(slots))].into(), ..Capacity::default() };
    Claim { capacity, ..Claim::new(at(1), many(limit)) }
}

/// Creates runs with these numbers, in their order.
async fn create(store: &Arc<dyn Store>, numbers: impl IntoIterator<Item = u64>, spec: &Arc<RunSpec>) {
    for number in numbers {
        store.create_run(new_run(number, spec)).await.unwrap();
    }
}

fn ids(runs: &[Run]) -> Vec<RunId> {
    runs.iter().map(|run| run.id).collect()
}

/// Kills: a queue that goes by age alone, so that one pipeline's thousand runs starve all others.
pub async fn pipelines_take_turns(store: Arc<dyn Store>) {
    let (a, b, first) = (spec("a", 0), spec("b", 0), spec("first", 0));
    create(&store, 0..1000, &a).await;
    create(&store, 1000..1003, &b).await;
    let mut urgent = new_run(1003, &first);
    urgent.priority = 1;
    store.create_run(urgent).await.unwrap();
    let taken = store.claim(Claim::new(at(1), many(8))).await.unwrap();
    assert_eq!(taken[0].id, id(1003), "priority comes before turns");
    let of_b: Vec<_> = taken.iter().filter(|run| run.pipeline().as_str() == "b").map(|run| run.id).collect();
    assert_eq!(of_b, [1000, 1001, 1002].map(id), "each of b comes after about one of a, in its own order");
    let of_a: Vec<_> = taken.iter().filter(|run| run.pipeline().as_str() == "a").map(|run| run.id).collect();
    assert_eq!(of_a, [0, 1, 2, 3].map(id));

    store.claim(Claim::new(at(1), many(496))).await.unwrap();
    create(&store, 2000..2400, &b).await;
    let taken = store.claim(Claim::new(at(1), many(100))).await.unwrap();
    let of_b = taken.iter().filter(|run| run.pipeline().as_str() == "b").count();
    assert!((45..=55).contains(&of_b), "who was idle has saved nothing: {of_b} of 100");
}

/// Kills: turns that are counted over all priorities, so that what runs urgently pushes back what does not.
pub async fn turns_of_one_priority_do_not_move_those_of_another(store: Arc<dyn Store>) {
    let (a, b, urgent) = (spec("a", 0), spec("b", 0), spec("urgent", 0));
    create(&store, 0..50, &a).await;
    for number in 100..300 {
        let mut new = new_run(number, if number % 2 == 0 { &urgent } else { &b });
        new.priority = 5;
        store.create_run(new).await.unwrap();
        assert_eq!(ids(&store.claim(Claim::new(at(1), many(1))).await.unwrap()), [id(number)]);
    }
    create(&store, [300], &b).await;
    let taken = store.claim(Claim::new(at(1), many(3))).await.unwrap();
    assert!(ids(&taken).contains(&id(300)), "{:?}", ids(&taken));
}

/// Kills: a full pipeline that is let in, that blocks the others, or whose place is free too early or never.
pub async fn a_full_pipeline_is_passed_by(store: Arc<dyn Store>) {
    let (a, b) = (limited("a", 2), spec("b", 0));
    create(&store, 0..10, &a).await;
    create(&store, 10..13, &b).await;
    let claim = Claim::new(at(1), many(20));
    let mut taken = store.claim(claim.clone()).await.unwrap();
    taken.sort_by_key(|run| run.id);
    assert_eq!(ids(&taken), [0, 1, 10, 11, 12].map(id));
    assert!(store.claim(claim.clone()).await.unwrap().is_empty());

    // A run that is being stopped still holds its place; one that is tried again later does not.
    let wish = Step::new(id(0), None, RunEvent::StopRequested(StopCause::Cancelled), at(2));
    store.advance(wish).await.unwrap();
    assert!(store.claim(claim.clone()).await.unwrap().is_empty());
    end(&store, &taken[0], Exit::Code(1), 3).await;
    assert_eq!(ids(&store.claim(claim.clone()).await.unwrap()), [id(2)]);
    step(&store, &taken[1], RunEvent::NeverStarted { not_before: at(500) }, 3).await.unwrap();
    assert_eq!(ids(&store.claim(claim.clone()).await.unwrap()), [id(3)]);

    // Another revision of the pipeline counts with it, and its own limit is what counts for it.
    let newer = changed("a", |spec| {
        spec.revision = "1".repeat(64).parse().unwrap();
        spec.pipeline.definition.queue.max_instances = Some(many(3));
    });
    create(&store, [20, 21], &newer).await;
    assert_eq!(ids(&store.claim(claim.clone()).await.unwrap()), [id(20)]);
    assert!(store.claim(claim.clone()).await.unwrap().is_empty());
    let cancel = Step::new(id(4), None, RunEvent::StopRequested(StopCause::Cancelled), at(3));
    store.advance(cancel).await.unwrap();
    assert!(store.claim(claim).await.unwrap().is_empty(), "one that was queued held no place");
}

/// Kills: pools counted by pipeline, slots held while queued, and a wait for a pool that nobody has forgotten.
pub async fn pools_are_shared_between_pipelines(store: Arc<dyn Store>) {
    create(&store, 0..5, &pooled("a", 1)).await;
    create(&store, 5..10, &pooled("b", 1)).await;
    create(&store, 10..12, &spec("free", 0)).await;
    let nowhere = store.claim(Claim::new(at(1), many(20))).await.unwrap();
    assert_eq!(ids(&nowhere), [10, 11].map(id), "a host without the pool starts none of them");
    let taken = store.claim(claim_with(3, 20)).await.unwrap();
    assert_eq!(taken.len(), 3);
    assert!(store.claim(claim_with(3, 20)).await.unwrap().is_empty());
    end(&store, &taken[1], Exit::Code(0), 2).await;
    assert_eq!(store.claim(claim_with(3, 20)).await.unwrap().len(), 1);
    assert_eq!(store.claim(claim_with(5, 20)).await.unwrap().len(), 2, "the host's own number counts");
    let mut pipelines = BTreeMap::new();
    for number in 0..10 {
        let run = store.run(id(number)).await.unwrap();
        *pipelines.entry(run.pipeline().clone()).or_insert(0) += usize::from(run.attempt > 0);
    }
    assert_eq!(pipelines.into_values().collect::<Vec<_>>(), [3, 3], "both take turns with the pool");
}

/// Kills: small runs that take each free slot before a large one ever finds enough of them; a large one that stops
/// those that want nothing of the pool, or waits for ever because it wants more than there is.
pub async fn a_large_run_is_not_overtaken_for_ever(store: Arc<dyn Store>) {
    let (small, large) = (pooled("small", 1), pooled("large", 3));
    create(&store, [0, 1], &small).await;
    let first = store.claim(claim_with(3, 2)).await.unwrap();
    create(&store, [2], &large).await;
    create(&store, 3..20, &small).await;
    create(&store, [20], &spec("free", 0)).await;
    // The large one's turn is early; it does not fit, and nobody takes the third slot.
    let passed = store.claim(claim_with(3, 9)).await.unwrap();
    assert_eq!(ids(&passed), [id(20)]);
    end(&store, &first[0], Exit::Code(0), 2).await;
    assert!(store.claim(claim_with(3, 9)).await.unwrap().is_empty());
    end(&store, &first[1], Exit::Code(0), 2).await;
    let large = store.claim(claim_with(3, 9)).await.unwrap();
    assert_eq!(ids(&large), [id(2)]);
    end(&store, &large[0], Exit::Code(0), 3).await;
    assert_eq!(store.claim(claim_with(3, 9)).await.unwrap().len(), 3);

    for run in store.take_over().await.unwrap() {
        end(&store, &run, Exit::Code(0), 4).await;
    }
    let giant = pooled("giant", 50);
    let mut new = new_run(30, &giant);
    new.priority = 1;
    store.create_run(new).await.unwrap();
    assert_eq!(ids(&store.claim(claim_with(3, 9)).await.unwrap()), [id(30)], "alone it may");
}

/// Kills: a place that is held only by those whom a store happens to look at first, and a queue that is searched no
/// further than that.
pub async fn a_place_is_held_behind_many_that_must_wait(store: Arc<dyn Store>) {
    create(&store, [0, 1], &pooled("small", 1)).await;
    create(&store, [2], &limited("full", 1)).await;
    let first = store.claim(claim_with(3, 3)).await.unwrap();
    assert_eq!(first.len(), 3);
    let waiting = [
        (3..500, limited("full", 1), 5),
        (500..503, pooled("large", 2), 3),
        (503..510, pooled("small", 1), 2),
    ];
    for (numbers, spec, priority) in waiting {
        for number in numbers {
            let mut new = new_run(number, &spec);
            new.priority = priority;
            store.create_run(new).await.unwrap();
        }
    }
    create(&store, [510, 511], &spec("free", 0)).await;
    assert_eq!(ids(&store.claim(claim_with(3, 5)).await.unwrap()), [510, 511].map(id));
    for (ended, expected) in [(0, vec![500]), (1, vec![]), (2, vec![3])] {
        let run = first.iter().find(|run| run.id == id(ended)).unwrap();
        end(&store, run, Exit::Code(0), 2).await;
        let expected: Vec<_> = expected.into_iter().map(id).collect();
        assert_eq!(ids(&store.claim(claim_with(3, 5)).await.unwrap()), expected, "after {ended}");
    }
}

/// Kills: two claims of one moment, of which the second lets somebody past a run that waits for a pool.
pub async fn claims_at_one_time_hold_a_large_runs_place(store: Arc<dyn Store>) {
    let (large, small) = (pooled("large", 2), pooled("small", 1));
    for round in 0..40 {
        let base = round * 10;
        for (number, priority) in [(0, 9), (1, 8), (2, 1)] {
            let mut new = new_run(base + number, if number == 2 { &small } else { &large });
            new.priority = priority;
            store.create_run(new).await.unwrap();
        }
        let claims = (0..4).map(|_| store.claim(claim_with(3, 1)));
        let taken = futures::future::try_join_all(claims).await.unwrap().concat();
        assert_eq!(ids(&taken), [id(base)], "round {round}: the second large run waits, and holds the rest");
        end(&store, &taken[0], Exit::Code(0), 2).await;
        for expected in [1, 2] {
            let run = store.claim(claim_with(2, 1)).await.unwrap().remove(0);
            assert_eq!(run.id, id(base + expected));
            end(&store, &run, Exit::Code(0), 2).await;
        }
    }
}

/// Kills: a host that takes on more memory or processor time than it has, or less.
pub async fn budgets_are_kept(store: Arc<dyn Store>) {
    let with = |name: &str, memory: u64, cpu: u32| {
        changed(name, |spec| {
            let limits = &mut spec.pipeline.definition.limits;
            limits.memory = Some(ByteSize(memory)).filter(|size| size.bytes() > 0);
            limits.cpu = Some(CpuMillis(cpu)).filter(|cpu| cpu.0 > 0);
        })
    };
    let mut claim = Claim::new(at(1), many(20));
    claim.capacity.memory = Some(ByteSize(1000));
    claim.capacity.cpu = Some(CpuMillis(2000));
    create(&store, 0..3, &with("memory", 400, 0)).await;
    create(&store, 3..6, &with("cpu", 0, 1500)).await;
    create(&store, 6..8, &spec("silent", 0)).await;
    let mut taken = store.claim(claim.clone()).await.unwrap();
    taken.sort_by_key(|run| run.id);
    assert_eq!(ids(&taken), [0, 1, 3, 6, 7].map(id));
    assert!(store.claim(claim.clone()).await.unwrap().is_empty());
    end(&store, &taken[2], Exit::Code(0), 2).await;
    assert_eq!(ids(&store.claim(claim.clone()).await.unwrap()), [id(4)]);
    end(&store, &taken[0], Exit::Code(0), 2).await;
    let more = store.claim(claim.clone()).await.unwrap();
    assert_eq!(ids(&more), [id(2)]);
    // What is larger than all there is waits until it is alone.
    create(&store, [8], &with("giant", 5000, 0)).await;
    assert!(store.claim(claim.clone()).await.unwrap().is_empty());
    end(&store, &taken[1], Exit::Code(0), 2).await;
    create(&store, [9], &with("tiny", 1, 0)).await;
    assert!(store.claim(claim.clone()).await.unwrap().is_empty(), "nobody overtakes it");
    end(&store, &more[0], Exit::Code(0), 2).await;
    assert_eq!(ids(&store.claim(claim).await.unwrap()), [id(8)]);
    let free = store.claim(Claim::new(at(1), many(20))).await.unwrap();
    assert_eq!(free.len(), 2, "a host without a budget takes all");
}

/// Kills: a limit of a schedule that counts other runs of its pipeline, or that these must wait for.
pub async fn a_schedule_has_its_own_limit(store: Arc<dyn Store>) {
    let of = |name: &str| {
        let schedule: crate::ScheduleId = name.parse().unwrap();
        changed("etl", |spec| spec.schedule_limit = Some(ScheduleLimit { schedule, max: NonZeroU32::MIN }))
    };
    for (numbers, name) in [(0..3, "etl/a"), (3..6, "etl@b")] {
        for number in numbers {
            let mut new = new_run(number, &of(name));
            new.origin = Origin::Schedule { schedule: name.parse().unwrap(), nominal: at(0) };
            store.create_run(new).await.unwrap();
        }
    }
    create(&store, 6..8, &spec("etl", 0)).await;
    let claim = Claim::new(at(1), many(20));
    let mut taken = store.claim(claim.clone()).await.unwrap();
    taken.sort_by_key(|run| run.id);
    assert_eq!(ids(&taken), [0, 3, 6, 7].map(id));
    assert!(store.claim(claim.clone()).await.unwrap().is_empty());
    end(&store, &taken[1], Exit::Code(0), 2).await;
    assert_eq!(ids(&store.claim(claim).await.unwrap()), [id(4)]);
}

/// Kills: runs of an executor that does not answer which hold slots, places or turns before others.
pub async fn runs_that_are_left_out_hold_nothing(store: Arc<dyn Store>) {
    let down = |mut spec: RunSpec| {
        spec.executor = "docker".parse().unwrap();
        Arc::new(spec)
    };
    let large = down((*pooled("large", 3)).clone());
    let full = down((*limited("full", 1)).clone());
    create(&store, 0..30, &large).await;
    create(&store, 30..60, &full).await;
    create(&store, 60..62, &pooled("small", 1)).await;
    create(&store, 62..64, &limited("full", 1)).await;
    create(&store, 64..66, &spec_on("docker", "free", 0)).await;
    let mut claim = claim_with(2, 20);
    claim.without.insert("docker".parse().unwrap());
    let mut taken = store.claim(claim.clone()).await.unwrap();
    taken.sort_by_key(|run| run.id);
    assert_eq!(ids(&taken), [60, 61, 62].map(id));
    for run in &taken {
        end(&store, run, Exit::Code(0), 2).await;
    }
    claim.without.clear();
    let mut taken = store.claim(claim).await.unwrap();
    taken.sort_by_key(|run| run.id);
    assert_eq!(ids(&taken), [0, 30, 64, 65].map(id), "once it answers, they come by the same rules");
}

/// Kills: check-then-claim, whether two claims meet in one transaction or in two.
pub async fn limits_hold_for_many_claims_at_one_time(store: Arc<dyn Store>) {
    const RUNS: u64 = 600;
    const TASKS: u64 = 48;
    let specs = [limited("three", 3), limited("one", 1), pooled("x", 1), pooled("y", 2), spec("free", 0)];
    for number in 0..RUNS {
        let spec = &specs[usize::try_from(number % 5).unwrap()];
        store.create_run(new_run(number, spec)).await.unwrap();
    }
    let left = Arc::new(AtomicU64::new(RUNS));
    // Whatever the tasks come to do at one time, these are.
    let together = store.claim(claim_with(4, 30)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (store, left) = (Arc::clone(&store), Arc::clone(&left));
        tasks.spawn(async move {
            while left.load(Ordering::Relaxed) > 0 {
                let limit = u32::try_from(1 + task % 5).unwrap();
                for run in store.claim(claim_with(4, limit)).await.unwrap() {
                    step(&store, &run, RunEvent::Started(handle(&run)), 2).await.unwrap();
                    step(&store, &run, exited(Exit::Code(0)), 3).await.unwrap();
                    left.fetch_sub(1, Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for run in together {
        step(&store, &run, RunEvent::Started(handle(&run)), 2).await.unwrap();
        step(&store, &run, exited(Exit::Code(0)), 3).await.unwrap();
        left.fetch_sub(1, Ordering::Relaxed);
    }
    // Where one fails, the others would wait for its runs; dropped with the set, they do not.
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    // The event sequence is the order in which it happened, so it shows what was in flight together.
    let mut flying: BTreeMap<String, u32> = BTreeMap::new();
    let mut most = flying.clone();
    for event in store.events(EventId(0), many(10_000)).await.unwrap() {
        let now = flying.entry(event.pipeline.as_str().to_owned()).or_default();
        match event.name.as_str() {
            "claimed" => *now += 1,
            "exited" => *now -= 1,
            _ => continue,
        }
        let highest = most.entry(event.pipeline.as_str().to_owned()).or_default();
        *highest = (*highest).max(*now);
        let slots = flying.get("x").unwrap_or(&0) + 2 * flying.get("y").unwrap_or(&0);
        assert!(slots <= 4, "{flying:?}");
    }
    assert!(most["three"] <= 3 && most["one"] == 1, "{most:?}");
    assert!(most["three"] == 3 && most["free"] > 1, "nothing was at one time: {most:?}");
}

/// Kills: a position by age, one among those that are not due, and one for a run that does not wait.
pub async fn the_position_is_how_many_come_before(store: Arc<dyn Store>) {
    let (a, b) = (spec("a", 0), limited("b", 1));
    for (number, spec, priority) in [(0, &a, 0), (1, &a, 0), (2, &a, 0), (3, &b, 0), (4, &b, 7), (5, &b, -7)]
    {
        let mut new = new_run(number, spec);
        new.priority = priority;
        store.create_run(new).await.unwrap();
    }
    let mut later = new_run(6, &a);
    (later.priority, later.not_before) = (9, at(100));
    store.create_run(later).await.unwrap();
    assert_eq!(store.queue_position(id(6)).await.unwrap(), None, "it is not due");
    assert_eq!(store.queue_position(id(99)).await.unwrap(), None);
    let mut places = Vec::new();
    for number in 0..6 {
        places.push((store.queue_position(id(number)).await.unwrap().unwrap(), id(number)));
    }
    places.sort_unstable();
    assert!(places.iter().map(|(place, _)| *place).eq(0..6), "{places:?}");
    // Without the limit the places are the order.
    let order = drain_one_by_one(&store).await;
    assert_eq!(places.into_iter().map(|(_, id)| id).collect::<Vec<_>>(), order);
    assert_eq!(store.queue_position(order[0]).await.unwrap(), None, "it is in flight no more");
}

/// Claims one, ends it, and so on until there is nothing left.
async fn drain_one_by_one(store: &Arc<dyn Store>) -> Vec<RunId> {
    let mut order = Vec::new();
    while let Some(run) = store.claim(Claim::new(at(1), many(1))).await.unwrap().pop() {
        assert_eq!(store.queue_position(run.id).await.unwrap(), None);
        end(store, &run, Exit::Code(0), 2).await;
        order.push(run.id);
    }
    order
}
