//! A database of an earlier schema.

use std::{num::NonZeroU32, path::Path, sync::Arc};

use fastflow_core::{
    RunId, SystemClock, Timestamp,
    environment::{EnvironmentId, Package, PackageOrigin},
    pipeline::ByteSize,
    run::{Capacity, Exit, RunEvent, RunState, Status},
    secret::{SecretName, SecretScope},
    store::{
        Claim, EnvironmentPackages, PackageQuery, PutSecret, RunQuery, SecretContent, SecretQuery,
        SqliteOptions, SqliteStore, Step, Store,
    },
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

/// What runs executed, as the version before schedules wrote it: one with limits, one without.
const LIMITED: &str = r#"{"pipeline":{"name":"etl","definition":{"tags":["a"],"enabled":true,"kind":"script","network":"bridge","warm":0,"limits":{"cpu":500,"memory":629145600},"log_max_size":1073741824,"stop_grace":10,"retry":{"attempts":2,"strategy":{"fixed":{"delay":60}}},"schedule":{"window":{}},"daemon":{"restart_on_crash":false,"restart_cooldown":60}},"program":{"entry":"main.py","kind":"script"},"dependencies":"none"},"revision":"0000000000000000000000000000000000000000000000000000000000000000","executor":"process"}"#;
const PLAIN: &str = r#"{"pipeline":{"name":"plain","definition":{"enabled":true,"kind":"script","network":"bridge","warm":0,"limits":{},"log_max_size":1073741824,"stop_grace":10,"retry":{"attempts":0,"strategy":{"fixed":{"delay":60}}},"schedule":{"window":{}},"daemon":{"restart_on_crash":false,"restart_cooldown":60}},"program":{"entry":"main.py","kind":"script"},"dependencies":"none"},"revision":"0000000000000000000000000000000000000000000000000000000000000000","executor":"process"}"#;

/// What was made ready for each attempt of the first.
const SETUP: &str = r#"{"duration":{"secs":0,"nanos":5},"environment":{"id":"ENVIRONMENT","lock_hash":"aa","python_version":"3.12.4","uv_version":"0.9.1","built":true}}"#;

/// Instants are seconds after this one.
const BEGIN: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + second).unwrap()
}

fn id(number: u32) -> RunId {
    format!("01800000-0000-7000-8000-{number:012x}").parse().unwrap()
}

fn environment() -> EnvironmentId {
    "e".repeat(64).parse().unwrap()
}

/// Makes a database of an earlier schema, of its first steps.
async fn schema(path: &Path, version: i64, min_reader: i64, steps: &[&'static str]) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let table =
        "CREATE TABLE schema_version (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL,
             min_reader INTEGER NOT NULL, migrated_at INTEGER NOT NULL) STRICT";
    for sql in [&table].into_iter().chain(steps) {
        sqlx::raw_sql(*sql).execute(&mut connection).await.unwrap();
    }
    let insert =
        sqlx::query("INSERT INTO schema_version VALUES (1, $1, $2, 0)").bind(version).bind(min_reader);
    insert.execute(&mut connection).await.unwrap();
    connection
}

/// A database of schema 2: of each content one run of each kind of end, one in flight, three that are due and one that is not.
async fn schema_2(path: &Path) {
    let steps = [
        include_str!("../../src/store/sqlite/migrations/0001_initial.sql"),
        include_str!("../../src/store/sqlite/migrations/0002_queue_by_spec.sql"),
        "INSERT INTO pipelines (id, name) VALUES (1, 'etl'), (2, 'plain')",
    ];
    let mut connection = schema(path, 2, 1, &steps).await;
    for (spec, body) in [(1, LIMITED), (2, PLAIN)] {
        let insert = "INSERT INTO specs VALUES ($1, randomblob(32), $2)";
        sqlx::query(insert).bind(spec).bind(body).execute(&mut connection).await.unwrap();
        // Number within the content, state, status, priority, not before, detail, attempt.
        let handle = |number| {
            let attempt = format!(r#"{{"run":"{}","number":1}}"#, id(number));
            format!(r#"{{"attempt":{attempt},"native_id":"1","detail":null}}"#)
        };
        let first = u32::try_from(spec).unwrap() * 16;
        for (number, state, status, priority, due, detail, attempt) in [
            (0, 4, 2, 0, None, None, 1),
            (1, 5, 3, 0, None, Some(r#"{"exit":{"code":1}}"#.to_owned()), 1),
            (2, 6, 4, 0, None, None, 0),
            (3, 2, 1, 0, None, Some(handle(first + 3)), 1),
            (4, 0, 0, 0, Some(5), None, 0),
            (5, 0, 0, 3, Some(9), None, 0),
            (6, 0, 0, 0, Some(7), None, 1),
            (7, 0, 0, 9, Some(500), None, 0),
        ] {
            let run = id(first + number);
            let due = due.map_or(0, |second| at(second).as_microsecond());
            let finished = (state >= 4).then(|| at(1).as_microsecond());
            sqlx::query(
                "INSERT INTO runs VALUES ($1, $2, $2, NULL, NULL, $3, $4, $5, $6, $7, $8, $9, $9, 0, 0, 0, NULL, $10)",
            )
            .bind(run.as_bytes().to_vec())
            .bind(spec)
            .bind(priority)
            .bind(at(0).as_microsecond())
            .bind(state)
            .bind(status)
            .bind(due)
            .bind(detail)
            .bind(attempt)
            .bind(finished)
            .execute(&mut connection)
            .await
            .unwrap();
            if attempt > 0 {
                let ended = finished.or((state == 0).then(|| at(1).as_microsecond()));
                sqlx::query(
                    "INSERT INTO attempts VALUES ($1, 1, 0, 0, $2, $3, NULL,
                         CASE WHEN $2 IS NULL THEN NULL ELSE '\"succeeded\"' END, NULL)",
                )
                .bind(run.as_bytes().to_vec())
                .bind(ended)
                .bind((spec == 1).then(|| SETUP.replace("ENVIRONMENT", &environment().to_string())))
                .execute(&mut connection)
                .await
                .unwrap();
            }
        }
    }
    connection.close().await.unwrap();
}

/// What was queued before the upgrade is claimed after it, by priority and turn, within the limits of what it was
/// submitted with; what was in flight counts, and what had ended is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_schema_2_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    schema_2(&path).await;
    let open = || SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock::new()));
    let store = open().await.unwrap();
    let listed = store.runs(&RunQuery::default()).await.unwrap().items;
    assert_eq!(listed.len(), 16);
    assert!(listed.iter().all(|run| run.chain == run.id && run.spec.schedule_limit.is_none()));
    for (number, status) in [(0, Status::Success), (1, Status::Failed), (2, Status::Cancelled)] {
        for first in [16, 32] {
            assert_eq!(store.run(id(first + number)).await.unwrap().status(), status);
        }
    }
    let used = store.unrecorded_environments(9.try_into().unwrap()).await.unwrap();
    assert_eq!(used.iter().map(|used| used.id.clone()).collect::<Vec<_>>(), [environment()]);
    let six = Package {
        name: "six".parse().unwrap(),
        version: "1.17.0".into(),
        hashes: Vec::new(),
        origin: PackageOrigin::Unknown,
    };
    store.put_environment(EnvironmentPackages::new(&used[0], Some(vec![six]), at(0))).await.unwrap();
    let found = store.package_use(&PackageQuery::new("six".parse().unwrap())).await.unwrap();
    assert_eq!(found.runs.items, [22, 19, 17, 16].map(id), "what ran before the upgrade is found");
    assert_eq!(found.pipelines.iter().map(fastflow_core::PipelineName::as_str).collect::<Vec<_>>(), ["etl"]);

    let open_before = store.take_over().await.unwrap();
    assert_eq!(open_before.iter().map(|run| run.id).collect::<Vec<_>>(), [id(19), id(35)]);

    // 600 MiB each, of which one is in flight: there is room for no second one.
    let capacity = Capacity { memory: Some(ByteSize(1 << 30)), ..Capacity::default() };
    let claim = Claim { capacity, ..Claim::new(at(10), 9.try_into().unwrap()) };
    let ids = |runs: Vec<fastflow_core::run::Run>| runs.iter().map(|run| run.id).collect::<Vec<_>>();
    assert_eq!(store.next_due(at(10)).await.unwrap(), Some(at(500)));
    assert_eq!(ids(store.claim(claim.clone()).await.unwrap()), [id(37), id(36), id(38)]);
    assert!(store.claim(claim.clone()).await.unwrap().is_empty());
    assert_eq!(store.queue_position(id(22)).await.unwrap(), Some(2), "it waits behind 21 and 20");
    store.close().await.unwrap();

    let store = open().await.unwrap();
    let exit = RunEvent::Exited { exit: Exit::Code(0), stopped_by: None };
    for (expected, last) in [(21, 19), (20, 21), (22, 20)] {
        let run = store.run(id(last)).await.unwrap();
        let step = Step::new(run.id, Some(run.epoch), exit.clone(), at(11));
        assert_eq!(store.advance(step).await.unwrap().state, RunState::Succeeded);
        assert_eq!(ids(store.claim(claim.clone()).await.unwrap()), [id(expected)]);
    }
    assert_eq!(store.run(id(22)).await.unwrap().attempt, 2);
    assert!(ids(store.claim(Claim { at: at(500), ..claim }).await.unwrap()).contains(&id(39)));
    store.close().await.unwrap();
    assert!(dir.path().join("store.db.backup-v2").exists());
    crate::file::check_integrity(&path).await;
}

/// Secrets find their place, and no earlier version opens what holds them: it would start without them what is queued.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_schema_5_takes_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let steps = [
        include_str!("../../src/store/sqlite/migrations/0001_initial.sql"),
        include_str!("../../src/store/sqlite/migrations/0002_queue_by_spec.sql"),
        include_str!("../../src/store/sqlite/migrations/0003_schedules.sql"),
        include_str!("../../src/store/sqlite/migrations/0004_sources.sql"),
        include_str!("../../src/store/sqlite/migrations/0005_packages.sql"),
        "INSERT INTO pipelines (id, name, cataloged_at, present) VALUES (1, 'etl', 0, 1)",
    ];
    schema(&path, 5, 4, &steps).await.close().await.unwrap();
    let open = || SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock::new()));
    let store = open().await.unwrap();
    let name: SecretName = "TOKEN".parse().unwrap();
    assert!(store.secrets(&SecretQuery::default()).await.unwrap().is_empty());
    let put = PutSecret {
        scope: SecretScope::Global,
        name: name.clone(),
        version: NonZeroU32::MIN,
        content: SecretContent::Parameter("eu".into()),
        at: at(0),
    };
    store.put_secret(put).await.unwrap();
    store.close().await.unwrap();
    let store = open().await.unwrap();
    assert_eq!(store.pipelines().await.unwrap().len(), 1, "what there was is there");
    assert_eq!(store.secrets(&SecretQuery::default()).await.unwrap()[0].name, name);
    store.close().await.unwrap();
    assert!(dir.path().join("store.db.backup-v5").exists());
    let options = SqliteConnectOptions::new().filename(&path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let schema: (i64, i64) = sqlx::query_as("SELECT version, min_reader FROM schema_version")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(schema, (6, 6));
    connection.close().await.unwrap();
    crate::file::check_integrity(&path).await;
}
