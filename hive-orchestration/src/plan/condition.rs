//! When a node is wanted at all.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A question about another node's output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The id of the node whose output is looked at.
    #[serde(rename = "$from")]
    pub from: String,
    /// The JSON pointer of the part that is looked at, such as `/score`; the whole output without it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What has to be the case.
    pub op: Op,
    /// What is compared with: for every `op` but `exists` and `absent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// How an output is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Op {
    /// There is such an output or part, and it is not null.
    Exists,
    /// There is none, or it is null.
    Absent,
    /// It equals the value. Numbers are compared by what they are worth: 1 equals 1.0.
    Equals,
    /// It is there and does not equal the value.
    Differs,
    /// It is a number or a text, as the value is, and less than it.
    Less,
    /// It is a number or a text, as the value is, and not greater than it.
    AtMost,
    /// It is a number or a text, as the value is, and greater than it.
    Greater,
    /// It is a number or a text, as the value is, and not less than it.
    AtLeast,
    /// It is a list and has the value in it, or a text that has the text in it.
    Contains,
}

impl Op {
    pub(super) const fn takes_value(self) -> bool {
        match self {
            Self::Exists | Self::Absent => false,
            Self::Equals
            | Self::Differs
            | Self::Less
            | Self::AtMost
            | Self::Greater
            | Self::AtLeast
            | Self::Contains => true,
        }
    }

    pub(super) const fn is_order(self) -> bool {
        match self {
            Self::Less | Self::AtMost | Self::Greater | Self::AtLeast => true,
            Self::Exists | Self::Absent | Self::Equals | Self::Differs | Self::Contains => false,
        }
    }
}

impl Condition {
    /// The output of `from`, or the part of it at `path`, is there.
    pub fn exists(from: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            from: from.into(),
            path: path.into(),
            op: Op::Exists,
            value: None,
        }
    }

    /// The output of `from`, or the part of it at `path`, compares with a value.
    pub fn compare(from: impl Into<String>, path: impl Into<String>, op: Op, value: impl Into<Value>) -> Self {
        Self {
            from: from.into(),
            path: path.into(),
            op,
            value: Some(value.into()),
        }
    }

    /// Whether it holds for an output; `None` where the node left none.
    pub(super) fn holds(&self, output: Option<&Value>) -> bool {
        let part = output
            .and_then(|output| output.pointer(&self.path))
            .filter(|part| !part.is_null());
        let order = || match (part, &self.value) {
            (Some(part), Some(value)) => compared(part, value),
            (None, _) | (_, None) => None,
        };
        match self.op {
            Op::Exists => part.is_some(),
            Op::Absent => part.is_none(),
            Op::Equals => match (part, &self.value) {
                (Some(part), Some(value)) => equal(part, value),
                (None, _) | (_, None) => false,
            },
            Op::Differs => match (part, &self.value) {
                (Some(part), Some(value)) => !equal(part, value),
                (None, _) | (_, None) => false,
            },
            Op::Less => order() == Some(Ordering::Less),
            Op::AtMost => order().is_some_and(Ordering::is_le),
            Op::Greater => order() == Some(Ordering::Greater),
            Op::AtLeast => order().is_some_and(Ordering::is_ge),
            Op::Contains => match (part, &self.value) {
                (Some(Value::String(text)), Some(Value::String(wanted))) => text.contains(wanted),
                (Some(Value::Array(items)), Some(wanted)) => items.iter().any(|item| equal(item, wanted)),
                (_, _) => false,
            },
        }
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(_), Value::Number(_)) => compared(one, other) == Some(Ordering::Equal),
        (_, _) => one == other,
    }
}

/// Numbers by what they are worth, texts by their characters; nothing else has an order.
fn compared(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (whole(one), whole(other)) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            (_, _) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        },
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (_, _) => None,
    }
}

fn whole(number: &serde_json::Number) -> Option<i128> {
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}
