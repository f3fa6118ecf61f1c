//! The connections of a proxy: two threads each, one for each direction.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// How much is read at once.
const PIECE: usize = 64 << 10;

/// What happens to bytes on their way.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Line {
    #[default]
    Whole,
    Late(Duration),
    Stalled,
}

/// All connections, and what befalls them.
#[derive(Debug, Default)]
pub(super) struct Network {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    line: Line,
    // As many as there are clients; those that have ended are cleared away when the next one comes.
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    ends: Arc<Ends>,
    pumps: [JoinHandle<()>; 2],
}

/// The two sockets, which both directions share.
#[derive(Debug)]
struct Ends {
    client: TcpStream,
    server: TcpStream,
    cut: Mutex<bool>,
}

impl Ends {
    fn is_cut(&self) -> bool {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = true;
        for end in [&self.client, &self.server] {
            // It may be closed already.
            drop(end.shutdown(Shutdown::Both));
        }
    }
}

impl Network {
    pub(super) fn set(&self, line: Line) {
        self.state().line = line;
        self.changed.notify_all();
    }

    pub(super) fn connections(&self) -> usize {
        let state = self.state();
        state.connections.iter().filter(|connection| connection.alive()).count()
    }

    /// Ends all connections and waits for their threads.
    pub(super) fn cut(&self) {
        let connections = {
            let mut state = self.state();
            let connections = std::mem::take(&mut state.connections);
            for connection in &connections {
                connection.ends.cut();
            }
            connections
        };
        self.changed.notify_all();
        for connection in connections {
            connection.join();
        }
    }

    /// Carries what the two say to each other until they, or a fault, end it.
    pub(super) fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        for end in [&client, &server] {
            // Only a matter of speed.
            drop(end.set_nodelay(true));
        }
        let ends = Arc::new(Ends {
            client,
            server,
            cut: Mutex::new(false),
        });
        // Under the lock, which each piece needs as well: nothing passes before a cut would reach the connection.
        let mut state = self.state();
        let pumps = [true, false].map(|forth| {
            let (network, ends) = (Arc::clone(self), Arc::clone(&ends));
            std::thread::spawn(move || network.carry(&ends, forth))
        });
        let (alive, over) = std::mem::take(&mut state.connections)
            .into_iter()
            .partition(Connection::alive);
        state.connections = alive;
        state.connections.push(Connection { ends, pumps });
        drop(state);
        let over: Vec<Connection> = over;
        for connection in over {
            connection.join();
        }
    }

    /// One direction: from the client to the server if `forth`.
    fn carry(&self, ends: &Ends, forth: bool) {
        let (mut from, mut to) = if forth {
            (&ends.client, &ends.server)
        } else {
            (&ends.server, &ends.client)
        };
        let mut piece = vec![0; PIECE];
        loop {
            let read = match from.read(&mut piece) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.cut_one(ends),
            };
            if !self.pass(ends) {
                return;
            }
            let bytes = piece.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                // This side has said all; the other may go on.
                drop(to.shutdown(Shutdown::Write));
                return;
            }
            if to.write_all(bytes).is_err() {
                return self.cut_one(ends);
            }
        }
    }

    /// Waits until what has been read may go on. False: it never may.
    fn pass(&self, ends: &Ends) -> bool {
        let read = SystemClock.monotonic();
        let mut state = self.state();
        loop {
            if ends.is_cut() {
                return false;
            }
            let wait = match state.line {
                Line::Whole => return true,
                Line::Late(by) => (read + by).saturating_sub(SystemClock.monotonic()),
                // Whatever ends it wakes this thread.
                Line::Stalled => Duration::MAX,
            };
            if wait.is_zero() {
                return true;
            }
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn cut_one(&self, ends: &Ends) {
        // Under the lock, so that the other direction either sees it or is woken by it.
        let state = self.state();
        ends.cut();
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No step of what is done under the lock can be left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn alive(&self) -> bool {
        self.pumps.iter().any(|pump| !pump.is_finished())
    }

    fn join(self) {
        for pump in self.pumps {
            // A pump that panicked has nothing more to carry.
            drop(pump.join());
        }
    }
}
