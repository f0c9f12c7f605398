//! A year of many schedules in seconds, against a list that is made in another way.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{
    civil::{Date, Weekday, date},
    tz::{AmbiguousOffset, TimeZone},
};

use super::{Calendars, fire_due};
use crate::{
    Clock, Error, ErrorKind, Orchestrator, PipelineName, Result, ScheduleId, Timestamp,
    pipeline::{
        CronText, Definition, DependencySource, Overlap, Pipeline, Program, ScheduleEntry, ScheduleRule,
    },
    schedule::TickOutcome,
    source::{
        Catalog, CatalogEntry, Collected, Fetched, PipelineSource, Probe, Provenance, RevisedPipeline,
        Revision, SyncFailure, SyncRequest,
    },
    store::TickQuery,
    testing::MemoryStore,
};

const YEAR: i16 = 2027;
const SCHEDULES: usize = 1000;
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "Pacific/Apia",
];

/// A clock that stands still until it is set.
#[derive(Clone, Debug)]
struct Hand(Arc<Mutex<Timestamp>>);

#[async_trait]
impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::try_from(self.now().duration_since(Timestamp::UNIX_EPOCH)).unwrap()
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending::<()>().await;
    }
}

/// Pipelines that exist only here.
#[derive(Clone, Debug, Default)]
struct Listed {
    entries: BTreeMap<PipelineName, CatalogEntry>,
    /// The one that cannot be read now.
    silent: Arc<Mutex<Option<PipelineName>>>,
}

impl Listed {
    fn all(&self) -> Catalog {
        Catalog { entries: self.entries.values().cloned().collect(), ..Catalog::default() }
    }
}

#[async_trait]
impl PipelineSource for Listed {
    async fn catalog(&self) -> Result<Arc<Catalog>> {
        Ok(Arc::new(self.all()))
    }

    async fn fetch(&self, _: &SyncRequest) -> Result<Fetched, SyncFailure> {
        Ok(Fetched::new(self.all()))
    }

    async fn publish(&self, _: &Fetched) {}

    async fn probe(&self) -> Result<Probe, SyncFailure> {
        Ok(Probe::default())
    }

    async fn refresh(&self, name: &PipelineName) -> Result<CatalogEntry> {
        if self.silent.lock().unwrap().as_ref() == Some(name) {
            return Err(Error::new(ErrorKind::Unavailable, "it cannot be read now"));
        }
        self.entries.get(name).cloned().ok_or_else(|| Error::new(ErrorKind::NotFound, "no such pipeline"))
    }

    async fn checkout(&self, _: &Revision, _: Option<&Provenance>) -> Result<PathBuf> {
        Err(Error::new(ErrorKind::NotFound, "nothing is executed here"))
    }

    async fn collect(&self, _: &BTreeSet<Revision>) -> Result<Collected> {
        Ok(Collected::default())
    }
}

/// What one schedule is, in terms that need no cron.
#[derive(Clone, Debug)]
enum Plain {
    At { hour: i8, minute: i8, days: Days, zone: &'static str },
    Every { hours: u32 },
}

#[derive(Clone, Copy, Debug)]
enum Days {
    Every,
    Working,
    Sundays,
    FirstOfMonth,
}

/// Few of them are daily, so that a year stays short.
const DAYS: [Days; 8] = [
    Days::Every,
    Days::Sundays,
    Days::FirstOfMonth,
    Days::Working,
    Days::Sundays,
    Days::FirstOfMonth,
    Days::FirstOfMonth,
    Days::Sundays,
];

impl Plain {
    fn number(index: usize) -> Self {
        if index % 10 == 9 {
            return Self::Every { hours: [24, 25, 36, 168][index / 10 % 4] };
        }
        Self::At {
            hour: i8::try_from(index * 7 % 24).unwrap(),
            minute: if index.is_multiple_of(3) { 30 } else { 0 },
            days: DAYS[index / 3 % DAYS.len()],
            zone: ZONES[index % ZONES.len()],
        }
    }

    fn entry(&self) -> ScheduleEntry {
        let rule = match self {
            Self::At { hour, minute, days, .. } => {
                let days = match days {
                    Days::Every => "* * *",
                    Days::Working => "* * 1-5",
                    Days::Sundays => "* * 7",
                    Days::FirstOfMonth => "1 * *",
                };
                ScheduleRule::Cron(format!("{minute} {hour} {days}").parse::<CronText>().unwrap())
            }
            Self::Every { hours } => ScheduleRule::IntervalSeconds(NonZeroU32::new(hours * 3600).unwrap()),
        };
        let mut entry = ScheduleEntry::new("s".parse().unwrap(), rule);
        entry.policy.overlap = Overlap::Allow;
        if let Self::At { zone, .. } = self {
            entry.policy.timezone = zone.parse().unwrap();
        }
        entry
    }

    /// Its instants in the year: each day's local time, at the first instant that is at or after it.
    fn instants(&self, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        match self {
            Self::Every { hours } => {
                let every = Duration::from_secs(u64::from(*hours) * 3600);
                let after = std::iter::successors(Some(from + every), |last| Some(*last + every));
                after.take_while(|instant| *instant <= until).collect()
            }
            Self::At { hour, minute, days, zone } => {
                let zone = TimeZone::get(zone).unwrap();
                let days = all_days().filter(|day| match days {
                    Days::Every => true,
                    Days::Working => !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday),
                    Days::Sundays => day.weekday() == Weekday::Sunday,
                    Days::FirstOfMonth => day.day() == 1,
                });
                let mut instants: Vec<_> = days.map(|day| instant(&zone, day, *hour, *minute)).collect();
                instants.retain(|instant| *instant > from && *instant <= until);
                instants
            }
        }
    }
}

/// All days of the year, and those around it that some zone has in it.
fn all_days() -> impl Iterator<Item = Date> {
    std::iter::successors(Some(date(YEAR - 1, 12, 30)), |day| day.tomorrow().ok())
        .take_while(|day| *day < date(YEAR + 1, 1, 3))
}

fn instant(zone: &TimeZone, day: Date, hour: i8, minute: i8) -> Timestamp {
    let local = day.at(hour, minute, 0, 0);
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(local).unwrap()
        }
        AmbiguousOffset::Gap { before, after } => {
            // The first minute that exists: the clock was put forward somewhere before it.
            let late = before.to_timestamp(local).unwrap();
            let early = after.to_timestamp(local).unwrap();
            zone.following(early).map(|transition| transition.timestamp()).find(|at| *at <= late).unwrap()
        }
    }
}

fn pipelines() -> BTreeMap<PipelineName, CatalogEntry> {
    (0..SCHEDULES)
        .map(|index| {
            let name: PipelineName = format!("p{index}").parse().unwrap();
            let definition =
                Definition { schedules: vec![Plain::number(index).entry()], ..Definition::default() };
            let pipeline = Pipeline {
                name: name.clone(),
                definition,
                program: Program::script("main.py"),
                dependencies: DependencySource::None,
                requires_python: None,
                warnings: Vec::new(),
                locations: BTreeMap::new(),
            };
            let revision = "ab".repeat(32).parse().unwrap();
            let found = RevisedPipeline { revision, pipeline: Arc::new(pipeline), provenance: None };
            (name.clone(), CatalogEntry { name, pipeline: Ok(found) })
        })
        .collect()
}

#[tokio::test]
async fn a_year_of_a_thousand_schedules_is_in_the_ledger_and_nothing_else() {
    let from: Timestamp = format!("{YEAR}-01-01T00:00:00Z").parse().unwrap();
    let until: Timestamp = format!("{}-01-01T00:00:00Z", YEAR + 1).parse().unwrap();
    let hand = Hand(Arc::new(Mutex::new(from)));
    let dir = tempfile::tempdir().unwrap();
    let flow = Orchestrator::builder(dir.path().join("var"))
        .source(Listed { entries: pipelines(), ..Listed::default() })
        .store(MemoryStore::new())
        .clock(hand.clone())
        .build()
        .await
        .unwrap();
    flow.source().sync(SyncRequest::default()).await.unwrap();
    let ports = flow.ports();
    let mut calendars = Calendars::default();
    while let Some(next) = fire_due(ports, &mut calendars).await.unwrap().filter(|next| *next <= until) {
        *hand.0.lock().unwrap() = next;
    }

    let mut runs = BTreeSet::new();
    for index in 0..SCHEDULES {
        let id: ScheduleId = format!("p{index}/s").parse().unwrap();
        let query = TickQuery {
            schedule: Some(id.clone()),
            limit: NonZeroU32::new(TickQuery::MAX_LIMIT),
            ..TickQuery::default()
        };
        let mut ticks = flow.schedules().ticks(&query).await.unwrap();
        ticks.reverse();
        let plain = Plain::number(index);
        let found: Vec<Timestamp> = ticks.iter().map(|(_, tick)| tick.nominal).collect();
        assert_eq!(found, plain.instants(from, until), "{id}: {plain:?}");
        for (_, tick) in ticks {
            assert_eq!((tick.count, tick.fired_at), (1, tick.nominal));
            let TickOutcome::Run(run) = tick.outcome else { panic!("{id}: {:?}", tick.outcome) };
            assert!(runs.insert(run), "one run has two instants");
        }
    }
    assert!(runs.len() > 100_000, "{} runs", runs.len());
}

#[tokio::test]
async fn a_pipeline_that_cannot_be_read_holds_up_no_other_and_loses_nothing() {
    let from: Timestamp = format!("{YEAR}-01-01T00:00:00Z").parse().unwrap();
    let hand = Hand(Arc::new(Mutex::new(from)));
    let dir = tempfile::tempdir().unwrap();
    // Both are intervals of a day.
    let (silent, other): (PipelineName, PipelineName) = ("p9".parse().unwrap(), "p49".parse().unwrap());
    let mut entries = pipelines();
    entries.retain(|name, _| *name == silent || *name == other);
    let source = Listed { entries, ..Listed::default() };
    let flow = Orchestrator::builder(dir.path().join("var"))
        .source(source.clone())
        .store(MemoryStore::new())
        .clock(hand.clone())
        .build()
        .await
        .unwrap();
    flow.source().sync(SyncRequest::default()).await.unwrap();
    *source.silent.lock().unwrap() = Some(silent.clone());
    *hand.0.lock().unwrap() = from + Duration::from_hours(24);
    let mut calendars = Calendars::default();
    let ticks = async |name: &PipelineName| {
        let schedule = Some(format!("{name}/s").parse().unwrap());
        flow.schedules().ticks(&TickQuery { schedule, ..TickQuery::default() }).await.unwrap().len()
    };

    let again = fire_due(flow.ports(), &mut calendars).await.unwrap().unwrap();
    assert_eq!((ticks(&other).await, ticks(&silent).await), (1, 0));
    assert_eq!(again, hand.now() + super::HELD_PAUSE, "it is looked at again soon, and not at once");
    *source.silent.lock().unwrap() = None;
    fire_due(flow.ports(), &mut calendars).await.unwrap();
    assert_eq!((ticks(&other).await, ticks(&silent).await), (1, 1));
}
