//! Folds the write-ahead log into the file, away from those who wait for a commit.
//!
//! SQLite would do it within whichever commit makes the log long enough. Here a second connection does most of it beside the
//! writer; the writer itself folds only the rest when the log has grown long, between two commits, because the log can
//! start again from its beginning only when all of it is folded in.
//!
//! SQLite folds in steps and syncs the file only after the last one. When that sync fails, the next fold begins after the
//! earlier steps, whose pages the failed sync was to write as well and no later one does: the log starts again, and a power
//! cut finds a file without them. So a failed sync is told to the writer, and the file is opened anew: that begins with the
//! log's first page.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use hive_errors::{Error, ErrorKind, Result};
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;

use super::contain::contained;
use super::sqlite;
use crate::limits;

/// The writer's side.
pub(super) struct Checkpoints {
    /// How long the log was after the last commit.
    pages: Arc<AtomicU32>,
    /// How long it was when folding was last tried.
    tried: u32,
    /// Whether the other connection was asked and has not said that it is done.
    folding: bool,
    /// Closing it ends the thread.
    ask: Option<SyncSender<()>>,
    done: Receiver<Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Takes the matter out of the hands of `writer`, the connection to the file at `path`.
    pub(super) fn start(writer: &mut Connection, path: &Path) -> Result<Self> {
        let pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&pages);
        // It takes the place of SQLite's own hook, which would fold within the commit.
        writer
            .wal_hook(Some(move |_: &mut Wal, pages: std::ffi::c_int| {
                seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
                Ok(())
            }))
            .map_err(|e| sqlite::error(e, "the write-ahead log could not be watched"))?;
        sqlite::expect(writer, "wal_autocheckpoint", "0")?;
        let conn = sqlite::open_folder(path)?;
        let (ask, asked) = sync_channel(1);
        let (say, done) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("hive-db-folder".into())
            .spawn(move || serve(&conn, &asked, &say))
            .map_err(|e| Error::new(ErrorKind::Storage, "a database thread could not be started").with_source(e))?;
        Ok(Self {
            pages,
            tried: 0,
            folding: false,
            ask: Some(ask),
            done,
            thread: Some(thread),
        })
    }

    /// Between two commits: sees to it that the log is folded before it grows long.
    ///
    /// # Errors
    /// A sync failed. The file must be opened anew before anything else is folded into it.
    pub(super) fn tend(&mut self, writer: &Connection) -> Result<()> {
        let pages = self.pages.load(Ordering::Relaxed);
        if self.folding {
            let done = if pages < limits::DB_LOG_PAGES_MAX {
                self.done.try_recv()
            } else {
                // Writers are faster than the disk: they wait, or the log would never end.
                self.done.recv().map_err(|_| TryRecvError::Disconnected)
            };
            match done {
                Err(TryRecvError::Empty) => return Ok(()),
                // When the thread has gone, the writer folds all of it, later.
                Err(TryRecvError::Disconnected) => self.folding = false,
                Ok(folded) => {
                    self.folding = false;
                    folded?;
                }
            }
        }
        // The log has started again.
        self.tried = self.tried.min(pages);
        if pages - self.tried < limits::DB_LOG_PAGES_FOLD {
            return Ok(());
        }
        self.tried = pages;
        if pages < limits::DB_LOG_PAGES_LONG {
            self.folding = self.ask.as_ref().is_some_and(|ask| ask.try_send(()).is_ok());
            return Ok(());
        }
        fold(writer)
    }

    /// Ends the thread, so that the writer can fold the last of it alone.
    ///
    /// # Errors
    /// As [`Checkpoints::tend`].
    pub(super) fn end(mut self) -> Result<()> {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
        // What it said last, if nobody has heard that yet.
        self.done.try_recv().unwrap_or(Ok(()))
    }
}

fn serve(conn: &Connection, asked: &Receiver<()>, say: &SyncSender<Result<()>>) {
    while asked.recv().is_ok() {
        // Whoever listens to the warning may panic.
        let folded = contained("folding the log panicked", || fold(conn)).flatten();
        if say.send(folded).is_err() {
            return;
        }
    }
}

/// As much as goes without waiting for anybody. What readers still need stays in the log.
fn fold(conn: &Connection) -> Result<()> {
    let Err(error) = conn.wal_checkpoint_v2(Some("main"), CheckpointMode::PASSIVE) else {
        return Ok(());
    };
    let error = sqlite::error(error, "the write-ahead log could not be folded into the file");
    if sqlite::is_failed_sync(&error) {
        return Err(error);
    }
    // Whatever it had put into the file it does again.
    tracing::warn!(%error, "the log grows until this succeeds");
    Ok(())
}
