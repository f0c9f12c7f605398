//! What one step of the queue and of a schedule costs, against how many runs wait and how many schedules there are.
//!
//! `queue-size [most runs] [schedules]` prints medians in milliseconds and, as their floor, how many times that is what the
//! same step cost on the same store while nothing waited and there were few schedules.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::{
    error::Error,
    num::NonZeroU32,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use fastflow_benches::{report::milliseconds, sample::Samples};
use fastflow_core::{
    Clock, OsEntropy, RunId, ScheduleId, SystemClock, Timestamp,
    executor::ExecutionHandle,
    pipeline::{Definition, DependencySource, Pipeline, Program},
    run::{Exit, NewRun, Origin, Run, RunEvent, RunSpec, Status},
    schedule::{NextTick, Schedule, Tick, TickOutcome},
    store::{
        Claim, Fire, PutSchedule, RunQuery, ScheduleChange, ScheduleRecord, SqliteOptions, SqliteStore, Step,
        Store,
    },
};
use futures::future::try_join_all;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How often each step is measured.
const SAMPLES: u32 = 30;
/// How many runs a host with 16 slots asks for.
const SLOTS: NonZeroU32 = NonZeroU32::new(16).unwrap();
/// How many callers fill the queue.
const CALLERS: usize = 512;
const FEW_SCHEDULES: u64 = 100;
const STEPS: [&str; 7] =
    ["create", "claim 16", "claim, all full", "end 16", "page", "page of one", "due + fire"];

/// The median of each step.
type Medians = [Option<Duration>; STEPS.len()];

#[tokio::main]
async fn main() -> Fallible<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let most = arguments.next().transpose()?.unwrap_or(100_000);
    let schedules = arguments.next().transpose()?.unwrap_or(10_000);
    let dir = tempfile::tempdir_in(".")?;
    for (pipelines, limited) in [(1, false), (1, true), (1000, false), (1000, true)] {
        let path = dir.path().join(format!("{pipelines}-{limited}.db"));
        let limits = if limited { "with max_instances" } else { "without limits" };
        println!("\n## {pipelines} pipelines {limits}: medians in ms of {SAMPLES}\n");
        println!("| runs that wait | schedules | {} |", STEPS.join(" | "));
        println!("|{}", "---|".repeat(STEPS.len() + 2));
        let mut bench = Bench::open(&path, pipelines, limited).await?;
        bench.add_schedules(FEW_SCHEDULES).await?;
        let floor = bench.measure().await?;
        bench.line(FEW_SCHEDULES, &floor, &floor);
        bench.add_schedules(schedules).await?;
        for size in [0, 1_000, 10_000, 100_000].into_iter().filter(|size| *size <= most) {
            bench.fill(size).await?;
            let medians = bench.measure().await?;
            bench.line(schedules, &medians, &floor);
        }
        bench.reopen(&path).await?;
    }
    Ok(())
}

struct Bench {
    store: SqliteStore,
    clock: SystemClock,
    specs: Vec<Arc<RunSpec>>,
    waiting: u64,
    made: u64,
    schedules: u64,
    begin: Timestamp,
}

impl Bench {
    async fn open(path: &Path, pipelines: u32, limited: bool) -> Fallible<Self> {
        let clock = SystemClock::new();
        let store = SqliteStore::open(path, SqliteOptions::default(), Arc::new(clock)).await?;
        // One pipeline gets all slots, many get one each.
        let max = NonZeroU32::new(SLOTS.get() / pipelines.min(SLOTS.get())).filter(|_| limited);
        let specs = (0..pipelines).map(|number| spec(number, max)).collect::<Fallible<_>>()?;
        Ok(Self { store, clock, specs, waiting: 0, made: 0, schedules: 0, begin: clock.now() })
    }

    fn new_run(&mut self) -> NewRun {
        let spec = &self.specs[usize::try_from(self.made).unwrap_or_default() % self.specs.len()];
        self.made += 1;
        NewRun::new(RunId::new(&self.clock, &OsEntropy), Arc::clone(spec), Origin::Manual, self.clock.now())
    }

    /// Lets runs wait until there are so many.
    async fn fill(&mut self, size: u64) -> Fallible<()> {
        while self.waiting < size {
            let new: Vec<_> =
                (0..CALLERS.min(usize::try_from(size - self.waiting)?)).map(|_| self.new_run()).collect();
            self.waiting += new.len() as u64;
            try_join_all(new.into_iter().map(|new| self.store.create_run(new))).await?;
        }
        Ok(())
    }

    /// Makes schedules of all pipelines, due in their order, until there are so many.
    async fn add_schedules(&mut self, count: u64) -> Fallible<()> {
        let mut put = Vec::new();
        for number in self.schedules..count {
            let pipeline = &self.specs[usize::try_from(number)? % self.specs.len()].pipeline.name;
            let id: ScheduleId = format!("{pipeline}@s{number}").parse()?;
            let nominal = self.begin + Duration::from_millis(number + 1);
            let record = ScheduleRecord {
                schedule: Schedule::cron(id, "* * * * *")?,
                generation: 0,
                anchor: self.begin,
                cursor: self.begin,
                next: Some(NextTick { nominal, due: nominal }),
                problem: None,
            };
            put.push(PutSchedule { replaces: None, record });
        }
        self.schedules = count.max(self.schedules);
        Ok(self.store.put_schedules(ScheduleChange { put, remove: Vec::new() }).await?)
    }

    fn claim(&self, limit: u32) -> Claim {
        Claim::new(self.clock.now(), NonZeroU32::new(limit).unwrap_or(SLOTS))
    }

    /// Takes each step again and again. Afterwards as many runs wait as before.
    async fn measure(&mut self) -> Fallible<Medians> {
        let [mut create, mut claim, mut end, mut page, mut pages, mut fire] =
            std::array::from_fn(|_| Samples::default());
        for _ in 0..SAMPLES {
            for _ in 0..SLOTS.get() {
                let new = self.new_run();
                let began = Instant::now();
                self.store.create_run(new).await?;
                create.push(began.elapsed());
            }
            let began = Instant::now();
            let runs = self.store.claim(self.claim(SLOTS.get())).await?;
            claim.push(began.elapsed());
            if runs.len() != SLOTS.get() as usize {
                return Err("as many as there are slots are claimed".into());
            }
            let began = Instant::now();
            self.end(runs).await?;
            end.push(began.elapsed());
            let began = Instant::now();
            self.store.runs(&RunQuery::default()).await?;
            page.push(began.elapsed());
            let mut query = RunQuery::default();
            query.pipeline = Some(self.specs[0].pipeline.name.clone());
            query.statuses = vec![Status::Pending];
            let began = Instant::now();
            self.store.runs(&query).await?;
            pages.push(began.elapsed());
            fire.push(self.fire().await?);
        }
        let full = self.all_full().await?;
        let medians = [&create, &claim].map(|samples| Some(samples.median()));
        let others = [&end, &page, &pages, &fire].map(|samples| Some(samples.median()));
        Ok([medians[0], medians[1], full, others[0], others[1], others[2], others[3]])
    }

    /// What a claim costs that finds nothing, because each pipeline is full.
    async fn all_full(&mut self) -> Fallible<Option<Duration>> {
        let limit = self.specs[0].pipeline.definition.queue.max_instances;
        let places = limit.map_or(0, NonZeroU32::get) * u32::try_from(self.specs.len())?;
        if places == 0 || self.waiting < u64::from(places) {
            return Ok(None);
        }
        let runs = self.store.claim(self.claim(places)).await?;
        let mut samples = Samples::default();
        for _ in 0..SAMPLES {
            let began = Instant::now();
            if !self.store.claim(self.claim(SLOTS.get())).await?.is_empty() {
                return Err("nobody may start".into());
            }
            samples.push(began.elapsed());
        }
        let taken = runs.len() as u64;
        self.end(runs).await?;
        self.waiting -= taken;
        self.fill(self.waiting + taken).await?;
        Ok(Some(samples.median()))
    }

    async fn end(&self, runs: Vec<Run>) -> Fallible<()> {
        try_join_all(runs.into_iter().map(|run| async move {
            let attempt = run.attempt_id().ok_or("a claimed run has an attempt")?;
            let handle =
                ExecutionHandle { attempt, native_id: "4711".into(), detail: serde_json::Value::Null };
            for event in
                [RunEvent::Started(handle), RunEvent::Exited { exit: Exit::Code(0), stopped_by: None }]
            {
                self.store.advance(Step::new(run.id, Some(run.epoch), event, self.clock.now())).await?;
            }
            Fallible::Ok(())
        }))
        .await
        .map(drop)
    }

    /// Asks what is due, and makes a run of the first instant. The run is claimed and ended outside of what is measured.
    async fn fire(&mut self) -> Fallible<Duration> {
        let new = self.new_run();
        let began = Instant::now();
        let due = self.store.due_schedules(self.begin + Duration::from_hours(1), SLOTS).await?;
        let ScheduleRecord { schedule, generation, cursor, next, .. } =
            due.into_iter().next().ok_or("all schedules are due")?.record;
        let nominal = next.ok_or("what is due has an instant")?.nominal;
        let later = nominal + Duration::from_mins(1);
        let new = NewRun { origin: Origin::Schedule { schedule: schedule.id.clone(), nominal }, ..new };
        let fire = Fire {
            schedule: schedule.id,
            generation,
            from: cursor,
            to: nominal,
            ticks: vec![Tick::new(nominal, TickOutcome::Run(new.id), self.clock.now())],
            runs: vec![new],
            next: Some(NextTick { nominal: later, due: later }),
        };
        self.store.fire(vec![fire]).await?;
        let took = began.elapsed();
        let runs = self.store.claim(self.claim(1)).await?;
        self.end(runs).await?;
        Ok(took)
    }

    fn line(&self, schedules: u64, medians: &Medians, floor: &Medians) {
        let cells = medians.iter().zip(floor).map(|(median, floor)| match (median, floor) {
            (None, _) => String::new(),
            (Some(median), None) => format!("{:.2}", milliseconds(*median)),
            (Some(median), Some(floor)) => {
                format!("{:.2} ({:.1}x)", milliseconds(*median), median.as_secs_f64() / floor.as_secs_f64())
            }
        });
        println!("| {} | {schedules} | {} |", self.waiting, cells.collect::<Vec<_>>().join(" | "));
    }

    /// How long the next host waits for its first step.
    async fn reopen(mut self, path: &Path) -> Fallible<()> {
        self.store.close().await?;
        let began = Instant::now();
        self.store = SqliteStore::open(path, SqliteOptions::default(), Arc::new(self.clock)).await?;
        let opened = began.elapsed();
        let new = self.new_run();
        let began = Instant::now();
        let last = self.store.create_run(new).await?.id;
        let first = began.elapsed();
        let began = Instant::now();
        self.store.queue_position(last).await?;
        println!(
            "\nopened in {:.1} ms, the first step took {:.1} ms; the place of the last run was found in {:.1} ms",
            milliseconds(opened),
            milliseconds(first),
            milliseconds(began.elapsed())
        );
        Ok(self.store.close().await?)
    }
}

fn spec(number: u32, max: Option<NonZeroU32>) -> Fallible<Arc<RunSpec>> {
    let mut definition = Definition::default();
    definition.queue.max_instances = max;
    let pipeline = Pipeline {
        name: format!("noop-{number}").parse()?,
        definition,
        program: Program::script("main.py"),
        dependencies: DependencySource::None,
        requires_python: None,
        warnings: Vec::new(),
        locations: std::collections::BTreeMap::new(),
    };
    Ok(Arc::new(RunSpec::new(pipeline, "0".repeat(64).parse()?, "process".parse()?)))
}
