//! How many durable runs a second the SQLite store takes through their whole life.
//!
//! `store-load [runs] [callers] [runs of history]` prints the rate of whole runs (created, claimed, started, exited:
//! four durable steps) as a ratio to the floor of the same machine and minute: single transactions of two
//! statements over one connection with `synchronous=FULL`, one after the other.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::{
    error::Error,
    num::NonZeroU32,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use fastflow_core::{
    Clock, OsEntropy, RunId, SystemClock,
    executor::ExecutionHandle,
    pipeline::{Definition, DependencySource, Pipeline, Program},
    run::{Exit, ExitReport, LogSummary, NewRun, Origin, Run, RunEvent, RunSpec},
    store::{Claim, SqliteOptions, SqliteStore, Step, Store},
};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tokio::sync::{Mutex, Notify, mpsc};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Fallible<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let runs = arguments.next().transpose()?.unwrap_or(50_000);
    let callers = arguments.next().transpose()?.unwrap_or(256);
    let history = arguments.next().transpose()?.unwrap_or(0);
    let dir = tempfile::tempdir_in(".")?;

    let floor = floor(&dir.path().join("floor.db")).await?;
    println!("floor: {floor:.0} single transactions/s");
    let path = dir.path().join("store.db");
    if history > 0 {
        let began = Instant::now();
        write_history(&path, history).await?;
        println!("history: {history} runs, made in {:.1} s", began.elapsed().as_secs_f64());
    }
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock::new())).await?);
    let latency = latency(&store).await?;
    println!(
        "one caller: p50 {:.2} ms, p99 {:.2} ms a durable step ({:.2} x the floor)",
        millis(latency[latency.len() / 2]),
        millis(latency[latency.len() * 99 / 100]),
        latency[latency.len() / 2].as_secs_f64() * floor,
    );
    let took = load(&store, runs, callers).await?;
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let rate = runs as f64 / took.as_secs_f64();
    println!(
        "{callers} callers: {runs} runs in {:.1} s: {rate:.0} runs/s, {:.0} steps/s ({:.2} x the floor)",
        took.as_secs_f64(),
        rate * 4.0,
        rate * 4.0 / floor
    );
    let began = Instant::now();
    store.close().await?;
    println!("close: {:.2} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Two-statement transactions, one after the other.
async fn floor(path: &Path) -> Fallible<f64> {
    const TRANSACTIONS: u32 = 3_000;
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .disable_statement_logging()
        .connect()
        .await?;
    sqlx::raw_sql(
        "CREATE TABLE run (id INTEGER PRIMARY KEY, state INTEGER); INSERT INTO run VALUES (1, 0);
         CREATE TABLE event (id INTEGER PRIMARY KEY, state INTEGER);",
    )
    .execute(&mut connection)
    .await?;
    let began = Instant::now();
    for number in 0..TRANSACTIONS {
        sqlx::query(
            "BEGIN IMMEDIATE; UPDATE run SET state = $1; INSERT INTO event (state) VALUES ($1); COMMIT;",
        )
        .bind(number)
        .execute(&mut connection)
        .await?;
    }
    let rate = f64::from(TRANSACTIONS) / began.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(rate)
}

fn spec() -> Fallible<Arc<RunSpec>> {
    Ok(Arc::new(RunSpec {
        pipeline: Pipeline {
            name: "noop".parse()?,
            definition: Definition::default(),
            program: Program::script("main.py"),
            dependencies: DependencySource::None,
            requires_python: None,
            warnings: Vec::new(),
            locations: std::collections::BTreeMap::new(),
        },
        revision: "0".repeat(64).parse()?,
        provenance: None,
        executor: "process".parse()?,
        config: None,
        schedule_limit: None,
    }))
}

fn new_run(clock: &SystemClock, spec: &Arc<RunSpec>) -> NewRun {
    NewRun::new(RunId::new(clock, &OsEntropy), Arc::clone(spec), Origin::Manual, clock.now())
}

/// Takes a claimed run to its end, in two steps.
async fn finish(store: &Arc<dyn Store>, clock: &SystemClock, run: &Run) -> Fallible<()> {
    let attempt = run.attempt_id().ok_or("a claimed run has an attempt")?;
    let handle = ExecutionHandle {
        attempt,
        native_id: "4711".into(),
        detail: serde_json::json!({"boot": "6e0c3a52-4b0e-4a5c-9d39-3a5f0c1f6f53", "started": 123_456_789}),
    };
    let began = clock.now();
    store.advance(Step::new(run.id, Some(run.epoch), RunEvent::Started(handle), began)).await?;
    let ended = clock.now();
    let exit = RunEvent::Exited { exit: Exit::Code(0), stopped_by: None };
    let mut step = Step::new(run.id, Some(run.epoch), exit, ended);
    step.report = Some(ExitReport {
        exit: Exit::Code(0),
        stopped_by: None,
        started_at: began,
        ended_at: ended,
        duration: Duration::from_micros(1234),
        cpu_time: Some(Duration::from_millis(1)),
        peak_memory_bytes: Some(10_000_000),
        oom_kills: 0,
        log: LogSummary::empty(),
    });
    store.advance(step).await?;
    Ok(())
}

/// How long single steps take when nobody else asks, sorted.
async fn latency(store: &Arc<dyn Store>) -> Fallible<Vec<Duration>> {
    const RUNS: usize = 500;
    let (clock, spec) = (SystemClock::new(), spec()?);
    let mut took = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        store.create_run(new_run(&clock, &spec)).await?;
        took.push(began.elapsed());
        for run in store.claim(Claim::new(clock.now(), NonZeroU32::MIN)).await? {
            let began = Instant::now();
            finish(store, &clock, &run).await?;
            took.push(began.elapsed() / 2);
        }
    }
    took.sort_unstable();
    Ok(took)
}

/// `callers` tasks submit and finish runs; one dispatcher claims them, as in a host.
async fn load(store: &Arc<dyn Store>, runs: u64, callers: u64) -> Fallible<Duration> {
    let (clock, spec) = (SystemClock::new(), spec()?);
    let created = Arc::new(Notify::new());
    let (claimed, claims) = mpsc::channel::<Run>(1024);
    let claims = Arc::new(Mutex::new(claims));
    let began = Instant::now();
    let dispatcher = {
        let (store, created) = (Arc::clone(store), Arc::clone(&created));
        tokio::spawn(async move {
            let mut left = runs;
            while left > 0 {
                let due =
                    store.claim(Claim::new(clock.now(), NonZeroU32::new(512).ok_or("not zero")?)).await?;
                if due.is_empty() {
                    created.notified().await;
                }
                left -= due.len() as u64;
                for run in due {
                    claimed.send(run).await?;
                }
            }
            Fallible::Ok(())
        })
    };
    let mut tasks = Vec::new();
    for caller in 0..callers {
        let (store, created, claims) = (Arc::clone(store), Arc::clone(&created), Arc::clone(&claims));
        let spec = Arc::clone(&spec);
        tasks.push(tokio::spawn(async move {
            for _ in (caller..runs).step_by(usize::try_from(callers)?) {
                store.create_run(new_run(&clock, &spec)).await?;
                created.notify_one();
                let run = claims.lock().await.recv().await.ok_or("the dispatcher ended early")?;
                finish(&store, &clock, &run).await?;
            }
            Fallible::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    dispatcher.await??;
    Ok(began.elapsed())
}

/// Fills a fresh store with runs that ended long ago, by plain SQL.
async fn write_history(path: &Path, runs: u64) -> Fallible<()> {
    let store = SqliteStore::open(path, SqliteOptions::default(), Arc::new(SystemClock::new())).await?;
    let (clock, spec) = (SystemClock::new(), spec()?);
    store.create_run(new_run(&clock, &spec)).await?;
    for run in store.claim(Claim::new(clock.now(), NonZeroU32::MIN)).await? {
        finish(&(Arc::new(store.clone()) as Arc<dyn Store>), &clock, &run).await?;
    }
    store.close().await?;
    let mut connection =
        SqliteConnectOptions::new().filename(path).disable_statement_logging().connect().await?;
    sqlx::query(
        "BEGIN; CREATE TEMP TABLE made AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
         SELECT i, unhex(printf('0180%08x7%03x8%015x', i >> 12, i & 4095, i)) AS id FROM n;
         INSERT INTO runs (id, pipeline, spec, submission, key, priority, created_at, state, status, not_before, detail,
           epoch, attempt, failed_attempts, start_retries, run_micros, started_at, finished_at)
           SELECT made.id, pipeline, spec, submission, key, priority, created_at, state, status, not_before, detail,
           epoch, attempt, failed_attempts, start_retries, run_micros, started_at, finished_at FROM made, runs ORDER BY i;
         INSERT INTO attempts (run, number, claimed_at, started_at, finished_at, setup, handle, ending, report)
           SELECT made.id, number, claimed_at, started_at, finished_at, setup, handle, ending, report
           FROM made, attempts ORDER BY i;
         INSERT INTO events SELECT 4 * i + e.id, at, made.id, pipeline, attempt, name, state FROM made, events AS e
           WHERE e.id <= 4 ORDER BY i, e.id; COMMIT;",
    )
    .bind(i64::try_from(runs)?)
    .execute(&mut connection)
    .await?;
    connection.close().await?;
    Ok(())
}
