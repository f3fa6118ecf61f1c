//! Opening the file anew, after a sync has failed.
//!
//! The log holds every commit that was acknowledged since it last started. Read from its first page and folded in whole, it
//! puts into the file whatever a failed sync may have left out. SQLite does so when the first connection opens the file, so
//! for a moment there must be none.

use std::path::Path;

use hive_errors::{Error, Result};

use super::super::checkpoint::Checkpoints;
use super::super::contain::contained;
use super::super::queue::{Linger, Queue};
use super::super::reader::Others;
use super::super::sqlite::{self, Writing};
use super::Work;
use crate::limits;

/// What is open again.
pub(super) struct Renewed {
    pub(super) writing: Writing,
    pub(super) checkpoints: Checkpoints,
    /// Those whose turn it is.
    pub(super) works: Vec<Box<dyn Work>>,
}

/// Closes the file and opens it anew. When that fails it is tried again with each write that comes, which is told why if it
/// fails once more.
///
/// # Errors
/// It had not succeeded when the queue ended.
pub(super) fn renew(writing: Writing, queue: &Queue<Box<dyn Work>>, others: &Others) -> Result<Renewed> {
    let path = writing.path.clone();
    let mut stale = Some(writing);
    let mut works = Vec::new();
    loop {
        let error = match others.without(|| open(&mut stale, &path)) {
            Ok((writing, checkpoints)) => {
                return Ok(Renewed {
                    writing,
                    checkpoints,
                    works,
                });
            }
            Err(error) => error,
        };
        tracing::error!(%error, "the file could not be opened anew");
        refuse(works, &error);
        works = match queue.take(limits::DB_BATCH, Linger::default()) {
            Some(works) => works,
            None => {
                if let Some(writing) = stale {
                    sqlite::abandon(writing.conn)?;
                }
                return Err(error.with_hint("nothing is lost: the next open does it"));
            }
        };
    }
}

fn open(stale: &mut Option<Writing>, path: &Path) -> Result<(Writing, Checkpoints)> {
    if let Some(writing) = stale {
        sqlite::overwrite_rest(&writing.conn)?;
    }
    if let Some(writing) = stale.take() {
        sqlite::abandon(writing.conn)?;
    }
    let mut writing = sqlite::open_again(path)?;
    let checkpoints = Checkpoints::start(&mut writing.conn, path)?;
    Ok((writing, checkpoints))
}

/// Tells those whose turn has not come why it will not.
pub(super) fn refuse(works: impl IntoIterator<Item = Box<dyn Work>>, error: &Error) {
    for work in works {
        let settled = contained("what a database closure left panicked when it was dropped", || {
            work.settle(Some(error));
        });
        if let Err(error) = settled {
            tracing::error!(%error, "a database closure could not be put away");
        }
    }
}
