//! A shared store that fails on request.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::cache::memory::{Memory, Options};
use crate::cache::{Found, Store};
use crate::clock::ManualClock;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Serves,
    /// Does nothing and says so.
    Away,
    /// Does what it is asked for, and the answer is lost.
    Mute,
    /// Answers reads and removals, and has no room.
    Full,
    /// Never answers.
    Hangs,
}

/// Where calls wait while it is closed.
#[derive(Debug)]
pub(super) struct Gate(watch::Sender<bool>);

impl Gate {
    fn new() -> Self {
        Self(watch::Sender::new(true))
    }

    pub(super) fn close(&self) {
        self.0.send_replace(false);
    }

    pub(super) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        self.0.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

#[derive(Clone, Debug)]
pub(super) struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Memory,
    mode: Mutex<Mode>,
    busy: AtomicBool,
    calls: AtomicU64,
    answers: Gate,
    puts: Gate,
    removals: Gate,
}

impl Shelf {
    pub(super) fn new(clock: &ManualClock) -> Self {
        Self(Arc::new(Inner {
            memory: Memory::new(Options::new().clock(Arc::new(clock.clone()))),
            mode: Mutex::new(Mode::Serves),
            busy: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            answers: Gate::new(),
            puts: Gate::new(),
            removals: Gate::new(),
        }))
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.0.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// Lets others run before and after everything it does.
    pub(super) fn be_busy(&self) {
        self.0.busy.store(true, Ordering::Relaxed);
    }

    /// On the way back from a read.
    pub(super) fn answers(&self) -> &Gate {
        &self.0.answers
    }

    /// On the way there with a value.
    pub(super) fn puts(&self) -> &Gate {
        &self.0.puts
    }

    /// On the way there with a key to remove.
    pub(super) fn removals(&self) -> &Gate {
        &self.0.removals
    }

    pub(super) fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    async fn turn(&self) {
        if self.0.busy.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }

    async fn call<T>(&self, writes: bool, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let mode = *self.0.mode.lock().unwrap_or_else(PoisonError::into_inner);
        let away = || Error::new(ErrorKind::Storage, "the shelf is away");
        self.turn().await;
        match mode {
            Mode::Serves => {
                let done = work.await;
                self.turn().await;
                done
            }
            Mode::Away => Err(away()),
            Mode::Mute => work.await.and_then(|_| Err(away())),
            Mode::Full if writes => Err(Error::new(ErrorKind::Overloaded, "the shelf is full")),
            Mode::Full => work.await,
            Mode::Hangs => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Store for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }

    async fn get(&self, key: &str) -> Result<Option<Found>> {
        let found = self.call(false, self.0.memory.get(key)).await;
        self.0.answers.pass().await;
        found
    }

    async fn put(&self, key: &str, value: Arc<[u8]>, ttl: Duration) -> Result<()> {
        self.0.puts.pass().await;
        self.call(true, self.0.memory.put(key, value, ttl)).await
    }

    async fn remove(&self, keys: &[&str]) -> Result<()> {
        self.0.removals.pass().await;
        self.call(false, self.0.memory.remove(keys)).await
    }
}
