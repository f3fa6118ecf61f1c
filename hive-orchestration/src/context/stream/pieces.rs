//! The pieces themselves: gathered, and written down in batches while the work goes on.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::context::Run;
use crate::journal::{Kind, Record};
use crate::limits;
use crate::queue::stream::{self, Batch, Extent};

/// What a step hands out while it goes on. Cheap to clone; a clone hands out to the same readers.
#[derive(Clone)]
pub struct Pieces {
    shared: Arc<Shared>,
}

struct Shared {
    run: Arc<Run>,
    key: String,
    /// What was on record when this try began.
    kept: Extent,
    state: Mutex<State>,
    /// Tells the writer that there is something to write.
    more: Notify,
    /// Tells the writer not to wait for more.
    full: Notify,
    /// Tells those who push that there is room.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// How far the step has come, with what is not written yet. Until the work says whether it goes on it is that of the record.
    extent: Extent,
    /// Whether it goes on from what was kept or begins anew.
    decided: bool,
    /// The next write takes away what was before.
    anew: bool,
    unwritten: Vec<Payload>,
    unwritten_bytes: usize,
    /// Of pieces that are being written.
    writing_bytes: usize,
    over: bool,
}

impl Pieces {
    pub(super) async fn begin(run: &Arc<Run>, key: &str) -> Result<Self, Failure> {
        let (task, asked) = (run.lease().task, key.to_owned());
        let kept = run.ask(move |db| stream::extent(db, task, &asked)).await?;
        let state = State {
            extent: kept,
            ..State::default()
        };
        Ok(Self {
            shared: Arc::new(Shared {
                run: Arc::clone(run),
                key: key.to_owned(),
                kept,
                state: Mutex::new(state),
                more: Notify::new(),
                full: Notify::new(),
                room: Notify::new(),
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out a piece. It is on disk a moment later, or with the step's output at the latest; this waits only while more than
    /// [`STREAM_UNWRITTEN_BYTES`](crate::limits::STREAM_UNWRITTEN_BYTES) are not.
    ///
    /// # Failures
    /// Terminal: `payload-too-large` above [`STREAM_PIECE_BYTES`](crate::limits::STREAM_PIECE_BYTES); `limit-reached` when the step
    /// has handed out [`STREAM_BYTES`](crate::limits::STREAM_BYTES) or [`STREAM_PIECES`](crate::limits::STREAM_PIECES); `conflict`
    /// when the work is over.
    ///
    /// # Cancel safety
    /// Dropped while it waits, the piece was not handed out.
    pub async fn push(&self, piece: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
        let piece =
            Payload::encode(piece, limits::STREAM_PIECE_BYTES).map_err(|error| Failure::from(error).into_terminal())?;
        loop {
            let mut room = pin!(self.shared.room.notified());
            room.as_mut().enable();
            if self.state().push(&piece)? {
                break;
            }
            room.await;
        }
        self.shared.more.notify_one();
        if self.state().unwritten_bytes >= limits::STREAM_BATCH_BYTES {
            self.shared.full.notify_one();
        }
        Ok(())
    }

    /// What earlier runs and tries have handed out and is on record, from the first piece on. After this the step goes on from there:
    /// what is pushed follows. Empty when there is nothing, and when the step has begun anew already.
    ///
    /// # Failures
    /// Terminal, `invalid-input`, when a piece does not fit `P`: call [`restart`](Self::restart) then. `conflict` when the work is over.
    pub async fn kept<P: DeserializeOwned>(&self) -> Result<Vec<P>, Failure> {
        {
            let mut state = self.state();
            state.check()?;
            if state.decided && state.extent.life != self.shared.kept.life {
                return Ok(Vec::new());
            }
            state.decided = true;
        }
        let Extent {
            life, pieces: count, ..
        } = self.shared.kept;
        let (run, mut kept) = (&self.shared.run, Vec::new());
        while (kept.len() as u64) < count {
            let (task, key, after) = (run.lease().task, self.shared.key.clone(), kept.len() as u64);
            let rows = run.ask(move |db| stream::pieces(db, task, &key, life, after)).await?;
            let before = kept.len();
            for (first, value) in rows {
                let pieces = value
                    .decode::<Vec<P>>()
                    .map_err(|error| Failure::from(error).into_terminal())?;
                let skip = (kept.len() as u64).saturating_sub(first);
                kept.extend(pieces.into_iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)));
            }
            if kept.len() == before {
                return Err(Error::new(ErrorKind::Corrupt, "pieces of a step are missing")
                    .with("step", &self.shared.key)
                    .into());
            }
        }
        // This try may have handed out some itself meanwhile.
        kept.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        Ok(kept)
    }

    /// Begins anew: what was handed out until now is thrown away, and readers are told so. The first [`push`](Self::push) of a run or
    /// try that has not asked for [`kept`](Self::kept) does this by itself.
    ///
    /// # Failures
    /// Terminal, `conflict`, when the work is over.
    pub fn restart(&self) -> Result<(), Failure> {
        let mut state = self.state();
        state.check()?;
        state.begin_anew();
        drop(state);
        self.shared.room.notify_waiters();
        self.shared.more.notify_one();
        Ok(())
    }

    pub(super) fn close(&self) {
        self.state().over = true;
        self.shared.more.notify_one();
        self.shared.full.notify_one();
        self.shared.room.notify_waiters();
    }

    /// Writes down what is handed out, until the work is over. What is left then goes with the output.
    pub(super) async fn write_down(&self) -> Result<(), Failure> {
        let Shared {
            run, more, full, room, ..
        } = &*self.shared;
        loop {
            more.notified().await;
            tokio::select! {
                biased;
                () = full.notified() => {}
                () = run.queue.clock.sleep(limits::STREAM_DELAY) => {}
            }
            loop {
                if self.state().over {
                    return Ok(());
                }
                let Some(batch) = self.take()? else { break };
                let queue = run.queue.clone();
                run.tell(move |tx| stream::keep(tx, &queue, &batch)).await?;
                self.state().writing_bytes = 0;
                room.notify_waiters();
                // What has gathered meanwhile goes at once when it is much.
                if self.state().unwritten_bytes < limits::STREAM_BATCH_BYTES {
                    break;
                }
            }
            if !self.state().is_written() {
                more.notify_one();
            }
        }
    }

    /// What is to be written, if anything is.
    fn take(&self) -> Result<Option<Batch>> {
        let mut state = self.state();
        if state.is_written() {
            return Ok(None);
        }
        let pieces = std::mem::take(&mut state.unwritten);
        state.writing_bytes = std::mem::take(&mut state.unwritten_bytes);
        let row = if pieces.is_empty() {
            None
        } else {
            Some((pieces.len() as u64, array(&pieces)?))
        };
        Ok(Some(Batch {
            lease: self.shared.run.lease(),
            id: self.shared.run.claimed.task.id,
            key: self.shared.key.clone(),
            extent: state.extent,
            anew: std::mem::take(&mut state.anew),
            pieces: row,
        }))
    }

    /// Keeps what is left, together with the output.
    pub(super) async fn finish(&self, type_name: &'static str, value: Payload) -> Result<(), Failure> {
        {
            let mut state = self.state();
            // Work that handed nothing out, and did not ask for what there is, has nothing to do with it.
            if !state.decided && self.shared.kept.pieces > 0 {
                state.begin_anew();
            }
        }
        let (run, last) = (&self.shared.run, self.take()?);
        let record = Record {
            lease: run.lease(),
            at: run.queue.clock.now(),
            key: self.shared.key.clone(),
            kind: Kind::Stream,
            type_name,
            value,
            also: None,
        };
        let (queue, id) = (run.queue.clone(), run.claimed.task.id);
        run.tell(move |tx| stream::finish(tx, &queue, id, last.as_ref(), &record))
            .await?;
        Ok(())
    }
}

impl State {
    fn check(&self) -> Result<(), Failure> {
        if self.over { Err(over()) } else { Ok(()) }
    }

    /// Whether there was room for it.
    fn push(&mut self, piece: &Payload) -> Result<bool, Failure> {
        self.check()?;
        let full = self.unwritten_bytes + self.writing_bytes;
        if full > 0 && full + piece.size() > limits::STREAM_UNWRITTEN_BYTES {
            return Ok(false);
        }
        if !self.decided {
            if self.extent.pieces > 0 {
                self.begin_anew();
            }
            self.decided = true;
        }
        let (pieces, bytes) = (self.extent.pieces + 1, self.extent.bytes + piece.size() as u64);
        if pieces > limits::STREAM_PIECES || bytes > limits::STREAM_BYTES as u64 {
            return Err(Failure::terminal("a step hands out too much")
                .with_kind(ErrorKind::LimitReached)
                .with("limit_bytes", limits::STREAM_BYTES)
                .with("limit_pieces", limits::STREAM_PIECES));
        }
        self.extent.life = self.extent.life.max(1);
        (self.extent.pieces, self.extent.bytes) = (pieces, bytes);
        self.unwritten.push(piece.clone());
        self.unwritten_bytes += piece.size();
        Ok(true)
    }

    fn begin_anew(&mut self) {
        self.decided = true;
        if self.extent.pieces > 0 {
            self.extent = Extent {
                life: self.extent.life + 1,
                ..Extent::default()
            };
            self.anew = true;
        }
        self.unwritten.clear();
        self.unwritten_bytes = 0;
    }

    fn is_written(&self) -> bool {
        self.unwritten.is_empty() && !self.anew
    }
}

pub(super) fn over() -> Failure {
    Failure::terminal("the step is over and hands nothing out any more").with_kind(ErrorKind::Conflict)
}

/// Pieces as one value.
fn array(pieces: &[Payload]) -> Result<Payload> {
    let texts = pieces.iter().map(Payload::decode::<Box<RawValue>>);
    Payload::encode(&texts.collect::<Result<Vec<_>>>()?, usize::MAX)
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces")
            .field("step", &self.shared.key)
            .finish_non_exhaustive()
    }
}
