//! The suite of every store, on [`SqliteStore`].

use std::sync::Arc;

use fastflow_core::{
    SystemClock,
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
