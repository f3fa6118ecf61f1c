//! What can be made to fail, and how.

use rusqlite::ffi;

use crate::event::File;

/// What SQLite asks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Bytes from it.
    Read,
    /// Bytes into it.
    Write,
    /// What was written to be on disk.
    Sync,
    /// To be shorter.
    Truncate,
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The device fails.
    Broken,
    /// No room is left; nothing was done.
    Full,
    /// No room is left after half of it was done. As [`How::Full`] for whatever is not a write.
    Half,
}

/// Something that will go wrong, on every file and for ever unless told otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    call: Call,
    how: How,
    file: Option<File>,
    after: u64,
    times: u64,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Fail(i32),
    /// The first half is done, then it fails.
    Half(i32),
}

impl Fault {
    /// Every `call` goes wrong.
    pub fn new(call: Call, how: How) -> Self {
        Self {
            call,
            how,
            file: None,
            after: 0,
            times: u64::MAX,
        }
    }

    /// Only on `file`.
    #[must_use]
    pub fn on(mut self, file: File) -> Self {
        self.file = Some(file);
        self
    }

    /// Only once `count` such calls have gone well.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        self.after = count;
        self
    }

    /// Only so often.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    /// Counts one call and says what becomes of it.
    pub(crate) fn meet(&mut self, call: Call, file: File) -> Verdict {
        if self.call != call || self.file.is_some_and(|only| only != file) || self.times == 0 {
            return Verdict::Pass;
        }
        if self.after > 0 {
            self.after -= 1;
            return Verdict::Pass;
        }
        self.times -= 1;
        match (self.how, call) {
            (How::Half, Call::Write) => Verdict::Half(ffi::SQLITE_FULL),
            (How::Full | How::Half, Call::Write | Call::Truncate) => Verdict::Fail(ffi::SQLITE_FULL),
            // The platform's own reports every failed sync so, and a read needs no room.
            (How::Broken | How::Full | How::Half, Call::Sync) => Verdict::Fail(ffi::SQLITE_IOERR_FSYNC),
            (How::Broken | How::Full | How::Half, Call::Read) => Verdict::Fail(ffi::SQLITE_IOERR_READ),
            (How::Broken, Call::Write) => Verdict::Fail(ffi::SQLITE_IOERR_WRITE),
            (How::Broken, Call::Truncate) => Verdict::Fail(ffi::SQLITE_IOERR_TRUNCATE),
        }
    }
}
