//! The suite of every store, on [`MemoryStore`].

use std::sync::Arc;

use fastflow_core::{
    store::Store,
    store_conformance,
    testing::{MemoryStore, conformance::store::StoreFixture},
};

struct Memory(MemoryStore);

#[async_trait::async_trait]
impl StoreFixture for Memory {
    async fn open() -> Self {
        Self(MemoryStore::new())
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
}

store_conformance!(Memory);
