//! The suite of every store, on [`SqliteStore`], and what only a file can suffer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod child;
mod crash;
mod disk;
mod file;
mod reopen;
mod secrets;
mod upgrade;

use std::sync::{Arc, LazyLock};

use fastflow_core::{
    SystemClock,
    pipeline::{Definition, DependencySource, Pipeline, Program},
    run::RunSpec,
    store::{SqliteOptions, SqliteStore, Store},
    store_conformance,
    testing::conformance::store::StoreFixture,
};

struct Sqlite {
    store: SqliteStore,
    _dir: tempfile::TempDir,
}

#[async_trait::async_trait]
impl StoreFixture for Sqlite {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(path, SqliteOptions::default(), Arc::new(SystemClock::new()));
        Self { store: store.await.unwrap(), _dir: dir }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }
}

store_conformance!(Sqlite);

/// A spec that is the same value each time.
fn spec() -> Arc<RunSpec> {
    static SPEC: LazyLock<Arc<RunSpec>> = LazyLock::new(|| {
        Arc::new(RunSpec {
            pipeline: Pipeline {
                name: "etl".parse().unwrap(),
                definition: Definition::default(),
                program: Program::script("main.py"),
                dependencies: DependencySource::None,
                requires_python: None,
                warnings: Vec::new(),
                locations: std::collections::BTreeMap::new(),
            },
            revision: "0".repeat(64).parse().unwrap(),
            provenance: None,
            executor: "process".parse().unwrap(),
            config: None,
            schedule_limit: None,
        })
    });
    Arc::clone(&SPEC)
}
