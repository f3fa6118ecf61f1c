//! A run's use of memories.

use std::sync::Arc;
use std::time::Duration;

use hive_core::payload::{Payload, fingerprint};
use hive_errors::Failure;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use crate::journal::Kind;
use crate::memory::{self, Memory, Page, Put, Scope, Versioned};
use crate::task::check_name;

impl Context {
    /// A memory that the run can use: its agent's, its run tree's or its tenant's.
    ///
    /// What is written is written once: the change and its record are one commit. **What is read is remembered**, as a step's output is:
    /// after an interruption the run finds what it found the first time, and so goes the way that it has gone already, though others may
    /// have changed the memory since. Where the decision and the change belong together use [`OwnMemory::update`], or
    /// [`OwnMemory::put_if`] with the version that the decision was made upon; where the latest value is wanted and nothing is decided by
    /// it, [`OwnMemory::look`].
    ///
    /// As with steps, uses of the same key are told apart by how often they came; concurrent branches that use the same keys need a
    /// [`Context::scope`] each.
    ///
    /// # Failures
    /// Terminal ones, after which the memory is as it was: those of [`Memory`]'s method of the same name.
    ///
    /// # Cancel safety
    /// Dropped before the answer, a change may be on record or not; when the task comes back to it, the journal tells.
    pub fn memory(&self, scope: Scope) -> OwnMemory<'_> {
        let task = &self.run.claimed.task;
        let memory = match scope {
            Scope::Agent => Memory::agent(&task.tenant, &task.agent),
            Scope::Run => Memory::run(task.root),
            Scope::Tenant => Memory::tenant(&task.tenant),
        };
        OwnMemory {
            cx: self,
            scope,
            memory,
        }
    }
}

/// A memory in the hand of a run. Made by [`Context::memory`], where it says what all of this relies upon.
#[derive(Clone, Debug)]
pub struct OwnMemory<'a> {
    cx: &'a Context,
    scope: Scope,
    memory: Memory,
}

impl OwnMemory<'_> {
    /// What is written from here on is gone after this time. See [`Memory::expiring`].
    #[must_use]
    pub fn expiring(mut self, ttl: Duration) -> Self {
        self.memory = self.memory.expiring(ttl);
        self
    }

    /// The same memory, for use within [`Context::transaction`].
    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// The value under a key, as it was when the run first came here.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Versioned<T>>, Failure> {
        let (memory, own) = (self.memory.clone(), key.to_owned());
        let read = move |db: &hive_core::db::Snapshot<'_>| memory.stored(db, &own);
        let stored = self.cx.once_read(Kind::Memory, &self.name("get", key), read).await?;
        Ok(stored.map(|stored| stored.decode(key)).transpose()?)
    }

    /// The value under a key as it is now. It is not remembered: do not decide by it what the run does next.
    pub async fn look<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Versioned<T>>, Failure> {
        let _working = self.cx.run.activity.work();
        let (memory, own) = (self.memory.clone(), key.to_owned());
        let stored = self.cx.run.ask(move |db| memory.stored(db, &own)).await?;
        Ok(stored.map(|stored| stored.decode(key)).transpose()?)
    }

    /// Puts a value under a key, in the place of what was there; its version.
    pub async fn put<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<u64, Failure> {
        // Not held over the await: the value need not be `Sync`.
        let value = memory::payload(key, value);
        self.put_payload(key, value?).await
    }

    async fn put_payload(&self, key: &str, value: Payload) -> Result<u64, Failure> {
        let (memory, own) = (self.memory.clone(), key.to_owned());
        self.cx
            .once(Kind::Memory, &self.name("put", key), move |tx| {
                memory.put_payload(tx, &own, &value)
            })
            .await
    }

    /// [`OwnMemory::put`] if the entry's version is still this one; 0: if there is none. That it was not is remembered, too.
    pub async fn put_if<T: Serialize + ?Sized>(&self, key: &str, version: u64, value: &T) -> Result<u64, Failure> {
        let value = memory::payload(key, value);
        self.put_payload_if(key, version, value?).await
    }

    async fn put_payload_if(&self, key: &str, version: u64, value: Payload) -> Result<u64, Failure> {
        let (memory, own) = (self.memory.clone(), key.to_owned());
        let put: Put = self
            .cx
            .once(Kind::Memory, &self.name("put_if", key), move |tx| {
                memory.put_payload_if(tx, &own, version, &value)
            })
            .await?;
        Ok(put.into_result(key)?)
    }

    /// Changes a value: `change` is given what is there, and what it returns takes its place, in one commit, which comes back. Nobody
    /// comes between. PostgreSQL may have to call `change` again before that, so it must have no effect but its output.
    pub async fn update<T, F>(&self, key: &str, change: F) -> Result<Versioned<T>, Failure>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        let (memory, own, change) = (self.memory.clone(), key.to_owned(), Arc::new(change));
        self.cx
            .once(Kind::Memory, &self.name("update", key), move |tx| {
                memory.update(tx, &own, |old| change(old))
            })
            .await
    }

    /// Takes an entry away; `false` when there was none.
    pub async fn delete(&self, key: &str) -> Result<bool, Failure> {
        let (memory, own) = (self.memory.clone(), key.to_owned());
        self.cx
            .once(Kind::Memory, &self.name("delete", key), move |tx| {
                memory.delete(tx, &own)
            })
            .await
    }

    /// The entries whose keys begin with `prefix`, as they were when the run first came here: a page, behind the key `after` if one is
    /// given. See [`Memory::list`].
    pub async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, Failure> {
        let (memory, own, behind) = (self.memory.clone(), prefix.to_owned(), after.map(str::to_owned));
        let read = move |db: &hive_core::db::Snapshot<'_>| memory.list(db, &own, behind.as_deref());
        self.cx.once_read(Kind::Memory, &self.name("list", prefix), read).await
    }

    /// What the journal calls this use of a key. Keys may be anything, and longer than names.
    fn name(&self, verb: &str, key: &str) -> String {
        let name = format!("{verb} {}/{key}", self.scope.word());
        match check_name("memory", &name) {
            Ok(()) => name,
            Err(_) => format!("{verb} {}/~{:016x}", self.scope.word(), fingerprint(key.as_bytes())),
        }
    }
}
