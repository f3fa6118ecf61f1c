//! Memories seen from outside of runs.

use std::sync::Arc;

use hive_core::payload::Payload;
use hive_errors::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Hive;
use crate::memory::{self, Memory, Page, Versioned};
use crate::queue;

impl Hive {
    /// A memory, to look at and to change: `hive.memory(Memory::agent("default", "writer"))`. What is written is on disk when the call
    /// returns. To write it in a transaction together with something else use the [`Memory`] itself.
    pub fn memory(&self, memory: Memory) -> OpenMemory {
        OpenMemory {
            hive: self.clone(),
            memory,
        }
    }
}

/// A memory in the hand of somebody who is no run. Made by [`Hive::memory`].
///
/// # Errors
/// Of all its methods: those of [`Memory`]'s method of the same name, and of [`Db::read`](hive_core::db::Db::read) and
/// [`Db::write`](hive_core::db::Db::write).
///
/// # Cancel safety
/// Dropped before the answer, a change may be written or not.
#[derive(Clone, Debug)]
pub struct OpenMemory {
    hive: Hive,
    memory: Memory,
}

impl OpenMemory {
    /// The value under a key.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Versioned<T>>> {
        let (memory, own) = (self.memory.clone(), key.to_owned());
        let stored = self.hive.shop().db.read(move |db| memory.stored(db, &own)).await?;
        stored.map(|stored| stored.decode(key)).transpose()
    }

    /// Puts a value under a key, in the place of what was there; its version.
    pub async fn put<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<u64> {
        let value = memory::payload(key, value);
        self.put_payload(key, value?).await
    }

    async fn put_payload(&self, key: &str, value: Payload) -> Result<u64> {
        let (memory, key) = (self.memory.clone(), key.to_owned());
        queue::write(&self.hive.shop().db, move |tx| memory.put_payload(tx, &key, &value)).await
    }

    /// [`OpenMemory::put`] if the entry's version is still this one; 0: if there is none.
    pub async fn put_if<T: Serialize + ?Sized>(&self, key: &str, version: u64, value: &T) -> Result<u64> {
        let value = memory::payload(key, value);
        self.put_payload_if(key, version, value?).await
    }

    async fn put_payload_if(&self, key: &str, version: u64, value: Payload) -> Result<u64> {
        let (memory, own) = (self.memory.clone(), key.to_owned());
        let put = queue::write(&self.hive.shop().db, move |tx| {
            memory.put_payload_if(tx, &own, version, &value)
        });
        put.await?.into_result(key)
    }

    /// Changes a value: `change` is given what is there, and what it returns takes its place. Nobody comes between. It may be called
    /// again before that is on disk.
    pub async fn update<T, F>(&self, key: &str, change: F) -> Result<Versioned<T>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        let (memory, key, change) = (self.memory.clone(), key.to_owned(), Arc::new(change));
        queue::write(&self.hive.shop().db, move |tx| {
            memory.update(tx, &key, |old| change(old))
        })
        .await
    }

    /// Takes an entry away; `false` when there was none.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        let (memory, key) = (self.memory.clone(), key.to_owned());
        queue::write(&self.hive.shop().db, move |tx| memory.delete(tx, &key)).await
    }

    /// The entries whose keys begin with `prefix`: a page, behind the key `after` if one is given.
    pub async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        let (memory, prefix, after) = (self.memory.clone(), prefix.to_owned(), after.map(str::to_owned));
        self.hive
            .shop()
            .db
            .read(move |db| memory.list(db, &prefix, after.as_deref()))
            .await
    }
}
