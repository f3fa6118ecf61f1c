//! Whether what one agent gives can be what another takes.

use std::cell::Cell;

use super::finding::Code;
use super::reference::escaped;
use super::schema::{Extra, Kinds, View};
use crate::limits;

/// Why nothing that the source gives fits the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// The JSON pointer into the value.
    pub(super) at: String,
    pub(super) code: Code,
    pub(super) message: String,
}

/// How much may still be looked at.
#[derive(Debug)]
pub(super) struct Fuel(Cell<usize>);

impl Default for Fuel {
    fn default() -> Self {
        Self(Cell::new(limits::PLAN_SCHEMA_STEPS))
    }
}

impl Fuel {
    /// `false` when it is used up.
    pub(super) fn burn(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// Compares what is given, one of `source`, with what is taken. `None` when some of it may fit, or nobody can tell.
pub(super) fn misfit(source: &[View<'_>], target: View<'_>, fuel: &Fuel) -> Option<Misfit> {
    any(source, &target.branches(), "", 0, fuel)
}

/// The first misfit of a pair of alternatives, when none of the pairs fits.
fn any(source: &[View<'_>], target: &[View<'_>], at: &str, depth: usize, fuel: &Fuel) -> Option<Misfit> {
    if depth >= limits::PLAN_SCHEMA_DEPTH {
        return None;
    }
    let kinds = |views: &[View<'_>]| {
        views
            .iter()
            .map(|view| view.kinds())
            .fold(Kinds::NULL.without(Kinds::NULL), Kinds::or)
    };
    let (gives, takes) = (kinds(source), kinds(target));
    if !overlap(gives, takes) {
        return Some(wrong_type(at, gives, takes));
    }
    let mut first: Option<Misfit> = None;
    for given in source {
        // That something may be absent is no reproach as long as it may be there.
        if given.kinds() == Kinds::NULL && source.len() > 1 {
            continue;
        }
        for taken in target {
            if taken.kinds() == Kinds::NULL && target.len() > 1 && given.kinds() != Kinds::NULL {
                continue;
            }
            if !fuel.burn() {
                return None;
            }
            match pair(*given, *taken, at, depth, fuel) {
                None => return None,
                // The most telling one lies deepest.
                Some(misfit) if first.as_ref().is_none_or(|known| known.at.len() < misfit.at.len()) => {
                    first = Some(misfit)
                }
                Some(_) => {}
            }
        }
    }
    first
}

/// A number that may have a fraction is no integer, although some are.
fn overlap(gives: Kinds, takes: Kinds) -> bool {
    let common = gives.and(takes);
    if common.is_empty() {
        return false;
    }
    !(gives.has(Kinds::NUMBER)
        && common.without(Kinds::NULL) == Kinds::INTEGER
        && gives.without(Kinds::NULL) == Kinds::NUMBER)
}

fn wrong_type(at: &str, gives: Kinds, takes: Kinds) -> Misfit {
    Misfit {
        at: at.to_owned(),
        code: Code::TypeMismatch,
        message: format!("it is of type {gives}, and the agent takes {takes}"),
    }
}

fn pair(given: View<'_>, taken: View<'_>, at: &str, depth: usize, fuel: &Fuel) -> Option<Misfit> {
    let (gives, takes) = (given.kinds(), taken.kinds());
    if !overlap(gives, takes) {
        return Some(wrong_type(at, gives, takes));
    }
    if let (Some(given), Some(taken)) = (given.listed(), taken.listed())
        && !given.iter().any(|value| taken.contains(value))
    {
        return Some(Misfit {
            at: at.to_owned(),
            code: Code::InvalidValue,
            message: format!("it is {}, and the agent takes {}", list(&given), list(&taken)),
        });
    }
    // What may be one of several types may be the right one.
    match gives.and(takes).without(Kinds::NULL) {
        Kinds::OBJECT if gives.without(Kinds::NULL) == Kinds::OBJECT => objects(given, taken, at, depth, fuel),
        Kinds::ARRAY if gives.without(Kinds::NULL) == Kinds::ARRAY => arrays(given, taken, at, depth, fuel),
        _ => None,
    }
}

pub(super) fn list(values: &[&serde_json::Value]) -> String {
    const SHOWN: usize = 12;
    let mut text = values
        .iter()
        .take(SHOWN)
        .map(|value| format!("{:.60}", value.to_string()))
        .collect::<Vec<_>>()
        .join(" or ");
    if values.len() > SHOWN {
        text.push_str(" or another");
    }
    text
}

fn objects(given: View<'_>, taken: View<'_>, at: &str, depth: usize, fuel: &Fuel) -> Option<Misfit> {
    if given.is_opaque() || taken.is_opaque() {
        return None;
    }
    for name in taken.required() {
        let is_given = given.property(name).is_some() || matches!(given.extra(), Extra::Any | Extra::Of(_));
        if !is_given {
            return Some(Misfit {
                at: at.to_owned(),
                code: Code::MissingProperty,
                message: format!("it has no `{name}`, which the agent needs"),
            });
        }
    }
    for (name, _) in given.properties().into_iter().flatten() {
        let Some(gives) = given.property(name) else { continue };
        let takes = match (taken.property(name), taken.extra()) {
            (Some(takes), _) | (None, Extra::Of(takes)) => takes,
            (None, Extra::Closed) if given.required().any(|required| required == name) => {
                return Some(Misfit {
                    at: at.to_owned(),
                    code: Code::UnknownProperty,
                    message: format!("it has `{name}`, which the agent does not take"),
                });
            }
            (None, Extra::Closed | Extra::Unsaid | Extra::Any) => continue,
        };
        let below = format!("{at}/{}", escaped(name));
        let found = any(&gives.branches(), &takes.branches(), &below, depth + 1, fuel);
        if found.is_some() {
            return found;
        }
    }
    None
}

fn arrays(given: View<'_>, taken: View<'_>, at: &str, depth: usize, fuel: &Fuel) -> Option<Misfit> {
    let ((given_min, given_max), (taken_min, taken_max)) = (given.lengths(), taken.lengths());
    if given_min > taken_max || given_max < taken_min {
        return Some(Misfit {
            at: at.to_owned(),
            code: Code::TypeMismatch,
            message: "it is a list of another length than the agent takes".to_owned(),
        });
    }
    // A list may be empty, and then fits whatever its items would be; but nobody writes an agent for that.
    let tuple = usize::try_from(given_min.max(taken_min))
        .unwrap_or(usize::MAX)
        .clamp(1, limits::PLAN_SCHEMA_DEPTH);
    (0..tuple).find_map(|place| {
        let (gives, takes) = (given.item(place)?, taken.item(place)?);
        any(
            &gives.branches(),
            &takes.branches(),
            &format!("{at}/{place}"),
            depth + 1,
            fuel,
        )
    })
}
