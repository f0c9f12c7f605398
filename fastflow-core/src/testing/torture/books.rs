//! What must hold when everything has come to rest, found out without the code that should have made it so.

use std::{collections::BTreeMap, fs, num::NonZeroU32, path::Path, sync::Arc};

use fastflow_shim::{LogRecord, Stream};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    AttemptId, PipelineName, RunId, SystemClock,
    layout::DataDir,
    run::{Run, Status},
    store::{Event, EventId, RunQuery, SqliteOptions, SqliteStore, Store},
};

/// Every arrow that a run may take: from, by, to. Written down again here, so that a change there is seen.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("", "submitted", &["queued"]),
    ("queued", "claimed", &["starting"]),
    ("queued", "stop_requested", &["cancelled"]),
    ("starting", "started", &["running"]),
    ("starting", "start_failed", &["queued", "failed"]),
    ("starting", "never_started", &["queued"]),
    ("starting", "stop_requested", &["stopping"]),
    ("starting", "exited", &["succeeded", "queued", "failed"]),
    // It was found by a host that took it over, and then turned out never to have been executed.
    ("running", "start_failed", &["queued", "failed"]),
    ("running", "exited", &["succeeded", "queued", "failed"]),
    ("running", "stop_requested", &["stopping"]),
    ("starting", "lost", &["queued", "failed"]),
    ("running", "lost", &["queued", "failed"]),
    ("stopping", "started", &["stopping"]),
    ("stopping", "stop_requested", &["stopping"]),
    ("stopping", "never_started", &["cancelled"]),
    ("stopping", "start_failed", &["cancelled"]),
    ("stopping", "exited", &["cancelled", "queued", "failed"]),
    ("stopping", "lost", &["cancelled"]),
];

/// Everything the store knows, read when nobody writes.
///
/// ```no_run
/// use fastflow_core::testing::torture::Books;
///
/// # async fn example() {
/// let books = Books::open("/tmp/stage".as_ref()).await;
/// books.check_machine("/tmp/stage".as_ref());
/// # }
/// ```
#[derive(Debug)]
pub struct Books {
    /// All runs.
    pub runs: Vec<Run>,
    /// How many attempts each has.
    pub attempts: BTreeMap<RunId, u32>,
    /// All events, in their order.
    pub events: Vec<Event>,
    pub(super) data: DataDir,
}

impl Books {
    /// Opens the store of a host that is gone, below the folder of its test, and checks it against itself: no gap in
    /// the sequences, only arrows that exist, counters that agree with the runs.
    pub async fn open(stage: &Path) -> Self {
        let data = DataDir::new(stage.join("data"));
        assert_eq!(integrity(&data.store_file()).await, "ok");
        let clock = Arc::new(SystemClock::new());
        let store = SqliteStore::open(data.store_file(), SqliteOptions::default(), clock).await.unwrap();
        let mut runs = Vec::new();
        let mut query = RunQuery::default();
        loop {
            let page = store.runs(&query).await.unwrap();
            runs.extend(page.items);
            query.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        let mut attempts = BTreeMap::new();
        for run in &runs {
            let of_run = store.attempts(run.id).await.unwrap();
            let numbers: Vec<u32> = of_run.iter().map(|attempt| attempt.id.number.get()).collect();
            assert_eq!(numbers, (1..=run.attempt).collect::<Vec<_>>(), "attempts of {} have gaps", run.id);
            attempts.insert(run.id, run.attempt);
        }
        let mut events: Vec<Event> = Vec::new();
        loop {
            let after = events.last().map_or(EventId(0), |event| event.id);
            let batch = store.events(after, NonZeroU32::new(1000).unwrap()).await.unwrap();
            if batch.is_empty() {
                break;
            }
            events.extend(batch);
        }
        assert_eq!(store.last_event().await.unwrap().0, events.len() as u64);
        let books = Self { runs, attempts, events, data };
        books.check_counters(&store).await;
        store.close().await.unwrap();
        books.check_events();
        books
    }

    /// The sequence has no gap, and every run took only arrows that exist, to where it is now.
    fn check_events(&self) {
        let mut states: BTreeMap<RunId, &str> = BTreeMap::new();
        for (index, event) in self.events.iter().enumerate() {
            assert_eq!(event.id.0, index as u64 + 1, "the event sequence has a gap");
            let from = states.insert(event.run, &event.state).unwrap_or_default();
            let arrow = ARROWS.iter().find(|arrow| (arrow.0, arrow.1) == (from, event.name.as_str()));
            let known = arrow.is_some_and(|arrow| arrow.2.contains(&event.state.as_str()));
            assert!(known, "no such arrow from {from:?}: {event:?}");
        }
        for run in &self.runs {
            assert_eq!(states.remove(&run.id), Some(run.state.name()), "{run:?}");
        }
        assert!(states.is_empty(), "events of runs that are not there: {states:?}");
    }

    async fn check_counters(&self, store: &SqliteStore) {
        let mut recount: BTreeMap<PipelineName, [u64; 3]> = BTreeMap::new();
        for run in &self.runs {
            let counts = recount.entry(run.pipeline().clone()).or_default();
            match run.status() {
                Status::Success => counts[0] += 1,
                Status::Failed => counts[1] += 1,
                Status::Cancelled => counts[2] += 1,
                _ => {}
            }
        }
        for record in store.pipelines().await.unwrap() {
            let name = &record.state.name;
            let expected = recount.remove(name).unwrap_or_default();
            let counters = record.counters;
            assert_eq!([counters.succeeded, counters.failed, counters.cancelled], expected, "{name}");
            let days = store.daily_statistics(name, 3).await.unwrap();
            let of_days = days.iter().fold([0; 3], |sum, day| {
                let c = day.counters;
                [sum[0] + c.succeeded, sum[1] + c.failed, sum[2] + c.cancelled]
            });
            assert_eq!(of_days, expected, "{name}: {days:?}");
        }
        assert!(recount.is_empty(), "{recount:?}");
    }

    /// For each stream of each attempt: the log is what the program wrote aside. Returns how many bytes.
    pub fn check_logs(&self, stage: &Path) -> u64 {
        let mut compared = 0;
        for entry in fs::read_dir(stage.join("said")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let [run, number, stream] = name.split('.').collect::<Vec<_>>().try_into().unwrap();
            let stream = if stream == "1" { Stream::Out } else { Stream::Err };
            let attempt = AttemptId { run: run.parse().unwrap(), number: number.parse().unwrap() };
            let run = self.runs.iter().find(|run| run.id == attempt.run).expect("a program of a known run");
            let said = fs::read(entry.path()).unwrap();
            let logged = logged(&self.data.attempt_dir(run.pipeline(), attempt), stream);
            if said != logged {
                let at = said.iter().zip(&logged).take_while(|(a, b)| a == b).count();
                let sizes = (said.len(), logged.len());
                panic!("the log of {attempt} ({stream:?}) differs from byte {at} on; sizes are {sizes:?}");
            }
            compared += said.len() as u64;
        }
        compared
    }
}

/// What `SQLite` itself thinks of the file.
async fn integrity(file: &Path) -> String {
    let options = SqliteConnectOptions::new().filename(file);
    let mut store = SqliteConnection::connect_with(&options).await.unwrap();
    let answer = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut store).await.unwrap();
    store.close().await.unwrap();
    answer
}

/// What the log says that the program wrote.
fn logged(run_dir: &Path, stream: Stream) -> Vec<u8> {
    let log = fs::read(run_dir.join(fastflow_shim::layout::LOG)).unwrap();
    let mut bytes = Vec::new();
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        let record: LogRecord<'_> = serde_json::from_slice(line).unwrap();
        assert_ne!(record.stream, Stream::Truncated, "{}", run_dir.display());
        if record.stream == stream {
            record.append_to(&mut bytes).unwrap();
        }
    }
    bytes
}

/// How often each attempt's program started, by what the programs themselves wrote down.
pub(super) fn witnesses(stage: &Path, key: &str) -> BTreeMap<(RunId, u32), u64> {
    let mut starts = BTreeMap::new();
    for line in fs::read_to_string(stage.join("witness").join(key)).unwrap_or_default().lines() {
        let [run, attempt, _] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        *starts.entry((run.parse().unwrap(), attempt.parse().unwrap())).or_default() += 1;
    }
    starts
}
