//! A small store that outlives the instance, private to the plugin and tenant. Needs the capability `memory`.
//!
//! What an instance keeps in its own fields is a cache: the next attempt may run in another one. Writes here are on
//! disk when they return and are not undone when the attempt fails.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::{host, json};

/// The value of a key, if it has one.
///
/// # Errors
///
/// The hive's, and a terminal failure with the code `invalid-input` when the value does not fit `T`.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Failure> {
    match host::memory_get(key)? {
        Some(text) => json::decode("the remembered value", &text)
            .map(Some)
            .map_err(|failure| failure.with("key", key)),
        None => Ok(None),
    }
}

/// Gives a key a value, whatever it had before.
///
/// # Errors
///
/// The hive's: the key or the value is too large, or the store is full.
pub fn set<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<(), Failure> {
    host::memory_set(key, &json::encode("the value", value)?)
}

/// Gives a key the value `new`, or removes it, if its value is still `expected`, compared as JSON; `None` stands for no
/// value. Says whether it did. This is how two attempts share a key without losing each other's change.
///
/// # Errors
///
/// The hive's, as for [`set`].
pub fn replace<T: Serialize + ?Sized>(key: &str, expected: Option<&T>, new: Option<&T>) -> Result<bool, Failure> {
    let expected = expected
        .map(|value| json::encode("the expected value", value))
        .transpose()?;
    let new = new.map(|value| json::encode("the value", value)).transpose()?;
    host::memory_replace(key, expected.as_deref(), new.as_deref())
}

/// Removes a key. Says whether it was there.
///
/// # Errors
///
/// The hive's.
pub fn delete(key: &str) -> Result<bool, Failure> {
    host::memory_delete(key)
}

/// At most `limit` keys that start with `prefix`, in order, from the first one after `after`. The hive caps the limit:
/// the end is reached when nothing comes.
///
/// # Errors
///
/// The hive's.
pub fn list(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, Failure> {
    host::memory_list(prefix, after, limit)
}
