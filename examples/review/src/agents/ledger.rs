//! A record of every execution of a step, for whoever wants to prove that none ran twice.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use hive::Failure;

/// Appends `start <key>` when a step's work begins and `done <key>` once the step has been acknowledged. Each line is on
/// disk when the call returns, so the file is right whenever the process is killed.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    path: Option<Arc<PathBuf>>,
}

impl Ledger {
    /// A ledger in this file; without one nothing is recorded.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self {
            path: path.map(Arc::new),
        }
    }

    pub(super) fn start(&self, key: &str) -> Result<(), Failure> {
        self.line("start", key)
    }

    pub(super) fn done(&self, key: &str) -> Result<(), Failure> {
        self.line("done", key)
    }

    fn line(&self, word: &str, key: &str) -> Result<(), Failure> {
        let Some(path) = &self.path else { return Ok(()) };
        // One write of a short line to a file opened for appending is not interleaved with another's.
        let mut file = OpenOptions::new().create(true).append(true).open(&**path)?;
        file.write_all(format!("{word} {key}\n").as_bytes())?;
        file.sync_data()?;
        Ok(())
    }
}
