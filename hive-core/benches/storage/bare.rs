//! Bare loops over SQLite: what there is to reach. They have no savepoints, erased closures, hooks, limits or errors.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::{INSERT, TABLE};
use hive_core_bench::{Load, Measured, measure, repeat};

/// How a bare writer goes about it.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    /// Threads that sync the log and answer after it, while commits go on without a sync. `None`: each commit syncs before it
    /// answers.
    pub(crate) syncs: Option<usize>,
    /// What part of a commit's usual time, in percent, is spent waiting for more.
    pub(crate) linger: u32,
    /// Pages in the log from which it is folded beside the writer, and from which the writer does the rest.
    pub(crate) log: (u32, u32),
}

struct Row {
    made: i64,
    body: Vec<u8>,
    answer: oneshot::Sender<()>,
}

pub(crate) fn connection(path: &Path, synchronous: &str) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -8192; \
         PRAGMA busy_timeout = 5000"
    ))
    .unwrap();
    conn
}

/// What most programs do: one connection, one commit per write.
pub(crate) struct Naive {
    conn: Connection,
    _folder: TempDir,
}

impl Naive {
    pub(crate) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let conn = connection(&folder.path().join("bench.db"), "FULL");
        conn.execute_batch(TABLE).unwrap();
        Self { conn, _folder: folder }
    }

    pub(crate) fn measure(&self, load: Load) -> Measured {
        let body = vec![7_u8; load.bytes];
        let mut insert = self.conn.prepare_cached(INSERT).unwrap();
        repeat(load.span, |made| {
            insert.execute(rusqlite::params![made, body]).unwrap();
        })
    }
}

/// A writer thread that commits everything which waits at once and lingers a little for more.
pub(crate) struct Bare {
    rows: Sender<Row>,
    thread: JoinHandle<()>,
    _folder: TempDir,
}

impl Bare {
    pub(crate) fn open(form: Form) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.db");
        let synchronous = if form.syncs.is_some() { "NORMAL" } else { "FULL" };
        let mut conn = connection(&path, synchronous);
        conn.execute_batch(TABLE).unwrap();
        let log = Folder::start(&mut conn, &path, form.log);
        let sync = form.syncs.map(|threads| Syncs::start(&path, threads));
        let (rows, waiting) = channel();
        let thread = std::thread::spawn(move || serve(&conn, &waiting, form, log, sync));
        Self {
            rows,
            thread,
            _folder: folder,
        }
    }

    pub(crate) fn measure(&self, runtime: &Runtime, load: Load) -> Measured {
        let rows = self.rows.clone();
        measure(runtime, load, move |made| {
            let rows = rows.clone();
            async move {
                let (answer, written) = oneshot::channel();
                let body = vec![7; load.bytes];
                rows.send(Row { made, body, answer }).unwrap();
                written.await.unwrap();
            }
        })
    }

    pub(crate) fn close(self) {
        drop(self.rows);
        self.thread.join().unwrap();
    }
}

fn serve(conn: &Connection, waiting: &Receiver<Row>, form: Form, mut log: Folder, sync: Option<Syncs>) {
    let mut begin = conn.prepare("BEGIN IMMEDIATE").unwrap();
    let mut insert = conn.prepare(INSERT).unwrap();
    let mut commit = conn.prepare("COMMIT").unwrap();
    let (mut batch, mut parties, mut usual) = (Vec::new(), 1, Duration::ZERO);
    loop {
        if batch.is_empty() {
            let Ok(row) = waiting.recv() else { break };
            batch.push(row);
        }
        batch.extend(waiting.try_iter());
        // Those whose commit is still being synced cannot come back yet.
        let wanted = parties - sync.as_ref().map_or(0, Syncs::pending).min(parties);
        let until = Instant::now() + (usual * form.linger / 100).min(Duration::from_millis(1));
        while batch.len() < wanted {
            match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(row) => batch.push(row),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let begun = Instant::now();
        begin.execute([]).unwrap();
        for row in &batch {
            insert.execute(rusqlite::params![row.made, row.body]).unwrap();
        }
        commit.execute([]).unwrap();
        let done = std::mem::take(&mut batch);
        match &sync {
            None => {
                usual = (usual * 7 + begun.elapsed()) / 8;
                batch.extend(waiting.try_iter());
                parties = done.len() + batch.len();
                answer(done);
            }
            Some(sync) => {
                batch.extend(waiting.try_iter());
                parties = done.len() + batch.len() + sync.pending();
                usual = sync.take(done, parties == 1);
            }
        }
        log.tend(conn);
    }
    log.end();
}

fn answer(rows: Vec<Row>) {
    for row in rows {
        let _gone = row.answer.send(());
    }
}

/// The stage that syncs the log for commits that were made without, and answers after it.
///
/// A sync that began after a commit covers that commit and all before it, so the threads need no order among each other.
struct Syncs {
    shared: Arc<SyncsShared>,
    ask: Option<SyncSender<Vec<Row>>>,
    threads: Vec<JoinHandle<()>>,
}

struct SyncsShared {
    log: File,
    asked: Mutex<Receiver<Vec<Row>>>,
    /// Rows that are committed and not yet answered.
    pending: AtomicUsize,
    /// How long a sync took of late, in microseconds.
    usual_us: AtomicU32,
}

impl Syncs {
    fn start(path: &Path, threads: usize) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let (ask, asked) = sync_channel(1_024);
        let shared = Arc::new(SyncsShared {
            log: File::open(log).unwrap(),
            asked: Mutex::new(asked),
            pending: AtomicUsize::new(0),
            usual_us: AtomicU32::new(0),
        });
        let threads = (0..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve())
            })
            .collect();
        Self {
            shared,
            ask: Some(ask),
            threads,
        }
    }

    fn pending(&self) -> usize {
        self.shared.pending.load(Ordering::Acquire)
    }

    /// Takes committed rows over and says how long a sync takes of late. A lone writer's row is synced at once: handing it to
    /// another thread would only cost two wake-ups.
    fn take(&self, rows: Vec<Row>, alone: bool) -> Duration {
        if alone {
            self.shared.sync();
            answer(rows);
        } else {
            self.shared.pending.fetch_add(rows.len(), Ordering::AcqRel);
            self.ask.as_ref().unwrap().send(rows).unwrap();
        }
        Duration::from_micros(u64::from(self.shared.usual_us.load(Ordering::Relaxed)))
    }
}

impl SyncsShared {
    fn serve(&self) {
        loop {
            let rows = {
                let asked = self.asked.lock().unwrap();
                let Ok(mut rows) = asked.recv() else { return };
                rows.extend(asked.try_iter().flatten());
                rows
            };
            self.sync();
            self.pending.fetch_sub(rows.len(), Ordering::AcqRel);
            answer(rows);
        }
    }

    fn sync(&self) {
        let begun = Instant::now();
        self.log.sync_data().unwrap();
        let took = begun.elapsed().as_micros() as u32;
        let usual = self.usual_us.load(Ordering::Relaxed);
        self.usual_us.store((usual * 7 + took) / 8, Ordering::Relaxed);
    }
}

impl Drop for Syncs {
    fn drop(&mut self) {
        self.ask = None;
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// Folds the log into the file beside the writer.
struct Folder {
    pages: Arc<AtomicU32>,
    tried: u32,
    bounds: (u32, u32),
    folding: Arc<AtomicBool>,
    ask: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Folder {
    fn start(writer: &mut Connection, path: &Path, bounds: (u32, u32)) -> Self {
        let pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&pages);
        // It takes the place of SQLite's own hook, which would fold within the commit.
        writer
            .wal_hook(Some(move |_: &mut Wal, pages: std::ffi::c_int| {
                seen.store(pages.unsigned_abs(), Ordering::Relaxed);
                Ok(())
            }))
            .unwrap();
        let conn = connection(path, "FULL");
        let folding = Arc::new(AtomicBool::new(false));
        let (ask, asked) = sync_channel(1);
        let done = Arc::clone(&folding);
        let thread = std::thread::spawn(move || {
            while asked.recv().is_ok() {
                fold(&conn);
                done.store(false, Ordering::Release);
            }
        });
        Self {
            pages,
            tried: 0,
            bounds,
            folding,
            ask,
            thread,
        }
    }

    fn tend(&mut self, writer: &Connection) {
        let (beside, long) = self.bounds;
        let pages = self.pages.load(Ordering::Relaxed);
        self.tried = self.tried.min(pages);
        if pages - self.tried < beside || self.folding.load(Ordering::Acquire) {
            return;
        }
        self.tried = pages;
        if pages < long {
            self.folding.store(true, Ordering::Release);
            self.ask.send(()).unwrap();
        } else {
            fold(writer);
        }
    }

    fn end(self) {
        drop(self.ask);
        self.thread.join().unwrap();
    }
}

fn fold(conn: &Connection) {
    conn.wal_checkpoint_v2(Some("main"), CheckpointMode::PASSIVE).unwrap();
}
