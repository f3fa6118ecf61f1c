//! A SQLite file system that sees everything: what reaches a database's files is written down, any of it can be made to
//! fail, and what a disk may hold after the power went can be worked out from it.
//!
//! It is a shim over the platform's own file system and becomes the process's default one, so that the code under test opens its
//! database as always. Files that nobody [watches](watch) go to the platform directly.
//!
//! ```
//! use hive_core_vfs::{File, Timeline, watch};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("some.db");
//! let watched = watch(&path).unwrap();
//! let conn = rusqlite::Connection::open(&path).unwrap();
//! conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE t (x)").unwrap();
//! let events = watched.events();
//!
//! // Nothing synced that commit: it was promised to nobody, and a power cut may take it.
//! let mut timeline = Timeline::new(&events);
//! while timeline.advance().is_some() {}
//! assert!(timeline.lost().file(File::Log).unwrap().len() < timeline.whole().file(File::Log).unwrap().len());
//! ```
//!
//! # What the model knows of disks
//!
//! - A write may have reached the disk whole, in some of its 512-byte sectors, or not at all, and in any order, until a sync of
//!   the same file that began after it has ended. Bytes beside the ones written stay as they were, which SQLite relies
//!   on too (`SQLITE_IOCAP_POWERSAFE_OVERWRITE`).
//! - A sync that failed may have written anything, and what it should have written is clean for the kernel: no later sync
//!   writes it. Each open handle hears of the failure once, as on Linux since 4.13.
//! - Making a file counts as content. Removing one is on disk after the next sync of whichever file, as with journalling file
//!   systems, and may be there before.
//!
//! # What it is not
//!
//! No part of what ships: only tests depend on it. It does not see memory-mapped input and output, which it does not offer to SQLite,
//! and nothing of the shared memory beside a database, which no crash survives.

mod event;

mod fault;

mod tape;

mod shim;

mod watch;

mod timeline;

#[cfg(test)]
mod tests;

pub use event::{Event, File};
pub use fault::{Call, Fault, How};
pub use timeline::{Image, Timeline};
pub use watch::{Watched, watch};
