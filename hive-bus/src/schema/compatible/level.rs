//! One level of a schema in a form in which two can be compared: references followed, parts joined, and what is written in
//! several ways written in one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Number, Value};

use super::super::keyword::{Holds, Kind, Kinds, holds, resolve, same};
use crate::limits;

/// The schema of everything.
pub(super) static ANY: Value = Value::Bool(true);

static NULL: Value = Value::Null;

/// How many references and parts may stand within one another at one level.
const NESTED_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Level<'a> {
    pub(super) kinds: Kinds,
    /// Whether a type is named at all.
    is_typed: bool,
    /// It may be one of these only; nothing but the types stands beside them.
    pub(super) values: Option<Vec<&'a Value>>,
    properties: BTreeMap<&'a str, &'a Value>,
    pub(super) required: BTreeSet<&'a str>,
    pub(super) additional: Option<&'a Value>,
    pub(super) prefix: Vec<&'a Value>,
    pub(super) items: Option<&'a Value>,
    /// Limits, of which one is stricter than another.
    pub(super) bounds: BTreeMap<&'a str, &'a Number>,
    /// What is only equal or not.
    pub(super) exact: BTreeMap<&'a str, &'a Value>,
    pub(super) alternatives: Option<Alternatives<'a>>,
    opaque: bool,
    /// How many of its joined parts speak of objects, and of arrays.
    parts: (usize, usize),
}

/// What stands behind `anyOf` or `oneOf`, when it is more than a list of values.
#[derive(Clone, Debug)]
pub(super) struct Alternatives<'a> {
    /// Exactly one must fit.
    pub(super) is_one: bool,
    /// Those that are single values.
    pub(super) values: Vec<&'a Value>,
    pub(super) schemas: Vec<&'a Value>,
}

impl<'a> Level<'a> {
    /// `steps` counts what it takes.
    pub(super) fn of(root: &'a Value, schema: &'a Value, steps: &mut usize) -> Self {
        Self::nested(root, schema, steps, 0)
    }

    fn nested(root: &'a Value, schema: &'a Value, steps: &mut usize, depth: usize) -> Self {
        let mut level = Self {
            kinds: Kinds::ALL,
            is_typed: false,
            values: None,
            properties: BTreeMap::new(),
            required: BTreeSet::new(),
            additional: None,
            prefix: Vec::new(),
            items: None,
            bounds: BTreeMap::new(),
            exact: BTreeMap::new(),
            alternatives: None,
            opaque: false,
            parts: (0, 0),
        };
        level.gather(root, schema, steps, depth);
        level.settle();
        level
    }

    /// Whether it can only be compared as a whole.
    pub(super) fn is_opaque(&self) -> bool {
        self.opaque || (self.alternatives.is_some() && !self.is_shapeless())
    }

    /// Its alternatives, of which `schema`, which it is the level of, is the only one when it has none of its own. `None`
    /// when it says something beside them.
    pub(super) fn as_alternatives(&self, schema: &'a Value) -> Option<Cow<'_, Alternatives<'a>>> {
        match (&self.alternatives, self.only_values()) {
            (Some(own), _) => self.says_nothing().then_some(Cow::Borrowed(own)),
            (None, Some(values)) => Some(Cow::Owned(Alternatives {
                is_one: false,
                values: values.to_vec(),
                schemas: Vec::new(),
            })),
            (None, None) => Some(Cow::Owned(Alternatives {
                is_one: false,
                values: Vec::new(),
                schemas: vec![schema],
            })),
        }
    }

    /// The properties that it has something to say about by name.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        let only_required = self.required.iter().filter(|name| !self.properties.contains_key(*name));
        self.properties.keys().chain(only_required).copied()
    }

    pub(super) fn describes(&self, name: &str) -> bool {
        self.properties.contains_key(name) || self.required.contains(name)
    }

    /// What a property of this name is like. `None`: writers do not write it, and readers pass over it.
    pub(super) fn property(&self, name: &str) -> Option<&'a Value> {
        let described = self.properties.get(name).copied();
        described
            .or_else(|| self.others())
            .or_else(|| self.required.contains(name).then_some(&ANY))
    }

    /// What properties are like that it does not describe by name.
    pub(super) fn others(&self) -> Option<&'a Value> {
        let says_nothing = !self.is_typed && self.properties.is_empty();
        self.additional.or_else(|| says_nothing.then_some(&ANY))
    }

    /// Whether it says nothing about what is in an object or an array.
    pub(super) fn is_shapeless(&self) -> bool {
        self.parts == (0, 0)
    }

    /// The values, when it is a list of them and nothing else.
    fn only_values(&self) -> Option<&[&'a Value]> {
        let plain = !self.opaque && self.bounds.is_empty() && self.exact.is_empty();
        self.values.as_deref().filter(|_| plain)
    }

    fn gather(&mut self, root: &'a Value, schema: &'a Value, steps: &mut usize, depth: usize) {
        *steps += 1;
        if depth > NESTED_MAX || *steps > limits::COMPARE_STEPS_MAX {
            self.opaque = true;
            return;
        }
        let members = match schema {
            Value::Bool(true) => return,
            Value::Bool(false) => {
                self.kinds = Kinds::NONE;
                self.is_typed = true;
                return;
            }
            Value::Object(members) => members,
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.opaque = true;
                return;
            }
        };
        let has = |keywords: &[&str]| usize::from(keywords.iter().any(|keyword| members.contains_key(*keyword)));
        self.parts.0 += has(&["properties", "required", "additionalProperties"]);
        self.parts.1 += has(&["items", "prefixItems"]);
        for (keyword, value) in members {
            if self.keyword(root, keyword, value, steps, depth).is_none() {
                self.opaque = true;
            }
        }
    }

    /// `None` when it cannot be told apart from what stands here already, or is not understood.
    fn keyword(
        &mut self,
        root: &'a Value,
        keyword: &'a str,
        value: &'a Value,
        steps: &mut usize,
        depth: usize,
    ) -> Option<()> {
        match keyword {
            "$ref" => self.gather(root, resolve(root, value.as_str()?)?, steps, depth + 1),
            "allOf" => {
                for part in value.as_array()? {
                    self.gather(root, part, steps, depth + 1);
                }
            }
            "anyOf" | "oneOf" => {
                return self.gather_alternatives(root, keyword == "oneOf", value.as_array()?, steps, depth);
            }
            "type" => {
                self.kinds = self.kinds.and(Kinds::of_keyword(value)?);
                self.is_typed = true;
            }
            "enum" => return self.only(value.as_array()?.iter().collect()),
            "const" => return self.only(vec![value]),
            "required" => {
                for name in value.as_array()? {
                    self.required.insert(name.as_str()?);
                }
            }
            "properties" => {
                for (name, schema) in value.as_object()? {
                    free(self.properties.insert(name, schema))?;
                }
            }
            "additionalProperties" => free(self.additional.replace(value))?,
            "items" => free(self.items.replace(value))?,
            "prefixItems" => {
                self.prefix.extend(value.as_array()?);
            }
            "minLength" | "minItems" | "minProperties" if value.as_u64() == Some(0) => {}
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "minLength" | "maxLength"
            | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                free(self.bounds.insert(keyword, value.as_number()?))?;
            }
            "uniqueItems" if *value == Value::Bool(false) => {}
            "format" | "pattern" | "multipleOf" | "uniqueItems" | "contentEncoding" | "contentMediaType" => {
                free(self.exact.insert(keyword, value))?;
            }
            other => {
                let silent = matches!(holds(other), Holds::Annotation | Holds::Definitions);
                return silent.then_some(());
            }
        }
        Some(())
    }

    fn only(&mut self, values: Vec<&'a Value>) -> Option<()> {
        free(self.values.replace(values))
    }

    fn gather_alternatives(
        &mut self,
        root: &'a Value,
        is_one: bool,
        list: &'a [Value],
        steps: &mut usize,
        depth: usize,
    ) -> Option<()> {
        let mut values: Vec<&Value> = Vec::new();
        let mut schemas = Vec::new();
        for schema in list {
            let level = Self::nested(root, schema, steps, depth + 1);
            match level.only_values() {
                Some(more) => {
                    *steps += steps_of(more, &values);
                    if *steps > limits::COMPARE_STEPS_MAX {
                        return None;
                    }
                    if is_one && !without(more, &values).eq(more.iter().copied()) {
                        // Exactly one may fit, so a value that stands twice is none.
                        return None;
                    }
                    values.extend(more);
                }
                None => schemas.push((schema, level)),
            }
        }
        match (schemas.as_slice(), values.as_slice()) {
            ([], _) => return self.only(values),
            ([(schema, _)], []) => {
                self.gather(root, schema, steps, depth + 1);
                return Some(());
            }
            ([(_, level)], [Value::Null])
                if level.can_be_nullable(is_one) && self.says_nothing() && self.alternatives.is_none() =>
            {
                if let Some((_, mut level)) = schemas.pop() {
                    level.kinds = level.kinds.or(Kinds::from_iter([Kind::Null]));
                    if let Some(values) = &mut level.values {
                        values.push(&NULL);
                    }
                    *self = level;
                }
                return Some(());
            }
            _ => {}
        }
        let schemas = schemas.into_iter().map(|(schema, _)| schema).collect();
        free(self.alternatives.replace(Alternatives {
            is_one,
            values,
            schemas,
        }))
    }

    /// Whether adding `null` to the types is the same as an alternative that is `null`.
    fn can_be_nullable(&self, is_one: bool) -> bool {
        self.is_typed && !self.opaque && self.alternatives.is_none() && !(is_one && self.kinds.has(Kind::Null))
    }

    /// Whether it says nothing, its alternatives apart.
    fn says_nothing(&self) -> bool {
        let is_plain = self.values.is_none() && self.bounds.is_empty() && self.exact.is_empty();
        is_plain && !self.is_typed && !self.opaque && self.is_shapeless()
    }

    /// Once everything is gathered.
    fn settle(&mut self) {
        let null = Kinds::from_iter([Kind::Null]);
        if self.is_typed && self.kinds == null && self.values.is_none() && self.alternatives.is_none() {
            self.values = Some(vec![&NULL]);
            self.properties.clear();
            self.required.clear();
            self.additional = None;
            self.prefix.clear();
            self.items = None;
            self.parts = (0, 0);
        }
        if let Some(values) = &mut self.values {
            values.retain(|value| self.kinds.has(Kind::of(value)));
            self.kinds = values.iter().map(|value| Kind::of(value)).collect();
            self.is_typed = true;
            // A listed object may have properties that are not described, which nothing below expects.
            self.opaque |= self.alternatives.is_some() || !self.is_shapeless();
        }
        // A part that is closed, or speaks of the items behind its own first ones, does not see the other parts'.
        let (objects, arrays) = self.parts;
        self.opaque |= (objects > 1 && self.additional.is_some()) || arrays > 1;
    }
}

/// Whether a place was free.
fn free<T>(before: Option<T>) -> Option<()> {
    before.is_none().then_some(())
}

/// What [`without`] takes: it compares each with each, which is quickly done.
pub(super) fn steps_of(values: &[&Value], others: &[&Value]) -> usize {
    values.len().saturating_mul(others.len()) / 8
}

/// The values of one list that are not in the other.
pub(super) fn without<'v, 'a>(
    values: &'v [&'a Value],
    others: &'v [&'a Value],
) -> impl Iterator<Item = &'a Value> + use<'v, 'a> {
    let is_other = |value: &Value| others.iter().any(|other| same(value, other));
    values.iter().copied().filter(move |value| !is_other(value))
}
