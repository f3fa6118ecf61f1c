//! A database's files and what happens to them.

use std::sync::Arc;

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
