//! What a change of a schema means for those who read data of the other one.

mod alike;
mod alternatives;
mod level;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use hive_core::payload::Schema;
use hive_errors::{Error, ErrorKind, Result};
use serde_json::Value;

use self::level::{ANY, Level};
use super::keyword::{Kind, Kinds, push_key};
use super::number;
use crate::limits;

/// One difference between two schemas of a type that somebody could notice.
///
/// Two programs that say the same version of a type must be able to read each other, and what either has stored. So the
/// question is asked both ways: can a reader with the new schema read what was written with the old one, and a reader with
/// the old schema what is written with the new?
///
/// A reader passes over properties that it does not know, unless its schema says `"additionalProperties": false`. A writer
/// writes the properties that its schema describes and no others, unless the schema says `"additionalProperties"` with a
/// schema or `true`, or says nothing at all about the value. Within one version a type may therefore **gain optional
/// properties**, and lose optional ones as long as the database remembers what they were. Everything else breaks somebody:
///
/// | change | who can no longer read |
/// |---|---|
/// | a property becomes required, or a required one is new | new readers, old data |
/// | a property is no longer required, or a required one is gone | old readers, new data |
/// | a type, a value of an enum or an alternative is gone; a bound is stricter | new readers, old data |
/// | a type, a value of an enum or an alternative is new; a bound is looser | old readers, new data |
/// | properties that are not described are refused now, or no longer | new readers, or old ones |
/// | `format`, `pattern` or what else is not understood differs | taken to be both |
///
/// A new value of an enum breaks old readers even where the Rust type is `#[non_exhaustive]`: reading knows the variants
/// that it was compiled with. Titles, descriptions, defaults and examples, the order of anything, and the names of
/// definitions may change freely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaChange {
    path: String,
    sentence: Cow<'static, str>,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The new schema says more, and breaks nobody.
    Gain,
    /// It says less, and breaks nobody.
    Loss,
    /// It breaks readers with the old schema, those with the new, or both.
    Break { old: bool, new: bool },
}

const NOT_COMPARED: &str = "it changed in a way that cannot be compared";

const OLD: Effect = Effect::Break { old: true, new: false };
const NEW: Effect = Effect::Break { old: false, new: true };
const BOTH: Effect = Effect::Break { old: true, new: true };

impl SchemaChange {
    /// What differs between two schemas of one type; nothing when they mean the same. Ask it before a release whether a type
    /// needs a new version:
    ///
    /// ```
    /// use hive_bus::SchemaChange;
    /// use hive_core::payload::Schema;
    /// use serde_json::json;
    ///
    /// let old = Schema::from_value(json!({ "type": "object", "properties": { "cents": { "type": "integer" } } }))?;
    /// let new = Schema::from_value(json!({ "type": "object", "properties": { "cents": { "type": "string" } } }))?;
    /// let changes = SchemaChange::between(&old, &new);
    /// assert_eq!(changes[0].to_string(), "/cents: it was an integer and is a string now");
    /// assert!(changes[0].is_breaking());
    /// # Ok::<(), hive_bus::Error>(())
    /// ```
    pub fn between(old: &Schema, new: &Schema) -> Vec<Self> {
        changes(old.as_value(), new.as_value())
    }

    /// Where in the data: `/items/*/cents`, where `*` is any item or any name, and `/` for the whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether somebody can no longer read: [old readers](SchemaChange::breaks_old_readers) or
    /// [new ones](SchemaChange::breaks_new_readers).
    pub fn is_breaking(&self) -> bool {
        matches!(self.effect, Effect::Break { .. })
    }

    /// Whether a reader with the old schema may be unable to read what is written with the new one.
    pub fn breaks_old_readers(&self) -> bool {
        matches!(self.effect, Effect::Break { old: true, .. })
    }

    /// Whether a reader with the new schema may be unable to read what was written with the old one.
    pub fn breaks_new_readers(&self) -> bool {
        matches!(self.effect, Effect::Break { new: true, .. })
    }

    pub(super) fn is_gain(&self) -> bool {
        self.effect == Effect::Gain
    }

    pub(super) fn is_loss(&self) -> bool {
        self.effect == Effect::Loss
    }
}

/// The path and what changed there.
impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.sentence)
    }
}

/// The differences between two schemas of one version of a type, none of which breaks anybody.
///
/// # Errors
/// `conflict` that names those which do.
pub(super) fn compatible(old: &Value, new: &Value) -> Result<Vec<SchemaChange>> {
    const SHOWN_MAX: usize = 5;
    let changes = changes(old, new);
    let breaking: Vec<String> = changes
        .iter()
        .filter(|change| change.is_breaking())
        .map(SchemaChange::to_string)
        .collect();
    if breaking.is_empty() {
        return Ok(changes);
    }
    let mut shown: Vec<&str> = breaking.iter().take(SHOWN_MAX).map(String::as_str).collect();
    if breaking.len() > SHOWN_MAX {
        shown.push("…");
    }
    Err(Error::new(
        ErrorKind::Conflict,
        "the schema of the type changed so that old and new programs cannot read each other's events",
    )
    .with("changes", shown.join("; "))
    .with_hint("give the new shape a schema version of its own; within one, only optional properties may be added"))
}

/// Every difference between two schemas of a type that somebody could notice. What cannot be compared counts as breaking.
pub(super) fn changes(old: &Value, new: &Value) -> Vec<SchemaChange> {
    if old == new {
        return Vec::new();
    }
    let mut comparison = Comparison {
        old,
        new,
        found: Vec::new(),
        path: String::new(),
        open: Vec::new(),
        alike: Vec::new(),
        steps: 0,
    };
    comparison.compare(old, new);
    if comparison.steps > limits::COMPARE_STEPS_MAX {
        comparison.path.clear();
        comparison.found(BOTH, "the schemas are too large to be compared");
    }
    comparison.found
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    found: Vec<SchemaChange>,
    path: String,
    /// Pairs under way. One that comes up again within itself is the same question, and its answer is being worked out.
    open: Vec<(&'a Value, &'a Value)>,
    /// The same for [`Comparison::alike`].
    alike: Vec<(&'a Value, &'a Value)>,
    steps: usize,
}

impl<'a> Comparison<'a> {
    fn compare(&mut self, old: &'a Value, new: &'a Value) {
        if !self.step() || is_among(&self.open, old, new) {
            return;
        }
        if self.open.len() == limits::SCHEMA_DEPTH_MAX {
            self.found(BOTH, "it nests too deep to be compared");
            return;
        }
        self.open.push((old, new));
        self.levels(old, new);
        self.open.pop();
    }

    fn levels(&mut self, old: &'a Value, new: &'a Value) {
        let old_level = Level::of(self.old, old, &mut self.steps);
        let new_level = Level::of(self.new, new, &mut self.steps);
        if old_level.is_opaque() || new_level.is_opaque() {
            if !self.alike(old, new) {
                self.found(BOTH, NOT_COMPARED);
            }
            return;
        }
        if old_level.alternatives.is_some() != new_level.alternatives.is_some() {
            // One of them is compared with each of the other's.
            return match (old_level.as_alternatives(old), new_level.as_alternatives(new)) {
                (Some(old), Some(new)) => self.alternatives(&old, &new),
                (None, _) | (_, None) => self.found(BOTH, NOT_COMPARED),
            };
        }
        if !self.kinds(old_level.kinds, new_level.kinds) {
            return;
        }
        self.bounds(&old_level, &new_level);
        self.exact(&old_level, &new_level);
        match (&old_level.values, &new_level.values) {
            (None, None) => {}
            (Some(old), Some(new)) => return self.values(old, new),
            (Some(_), None) => {
                let effect = if new_level.is_shapeless() { OLD } else { BOTH };
                return self.found(effect, "it may now have other values than those that were listed");
            }
            (None, Some(_)) => {
                let effect = if old_level.is_shapeless() { NEW } else { BOTH };
                return self.found(effect, "it may only have the listed values now");
            }
        }
        if let (Some(old), Some(new)) = (&old_level.alternatives, &new_level.alternatives) {
            return self.alternatives(old, new);
        }
        let common = old_level.kinds.and(new_level.kinds);
        if common.has(Kind::Array) {
            self.array(&old_level, &new_level);
        }
        if common.has(Kind::Object) {
            self.object(&old_level, &new_level);
        }
    }

    /// Whether there is any type in common.
    fn kinds(&mut self, old: Kinds, new: Kinds) -> bool {
        if old.and(new).is_empty() {
            let effect = match (old.is_empty(), new.is_empty()) {
                (true, true) => return false,
                (true, false) => OLD,
                (false, true) => NEW,
                (false, false) => BOTH,
            };
            self.found(effect, format!("it was {} and is {} now", old.words(), new.words()));
            return false;
        }
        let (lost, gained) = (old.without(new), new.without(old));
        if !lost.is_empty() {
            self.found(NEW, format!("it may no longer be {}", lost.words()));
        }
        if !gained.is_empty() {
            self.found(OLD, format!("it may now be {}", gained.words()));
        }
        true
    }

    fn bounds(&mut self, old: &Level<'a>, new: &Level<'a>) {
        for (keyword, was, is) in pairs(&old.bounds, &new.bounds) {
            let is_minimum = keyword.starts_with("min") || keyword.starts_with("exclusiveMin");
            let order = match (was, is) {
                (Some(was), Some(is)) => number::compare(was, is),
                // No bound is looser than any.
                (None, _) if is_minimum => Ordering::Less,
                (None, _) => Ordering::Greater,
                (_, None) if is_minimum => Ordering::Greater,
                (_, None) => Ordering::Less,
            };
            if order.is_ne() {
                let stricter = order.is_lt() == is_minimum;
                let (effect, word) = if stricter { (NEW, "stricter") } else { (OLD, "looser") };
                self.found(effect, format!("its `{keyword}` is {word} now"));
            }
        }
    }

    fn exact(&mut self, old: &Level<'a>, new: &Level<'a>) {
        for (keyword, was, is) in pairs(&old.exact, &new.exact) {
            if was != is {
                self.found(BOTH, format!("its `{keyword}` is another"));
            }
        }
    }

    fn values(&mut self, old: &[&Value], new: &[&Value]) {
        self.steps += level::steps_of(old, new);
        if self.steps > limits::COMPARE_STEPS_MAX {
            return;
        }
        for lost in level::without(old, new) {
            self.found(NEW, format!("it may no longer be {}", shown(lost)));
        }
        for gained in level::without(new, old) {
            self.found(OLD, format!("it may now be {}", shown(gained)));
        }
    }

    fn array(&mut self, old: &Level<'a>, new: &Level<'a>) {
        if old.prefix.len() != new.prefix.len() {
            self.found(BOTH, "another number of items is described one by one");
            return;
        }
        for (index, (old, new)) in old.prefix.iter().zip(&new.prefix).enumerate() {
            self.below(&index.to_string(), old, new);
        }
        self.below("*", old.items.unwrap_or(&ANY), new.items.unwrap_or(&ANY));
    }

    fn object(&mut self, old: &Level<'a>, new: &Level<'a>) {
        for name in old.names().chain(new.names().filter(|name| !old.describes(name))) {
            let length = self.path.len();
            push_key(&mut self.path, name);
            self.property(name, old, new);
            self.path.truncate(length);
        }
        let length = self.path.len();
        push_key(&mut self.path, "*");
        match (old.others(), new.others()) {
            (None, None) => {}
            (None, Some(Value::Bool(false))) => self.found(NEW, "properties that are not described are refused now"),
            (Some(Value::Bool(false)), None) => self.found(OLD, "properties that are not described are allowed now"),
            (None, Some(_)) => self.found(Effect::Gain, "properties of any name are described now"),
            (Some(_), None) => self.found(Effect::Loss, "properties of any name are no longer described"),
            (Some(old), Some(new)) => self.compare(old, new),
        }
        self.path.truncate(length);
    }

    fn property(&mut self, name: &str, old: &Level<'a>, new: &Level<'a>) {
        let (was_required, is_required) = (old.required.contains(name), new.required.contains(name));
        let (was_described, is_described) = (old.describes(name), new.describes(name));
        match (was_required, is_required) {
            (false, true) if was_described => self.found(NEW, "it is required now, and older data may lack it"),
            (false, true) => self.found(NEW, "it is new and required, and older data lacks it"),
            (true, false) if is_described => self.found(OLD, "it is no longer required, and older readers need it"),
            (true, false) => self.found(OLD, "it is gone, and older readers need it"),
            (true, true) | (false, false) => {}
        }
        match (old.property(name), new.property(name)) {
            (None, None) => {}
            (None, Some(_)) if is_required => {}
            (None, Some(_)) => self.found(Effect::Gain, "it is new and optional"),
            (Some(_), None) if was_required => {}
            (Some(_), None) => self.found(Effect::Loss, "it is gone, and was optional"),
            (Some(Value::Bool(false)), Some(_)) if !was_described => {
                self.found(OLD, "it is new, and older readers refuse what they do not know");
            }
            (Some(_), Some(Value::Bool(false))) if !is_described => {
                self.found(NEW, "it is gone, and older data that has it is refused");
            }
            (Some(old), Some(new)) => self.compare(old, new),
        }
    }

    fn below(&mut self, part: &str, old: &'a Value, new: &'a Value) {
        let length = self.path.len();
        push_key(&mut self.path, part);
        self.compare(old, new);
        self.path.truncate(length);
    }

    fn found(&mut self, effect: Effect, sentence: impl Into<Cow<'static, str>>) {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        self.found.push(SchemaChange {
            path: path.to_owned(),
            sentence: sentence.into(),
            effect,
        });
    }

    fn step(&mut self) -> bool {
        self.steps += 1;
        self.steps <= limits::COMPARE_STEPS_MAX
    }
}

fn is_among(pairs: &[(&Value, &Value)], old: &Value, new: &Value) -> bool {
    pairs
        .iter()
        .any(|(one, other)| std::ptr::eq(*one, old) && std::ptr::eq(*other, new))
}

/// What two maps say under each of their keys.
fn pairs<'m, T: Copy>(old: &BTreeMap<&'m str, T>, new: &BTreeMap<&'m str, T>) -> Vec<(&'m str, Option<T>, Option<T>)> {
    let only_new = new.keys().filter(|key| !old.contains_key(*key));
    old.keys()
        .chain(only_new)
        .map(|key| (*key, old.get(key).copied(), new.get(key).copied()))
        .collect()
}

fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 64;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
