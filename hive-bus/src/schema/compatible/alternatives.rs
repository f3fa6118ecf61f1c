//! Alternatives: which of the old ones is which of the new.

use serde_json::Value;

use super::super::keyword::{Kind, Kinds};
use super::level::{Alternatives, Level, steps_of, without};
use super::{BOTH, Comparison, NEW, OLD};
use crate::limits;

impl<'a> Comparison<'a> {
    pub(super) fn alternatives(&mut self, old: &Alternatives<'a>, new: &Alternatives<'a>) {
        let told_apart =
            are_told_apart(self.old, old, &mut self.steps) && are_told_apart(self.new, new, &mut self.steps);
        if !told_apart && (old.is_one || new.is_one) {
            self.steps += 2 * steps_of(&old.values, &new.values);
            // What is added to one alternative may make data fit another one as well, or no longer.
            let alike = self.step()
                && old.is_one == new.is_one
                && without(&old.values, &new.values).next().is_none()
                && without(&new.values, &old.values).next().is_none()
                && old.schemas.len() == new.schemas.len()
                && old
                    .schemas
                    .iter()
                    .zip(&new.schemas)
                    .all(|(old, new)| self.alike(old, new));
            if !alike {
                self.found(BOTH, "alternatives changed of which data may fit several");
            }
            return;
        }
        self.values(&old.values, &new.values);
        let mut rest = new.schemas.clone();
        let mut lost = Vec::new();
        for old in &old.schemas {
            match rest.iter().position(|new| self.try_pair(old, new)) {
                Some(at) => drop(rest.remove(at)),
                None => lost.push(*old),
            }
        }
        if lost.len() == rest.len() {
            // Likely the same ones, and what changed in them says more.
            for (old, new) in lost.into_iter().zip(rest) {
                self.compare(old, new);
            }
            return;
        }
        for _ in lost {
            self.found(NEW, "one of the alternatives is gone or changed");
        }
        for _ in rest {
            self.found(OLD, "one of the alternatives is new or changed");
        }
    }

    /// Whether nobody breaks when one becomes the other; what else changes is kept then.
    fn try_pair(&mut self, old: &'a Value, new: &'a Value) -> bool {
        let before = self.found.len();
        self.compare(old, new);
        let breaks = self.found.iter().skip(before).any(|change| change.is_breaking());
        if breaks {
            self.found.truncate(before);
        }
        !breaks
    }
}

/// Whether no data can fit two of the alternatives.
fn are_told_apart<'a>(root: &'a Value, alternatives: &Alternatives<'a>, steps: &mut usize) -> bool {
    let levels: Vec<Level<'a>> = alternatives
        .schemas
        .iter()
        .map(|schema| Level::of(root, schema, steps))
        .collect();
    let values: Kinds = alternatives.values.iter().map(|value| Kind::of(value)).collect();
    levels.iter().enumerate().all(|(at, one)| {
        let mut others = levels.iter().skip(at + 1);
        !one.is_opaque() && one.kinds.and(values).is_empty() && others.all(|other| differ(root, one, other, steps))
    })
}

/// Whether no data can fit both: their types differ, or both are objects that say by a property which of them they are.
fn differ<'a>(root: &'a Value, one: &Level<'a>, other: &Level<'a>, steps: &mut usize) -> bool {
    *steps += 1;
    if *steps > limits::COMPARE_STEPS_MAX {
        return false;
    }
    let common = one.kinds.and(other.kinds);
    if common.is_empty() {
        return true;
    }
    if common != Kinds::from_iter([Kind::Object]) {
        return false;
    }
    let tagged = one.required.intersection(&other.required).any(|name| {
        let mut values = |level: &Level<'a>| {
            let property = level.property(name).map(|schema| Level::of(root, schema, steps));
            property
                .filter(|level| !level.is_opaque())
                .and_then(|level| level.values)
        };
        let (one, other) = (values(one), values(other));
        one.zip(other)
            .is_some_and(|(one, other)| without(&one, &other).count() == one.len())
    });
    tagged || excludes(one, other) || excludes(other, one)
}

/// Whether `closed` refuses a property that `other` requires.
fn excludes(closed: &Level<'_>, other: &Level<'_>) -> bool {
    closed.additional == Some(&Value::Bool(false))
        && other
            .required
            .iter()
            .any(|name| closed.property(name) == Some(&Value::Bool(false)))
}
