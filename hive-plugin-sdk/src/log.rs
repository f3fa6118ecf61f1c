//! What a plugin says of itself while it works. Nothing here fails; a flood is cut off by the hive.

use std::fmt;

use crate::host;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For whoever follows every move.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// For whoever operates the hive.
    Info,
    /// Something is off, and the work goes on.
    Warn,
    /// Something did not work.
    Error,
}

impl Level {
    /// The level's name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Writes a line. `fields` are values that belong to it; a repeated name keeps its last value.
pub fn write(level: Level, message: &str, fields: &[(&str, &dyn fmt::Display)]) {
    let fields: serde_json::Map<String, serde_json::Value> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_string().into()))
        .collect();
    host::log(level.as_str(), message, &serde_json::Value::Object(fields).to_string());
}

/// Writes a line without fields for whoever looks for a fault.
pub fn debug(message: &str) {
    write(Level::Debug, message, &[]);
}

/// Writes a line without fields for whoever operates the hive.
pub fn info(message: &str) {
    write(Level::Info, message, &[]);
}

/// Writes a line without fields about something that is off.
pub fn warn(message: &str) {
    write(Level::Warn, message, &[]);
}

/// Writes a line without fields about something that did not work.
pub fn error(message: &str) {
    write(Level::Error, message, &[]);
}

/// Says how far the current task is: `done` of `total`, which is 0 when that is not known, and a few words.
pub fn progress(done: u64, total: u64, note: &str) {
    host::progress(done, total, note);
}
