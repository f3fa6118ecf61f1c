//! Whether an input, as far as it is written down in a plan, is what an agent takes.

use hive_core::nearest::nearest;
use serde_json::{Map, Value};

use super::finding::{Code, Finding};
use super::fit::{Fuel, list};
use super::reference::{Found, Reference, escaped, references};
use super::schema::{Extra, Kinds, View};

/// Checks an input against the schema of what is taken. `reference` judges references in it.
pub(super) struct Literal<'a> {
    pub(super) fuel: &'a Fuel,
    pub(super) reference: &'a dyn Fn(Reference<'_>, View<'_>, &str) -> Vec<Finding>,
}

impl Literal<'_> {
    pub(super) fn check(&self, value: &Value, target: View<'_>, at: &str) -> Vec<Finding> {
        if let Value::Object(object) = value
            && let Some(reference) = Reference::read(object)
        {
            // One that is malformed has been told of.
            return match reference {
                Ok(reference) => (self.reference)(reference, target, at),
                Err(_) => Vec::new(),
            };
        }
        let branches = target.branches();
        let kind = Kinds::of(value);
        let mut best: Option<Vec<Finding>> = None;
        for branch in &branches {
            if !self.fuel.burn() {
                return Vec::new();
            }
            if !takes(branch.kinds(), kind) {
                continue;
            }
            let found = self.branch(value, *branch, at);
            if found.is_empty() {
                return found;
            }
            // Of several alternatives the one that was meant is most likely the one that is nearest.
            if best.as_ref().is_none_or(|known| distance(&found) < distance(known)) {
                best = Some(found);
            }
        }
        best.unwrap_or_else(|| {
            let takes = branches
                .iter()
                .map(|branch| branch.kinds())
                .fold(Kinds::NULL.without(Kinds::NULL), Kinds::or);
            vec![Finding::new(
                at,
                Code::TypeMismatch,
                format!("it is of type {kind}, and the agent takes {takes}"),
                "give a value of that type",
            )]
        })
    }

    fn branch(&self, value: &Value, target: View<'_>, at: &str) -> Vec<Finding> {
        if let Some(values) = target.listed()
            && !values.contains(&value)
        {
            let message = format!("the agent takes {}", list(&values));
            return vec![Finding::new(at, Code::InvalidValue, message, "give one of these")];
        }
        match value {
            Value::Object(object) if !target.is_opaque() => self.object(object, target, at),
            Value::Object(_) => self.anything(value, target, at),
            Value::Array(items) => self.array(items, target, at),
            Value::Number(number) => bounds(number, target, at),
            Value::Null | Value::Bool(_) | Value::String(_) => Vec::new(),
        }
    }

    /// What stands where nothing is said of it: only where its references lead counts.
    pub(super) fn anything(&self, value: &Value, target: View<'_>, at: &str) -> Vec<Finding> {
        let found = references(value, at).into_iter().flat_map(|(at, found)| match found {
            Found::Reference(reference) => (self.reference)(reference, target.free(), &at),
            Found::Malformed(_) | Found::TooDeep => Vec::new(),
        });
        found.collect()
    }

    fn object(&self, object: &Map<String, Value>, target: View<'_>, at: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        for name in target.required() {
            if !object.contains_key(name) {
                let message = format!("`{name}` is missing, which the agent needs");
                found.push(Finding::new(
                    at,
                    Code::MissingProperty,
                    message,
                    format!("add `{name}`"),
                ));
            }
        }
        for (name, value) in object {
            let below = format!("{at}/{}", escaped(name));
            match (target.property(name), target.extra()) {
                (Some(target), _) | (None, Extra::Of(target)) => found.extend(self.check(value, target, &below)),
                (None, Extra::Any) => found.extend(self.anything(value, target, &below)),
                // A type of Rust that does not say so passes over what it does not know. That it was meant is as sure as can be.
                (None, Extra::Closed | Extra::Unsaid) => {
                    let known = target.properties().into_iter().flatten().map(|(name, _)| name.as_str());
                    let hint = match nearest(name, known.clone()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("leave it out; there is {}", names(known)),
                    };
                    let message = format!("the agent does not take `{:.80}`", name.escape_debug());
                    found.push(Finding::new(below, Code::UnknownProperty, message, hint));
                }
            }
        }
        found
    }

    fn array(&self, items: &[Value], target: View<'_>, at: &str) -> Vec<Finding> {
        let (least, most) = target.lengths();
        let length = items.len() as u64;
        if length < least || length > most {
            let message = format!("it has {length} items, and the agent takes {least} to {most}");
            return vec![Finding::new(at, Code::InvalidValue, message, "give as many as that")];
        }
        let judged = items.iter().enumerate().map(|(place, item)| {
            let at = format!("{at}/{place}");
            match target.item(place) {
                Some(target) => self.check(item, target, &at),
                None => self.anything(item, target, &at),
            }
        });
        judged.flatten().collect()
    }
}

/// How far a value is from what is taken: what is there and wrong, such as the tag of another alternative, counts more than what is
/// missing.
fn distance(found: &[Finding]) -> usize {
    let weight = |finding: &Finding| match finding.code {
        Code::InvalidValue | Code::TypeMismatch => 4,
        Code::LimitReached
        | Code::Empty
        | Code::InvalidId
        | Code::DuplicateId
        | Code::InvalidTarget
        | Code::UnknownAgent
        | Code::UnknownCapability
        | Code::UnknownNode
        | Code::InvalidReference
        | Code::InvalidCondition
        | Code::InvalidAttempts
        | Code::Cycle
        | Code::UnknownPath
        | Code::MissingProperty
        | Code::UnknownProperty
        | Code::StartedChanged => 1,
    };
    found.iter().map(weight).sum()
}

/// The names, for people.
pub(super) fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 24;
    let mut shown: Vec<String> = names.take(SHOWN + 1).map(|name| format!("`{name}`")).collect();
    if shown.is_empty() {
        return "nothing".to_owned();
    }
    if shown.len() > SHOWN {
        shown.truncate(SHOWN);
        shown.push("others".to_owned());
    }
    shown.join(", ")
}

fn takes(takes: Kinds, kind: Kinds) -> bool {
    !takes.and(kind).is_empty()
}

fn bounds(number: &serde_json::Number, target: View<'_>, at: &str) -> Vec<Finding> {
    let limit = |key| target.get(key).and_then(Value::as_f64);
    let Some(worth) = number.as_f64() else {
        return Vec::new();
    };
    let fits = limit("minimum").is_none_or(|least| worth >= least) && limit("maximum").is_none_or(|most| worth <= most);
    if fits {
        return Vec::new();
    }
    let least = limit("minimum").map(|least| format!("at least {least}"));
    let most = limit("maximum").map(|most| format!("at most {most}"));
    let bounds: Vec<String> = least.into_iter().chain(most).collect();
    let message = format!("it is {number}, and the agent takes {}", bounds.join(" and "));
    vec![Finding::new(
        at,
        Code::InvalidValue,
        message,
        "give a number within these bounds",
    )]
}
