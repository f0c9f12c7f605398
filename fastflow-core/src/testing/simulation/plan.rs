//! What is run in one simulation, and what the programs do: all of it follows from the seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use super::dice::{Dice, mixed};
use crate::{
    PipelineName, RunId,
    pipeline::{
        CatchUp, DaemonPolicy, Definition, DependencySource, DownstreamTrigger, Overlap, Pipeline, Program,
        QueuePolicy, RestartInterval, RetryPolicy, RetryStrategy, ScheduleEntry, ScheduleRule, Seconds,
        Timeout, WhenFull,
    },
    run::{Capacity, IdempotencyKey, RunSpec},
};

/// The one executor there is.
pub(super) const EXECUTOR: &str = "simulated";
/// How many pipelines there are.
const PIPELINES: usize = 6;
/// The one that may be meant to run always.
const DAEMON: usize = 3;
/// The pool that some of them use.
const POOL: &str = "db";

/// Everything that was decided before the simulation begins.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// What runs of each pipeline execute, but for its schedules.
    pub(super) specs: BTreeMap<PipelineName, Arc<RunSpec>>,
    pub(super) slots: NonZeroU32,
    pub(super) capacity: Capacity,
    pub(super) odds: Odds,
    /// How long things go wrong.
    pub(super) storm: Duration,
    pub(super) submissions: Vec<Planned>,
    pub(super) cancels: Vec<Duration>,
    pub(super) mishaps: Vec<(Duration, Mishap)>,
}

/// How often things go wrong: once in so many calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    pub(super) crash: u64,
    pub(super) error: u64,
    pub(super) delay: u64,
}

/// One submission.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) at: Duration,
    pub(super) pipeline: PipelineName,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) priority: i16,
    pub(super) delay: Duration,
}

/// What happens to hosts beside their calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mishap {
    /// The host is killed where it stands.
    Kill,
    /// It stands still for a while; meanwhile another takes its place, or not.
    Pause { pause: Duration, replaced: bool },
    /// Its wall clock jumps, by so many seconds.
    Jump { by: i64 },
    /// Somebody edits the schedules of all pipelines.
    Edit,
}

/// What a program does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) duration: Duration,
    /// Its exit code; none when nobody can know how it ended.
    pub(super) exit: Option<i32>,
    /// Whether it ends when it is asked to, and not only when it is killed.
    pub(super) obeys: bool,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let storm = Duration::from_secs(200 + dice.below(500));
        let specs: BTreeMap<_, _> = (0..PIPELINES)
            .map(|number| pipeline(&mut dice, number))
            .map(|spec| (spec.pipeline.name.clone(), Arc::new(spec)))
            .collect();
        let names: Vec<PipelineName> = specs.keys().cloned().collect();
        let submissions = (0..6 + dice.below(10))
            .map(|number| Planned {
                at: dice.below_time(storm),
                pipeline: names[usize::try_from(dice.below(PIPELINES as u64)).unwrap()].clone(),
                // Some share one.
                key: (!dice.one_in(3))
                    .then(|| IdempotencyKey::new(format!("key-{}", number / (1 + dice.below(2)))).unwrap()),
                priority: dice.pick(&[0, 0, 0, 5, -5]),
                delay: if dice.one_in(4) { Duration::from_secs(dice.below(60)) } else { Duration::ZERO },
            })
            .collect();
        let cancels = (0..dice.below(5)).map(|_| dice.below_time(storm)).collect();
        let mut mishaps: Vec<_> =
            (0..dice.below(6)).map(|_| (dice.below_time(storm), mishap(&mut dice))).collect();
        mishaps.sort_by_key(|(at, _)| *at);
        let mut capacity = Capacity::default();
        capacity.pools.insert(POOL.parse().unwrap(), NonZeroU32::new(2).unwrap());
        Self {
            seed,
            specs,
            slots: NonZeroU32::new(dice.pick(&[1, 2, 4])).unwrap(),
            capacity,
            odds: Odds {
                crash: dice.pick(&[40, 150, 1000]),
                error: dice.pick(&[10, 40, 1000]),
                delay: dice.pick(&[4, 20]),
            },
            storm,
            submissions,
            cancels,
            mishaps,
        }
    }

    /// The schedules of a pipeline, as its file says them after so many edits.
    pub(super) fn schedules(&self, name: &PipelineName, edits: usize) -> Vec<ScheduleEntry> {
        let mut dice =
            Dice::new(self.seed ^ mixed(edits as u64) ^ mixed(u64::from(name.as_str().as_bytes()[1])));
        (0..dice.pick(&[0, 0, 1, 2])).map(|number| schedule(&mut dice, number)).collect()
    }

    /// What the program of a run does that starts after `earlier` others of the same run.
    pub(super) fn script(&self, run: RunId, earlier: u32) -> Script {
        let bytes = run.as_bytes();
        let (high, low) = bytes.split_at(8);
        let number = |half: &[u8]| u64::from_be_bytes(half.try_into().unwrap());
        let mut dice = Dice::new(self.seed ^ mixed(number(high)) ^ number(low) ^ u64::from(earlier) << 32);
        let exit = match dice.below(20) {
            0..11 => Some(0),
            11..19 => Some(1 + i32::try_from(dice.below(3)).unwrap()),
            _ => None,
        };
        Script {
            duration: Duration::from_millis(dice.pick(&[50, 1_000, 20_000, 60_000]) + dice.below(5_000)),
            exit,
            obeys: !dice.one_in(3),
        }
    }
}

fn schedule(dice: &mut Dice, number: u32) -> ScheduleEntry {
    let some = |dice: &mut Dice, from: &[u32]| NonZeroU32::new(dice.pick(from)).unwrap();
    let rule = match dice.below(5) {
        0 => {
            ScheduleRule::Cron(dice.pick(&["*/2 * * * *", "*/5 * * * *", "1-59/3 * * * *"]).parse().unwrap())
        }
        _ => ScheduleRule::IntervalSeconds(some(dice, &[60, 120, 240])),
    };
    let mut entry = ScheduleEntry::new(format!("s{number}").parse().unwrap(), rule);
    entry.enabled = !dice.one_in(6);
    entry.policy.overlap = dice.pick(&[Overlap::Allow, Overlap::Skip, Overlap::Queue, Overlap::Replace]);
    entry.policy.max_instances = dice.one_in(3).then(|| some(dice, &[1, 2]));
    entry.policy.catch_up =
        dice.pick(&[CatchUp::None, CatchUp::Latest, CatchUp::All { max: NonZeroU32::new(3).unwrap() }]);
    entry.policy.catch_up_window = Seconds(dice.pick(&[60, 300, 3600]));
    entry.policy.jitter = Seconds(dice.pick(&[0, 0, 10]));
    entry
}

fn mishap(dice: &mut Dice) -> Mishap {
    match dice.below(7) {
        0 | 1 => Mishap::Kill,
        6 => Mishap::Edit,
        2 => Mishap::Jump { by: dice.pick(&[-400, -30, 30, 400]) },
        _ => Mishap::Pause { pause: Duration::from_secs(1 + dice.below(120)), replaced: !dice.one_in(3) },
    }
}

/// Pipeline `number` may start those with a higher one, so that no chain is without an end. The last one may come after
/// two others.
fn pipeline(dice: &mut Dice, number: usize) -> RunSpec {
    let name = |number: usize| format!("p{number}").parse::<PipelineName>().unwrap();
    let mut definition = Definition::default();
    let seconds = |dice: &mut Dice, most| Seconds(u32::try_from(dice.below(most)).unwrap());
    definition.stop_grace = seconds(dice, 10);
    definition.retry = RetryPolicy {
        attempts: u32::try_from(dice.below(4)).unwrap(),
        strategy: match dice.below(3) {
            0 => RetryStrategy::Fixed { delay: seconds(dice, 20) },
            1 => RetryStrategy::Exponential {
                initial_delay: seconds(dice, 5),
                max_delay: Seconds(30),
                multiplier: 2.0,
            },
            _ => RetryStrategy::Custom { delays: vec![Seconds(0), seconds(dice, 10)] },
        },
        ..RetryPolicy::default()
    };
    if dice.one_in(3) {
        definition.limits.timeout = Some(Timeout::from(5 + u32::try_from(dice.below(40)).unwrap()));
    }
    definition.queue = QueuePolicy {
        max_instances: dice.one_in(3).then(|| NonZeroU32::new(dice.pick(&[1, 2])).unwrap()),
        when_full: dice.pick(&[WhenFull::Queue, WhenFull::Reject, WhenFull::Replace]),
        ..QueuePolicy::default()
    };
    if dice.one_in(3) {
        let slots = NonZeroU32::new(dice.pick(&[1, 2])).unwrap();
        definition.queue.pools.insert(POOL.parse().unwrap(), slots);
    }
    if number == DAEMON && dice.one_in(2) {
        let interval = NonZeroU32::new(dice.pick(&[15, 50])).unwrap();
        definition.daemon = DaemonPolicy {
            restart_on_crash: true,
            restart_cooldown: seconds(dice, 10),
            restart_limit: 3,
            restart_interval: dice.one_in(2).then_some(RestartInterval::Seconds(interval)),
            ..DaemonPolicy::default()
        };
    }
    for later in number + 1..PIPELINES {
        if dice.one_in(4) {
            let mut trigger = DownstreamTrigger::on_success_of(name(later));
            trigger.on_failure = dice.one_in(2);
            trigger.on_success = !trigger.on_failure || dice.one_in(2);
            definition.downstream_triggers.push(trigger);
        }
    }
    if number == PIPELINES - 1 && dice.one_in(2) {
        definition.after = BTreeSet::from([name(1), name(2)]);
    }
    let pipeline = Pipeline {
        name: name(number),
        definition,
        program: Program::script("main.py"),
        dependencies: DependencySource::None,
        requires_python: None,
        warnings: Vec::new(),
        locations: BTreeMap::new(),
    };
    RunSpec::new(pipeline, "0".repeat(64).parse().unwrap(), EXECUTOR.parse().unwrap())
}
