//! A transport in memory that fails when it is told to.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use hive_bus::transport::{Change, DeadLetter, Found, Memory, Register, Transport};
use hive_bus::{Event, Live, NewEvent, Patterns, Sequence};
use hive_core::clock::{Clock, Timestamp};
use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::watch;

/// What becomes of what is relayed to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fault {
    /// Nobody answers.
    pub(crate) away: bool,
    /// So many answers are lost on their way back, after what was asked for was done.
    pub(crate) answers_lost: usize,
    /// Events on these topics are too large for it.
    pub(crate) refused: BTreeSet<String>,
}

/// Clones are the same transport, as several processes would reach it.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    memory: Memory,
    fault: Arc<Mutex<Fault>>,
    /// What is relayed stands still on its way while it is `false`.
    flowing: Arc<watch::Sender<bool>>,
    /// The first sequence and the number of events of each call.
    calls: Arc<Mutex<Vec<(Sequence, usize)>>>,
    /// How often it was asked for anything by a relay.
    asked: Arc<AtomicUsize>,
}

impl Faulty {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            memory: Memory::new(clock),
            fault: Arc::default(),
            flowing: Arc::new(watch::Sender::new(true)),
            calls: Arc::default(),
            asked: Arc::default(),
        }
    }

    pub(crate) fn fault(&self) -> MutexGuard<'_, Fault> {
        self.fault.lock().unwrap()
    }

    pub(crate) fn hold(&self) {
        self.flowing.send_replace(false);
    }

    pub(crate) fn release(&self) {
        self.flowing.send_replace(true);
    }

    pub(crate) fn calls(&self) -> Vec<(Sequence, usize)> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Another way to the same transport, which can be held by itself.
    pub(crate) fn other_way(&self) -> Self {
        Self {
            memory: self.memory.clone(),
            fault: Arc::clone(&self.fault),
            flowing: Arc::new(watch::Sender::new(true)),
            calls: Arc::clone(&self.calls),
            asked: Arc::clone(&self.asked),
        }
    }

    /// Every event that arrived.
    pub(crate) async fn all(&self) -> Vec<Event> {
        let everything = Patterns::new(["*"]).unwrap();
        let mut events = Vec::new();
        let mut after = Sequence::START;
        loop {
            let found = self.memory.read(&everything, after, 1_000).await.unwrap();
            events.extend(found.events);
            after = found.reached;
            if found.ended {
                return events;
            }
        }
    }
}

fn away() -> Error {
    Error::new(ErrorKind::Storage, "nobody answers")
}

#[async_trait]
impl Transport for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        self.memory.publish(events).await
    }

    async fn read(&self, patterns: &Patterns, after: Sequence, limit: usize) -> Result<Found> {
        self.memory.read(patterns, after, limit).await
    }

    async fn get(&self, sequences: &[Sequence]) -> Result<Vec<Event>> {
        self.memory.get(sequences).await
    }

    async fn head(&self) -> Result<Sequence> {
        self.memory.head().await
    }

    async fn before(&self, time: Timestamp) -> Result<Sequence> {
        self.memory.before(time).await
    }

    fn live(&self) -> &Live {
        self.memory.live()
    }

    async fn now(&self) -> Result<Timestamp> {
        self.memory.now().await
    }

    async fn load(&self, consumer: &str) -> Result<Option<Register>> {
        self.memory.load(consumer).await
    }

    async fn store(&self, consumer: &str, change: Change) -> Result<Option<u64>> {
        self.memory.store(consumer, change).await
    }

    async fn remove(&self, consumer: &str) -> Result<bool> {
        self.memory.remove(consumer).await
    }

    async fn consumers(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        self.memory.consumers(after, limit).await
    }

    async fn dead_letters(&self, consumer: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>> {
        self.memory.dead_letters(consumer, after, limit).await
    }

    async fn dead(&self, consumer: &str, sequences: &[Sequence]) -> Result<Vec<DeadLetter>> {
        self.memory.dead(consumer, sequences).await
    }

    async fn purge(&self, consumer: &str, sequences: &[Sequence]) -> Result<usize> {
        self.memory.purge(consumer, sequences).await
    }

    async fn relay(&self, events: Vec<Event>) -> Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut flowing = self.flowing.subscribe();
        flowing.wait_for(|flowing| *flowing).await.unwrap();
        if let Some(first) = events.first() {
            self.calls.lock().unwrap().push((first.sequence(), events.len()));
        }
        let fault = self.fault().clone();
        if fault.away {
            return Err(away());
        }
        if let Some(refused) = events
            .iter()
            .find(|event| fault.refused.contains(event.topic().as_str()))
        {
            return Err(
                Error::new(ErrorKind::PayloadTooLarge, "too large for this transport").with("topic", refused.topic())
            );
        }
        self.memory.relay(events).await?;
        let mut fault = self.fault();
        if fault.answers_lost > 0 {
            fault.answers_lost -= 1;
            return Err(away());
        }
        Ok(())
    }

    async fn relayed(&self) -> Result<Sequence> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.fault().away {
            return Err(away());
        }
        self.memory.relayed().await
    }

    // The process that closes it is not the only one.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
