//! What is written down, and who watches.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::fault::{Call, Fault, Verdict};
use crate::shim;

/// Which of a database's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// The database itself.
    Main,
    /// The write-ahead log.
    Log,
    /// The rollback journal, which is there until write-ahead logging begins.
    Journal,
}

impl File {
    pub(crate) const ALL: [Self; 3] = [Self::Main, Self::Log, Self::Journal];

    /// What its name ends with after the database's.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Log => "-wal",
            Self::Journal => "-journal",
        }
    }
}

/// One thing that happened to a database's files, in the order in which it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `bytes` were handed to the system for `file`, from `offset` on.
    Write {
        /// Where to.
        file: File,
        /// The first byte's place.
        offset: u64,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// `file` was cut.
    Truncate {
        /// Which.
        file: File,
        /// How long it is now.
        bytes: u64,
    },
    /// `file` was removed.
    Delete {
        /// Which.
        file: File,
    },
    /// `file` was synced.
    Sync {
        /// Which.
        file: File,
        /// It covers the events before this one's number: those that had ended when it began.
        covers: usize,
    },
    /// A sync of `file` failed.
    SyncFailed {
        /// Which.
        file: File,
        /// As with [`Event::Sync`].
        covers: usize,
    },
    /// The test put this in.
    Mark(u64),
}

impl Event {
    /// The file it is about; `None` for a mark.
    pub fn file(&self) -> Option<File> {
        match self {
            Self::Write { file, .. }
            | Self::Truncate { file, .. }
            | Self::Delete { file }
            | Self::Sync { file, .. }
            | Self::SyncFailed { file, .. } => Some(*file),
            Self::Mark(_) => None,
        }
    }
}

/// A database whose files are watched until this is dropped, or until it is closed if that is later.
#[derive(Debug)]
pub struct Watched {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    faults: Vec<Fault>,
    fired: u64,
    /// How many syncs of each file have failed.
    failed: BTreeMap<File, u64>,
}

/// By the database's own path.
static WATCHED: Mutex<BTreeMap<PathBuf, Weak<Shared>>> = Mutex::new(BTreeMap::new());

/// Watches the files of the database at `path`, which is to be opened afterwards. Its folder must exist.
///
/// # Errors
/// The folder does not exist, the database is watched already, or SQLite refuses another file system.
pub fn watch(path: &Path) -> io::Result<Watched> {
    shim::install()?;
    let path = match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(path), _, _) => path,
        (Err(_), Some(folder), Some(name)) => folder.canonicalize()?.join(name),
        (Err(error), _, _) => return Err(error),
    };
    let shared = Arc::new(Shared {
        path: path.clone(),
        state: Mutex::default(),
    });
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.retain(|_, shared| shared.strong_count() > 0);
    if watched.contains_key(&path) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the database is watched already",
        ));
    }
    watched.insert(path, Arc::downgrade(&shared));
    Ok(Watched { shared })
}

/// Who watches the file at `path`, if anybody does, and what it is to its database.
pub(crate) fn find(path: &Path) -> Option<(Arc<Shared>, File)> {
    let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let path = path.to_str()?;
    File::ALL.into_iter().find_map(|file| {
        let database = path.strip_suffix(file.suffix())?;
        Some((watched.get(Path::new(database))?.upgrade()?, file))
    })
}

impl Watched {
    /// The database's path, with links followed.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Puts a mark among the events: by now something was promised.
    pub fn mark(&self, mark: u64) {
        self.shared.record(Event::Mark(mark));
    }

    /// What can put marks among the events from elsewhere. It does not keep the watch up.
    pub fn marker(&self) -> impl Fn(u64) + Clone + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move |mark| {
            if let Some(shared) = shared.upgrade() {
                shared.record(Event::Mark(mark));
            }
        }
    }

    /// What happened so far.
    pub fn events(&self) -> Vec<Event> {
        self.shared.lock().events.clone()
    }

    /// Arms `fault`, beside those that are.
    pub fn fail(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Disarms every fault.
    pub fn heal(&self) {
        self.shared.lock().faults.clear();
    }

    /// How many calls faults have met so far.
    pub fn fired(&self) -> u64 {
        self.shared.lock().fired
    }
}

impl Shared {
    /// How many events there are: what a sync that begins now covers.
    pub(crate) fn now(&self) -> usize {
        self.lock().events.len()
    }

    pub(crate) fn record(&self, event: Event) {
        self.lock().events.push(event);
    }

    /// What becomes of `call`, which is about to be made.
    pub(crate) fn meet(&self, call: Call, file: File) -> Verdict {
        let mut state = self.lock();
        // All count, the first to fire decides.
        let verdicts = state.faults.iter_mut().map(|fault| fault.meet(call, file));
        let fired = verdicts.fold(None, |first, verdict| {
            first.or_else(|| (verdict != Verdict::Pass).then_some(verdict))
        });
        state.fired += u64::from(fired.is_some());
        fired.unwrap_or(Verdict::Pass)
    }

    /// Counts a failed sync of `file`.
    pub(crate) fn sync_failed(&self, file: File, covers: usize) {
        let mut state = self.lock();
        *state.failed.entry(file).or_default() += 1;
        state.events.push(Event::SyncFailed { file, covers });
    }

    /// How many syncs of `file` have failed so far.
    pub(crate) fn failed(&self, file: File) -> u64 {
        self.lock().failed.get(&file).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
