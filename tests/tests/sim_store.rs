//! The simulator's storage of the relay does what every storage must: what is proved over it holds.
#![forbid(unsafe_code)]

use async_trait::async_trait;
use manzana_server::storage::conformance::{Backend, format};
use manzana_tests::sim::store::MemoryStore;

struct InMemory(MemoryStore);

#[async_trait]
impl Backend for InMemory {
    type Store = MemoryStore;

    async fn create() -> Self {
        Self(MemoryStore::new(&format(), None))
    }

    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

manzana_server::relay_store_conformance!(InMemory, without_search);
