//! What many publish at the same time goes to the server together: a script costs the server as much as dozens of the events that
//! it appends, and with one for each of a hundred publishers it would do little else.
//!
//! Nobody waits for company. Whoever publishes puts its events down and asks for a turn. Who gets one takes what was put down
//! until then, whoever it is from, and sends it; what is put down while the server works goes with the next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hive_errors::{ErrorKind, Result};
use tokio::sync::{Semaphore, oneshot};

use super::keys::Keys;
use super::log::{Draft, Log};
use super::server::Server;
use crate::event::{NewEvent, Sequence};
use crate::limits;

pub(super) struct Gather {
    waiting: Mutex<VecDeque<Part>>,
    turns: Semaphore,
}

/// What one caller publishes.
struct Part {
    drafts: Arc<[Draft]>,
    done: oneshot::Sender<Result<Vec<Sequence>>>,
}

impl Gather {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            turns: Semaphore::new(limits::REDIS_TURNS),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Part>> {
        // Nothing panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest parts, as many as one script takes. Those whose callers have gone away are left out.
    fn take(&self) -> Vec<Part> {
        let mut waiting = self.waiting();
        waiting.retain(|part| !part.done.is_closed());
        let (mut events, mut bytes) = (0, 0);
        let full = waiting.iter().position(|part| {
            let first = events == 0;
            events += part.drafts.len();
            bytes += part.drafts.iter().map(Draft::bytes).sum::<usize>();
            !first && (events > limits::REDIS_SCRIPT_EVENTS || bytes > limits::REDIS_SCRIPT_BYTES)
        });
        let count = full.unwrap_or(waiting.len());
        waiting.drain(..count).collect()
    }
}

impl Log {
    /// Appends events, and gives a sequence for each. Cancelled on its way, it may have appended them or not.
    pub(super) async fn publish(&self, server: &Server, keys: &Keys, events: Vec<NewEvent>) -> Result<Vec<Sequence>> {
        let drafts: Arc<[Draft]> = events.into_iter().map(Draft::of).collect::<Result<_>>()?;
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        loop {
            let (done, mut told) = oneshot::channel();
            let drafts = Arc::clone(&drafts);
            self.gather.waiting().push_back(Part { drafts, done });
            let told = loop {
                tokio::select! {
                    biased;
                    told = &mut told => break told,
                    Ok(_turn) = self.gather.turns.acquire() => {
                        let parts = self.gather.take();
                        if parts.is_empty() {
                            break told.await;
                        }
                        self.publish_parts(server, keys, parts).await;
                    }
                }
            };
            match told {
                Ok(published) => return published,
                // Whoever took the events has gone away on the way. They are published once, however often that is tried.
                Err(_) => continue,
            }
        }
    }

    async fn publish_parts(&self, server: &Server, keys: &Keys, mut parts: Vec<Part>) {
        let all: Vec<&Draft> = parts.iter().flat_map(|part| &*part.drafts).collect();
        match self.append(server, keys, &all).await {
            Ok(sequences) => {
                let mut rest = sequences.as_slice();
                for part in parts {
                    let (own, others) = rest.split_at(part.drafts.len());
                    rest = others;
                    // A caller that has gone away does not ask.
                    let _gone = part.done.send(Ok(own.to_vec()));
                }
            }
            // It may be about the events of one of them only.
            Err(error) if error.kind() == ErrorKind::Conflict && parts.len() > 1 => {
                for part in parts {
                    let own: Vec<&Draft> = part.drafts.iter().collect();
                    let _gone = part.done.send(self.append(server, keys, &own).await);
                }
            }
            Err(error) => {
                let last = parts.pop();
                for part in parts {
                    let _gone = part.done.send(Err(error.echo()));
                }
                if let Some(part) = last {
                    let _gone = part.done.send(Err(error));
                }
            }
        }
    }
}
