//! Time that passes when nothing else can happen, through several runtimes after one another.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hive_core::clock::{Clock, Timestamp};
use tokio::time::Instant;

/// The paused time of tokio's runtimes, put end to end: when one is gone, the next goes on where it stood.
#[derive(Clone)]
pub(super) struct VirtualClock {
    state: Arc<Mutex<State>>,
}

struct State {
    start: Timestamp,
    /// What passed in runtimes that are gone.
    before: Duration,
    /// When the present runtime began, by its own clock.
    began: Option<Instant>,
}

impl VirtualClock {
    pub(super) fn new(start: Timestamp) -> Self {
        let state = State {
            start,
            before: Duration::ZERO,
            began: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Time passes by the runtime that this is called in.
    pub(super) fn enter(&self) {
        let mut state = self.state();
        state.before = state.passed();
        state.began = Some(Instant::now());
    }

    /// Time stands until another runtime is entered. Called in the one that ends.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.before = state.passed();
        state.began = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn passed(&self) -> Duration {
        let here = self.began.map(|began| Instant::now().saturating_duration_since(began));
        self.before.saturating_add(here.unwrap_or_default())
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualClock")
            .field("start", &self.state().start)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let state = self.state();
        let mut now = state.start;
        now += state.passed();
        now
    }

    fn monotonic(&self) -> Duration {
        self.state().passed()
    }

    // Both are written out because an `async fn` would start to count at its first poll.
    fn sleep<'life0, 'async_trait>(
        &'life0 self,
        duration: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(tokio::time::sleep(duration))
    }

    fn sleep_until<'life0, 'async_trait>(
        &'life0 self,
        at: Timestamp,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(tokio::time::sleep(at.since(self.now())))
    }
}
