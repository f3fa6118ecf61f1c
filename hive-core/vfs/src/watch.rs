//! Who watches.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::event::Event;
use crate::fault::Fault;
use crate::shim;
use crate::tape::{self, Shared};

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
    let shared = tape::begin(path);
    let taken = || io::Error::new(io::ErrorKind::AlreadyExists, "the database is watched already");
    shared.map(|shared| Watched { shared }).ok_or_else(taken)
}

/// A database whose files are watched until the last clone of this is dropped, or until it is closed if that is later.
#[derive(Clone, Debug)]
pub struct Watched {
    shared: Arc<Shared>,
}

impl Watched {
    /// The database's path, with links followed.
    pub fn path(&self) -> &Path {
        self.shared.path()
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
        self.shared.events()
    }

    /// Arms `fault`, beside those that are.
    pub fn fail(&self, fault: Fault) {
        self.shared.arm(fault);
    }

    /// Disarms every fault.
    pub fn heal(&self) {
        self.shared.disarm();
    }

    /// How many calls faults have met so far.
    pub fn fired(&self) -> u64 {
        self.shared.fired()
    }
}
