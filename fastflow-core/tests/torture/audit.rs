//! What must hold when everything has come to rest, found out without the code that should have made it so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use fastflow_core::{
    AttemptId, PipelineName, RunId, SystemClock,
    layout::DataDir,
    run::{Failure, Run, Status},
    store::{Event, EventId, RunQuery, SqliteOptions, SqliteStore, Store},
};
use fastflow_shim::{LogRecord, Stream};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

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
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) runs: Vec<Run>,
    pub(crate) attempts: BTreeMap<RunId, u32>,
    pub(crate) events: Vec<Event>,
    data: DataDir,
}

impl Books {
    /// Opens the store of a host that is gone.
    pub(crate) async fn open(root: &Path) -> Self {
        let data = DataDir::new(root.join("data"));
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
    pub(crate) fn check_logs(&self, root: &Path) -> u64 {
        let mut compared = 0;
        for entry in fs::read_dir(root.join("said")).unwrap() {
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

    /// Nothing of any run is left on the machine.
    pub(crate) fn check_machine(&self, root: &Path) {
        let runs: BTreeSet<String> = self.runs.iter().map(|run| run.id.to_string()).collect();
        assert_eq!(processes(root, &runs), Vec::<String>::new(), "processes are left");
        let cgroups: Vec<_> = find(Path::new("/sys/fs/cgroup"), &|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            runs.iter().any(|run| name.contains(run.as_str()))
        });
        assert_eq!(cgroups, Vec::<PathBuf>::new(), "control groups are left");
        let live: Vec<_> = find(&self.data.executor_dir().join("live"), &|path| path.is_file());
        assert_eq!(live, Vec::<PathBuf>::new(), "attempts are still listed as live");
        let half_done = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Half a guard may stay: who is killed while it writes one leaves it, and it decides nothing.
            name.starts_with("order.json") || name.ends_with(".reserved") || name.starts_with("log.tail")
        };
        let mut left = find(&self.data.runs_dir(), &half_done);
        // What watched over a lost attempt was killed, and could not clear away.
        for run in &self.runs {
            if matches!(run.failure(), Some(Failure::Lost(_))) {
                left.retain(|path| !path.starts_with(self.data.run_dir(run.pipeline(), run.id)));
            }
        }
        assert_eq!(left, Vec::<PathBuf>::new(), "half done files are left");
        for dir in [self.data.snapshots_dir(), self.data.executor_dir()] {
            let hidden = |path: &Path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
                    && !path.is_dir()
                    && !path.to_string_lossy().contains("lock")
            };
            assert_eq!(find(&dir, &hidden), Vec::<PathBuf>::new(), "temporary files are left");
        }
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
pub(crate) fn witnesses(root: &Path, key: &str) -> BTreeMap<(RunId, u32), u64> {
    let mut starts = BTreeMap::new();
    for line in fs::read_to_string(root.join("witness").join(key)).unwrap_or_default().lines() {
        let [run, attempt, _] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        *starts.entry((run.parse().unwrap(), attempt.parse().unwrap())).or_default() += 1;
    }
    starts
}

/// Processes that carry one of these runs in their environment, or execute or work below `root`.
fn processes(root: &Path, runs: &BTreeSet<String>) -> Vec<String> {
    let this = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name == this || name.parse::<u32>().is_err() {
            continue;
        }
        let proc = entry.path();
        let environ = fs::read(proc.join("environ")).unwrap_or_default();
        let of_run = environ.split(|byte| *byte == 0).any(|entry| {
            let run = entry.strip_prefix(b"FASTFLOW_RUN_ID=").unwrap_or_default();
            std::str::from_utf8(run).is_ok_and(|run| runs.contains(run))
        });
        let below = |link: &str| fs::read_link(proc.join(link)).is_ok_and(|path| path.starts_with(root));
        if of_run || below("exe") || below("cwd") {
            let command = fs::read(proc.join("cmdline")).unwrap_or_default();
            let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
            found.push(format!("{name}: {} [{stat}]", String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// All paths below `dir` that are wanted; links are not followed.
fn find(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if wanted(&path) {
            found.push(path.clone());
        }
        // What programs leave in their own directory is theirs.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != "work" {
            found.extend(find(&path, wanted));
        }
    }
    found
}
