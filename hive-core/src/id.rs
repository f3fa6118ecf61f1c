//! Ids that explain themselves: a readable prefix and a UUIDv7.
//!
//! `task_01kdyqm3vge8v8n3c1zk6f4a9r` is a task, made at a time that sorts; the last 26 characters are the 128 bits in
//! Crockford's base32, lower-case. A database keeps the 16 bytes, which sort by time as the text does.
//!
//! Each kind of id is a type of its own, made with [`id_type!`](crate::id_type), and comes from an [`IdSource`].

mod base32;
mod source;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;

use hive_errors::{Error, ErrorKind, Result};
use schemars::json_schema;
use serde::de::{Deserializer, Visitor};

pub use source::IdSource;

/// What every type made by [`id_type!`](crate::id_type) can do, for code that works with any of them.
pub trait Id: Copy + Ord + Hash + fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// The part of the text before the underscore, such as `task`.
    const PREFIX: &'static str;

    /// The id of these 16 bytes, most significant first.
    fn from_bytes(bytes: [u8; 16]) -> Self;

    /// The 16 bytes, most significant first. They sort as the ids do.
    fn as_bytes(&self) -> &[u8; 16];
}

/// Defines a type of id: `id_type!(/** docs */ TaskId, "task")`.
///
/// The type is `Copy`, ordered by time of creation, hashable, and has `Debug`, `Display`, `FromStr`, serde and JSON
/// Schema as text, the inherent functions `from_uuid`, `as_uuid`, `from_bytes` and `as_bytes`, and the trait
/// [`Id`](crate::id::Id). The crate that calls the macro needs no further dependency.
///
/// ```
/// use hive_core::id::IdSource;
///
/// hive_core::id_type!(
///     /// Names one invoice.
///     InvoiceId, "invoice"
/// );
///
/// let id: InvoiceId = IdSource::system().next();
/// assert!(id.to_string().starts_with("invoice_"));
/// assert_eq!(id.to_string().parse::<InvoiceId>()?, id);
/// assert!("task_01kdyqm3vge8v8n3c1zk6f4a9r".parse::<InvoiceId>().is_err());
/// # Ok::<(), hive_errors::Error>(())
/// ```
#[macro_export]
macro_rules! id_type {
    ($(#[$meta:meta])* $Name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Name([u8; 16]);

        impl $Name {
            /// The id with the 128 bits of this UUID.
            pub const fn from_uuid(uuid: $crate::__private::uuid::Uuid) -> Self {
                Self(uuid.into_bytes())
            }

            /// The 128 bits as a UUID.
            pub const fn as_uuid(&self) -> $crate::__private::uuid::Uuid {
                $crate::__private::uuid::Uuid::from_bytes(self.0)
            }

            /// The id of these 16 bytes, most significant first.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes, most significant first. They sort as the ids do.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl $crate::id::Id for $Name {
            const PREFIX: &'static str = $prefix;

            fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl ::std::fmt::Display for $Name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                $crate::id::format(self, f)
            }
        }

        impl ::std::fmt::Debug for $Name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                $crate::id::format(self, f)
            }
        }

        impl ::std::str::FromStr for $Name {
            type Err = $crate::__private::Error;

            fn from_str(text: &str) -> ::std::result::Result<Self, $crate::__private::Error> {
                $crate::id::parse(text)
            }
        }

        impl $crate::__private::serde::Serialize for $Name {
            fn serialize<S: $crate::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> $crate::__private::serde::Deserialize<'de> for $Name {
            fn deserialize<D: $crate::__private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                $crate::id::deserialize(deserializer)
            }
        }

        impl $crate::db::ToValue for $Name {
            fn to_value(&self) -> $crate::db::Value<'_> {
                $crate::db::Value::Blob(&self.0)
            }
        }

        impl $crate::db::FromValue for $Name {
            const EXPECTED: &'static str = ::std::stringify!($Name);

            fn from_value(value: $crate::db::Value<'_>) -> ::std::option::Option<Self> {
                if let $crate::db::Value::Blob(bytes) = value { bytes.try_into().ok().map(Self) } else { None }
            }
        }

        impl $crate::__private::schemars::JsonSchema for $Name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                ::std::stringify!($Name).into()
            }

            fn json_schema(_: &mut $crate::__private::schemars::SchemaGenerator) -> $crate::__private::schemars::Schema {
                $crate::id::json_schema::<Self>()
            }
        }
    };
}

id_type!(
    /// Names one task: a durable unit of work.
    TaskId,
    "task"
);
id_type!(
    /// Names one event: a fact on a topic.
    EventId,
    "evt"
);
id_type!(
    /// Names one running process of a hive. Random per start, never derived from a host name.
    InstanceId,
    "inst"
);

/// The parts of [`id_type!`](crate::id_type) that need no macro.
#[doc(hidden)]
pub fn format<I: Id>(id: &I, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let digits = base32::encode(u128::from_be_bytes(*id.as_bytes()));
    f.write_str(I::PREFIX)?;
    f.write_str("_")?;
    digits
        .iter()
        .try_for_each(|digit| fmt::Write::write_char(f, char::from(*digit)))
}

#[doc(hidden)]
pub fn parse<I: Id>(text: &str) -> Result<I> {
    let error = |message: &'static str| {
        Error::new(ErrorKind::InvalidInput, message)
            .with("value", excerpt(text))
            .with("expected_prefix", format_args!("{}_", I::PREFIX))
            .with_hint(format!(
                "pass the whole id as it was printed: \"{}_\" and {} lower-case letters and digits",
                I::PREFIX,
                base32::DIGITS
            ))
    };
    let digits = text.strip_prefix(I::PREFIX).and_then(|rest| rest.strip_prefix('_'));
    let Some(digits) = digits else {
        return Err(error("the id has the wrong prefix"));
    };
    match base32::decode(digits) {
        Ok(bits) => Ok(I::from_bytes(bits.to_be_bytes())),
        Err(base32::DecodeError::Length(length)) => Err(error("the id has the wrong length").with("digits", length)),
        Err(base32::DecodeError::Digit(digit)) => {
            Err(error("the id contains a character that no id has").with("character", digit.escape_default()))
        }
        Err(base32::DecodeError::Overflow) => Err(error("the id is larger than 128 bits")),
    }
}

/// Enough of a text to recognise it; an error must not carry megabytes of someone's input.
fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

#[doc(hidden)]
pub fn deserialize<'de, I: Id, D: Deserializer<'de>>(deserializer: D) -> Result<I, D::Error> {
    struct Text<I>(std::marker::PhantomData<I>);

    impl<I: Id> Visitor<'_> for Text<I> {
        type Value = I;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an id that starts with \"{}_\"", I::PREFIX)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<I, E> {
            parse(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(std::marker::PhantomData))
}

#[doc(hidden)]
pub fn json_schema<I: Id>() -> schemars::Schema {
    json_schema!({ "type": "string", "pattern": format!("^{}_[0-7][{}]{{25}}$", I::PREFIX, base32::CLASS) })
}
