//! Wake-ups between processes: one connection that listens and notifies for the whole process.
//!
//! `NOTIFY` makes every commit of the server wait for every other, so it is kept out of transactions: it follows the commit,
//! from this one connection, once per pause however many ask. What is lost that way is found by whoever polls.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result, RetryPolicy};
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};
use tokio_util::sync::CancellationToken;

use super::config::{Config, Stream};
use super::line::closed;
use crate::db::wakes::{Away, Wakeups};
use crate::limits;
use crate::rng::Rng;

const AFTER_LOSS: RetryPolicy = RetryPolicy::exponential(u32::MAX)
    .with_base(Duration::from_millis(50))
    .with_cap(Duration::from_secs(5));

/// A process's ear and voice. Dropped, it waits until its thread has ended.
pub(in crate::db) struct Bell {
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<Config>,
    wakeups: Arc<Wakeups>,
    rng: Arc<dyn Rng>,
    state: Mutex<State>,
    /// Something is new in the state.
    news: Notify,
    closing: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Channels that somebody here listens on, by their names at the server.
    channels: BTreeMap<String, &'static str>,
    /// What is to be notified.
    pending: BTreeSet<String>,
    thread: Option<JoinHandle<()>>,
}

/// What commits and listeners of this process are given.
struct Rope {
    shared: Weak<Shared>,
}

impl std::fmt::Debug for Rope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rope")
    }
}

impl Away for Rope {
    fn listen(&self, channel: &'static str) {
        if let Some(shared) = self.shared.upgrade() {
            shared.change(|state| {
                state.channels.insert(name(channel), channel);
            });
        }
    }

    fn notify(&self, channel: &'static str) {
        if let Some(shared) = self.shared.upgrade() {
            shared.change(|state| {
                state.pending.insert(name(channel));
            });
        }
    }
}

impl Bell {
    /// Takes the wake-ups of this process to others, and theirs to it. Thread and connection come with the first use.
    pub(in crate::db) fn hang(config: Arc<Config>, wakeups: &Arc<Wakeups>, rng: Arc<dyn Rng>) -> Self {
        let shared = Arc::new(Shared {
            config,
            wakeups: Arc::clone(wakeups),
            rng,
            state: Mutex::default(),
            news: Notify::new(),
            closing: CancellationToken::new(),
        });
        wakeups.reach(Box::new(Rope {
            shared: Arc::downgrade(&shared),
        }));
        Self { shared }
    }

    /// Sends what is still to be sent, if the server can be reached at once, and ends.
    pub(in crate::db) async fn close(&self) {
        self.shared.closing.cancel();
        let thread = self.shared.lock().thread.take();
        if let Some(thread) = thread {
            // Every wait of the thread ends with the token, so this is short.
            let _panicked = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        let thread = self.shared.lock().thread.take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        if self.closing.is_cancelled() {
            return;
        }
        let mut state = self.lock();
        change(&mut state);
        if state.thread.is_none() {
            let shared = Arc::clone(self);
            let started = thread::Builder::new()
                .name("hive-db-bell".into())
                .spawn(move || shared.run());
            match started {
                Ok(thread) => state.thread = Some(thread),
                // Whoever waits looks by itself from time to time.
                Err(error) => tracing::warn!(%error, "other processes are not heard: no thread could be started"),
            }
        }
        drop(state);
        self.news.notify_one();
    }

    fn run(self: &Arc<Self>) {
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                runtime.block_on(self.serve());
                // A look-up of a name may still hang; nobody waits for it.
                runtime.shutdown_background();
            }
            Err(error) => tracing::warn!(%error, "other processes are not heard: no runtime could be made"),
        }
    }

    /// Connects, and again whenever the connection ends, until the bell is closed.
    async fn serve(self: &Arc<Self>) {
        let mut failures = 0_u32;
        while !self.closing.is_cancelled() {
            let error = match self.connect().await {
                Ok((client, connection)) => {
                    failures = 0;
                    match self.attend(client, connection).await {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            failures = failures.saturating_add(1);
            tracing::debug!(%error, "other processes are not heard for the moment");
            let delay = AFTER_LOSS.delay_after(failures, self.rng.next_u64(), None);
            tokio::select! {
                () = tokio::time::sleep(delay.unwrap_or_default()) => {}
                () = self.closing.cancelled() => {}
            }
        }
    }

    async fn connect(&self) -> Result<(Client, Connection<Socket, Stream>)> {
        let limit = self.config.timeouts().connect;
        tokio::select! {
            connected = timeout(limit, self.config.connect()) => {
                connected.unwrap_or_else(|_| Err(self.config.too_slow(limit)))
            }
            () = self.closing.cancelled() => Err(closed()),
        }
    }

    /// Listens and notifies on one connection until it ends, with an error, or the bell is closed.
    async fn attend(self: &Arc<Self>, client: Client, connection: Connection<Socket, Stream>) -> Result<()> {
        let own = Arc::new(AtomicI32::new(0));
        let mut driver = tokio::spawn(Arc::clone(self).hear(connection, Arc::clone(&own)));
        tokio::select! {
            biased;
            outcome = self.converse(&client, &own) => {
                // Without a client the driver says goodbye to the server and ends.
                drop(client);
                let _late = timeout(limits::DB_GOODBYE, &mut driver).await;
                driver.abort();
                outcome
            }
            _ended = &mut driver => Err(Error::new(ErrorKind::Storage, "the connection to the database was lost")),
        }
    }

    /// Drives the connection and wakes whom the server names.
    async fn hear(self: Arc<Self>, mut connection: Connection<Socket, Stream>, own: Arc<AtomicI32>) {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            // What this process notified it has been woken for already.
            if let AsyncMessage::Notification(news) = message
                && news.process_id() != own.load(Ordering::Relaxed)
            {
                let channel = self.lock().channels.get(news.channel()).copied();
                if let Some(channel) = channel {
                    self.wakeups.wake(channel);
                }
            }
        }
    }

    async fn converse(&self, client: &Client, own: &AtomicI32) -> Result<()> {
        self.within(self.config.prepare(client)).await??;
        let id = self.within(client.query_one("SELECT pg_backend_pid()", &[])).await?;
        let id = id.and_then(|row| row.try_get(0));
        own.store(id.map_err(|source| self.config.failed(source))?, Ordering::Relaxed);
        let mut listening = BTreeSet::new();
        loop {
            let ending = self.closing.is_cancelled();
            let (missing, pending) = {
                let mut state = self.lock();
                let unheard = |(name, channel): (&String, &&'static str)| {
                    (!listening.contains(name)).then(|| (name.clone(), *channel))
                };
                let missing: Vec<_> = state.channels.iter().filter_map(unheard).collect();
                (missing, std::mem::take(&mut state.pending))
            };
            let listen = missing.iter().map(|(name, _)| format!("LISTEN \"{name}\";"));
            let notify = pending.iter().map(|name| format!("NOTIFY \"{name}\";"));
            let sql: String = listen.chain(notify).collect();
            if !sql.is_empty() {
                let said = self.within(client.batch_execute(&sql)).await;
                let said = said.and_then(|said| said.map_err(|source| self.config.failed(source)));
                if let Err(error) = said {
                    // Said again on the next connection.
                    self.lock().pending.extend(pending);
                    return Err(error);
                }
            }
            if ending {
                return Ok(());
            }
            for (name, channel) in missing {
                listening.insert(name);
                // What was notified before it was listened for.
                self.wakeups.wake(channel);
            }
            let pause = if pending.is_empty() {
                Duration::ZERO
            } else {
                limits::DB_NOTIFY_PAUSE
            };
            tokio::select! {
                () = async {
                    tokio::time::sleep(pause).await;
                    self.news.notified().await;
                } => {}
                () = self.closing.cancelled() => {}
            }
        }
    }

    /// A server that does not answer is as good as none.
    async fn within<F: Future>(&self, future: F) -> Result<F::Output> {
        let limit = self.config.timeouts().connect;
        timeout(limit, future).await.map_err(|_| self.config.too_slow(limit))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The channel's name at the server: as it is where that is short and plain, otherwise a fingerprint of it. The server cuts
/// names off at 63 bytes.
fn name(channel: &str) -> String {
    let plain = channel
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b));
    if plain && channel.len() <= 48 {
        return format!("hive {channel}");
    }
    // FNV-1a: the same in every process and release. Two channels that met would only be woken for each other.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = channel.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    format!("hive #{hash:016x}")
}
