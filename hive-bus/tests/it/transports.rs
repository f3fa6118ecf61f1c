//! The suite for transports, on ours.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hive_bus::Result;
use hive_bus::transport::conformance::Place;
use hive_bus::transport::{Database, Memory, Transport};
use hive_core::clock::SystemClock;
use hive_core::db::Db;
use hive_core::testing::TestDb;

/// Memory, in which every handle is a clone.
struct InMemory(Memory);

impl InMemory {
    fn new() -> Self {
        Self(Memory::new(Arc::new(SystemClock)))
    }
}

#[async_trait]
impl Place for InMemory {
    async fn open(&self) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(self.0.clone()))
    }

    fn keeps(&self) -> bool {
        false
    }
}

/// A file, which one process has at a time: handles are clones until it is closed.
struct InFile {
    file: TestDb,
    open: Mutex<Option<(Db, Database)>>,
}

impl InFile {
    fn new() -> Self {
        Self {
            file: TestDb::sqlite_in_memory(),
            open: Mutex::default(),
        }
    }
}

async fn open(place: &TestDb) -> Result<(Db, Database)> {
    let db = Db::open(place.options().migrations(&hive_bus::MIGRATIONS)).await?;
    let database = Database::open(db.clone(), Arc::new(SystemClock)).await?;
    Ok((db, database))
}

#[async_trait]
impl Place for InFile {
    async fn open(&self) -> Result<Arc<dyn Transport>> {
        let known = self.open.lock().unwrap().take();
        let (db, database) = match known {
            Some(open) if !open.1.live().head().closed => open,
            Some((db, database)) => {
                drop(database);
                db.close().await?;
                open(&self.file).await?
            }
            None => open(&self.file).await?,
        };
        *self.open.lock().unwrap() = Some((db, database.clone()));
        Ok(Arc::new(database))
    }

    fn relays(&self) -> bool {
        false
    }
}

/// A server, where every handle has connections of its own.
struct OnServer(TestDb);

impl OnServer {
    fn new() -> Self {
        Self(TestDb::postgres())
    }
}

#[async_trait]
impl Place for OnServer {
    async fn open(&self) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(open(&self.0).await?.1))
    }

    fn relays(&self) -> bool {
        false
    }
}

mod memory {
    hive_bus::transport_conformance!(super::InMemory::new());
}

mod sqlite {
    hive_bus::transport_conformance!(super::InFile::new());
}

mod postgres {
    hive_bus::transport_conformance!(super::OnServer::new());
}
