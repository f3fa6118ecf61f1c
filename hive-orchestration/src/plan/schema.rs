//! JSON Schemas, read as far as a plan needs them. Whatever is not understood admits everything: a plan is only refused for what is
//! certainly wrong.

use std::fmt;

use serde_json::{Map, Value};

use crate::limits;

/// A place in a schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    root: &'a Value,
    at: &'a Value,
}

/// What an object may have beside the properties that its schema names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extra<'a> {
    /// Nothing.
    Closed,
    /// The schema does not say. Types of Rust give nothing else, and take it or not.
    Unsaid,
    Any,
    Of(View<'a>),
}

/// What a part of a value looks like.
#[derive(Clone, Debug)]
pub(super) enum Part<'a> {
    /// One of these.
    Is(Vec<View<'a>>),
    /// The schema does not say.
    Unknown,
    /// There is no such part: what was looked for, and what there is.
    Nowhere { token: String, known: Vec<&'a str> },
}

impl<'a> View<'a> {
    pub(super) fn whole(root: &'a Value) -> Self {
        Self { root, at: root }
    }

    /// Where anything may stand.
    pub(super) fn free(self) -> Self {
        self.to(&Value::Bool(true))
    }

    fn to(self, at: &'a Value) -> Self {
        Self { at, ..self }
    }

    pub(super) fn get(self, key: &str) -> Option<&'a Value> {
        self.at.get(key)
    }

    /// Where a `$ref` leads, through as many as there are.
    fn followed(self) -> Self {
        let mut view = self;
        for _ in 0..limits::PLAN_SCHEMA_DEPTH {
            let target = view.get("$ref").and_then(Value::as_str);
            let Some(next) = target
                .and_then(|target| target.strip_prefix('#'))
                .and_then(|pointer| self.root.pointer(pointer))
            else {
                return view;
            };
            view = view.to(next);
        }
        view
    }

    /// The schemas of which a value has to fit one.
    pub(super) fn branches(self) -> Vec<Self> {
        let mut found = Vec::new();
        self.collect(0, &mut found);
        found
    }

    fn collect(self, depth: usize, found: &mut Vec<Self>) {
        let view = self.followed();
        // What stands beside the alternatives would have to hold as well: then the whole is opaque.
        let alternatives = match (view.get("anyOf"), view.get("oneOf")) {
            (Some(Value::Array(all)), None) | (None, Some(Value::Array(all))) if view.get("properties").is_none() => {
                all
            }
            (_, _) => return found.push(view),
        };
        if depth >= limits::PLAN_SCHEMA_DEPTH || found.len() >= limits::PLAN_SCHEMA_STEPS {
            return found.push(view.to(&Value::Bool(true)));
        }
        for alternative in alternatives {
            view.to(alternative).collect(depth + 1, found);
        }
    }

    /// Whether it asks for more than is understood here.
    pub(super) fn is_opaque(self) -> bool {
        !self.at.is_object()
            || [
                "allOf",
                "anyOf",
                "oneOf",
                "$ref",
                "not",
                "if",
                "patternProperties",
                "$dynamicRef",
            ]
            .into_iter()
            .any(|key| self.get(key).is_some())
    }

    /// The types that a value may have; of alternatives, ask [`branches`](Self::branches).
    pub(super) fn kinds(self) -> Kinds {
        if self.at == &Value::Bool(false) {
            return Kinds(0);
        }
        if let Some(values) = self.listed() {
            return values.into_iter().map(Kinds::of).fold(Kinds(0), Kinds::or);
        }
        match self.get("type") {
            Some(Value::String(one)) => Kinds::named(one),
            Some(Value::Array(all)) => all
                .iter()
                .map(|one| one.as_str().map_or(Kinds::ALL, Kinds::named))
                .fold(Kinds(0), Kinds::or),
            Some(_) | None => Kinds::ALL,
        }
    }

    /// The only values that there are.
    pub(super) fn listed(self) -> Option<Vec<&'a Value>> {
        match (self.get("const"), self.get("enum")) {
            (Some(one), _) => Some(vec![one]),
            (None, Some(Value::Array(all))) => Some(all.iter().collect()),
            (None, Some(_) | None) => None,
        }
    }

    pub(super) fn properties(self) -> Option<&'a Map<String, Value>> {
        self.get("properties").and_then(Value::as_object)
    }

    pub(super) fn property(self, name: &str) -> Option<Self> {
        self.properties()
            .and_then(|properties| properties.get(name))
            .map(|at| self.to(at))
    }

    pub(super) fn required(self) -> impl Iterator<Item = &'a str> {
        let all = self.get("required").and_then(Value::as_array);
        all.into_iter().flatten().filter_map(Value::as_str)
    }

    pub(super) fn extra(self) -> Extra<'a> {
        match self.get("additionalProperties") {
            Some(Value::Bool(false)) => Extra::Closed,
            Some(Value::Bool(true)) => Extra::Any,
            Some(other) => Extra::Of(self.to(other)),
            None if self.get("unevaluatedProperties") == Some(&Value::Bool(false)) => Extra::Closed,
            None if self.properties().is_some() => Extra::Unsaid,
            None => Extra::Any,
        }
    }

    /// What stands at a place of a list; `None` where nothing is said of it.
    pub(super) fn item(self, place: usize) -> Option<Self> {
        let first = self.get("prefixItems").and_then(Value::as_array);
        let tuple = first.and_then(|all| all.get(place));
        let items = || self.get("items").filter(|items| items.is_object());
        tuple.or_else(items).map(|at| self.to(at))
    }

    /// How many items a list may have.
    pub(super) fn lengths(self) -> (u64, u64) {
        let number = |key| self.get(key).and_then(Value::as_u64);
        (number("minItems").unwrap_or(0), number("maxItems").unwrap_or(u64::MAX))
    }

    /// The part that a pointer's tokens lead to.
    pub(super) fn part(self, tokens: &[String]) -> Part<'a> {
        let mut here = self.branches();
        for token in tokens {
            let (mut next, mut known, mut is_known) = (Vec::new(), Vec::new(), true);
            for view in here {
                match view.step(token) {
                    Step::To(view) => next.extend(view.branches()),
                    Step::Unknown => is_known = false,
                    Step::Nowhere => {
                        known.extend(view.properties().into_iter().flatten().map(|(name, _)| name.as_str()))
                    }
                }
            }
            if !is_known || next.len() > limits::PLAN_SCHEMA_STEPS {
                return Part::Unknown;
            }
            if next.is_empty() {
                let token = token.clone();
                return Part::Nowhere { token, known };
            }
            here = next;
        }
        Part::Is(here)
    }

    fn step(self, token: &str) -> Step<'a> {
        if let Some(property) = self.property(token) {
            return Step::To(property);
        }
        if self.is_opaque() {
            // A schema that admits nothing has no parts either.
            return if self.at == &Value::Bool(false) {
                Step::Nowhere
            } else {
                Step::Unknown
            };
        }
        let kinds = self.kinds();
        if kinds.has(Kinds::ARRAY)
            && let Ok(place) = token.parse::<usize>()
        {
            return match self.item(place) {
                Some(_) if place as u64 >= self.lengths().1 => Step::Nowhere,
                Some(item) => Step::To(item),
                None if place as u64 >= self.lengths().1 => Step::Nowhere,
                None => Step::Unknown,
            };
        }
        if !kinds.has(Kinds::OBJECT) {
            return Step::Nowhere;
        }
        match self.extra() {
            Extra::Closed | Extra::Unsaid => Step::Nowhere,
            Extra::Any => Step::Unknown,
            Extra::Of(view) => Step::To(view),
        }
    }
}

enum Step<'a> {
    To(View<'a>),
    Unknown,
    Nowhere,
}

/// Types of JSON, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(2);
    pub(super) const INTEGER: Self = Self(4);
    pub(super) const FRACTION: Self = Self(8);
    pub(super) const STRING: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const NUMBER: Self = Self(4 | 8);
    const ALL: Self = Self(127);

    fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::ALL,
        }
    }

    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.is_f64() => Self::FRACTION,
            Value::Number(_) => Self::INTEGER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::NULL, "null"),
            (Self::BOOLEAN, "boolean"),
            (Self::NUMBER, "number"),
            (Self::INTEGER, "integer"),
            (Self::FRACTION, "number"),
            (Self::STRING, "string"),
            (Self::ARRAY, "array"),
            (Self::OBJECT, "object"),
        ];
        let mut left = *self;
        let mut is_first = true;
        for (kind, name) in names {
            if left.has(kind) && !kind.is_empty() {
                left = left.without(kind);
                f.write_str(if is_first { "" } else { " or " })?;
                f.write_str(name)?;
                is_first = false;
            }
        }
        if is_first { f.write_str("nothing") } else { Ok(()) }
    }
}
