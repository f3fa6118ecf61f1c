use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands wherever a secret would.
pub(super) const REDACTED: &str = "[redacted]";

/// A value that is never printed: `Debug`, `Display` and serialisation all give `[redacted]`.
///
/// It is read like the value itself; only [`Secret::expose`] gives it out, which is easy to search for. Its schema
/// says `writeOnly`, by which [`Loader`](super::Loader) recognises it. The memory is not wiped.
///
/// ```
/// use hive_core::config::Secret;
///
/// let token: Secret<String> = serde_json::from_str("\"hunter2\"")?;
/// assert_eq!(format!("{token:?} {token} {}", serde_json::to_string(&token)?), "[redacted] [redacted] \"[redacted]\"");
/// assert_eq!(token.expose(), "hunter2");
/// # serde_json::Result::Ok(())
/// ```
#[derive(Clone, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Keeps `value` from being printed.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Whoever calls this answers for where it goes.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// The form in which a secret is written, whatever it holds.
impl<T: Serialize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if EXPOSING.get() {
            self.0.serialize(serializer)
        } else {
            serializer.serialize_str(REDACTED)
        }
    }
}

thread_local! {
    /// Whether this thread is taking a default configuration apart, see [`exposing`].
    static EXPOSING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `serialize` on this thread with secrets written as they are.
///
/// The loader merges layers as trees, and the lowest is `T::default()`: a secret in there must survive, also beside a
/// value that another layer replaces. The tree stays within this module.
pub(super) fn exposing<R>(serialize: impl FnOnce() -> R) -> R {
    struct Reset;

    impl Drop for Reset {
        fn drop(&mut self) {
            EXPOSING.set(false);
        }
    }

    // Also when `serialize` panics.
    let _reset = Reset;
    EXPOSING.set(true);
    serialize()
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Secret<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Secret_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = generator.subschema_for::<T>();
        schema.insert("writeOnly".to_owned(), true.into());
        schema
    }
}
