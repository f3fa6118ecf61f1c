//! Whether two schemas say the same, word for word: for what cannot be compared otherwise.

use serde_json::{Map, Value};

use super::super::keyword::{Holds, holds, resolve, same};
use super::{Comparison, is_among};
use crate::limits;

impl<'a> Comparison<'a> {
    /// Annotations, the order of sets and the names of definitions may differ.
    pub(super) fn alike(&mut self, old: &'a Value, new: &'a Value) -> bool {
        if is_among(&self.alike, old, new) {
            return true;
        }
        if !self.step() || self.alike.len() == limits::SCHEMA_DEPTH_MAX {
            return false;
        }
        self.alike.push((old, new));
        let alike = match (members(old), members(new)) {
            (Some(old), Some(new)) => self.alike_members(old, new),
            (None, None) => old == new,
            (None, Some(_)) | (Some(_), None) => false,
        };
        self.alike.pop();
        alike
    }

    fn alike_members(&mut self, old: Option<&'a Map<String, Value>>, new: Option<&'a Map<String, Value>>) -> bool {
        let telling = |members: Option<&'a Map<String, Value>>| {
            members
                .into_iter()
                .flatten()
                .filter(|(keyword, _)| !matches!(holds(keyword), Holds::Annotation | Holds::Definitions))
        };
        telling(old).count() == telling(new).count()
            && telling(old).all(|(keyword, value)| {
                new.and_then(|new| new.get(keyword))
                    .is_some_and(|other| self.alike_keyword(keyword, value, other))
            })
    }

    fn alike_keyword(&mut self, keyword: &str, old: &'a Value, new: &'a Value) -> bool {
        match holds(keyword) {
            Holds::Annotation | Holds::Definitions => true,
            Holds::Value => same(old, new),
            Holds::Set => match (old.as_array(), new.as_array()) {
                (Some(old), Some(new)) => {
                    let contains = |list: &[Value], value| list.iter().any(|other| same(value, other));
                    old.iter().all(|value| contains(new, value)) && new.iter().all(|value| contains(old, value))
                }
                (None, None) => old == new,
                (None, Some(_)) | (Some(_), None) => false,
            },
            Holds::Reference => {
                let old = old.as_str().and_then(|reference| resolve(self.old, reference));
                let new = new.as_str().and_then(|reference| resolve(self.new, reference));
                old.zip(new).is_some_and(|(old, new)| self.alike(old, new))
            }
            Holds::Schema => self.alike(old, new),
            Holds::Schemas => old.as_array().zip(new.as_array()).is_some_and(|(old, new)| {
                old.len() == new.len() && old.iter().zip(new).all(|(old, new)| self.alike(old, new))
            }),
            Holds::Named => old.as_object().zip(new.as_object()).is_some_and(|(old, new)| {
                old.len() == new.len()
                    && old
                        .iter()
                        .all(|(name, old)| new.get(name).is_some_and(|new| self.alike(old, new)))
            }),
        }
    }
}

/// The members of a schema; `true` has none. `None`: it is no such schema.
fn members(schema: &Value) -> Option<Option<&Map<String, Value>>> {
    match schema {
        Value::Bool(true) => Some(None),
        Value::Object(members) => Some(Some(members)),
        Value::Null | Value::Bool(false) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}
