//! What a step hands out while it goes on, read from outside: a model's words as they come.
//!
//! An agent keeps [`Pieces`] in a [`stream_step`](crate::Context::stream_step); [`TaskHandle::pieces`](crate::TaskHandle::pieces)
//! reads them, in the process that runs the task or in another, any number of readers each from its own [`Cursor`].
//!
//! ```
//! # use hive_orchestration::{Context, Failure, Hive, agent_fn};
//! use hive_orchestration::stream::News;
//!
//! # #[tokio::main] async fn main() -> hive_orchestration::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let poet = agent_fn("poet", async |cx: Context, _: ()| {
//!     cx.stream_step("verse", async |out| {
//!         for word in ["so", "much", "depends"] {
//!             out.push(word).await?;
//!         }
//!         Ok::<_, Failure>("a red wheelbarrow".to_owned())
//!     })
//!     .await
//! });
//! let hive = Hive::open(dir.path().join("hive.db")).agent(poet).start().await?;
//! let task = hive.submit_named("poet", &()).await?;
//! let (mut reader, mut words) = (task.pieces("verse"), Vec::new());
//! while let Some(News::Piece(piece)) = reader.next().await? {
//!     words.push(piece.decode::<String>()?);
//! }
//! assert_eq!(words, ["so", "much", "depends"]);
//! # hive.shutdown().await }
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;

pub use crate::context::Pieces;
use crate::journal::Kind;
use crate::limits;
use crate::queue::stream::{self, Look};
use crate::task::check_name;
use crate::worker::Shop;

/// A place in what a step hands out: behind so many pieces of one of its beginnings. Store it to go on from there later, with
/// [`Reader::after`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    life: u64,
    pieces: u64,
}

impl Cursor {
    /// Before the first piece.
    pub const START: Self = Self { life: 0, pieces: 0 };
}

/// What a reader is told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum News {
    /// The next piece.
    Piece(Piece),
    /// The step began anew: the pieces until here count no more, and those of the new beginning follow.
    Anew,
}

/// A piece of a step's output.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Piece {
    /// Behind it.
    pub cursor: Cursor,
    /// What was handed out.
    pub value: Payload,
}

impl Piece {
    /// What was handed out, as a `T`.
    ///
    /// # Errors
    /// `invalid-input` when it does not fit.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        self.value.decode()
    }
}

/// Reads what a step hands out. Made by [`TaskHandle::pieces`](crate::TaskHandle::pieces); it may be made before the step begins.
///
/// It is a cursor over what is on disk, so a slow reader costs nobody anything. In the process that runs the task it is woken by
/// each write; elsewhere by the database's word, and it looks by itself every [`STREAM_LOOK`](crate::limits::STREAM_LOOK).
pub struct Reader {
    shop: Arc<Shop>,
    task: TaskId,
    step: String,
    scope: String,
    occurrence: u32,
    cursor: Cursor,
    /// Pieces that were read and not handed out.
    page: VecDeque<Piece>,
    changes: watch::Receiver<()>,
    ends: watch::Receiver<crate::wake::News>,
}

impl Reader {
    pub(crate) fn new(shop: Arc<Shop>, task: TaskId, step: String) -> Self {
        Self {
            changes: shop.queue.flow.read_pieces(task),
            ends: shop.queue.wakeups.watch(task),
            shop,
            task,
            step,
            scope: String::new(),
            occurrence: 1,
            cursor: Cursor::START,
            page: VecDeque::new(),
        }
    }

    /// Begins behind this place. Where the step has begun anew since, the first news is [`News::Anew`].
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.cursor = cursor;
        self.page.clear();
        self
    }

    /// Reads the step in the [scope](crate::Context::scope) of these names, the outermost first.
    #[must_use]
    pub fn scope<S: AsRef<str>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.scope = crate::context::scope_of(names);
        self
    }

    /// Reads the step in which this name is used for the so-many-th time in its scope, from 1.
    #[must_use]
    pub fn occurrence(mut self, number: u32) -> Self {
        self.occurrence = number;
        self
    }

    /// Behind the last piece that [`next`](Self::next) gave.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next piece, or the word that the step began anew; waits for it. `None` when nothing more comes: the step is done, or the
    /// task has ended without it. A task that is [brought back](crate::TaskHandle::redrive) may go on after that: ask again.
    ///
    /// # Errors
    /// `not-found` when there is no such task, or it was forgotten; `invalid-input` for a name that is none; `shutting-down` when the
    /// hive closes.
    ///
    /// # Cancel safety
    /// Dropped, no piece is lost: the next call gives it.
    pub async fn next(&mut self) -> Result<Option<News>> {
        check_name("step", &self.step)?;
        let key = format!(
            "{}{}:{}#{}",
            Kind::Stream.word(),
            self.scope,
            self.step,
            self.occurrence
        );
        loop {
            if let Some(piece) = self.page.pop_front() {
                self.cursor = piece.cursor;
                return Ok(Some(News::Piece(piece)));
            }
            // Before the look, so that what is written from here on ends the wait below.
            self.changes.mark_unchanged();
            self.ends.mark_unchanged();
            let (task, asked, Cursor { life, pieces }) = (self.task, key.clone(), self.cursor);
            let look = self
                .shop
                .db
                .read(move |db| stream::look(db, task, &asked, life, pieces))
                .await;
            let look = look.map_err(|error| self.named(error))?;
            if self.turn(&look)? {
                return Ok(Some(News::Anew));
            }
            if !self.page.is_empty() {
                continue;
            }
            if look.over {
                return Ok(None);
            }
            tokio::select! {
                biased;
                _ = self.changes.changed() => {}
                // Of a task that has ended nobody tells any more; it may be brought back.
                ended = self.ends.changed() => if ended.is_err() {
                    self.ends = self.shop.queue.wakeups.watch(self.task);
                },
                () = self.shop.queue.clock.sleep(limits::STREAM_LOOK) => {}
                () = self.shop.closed.cancelled() => return Err(self.closed()),
            }
        }
    }

    /// Takes up what was found; `true` when the step has begun anew since.
    fn turn(&mut self, look: &Look) -> Result<bool> {
        let life = look.extent.life;
        if life != self.cursor.life {
            let anew = self.cursor.pieces > 0;
            self.cursor = Cursor { life, pieces: 0 };
            if anew {
                return Ok(true);
            }
        }
        for (first, row) in &look.rows {
            for (number, value) in (first + 1..).zip(row.decode::<Vec<Box<RawValue>>>()?) {
                if number > self.cursor.pieces {
                    let value = Payload::encode(&value, limits::STREAM_PIECE_BYTES)?;
                    let cursor = Cursor { life, pieces: number };
                    self.page.push_back(Piece { cursor, value });
                }
            }
        }
        Ok(false)
    }

    fn named(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::ShuttingDown {
            self.closed()
        } else {
            error
        }
    }

    fn closed(&self) -> Error {
        Error::new(ErrorKind::ShuttingDown, "the hive is closed")
            .with("task", self.task)
            .with("step", &self.step)
            .with_hint("store the reader's cursor and read on when the hive is open again")
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("task", &self.task)
            .field("step", &self.step)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}
