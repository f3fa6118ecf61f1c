//! What is written down of each database, and what will go wrong with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::event::{Event, File};
use crate::fault::{Call, Fault, Verdict};

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

/// Begins to write down what happens to the files of the database at `path`; `None` when somebody does so already.
pub(crate) fn begin(path: PathBuf) -> Option<Arc<Shared>> {
    let shared = Arc::new(Shared {
        path: path.clone(),
        state: Mutex::default(),
    });
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.retain(|_, shared| shared.strong_count() > 0);
    if watched.contains_key(&path) {
        return None;
    }
    watched.insert(path, Arc::downgrade(&shared));
    Some(shared)
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

impl Shared {
    /// The database's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    pub(crate) fn arm(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    pub(crate) fn disarm(&self) {
        self.lock().faults.clear();
    }

    /// How many calls faults have met.
    pub(crate) fn fired(&self) -> u64 {
        self.lock().fired
    }

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
