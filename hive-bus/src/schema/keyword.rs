//! The words of JSON Schema (draft 2020-12): what stands behind each, and the types that a schema names.

use serde_json::Value;

/// What stands behind a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Something for people, or for programs other than validators.
    Annotation,
    /// Schemas that others refer to.
    Definitions,
    /// A reference to a schema.
    Reference,
    /// One schema.
    Schema,
    /// A list of schemas.
    Schemas,
    /// Schemas by name.
    Named,
    /// A list whose order says nothing.
    Set,
    /// Something else: a number, a text, a value.
    Value,
}

pub(super) fn holds(keyword: &str) -> Holds {
    match keyword {
        "$schema" | "$id" | "$comment" | "title" | "description" | "default" | "examples" | "deprecated"
        | "readOnly" | "writeOnly" => Holds::Annotation,
        "$defs" | "definitions" => Holds::Definitions,
        "$ref" => Holds::Reference,
        "items"
        | "additionalProperties"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "propertyNames"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "contentSchema" => Holds::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Holds::Schemas,
        "properties" | "patternProperties" | "dependentSchemas" => Holds::Named,
        "required" | "type" | "enum" => Holds::Set,
        other if other.starts_with("x-") => Holds::Annotation,
        _ => Holds::Value,
    }
}

/// The schema that `reference` names within `root`: the root itself, or one of its definitions.
pub(super) fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    match reference.strip_prefix("#/$defs/") {
        Some(name) => root.get("$defs")?.get(definition(name)?),
        None => (reference == "#").then_some(root),
    }
}

/// The name of a definition as it stands in a reference: a part of a JSON pointer (RFC 6901) in a URI.
pub(super) fn definition(escaped: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(match byte {
            b'/' => return None,
            b'%' => u8::try_from(digit()? * 16 + digit()?).ok()?,
            plain => plain,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    Some(text.replace("~1", "/").replace("~0", "~"))
}

/// A type of JSON value. What JSON Schema calls a number is one of the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Null,
    Boolean,
    Object,
    Array,
    String,
    /// A number without a fraction, however it is written: `1.0` is one.
    Integer,
    Fraction,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Null,
        Self::Boolean,
        Self::Object,
        Self::Array,
        Self::String,
        Self::Integer,
        Self::Fraction,
    ];

    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Object(_) => Self::Object,
            Value::Array(_) => Self::Array,
            Value::String(_) => Self::String,
            Value::Number(number) => {
                let fraction = number.as_f64().is_some_and(|number| number.fract() != 0.0);
                if fraction { Self::Fraction } else { Self::Integer }
            }
        }
    }

    /// With its article, as a sentence needs it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Fraction => "a fraction",
        }
    }
}

/// Some of the types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(0x7f);

    /// What a name behind `type` stands for.
    pub(super) fn named(name: &str) -> Option<Self> {
        let kinds: &[Kind] = match name {
            "null" => &[Kind::Null],
            "boolean" => &[Kind::Boolean],
            "object" => &[Kind::Object],
            "array" => &[Kind::Array],
            "string" => &[Kind::String],
            "integer" => &[Kind::Integer],
            "number" => &[Kind::Integer, Kind::Fraction],
            _ => return None,
        };
        Some(kinds.iter().copied().collect())
    }

    /// What the value of `type` stands for: a name or a list of names.
    pub(super) fn of_keyword(value: &Value) -> Option<Self> {
        match value {
            Value::String(name) => Self::named(name),
            Value::Array(names) if !names.is_empty() => names
                .iter()
                .map(|name| Self::named(name.as_str()?))
                .try_fold(Self::NONE, |all, one| Some(all.or(one?))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    pub(super) fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// `a string, null or an integer`.
    pub(super) fn words(self) -> String {
        if self == Self::ALL {
            return "anything".to_owned();
        }
        let both = Self::named("number").unwrap_or(Self::NONE);
        let mut words: Vec<&str> = Kind::ALL
            .into_iter()
            .filter(|kind| self.has(*kind) && !(self.and(both) == both && both.has(*kind)))
            .map(Kind::word)
            .collect();
        if self.and(both) == both {
            words.push("a number");
        }
        match words.split_last() {
            None => "nothing".to_owned(),
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
        }
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | 1 << kind as u8))
    }
}

/// Whether two values are the same to JSON Schema: numbers by what they amount to, objects whatever their order.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => super::number::compare(one, other).is_eq(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        (one, other) => one == other,
    }
}

/// A place in data as people read it: `/items/3/cents`, and `/` for the whole. Keys are escaped as in JSON pointers
/// (RFC 6901), and cut where they are long: they may be a stranger's.
pub(super) fn push_key(path: &mut String, key: &str) {
    const SHOWN_MAX: usize = 64;
    path.push('/');
    for (count, char) in key.chars().enumerate() {
        match char {
            _ if count == SHOWN_MAX => return path.push('…'),
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            '"' | '\'' | '\\' => path.push(char),
            other => path.extend(other.escape_debug()),
        }
    }
}
