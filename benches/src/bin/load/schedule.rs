//! How late programs begin that schedules start, and what many schedules cost while nothing is due.

use std::{fs, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::Args;
use fastflow_benches::{
    engine::{self, Workplace},
    floor::Direct,
    process::cpu_time,
    report::{Report, Row, Verdict, latency, milliseconds, ratio},
    sample::Samples,
};
use fastflow_core::{
    Clock, Error, ErrorKind, Orchestrator, Result, Shutdown, Submission, SystemClock, Timestamp,
    pipeline::{Moment, Overlap, ScheduleRule},
    run::Origin,
    schedule::Schedule,
    store::RunQuery,
};
use futures::StreamExt as _;

use crate::{
    Common,
    idle::{Quiet, mebibytes, pause},
    print,
};

const TARGET_MILLISECONDS: f64 = 50.0;
const TARGET_CPU_PERCENT: f64 = 1.0;
/// The first line asks the wall clock, which schedules go by.
pub(crate) const PROGRAM: &str = "import time; first = time.time_ns()
with open('first', 'w') as out: out.write(str(first))
";
/// Until all schedules are in the store.
const LEAD: Duration = Duration::from_secs(15);
/// Until what happens once at the start has happened.
const SETTLING: Duration = Duration::from_secs(10);
/// How many submissions wait for their commit at one time.
const AT_ONCE: usize = 256;

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How many schedules there are; each is due once while it is measured.
    #[arg(long, default_value_t = 1000)]
    schedules: u32,
    /// The time between the instants of two of them, in milliseconds.
    #[arg(long, default_value_t = 100)]
    apart_ms: u64,
    /// How many schedules the host has that does nothing.
    #[arg(long, default_value_t = 10_000)]
    idle_schedules: u32,
    /// How many runs wait in its queue.
    #[arg(long, default_value_t = 100_000)]
    idle_queue: u32,
    /// How long that host is looked at, in seconds.
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { schedules: 1000, apart_ms: 100, idle_schedules: 10_000, idle_queue: 100_000, idle_seconds: 60 }
    }
}

pub(crate) async fn measure(common: &Common, arguments: &Arguments) -> Result<()> {
    print(&accuracy(common, arguments).await?)?;
    print(&idle(common, arguments).await?)
}

/// From the instant to the first line of user code.
async fn accuracy(common: &Common, arguments: &Arguments) -> Result<Report> {
    let place = common.workplace()?;
    let flow = place.start().await?;
    place.pipeline("tick", PROGRAM, &[])?;
    let bare = bare(&place, &flow, arguments.schedules.min(100)).await?;
    engine::succeed(&flow, "tick").await?;

    let through = due(&flow, arguments.schedules, Duration::from_millis(arguments.apart_ms)).await?;
    flow.shutdown(Shutdown::Detach).await?;
    let mut report = Report::new(format!(
        "schedule: instant → first line of user code, {} schedules, {} ms apart",
        arguments.schedules, arguments.apart_ms
    ));
    let (value, floor) = (milliseconds(through.p99()), milliseconds(bare.p99()));
    report.row(
        Row::new("99 of 100 begin within", format!("{value:.1} ms"))
            .against(format!("{floor:.1} ms"), ratio(value, floor))
            .verdict(Verdict::at_most(value, TARGET_MILLISECONDS, " ms")),
    );
    report.row(Row::new("all", latency(&through)).against(latency(&bare), ""));
    report.note(
        "Floor: the same program, started by hand. The environment is known; every instant has its run.",
    );
    Ok(report)
}

/// How late the pipeline `tick` begins, by so many schedules of which each is due once.
pub(crate) async fn due(flow: &Orchestrator, schedules: u32, apart: Duration) -> Result<Samples> {
    let clock = SystemClock::new();
    let began = clock.now();
    for index in 0..schedules {
        let after = LEAD + apart * index;
        // All of them count from their own instant, and are due again when everything is over.
        let every = NonZeroU32::new(24 * 60 * 60).unwrap_or(NonZeroU32::MIN);
        let id = format!("tick@s{index}").parse()?;
        let mut schedule = Schedule::new(id, ScheduleRule::IntervalSeconds(every));
        schedule.window.start = Some(Moment::Instant(whole_millis(began + after)));
        schedule.policy.overlap = Overlap::Allow;
        flow.schedules().put(schedule).await?;
    }
    if Duration::try_from(clock.now().duration_since(began)).unwrap_or_default() > LEAD {
        return Err(Error::new(ErrorKind::Internal, "the schedules were not there in time"));
    }
    clock.sleep(LEAD + apart * schedules + Duration::from_secs(5)).await;
    lateness(flow, schedules).await
}

/// From the wish to the first line, without an engine.
async fn bare(place: &Workplace, flow: &Orchestrator, runs: u32) -> Result<Samples> {
    let dir = place.path().join("bare");
    fs::create_dir(&dir)?;
    let started = place.probe(flow, &[]).await?;
    fs::write(dir.join("main.py"), PROGRAM)?;
    let direct = Direct::new(started, "main.py", dir);
    let clock = SystemClock::new();
    let mut samples = Samples::default();
    for _ in 0..runs {
        let began = clock.now();
        direct.run(None)?;
        samples.push(since(began, &direct.dir().join("first"))?);
    }
    Ok(samples)
}

/// How late each scheduled run began. Every instant must have its run, and it must have ended well.
async fn lateness(flow: &Orchestrator, wanted: u32) -> Result<Samples> {
    let mut samples = Samples::default();
    let mut query = RunQuery::default();
    query.limit = NonZeroU32::new(RunQuery::MAX_LIMIT);
    loop {
        let page = flow.runs().list(&query).await?;
        for run in page.items {
            let Origin::Schedule { nominal, .. } = run.origin else { continue };
            let run = engine::ended_well(run)?;
            samples.push(since(nominal, &engine::work_dir(flow, run.id).await?.join("first"))?);
        }
        let Some(next) = page.next else { break };
        query.before = Some(next);
    }
    if samples.count() != usize::try_from(wanted).unwrap_or(usize::MAX) {
        return Err(Error::new(ErrorKind::Internal, "not every instant has its run")
            .with("runs", samples.count())
            .with("instants", wanted));
    }
    Ok(samples)
}

/// How long after `from` a program began, by what it wrote.
fn since(from: Timestamp, mark: &std::path::Path) -> Result<Duration> {
    let text = fs::read_to_string(mark)?;
    let wrong = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Internal, "a mark holds no time").with("found", error)
    };
    let nanos: i128 = text.trim().parse().map_err(|error| wrong(&error))?;
    let at = Timestamp::from_nanosecond(nanos).map_err(|error| wrong(&error))?;
    Ok(Duration::try_from(at.duration_since(from)).unwrap_or_default())
}

fn whole_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// What a host costs that has much to do, but not now.
async fn idle(common: &Common, arguments: &Arguments) -> Result<Report> {
    let place = common.workplace()?;
    place.pipeline("later", "", &[])?;
    fill(&place, arguments).await?;
    let host = Quiet::start(common, &place.data(), Some(&place.pipelines()))?;
    let other: PathBuf = place.path().join("bare-data");
    let bare = Quiet::start(common, &other, None)?;
    pause(SETTLING);
    let (host_before, bare_before) = (cpu_time(host.id())?, cpu_time(bare.id())?);
    let clock = SystemClock::new();
    pause(Duration::from_secs(arguments.idle_seconds));
    let took = clock.elapsed();
    let percent = |before: Duration, after: Duration| {
        after.saturating_sub(before).as_secs_f64() / took.as_secs_f64() * 100.0
    };
    let cpu = percent(host_before, cpu_time(host.id())?);
    let bare_cpu = percent(bare_before, cpu_time(bare.id())?);
    let (memory, bare_memory) = (mebibytes(&host)?, mebibytes(&bare)?);
    let mut report = Report::new(format!(
        "schedule: a host with {} schedules and {} queued runs, none of them due, {} s",
        arguments.idle_schedules,
        arguments.idle_queue,
        took.as_secs()
    ));
    report.row(
        Row::new("CPU of one core", format!("{cpu:.3} %"))
            .against(format!("{bare_cpu:.3} %"), format!("+{:.3} %", cpu - bare_cpu))
            .verdict(Verdict::at_most(cpu, TARGET_CPU_PERCENT, " %")),
    );
    report.row(
        Row::new("memory (RSS)", format!("{memory:.1} MiB"))
            .against(format!("{bare_memory:.1} MiB"), ratio(memory, bare_memory)),
    );
    report.note("Floor: the same executable with an idle tokio runtime and no engine.");
    Ok(report)
}

/// Gives the host its schedules and its queue. All of it is due in a year.
async fn fill(place: &Workplace, arguments: &Arguments) -> Result<()> {
    let flow = place.engine().build().await?;
    let year = NonZeroU32::new(365 * 24 * 60 * 60).unwrap_or(NonZeroU32::MIN);
    let puts = (0..arguments.idle_schedules).map(|index| {
        let flow = flow.clone();
        async move {
            let id = format!("later@s{index}").parse()?;
            flow.schedules().put(Schedule::new(id, ScheduleRule::IntervalSeconds(year))).await.map(drop)
        }
    });
    let submissions = (0..arguments.idle_queue).map(|_| {
        let flow = flow.clone();
        async move {
            let delay = Duration::from_hours(365 * 24);
            flow.submit(Submission::new("later").delay(delay)).await.map(drop)
        }
    });
    let mut put = futures::stream::iter(puts).buffer_unordered(AT_ONCE);
    while let Some(put) = put.next().await {
        put?;
    }
    let mut submitted = futures::stream::iter(submissions).buffer_unordered(AT_ONCE);
    while let Some(submitted) = submitted.next().await {
        submitted?;
    }
    drop((put, submitted));
    flow.shutdown(Shutdown::Detach).await
}
