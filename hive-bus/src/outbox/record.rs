//! How far a relay came, as the database keeps it: a consumer's state, for retention and for people. Where the relay goes on, the
//! transport says.

use std::sync::Arc;
use std::time::Duration;

use hive_core::clock::Clock;
use hive_core::db::{Tx, Write};
use hive_core::lease::{self, Lease};
use hive_errors::{Error, ErrorKind, Result};

use crate::consumer::State;
use crate::event::Sequence;
use crate::limits;
use crate::topic::{Pattern, Patterns};
use crate::transport::{self, Change, Database, DeadLetter, Transport};

pub(super) struct Record {
    pub(super) name: String,
    database: Database,
    clock: Arc<dyn Clock>,
    state: State,
    /// `None` when there is no row.
    revision: Option<u64>,
    /// The cursor in the row.
    written: Sequence,
    /// Since when there is something to be written down, on the monotonic clock.
    unwritten: Option<Duration>,
    /// In whose name it is written, where there are other processes.
    pub(super) lease: Option<Lease>,
}

impl Record {
    /// The record of this name. It is there from now on, so that retention waits for the relay.
    pub(super) async fn open(name: String, database: Database, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut record = Self {
            name,
            database,
            clock,
            state: at(Sequence::START),
            revision: None,
            written: Sequence::START,
            unwritten: None,
            lease: None,
        };
        record.reload().await?;
        if record.revision.is_none() {
            record.write(Vec::new(), Write::durable()).await?;
        }
        Ok(record)
    }

    /// Looks at it again: somebody has paused the relay, or let it go on.
    pub(super) async fn reload(&mut self) -> Result<()> {
        let register = self.database.load(&self.name).await?;
        self.revision = register.as_ref().map(|register| register.revision);
        self.state = match register {
            Some(register) => State::from_bytes(&register.state)?,
            None => at(self.state.cursor),
        };
        self.written = self.state.cursor;
        self.unwritten = None;
        Ok(())
    }

    pub(super) fn cursor(&self) -> Sequence {
        self.state.cursor
    }

    pub(super) fn is_paused(&self) -> bool {
        self.state.paused
    }

    /// The transport has everything up to here.
    pub(super) fn reached(&mut self, cursor: Sequence) {
        self.state.cursor = cursor;
        if cursor == self.written {
            self.unwritten = None;
        } else {
            self.unwritten.get_or_insert_with(|| self.clock.monotonic());
        }
    }

    /// How long until it is to be written down; `None` when it is.
    pub(super) fn due(&self) -> Option<Duration> {
        let since = self.unwritten?;
        let waited = self.clock.monotonic().saturating_sub(since);
        Some(limits::RELAY_NOTE_WAIT.saturating_sub(waited))
    }

    /// Writes it down when it is time to, or when the relay has come far, or back: what it lacks now must not be removed.
    pub(super) async fn write_if_due(&mut self) -> Result<()> {
        let far = self.state.cursor.get().abs_diff(self.written.get()) >= limits::CURSOR_LAZY_MAX;
        let back = self.state.cursor < self.written || self.revision.is_none();
        if far || back || self.due().is_some_and(|due| due.is_zero()) {
            self.write(Vec::new(), Write::relaxed()).await?;
        }
        Ok(())
    }

    /// Writes it down, unless it stands there.
    pub(super) async fn settle(&mut self) -> Result<()> {
        if self.unwritten.is_none() {
            return Ok(());
        }
        self.write(Vec::new(), Write::durable()).await
    }

    /// Puts an event with the dead letters and goes on behind it.
    pub(super) async fn bury(&mut self, letter: DeadLetter) -> Result<()> {
        self.reached(letter.event.sequence());
        self.write(vec![letter], Write::durable()).await
    }

    /// Whether this is still the process that relays.
    ///
    /// # Errors
    /// `lease-lost` when it is not.
    pub(super) async fn check(&self) -> Result<()> {
        let Some(lease) = self.lease.clone() else { return Ok(()) };
        self.database.db().write(move |tx| lease::guard(tx, &lease)).await
    }

    async fn write(&mut self, dead: Vec<DeadLetter>, asked: Write) -> Result<()> {
        for _ in 0..limits::CHANGE_TRIES_MAX {
            let mut change = Change::new(self.revision, self.state.to_bytes());
            change.dead.clone_from(&dead);
            let (name, lease) = (self.name.clone(), self.lease.clone());
            let work = move |tx: &mut Tx<'_>| {
                if let Some(lease) = &lease {
                    lease::guard(tx, lease)?;
                }
                transport::store_in(tx, &name, &change)
            };
            let stored = self.database.db().write_with(asked.read_committed(), work).await?;
            if let Some(revision) = stored {
                self.revision = Some(revision);
                self.written = self.state.cursor;
                self.unwritten = None;
                return Ok(());
            }
            // Somebody paused it, let it go on, or removed it: what they say holds, and how far it came, this one says.
            let cursor = self.state.cursor;
            self.reload().await?;
            self.reached(cursor);
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "the relay's record was changed by others each time",
        )
        .with("relay", &self.name)
        .retryable())
    }
}

/// The state of who needs everything after `cursor`, and whatever was before it should that be lost.
fn at(cursor: Sequence) -> State {
    let mut state = State::begin(Patterns::from(Pattern::ALL), |_| Sequence::START);
    state.cursor = cursor;
    state
}
