use std::sync::Arc;

use sqlx::Row;

use super::{
    batch::WRITE,
    load::{SELECT_CHAINS, SELECT_SCHEDULE_ROWS},
    migration::{MIGRATIONS, migrate},
    notes::SELECT_NOTES,
    open,
    packages::{
        SELECT_AUDITS_OF, SELECT_ENVIRONMENT, SELECT_ENVIRONMENTS, SELECT_NAMED, SELECT_PACKAGES,
        SELECT_PIPELINES, SELECT_RUNS,
    },
    queue::{SELECT_CONTENT, SELECT_DUE_LATER, SELECT_HEAD, SELECT_HEADS, SELECT_IN_FLIGHT},
    runs::{
        SELECT_DEAD_LETTERS, SELECT_OPEN, SELECT_PAGE, SELECT_PAGE_BY_PIPELINE, SELECT_PAGE_BY_STATUS,
        SELECT_POSITION, SELECT_RECORDS,
    },
    schedules::{
        PUT_SCHEDULES, SELECT_DUE_SCHEDULES, SELECT_SCHEDULE, SELECT_SCHEDULES_OF, SELECT_TICKS,
        SELECT_TICKS_OF, SELECT_UNFINISHED_OF,
    },
    secrets::{
        SELECT_BY_KEY, SELECT_FOUND, SELECT_SECRETS, SELECT_SECRETS_NOT_UNDER, SELECT_VERSIONS,
        change::{PUT_SECRET, REMOVE_SECRET, RESEAL_SECRET, SELECT_NEWEST},
    },
    turns::SELECT_TURNS,
};
use crate::Timestamp;

/// What is as small as the batch or the page: its rows, the levels of priority and the specs in the queue, and the
/// branches of a union.
const SMALL: [&str; 10] = [
    "json_each",
    "jsonb_each",
    "wanted",
    "level",
    "content",
    "gates",
    "due",
    "CONSTANT ROW",
    "c",
    "(subquery",
];

/// No statement may walk over rows that it does not need, however long the history is.
#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let path: Arc<std::path::Path> = dir.path().join("store.db").into();
    let mut connection = open::writer(&path).await.unwrap();
    migrate(&mut connection, MIGRATIONS, &path, Timestamp::UNIX_EPOCH).await.unwrap();
    let writes = [WRITE, PUT_SCHEDULES, PUT_SECRET, REMOVE_SECRET, RESEAL_SECRET];
    let writes = writes.iter().flat_map(|text| text.split(';')).filter(|text| !text.trim().is_empty());
    let reads = [
        SELECT_CHAINS,
        SELECT_CONTENT,
        SELECT_DEAD_LETTERS,
        SELECT_DUE_LATER,
        SELECT_DUE_SCHEDULES,
        SELECT_HEAD,
        SELECT_HEADS,
        SELECT_IN_FLIGHT,
        SELECT_AUDITS_OF,
        SELECT_ENVIRONMENT,
        SELECT_ENVIRONMENTS,
        SELECT_NAMED,
        SELECT_PACKAGES,
        SELECT_PIPELINES,
        SELECT_RUNS,
        SELECT_NOTES,
        SELECT_SCHEDULE,
        SELECT_SCHEDULES_OF,
        SELECT_SCHEDULE_ROWS,
        SELECT_BY_KEY,
        SELECT_FOUND,
        SELECT_NEWEST,
        SELECT_SECRETS,
        SELECT_SECRETS_NOT_UNDER,
        SELECT_VERSIONS,
        SELECT_TICKS,
        SELECT_TICKS_OF,
        SELECT_TURNS,
        SELECT_UNFINISHED_OF,
        SELECT_OPEN,
        SELECT_PAGE,
        SELECT_PAGE_BY_PIPELINE,
        SELECT_PAGE_BY_STATUS,
        SELECT_POSITION,
        SELECT_RECORDS,
    ];
    for text in writes.chain(reads).filter(|text| !text.contains("BEGIN") && !text.contains("COMMIT")) {
        let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}")))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        for row in plan {
            let line: String = row.get("detail");
            // What a foreign key would check when a constraint were already broken; skipped while none is.
            let parent =
                ["INSERT INTO specs", "INSERT INTO schedules"].iter().any(|part| text.contains(part));
            let foreign_key = parent && (line == "SCAN runs" || line == "SCAN ticks");
            let small =
                SMALL.iter().any(|small| line.strip_prefix("SCAN ").is_some_and(|of| of.starts_with(small)));
            let walks = line.starts_with("SCAN") && !small && !foreign_key && !line.contains("runs_open");
            assert!(!walks, "{line}\nin: {text}");
        }
    }
}
