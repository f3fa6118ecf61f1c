//! Folds the write-ahead log into the file, away from those who wait for a commit.
//!
//! SQLite would do it within whichever commit makes the log long enough. Here a second connection does most of it beside the
//! writer; the writer itself folds only the rest when the log has grown long, between two commits, because the log can
//! start again from its beginning only when all of it is folded in.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
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
    /// Set while the other connection is at it.
    folding: Arc<AtomicBool>,
    /// Closing it ends the thread.
    ask: Option<SyncSender<()>>,
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
        let folding = Arc::new(AtomicBool::new(false));
        let (ask, asked) = sync_channel(1);
        let done = Arc::clone(&folding);
        let thread = thread::Builder::new()
            .name("hive-db-folder".into())
            .spawn(move || serve(&conn, &asked, &done))
            .map_err(|e| Error::new(ErrorKind::Storage, "a database thread could not be started").with_source(e))?;
        Ok(Self {
            pages,
            tried: 0,
            folding,
            ask: Some(ask),
            thread: Some(thread),
        })
    }

    /// Between two commits: sees to it that the log is folded before it grows long.
    pub(super) fn tend(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        // The log has started again.
        self.tried = self.tried.min(pages);
        if pages - self.tried < limits::DB_LOG_PAGES_FOLD || self.folding.load(Ordering::Acquire) {
            return;
        }
        self.tried = pages;
        if pages < limits::DB_LOG_PAGES_LONG {
            self.folding.store(true, Ordering::Release);
            // Never full: one asks only when the last was done.
            if self.ask.as_ref().is_none_or(|ask| ask.try_send(()).is_err()) {
                // The thread has gone. The writer folds all of it, later.
                self.folding.store(false, Ordering::Release);
            }
        } else {
            fold(writer);
        }
    }

    /// Ends the thread, so that the writer can fold the last of it alone.
    pub(super) fn end(mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn serve(conn: &Connection, asked: &Receiver<()>, folding: &AtomicBool) {
    while asked.recv().is_ok() {
        // Whoever listens to the warning may panic.
        let _panicked = contained("folding the log panicked", || fold(conn));
        folding.store(false, Ordering::Release);
    }
}

/// As much as goes without waiting for anybody. What readers still need stays in the log.
fn fold(conn: &Connection) {
    if let Err(error) = conn.wal_checkpoint_v2(Some("main"), CheckpointMode::PASSIVE) {
        let error = sqlite::error(error, "the write-ahead log could not be folded into the file");
        tracing::warn!(%error, "the log grows until this succeeds");
    }
}
