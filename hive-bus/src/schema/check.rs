//! Whether data fits a schema that came at run time.
//!
//! A documented part of JSON Schema (draft 2020-12) and no more: a schema with a keyword that is not understood is refused,
//! because a check that passes over what it does not know promises more than it keeps.

mod compile;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hive_errors::{Error, ErrorKind, Result};
use serde_json::{Map, Number, Value};

use super::keyword::{Kind, Kinds, push_key, same};
use super::number;
use crate::limits;

/// The keywords that are understood, for whoever wrote another.
const UNDERSTOOD: &str = "type, enum, const, required, properties, additionalProperties, items, prefixItems, minimum, \
     maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, minItems, maxItems, minProperties, maxProperties, \
     allOf, anyOf, oneOf, and $ref to #/$defs";

const NOTHING: &str = "nothing may stand here";

/// A schema, ready to check data with.
#[derive(Debug)]
pub(super) struct Checker {
    root: Shape,
    /// Every `$ref` leads to one of these, or to the root.
    definitions: Vec<Shape>,
}

/// What one schema asks for. Only what is there is checked.
#[derive(Debug, Default)]
struct Shape {
    /// `None`: any.
    kinds: Option<Kinds>,
    values: Option<Vec<Value>>,
    bounds: Vec<(Bound, Number)>,
    sizes: Vec<(Size, u64)>,
    object: Option<Object>,
    prefix: Vec<Shape>,
    items: Option<Box<Shape>>,
    reference: Option<Target>,
    all: Vec<Shape>,
    any: Option<Vec<Shape>>,
    one: Option<Vec<Shape>>,
}

#[derive(Debug, Default)]
struct Object {
    required: Vec<String>,
    properties: BTreeMap<String, Shape>,
    additional: Option<Box<Shape>>,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
}

/// How long a text, an array or an object is.
#[derive(Clone, Copy, Debug)]
enum Size {
    LengthMin,
    LengthMax,
    ItemsMin,
    ItemsMax,
    PropertiesMin,
    PropertiesMax,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Root,
    Definition(usize),
}

impl Checker {
    /// Takes a schema.
    ///
    /// # Errors
    /// `invalid-input` with the `path` in the schema when a keyword is not understood or has a value that it cannot have, a
    /// reference leads nowhere or in a circle, or schemas nest too deep.
    pub(super) fn new(schema: &Value) -> Result<Self> {
        compile::compile(schema)
    }

    /// Whether `data` fits.
    ///
    /// # Errors
    /// `invalid-input` with the `path` in the data and the `problem` there; `limit-reached` when finding out takes more
    /// than [`limits::CHECK_STEPS_MAX`] steps or nests too deep.
    pub(super) fn check(&self, data: &Value) -> Result<()> {
        let mut run = Run {
            checker: self,
            path: Vec::new(),
            needed: 0,
            steps: 0,
            depth: 0,
        };
        run.fits(&self.root, data).map_err(|stop| match stop {
            Stop::Misfit(Misfit { path, problem, .. }) => {
                Error::new(ErrorKind::InvalidInput, "the data does not fit the schema of its type")
                    .with("path", path)
                    .with("problem", problem)
            }
            Stop::Steps => Error::new(ErrorKind::LimitReached, "checking the data takes too many steps")
                .with("limit", limits::CHECK_STEPS_MAX)
                .with_hint("publish less at a time, or describe it with fewer alternatives"),
            Stop::Depth => Error::new(ErrorKind::LimitReached, "the data nests too deep to be checked")
                .with("limit", limits::CHECK_DEPTH_MAX)
                .with_hint("flatten the data"),
        })
    }
}

/// One check under way.
struct Run<'a> {
    checker: &'a Checker,
    path: Vec<Part<'a>>,
    /// A misfit that reaches no further than this is one of an alternative, and nobody will hear of it.
    needed: usize,
    steps: usize,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Key(&'a str),
    Index(usize),
}

enum Stop {
    Misfit(Misfit),
    Steps,
    Depth,
}

struct Misfit {
    /// How far down the data was as it should be.
    reach: usize,
    path: String,
    problem: String,
}

type Fit = Result<(), Stop>;

impl<'a> Run<'a> {
    fn fits(&mut self, shape: &'a Shape, data: &'a Value) -> Fit {
        self.step(1)?;
        self.depth += 1;
        if self.depth > limits::CHECK_DEPTH_MAX {
            return Err(Stop::Depth);
        }
        self.own(shape, data)?;
        match data {
            Value::Number(number) => self.number(shape, number)?,
            Value::String(text) => self.text(shape, text)?,
            Value::Array(items) => self.array(shape, items)?,
            Value::Object(members) => self.object(shape, members)?,
            Value::Null | Value::Bool(_) => {}
        }
        match shape.reference {
            None => {}
            Some(Target::Root) => self.fits(&self.checker.root, data)?,
            Some(Target::Definition(index)) => {
                // Invariant: the compiler only writes down definitions that it found.
                if let Some(target) = self.checker.definitions.get(index) {
                    self.fits(target, data)?;
                }
            }
        }
        for part in &shape.all {
            self.fits(part, data)?;
        }
        if let Some(alternatives) = &shape.any {
            self.alternatives(alternatives, data, 1)?;
        }
        if let Some(alternatives) = &shape.one {
            let fitting = self.alternatives(alternatives, data, 2)?;
            if fitting > 1 {
                return self.misfit(|| "it fits several alternatives and may fit one only".to_owned());
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn own(&mut self, shape: &'a Shape, data: &'a Value) -> Fit {
        let kind = Kind::of(data);
        if let Some(kinds) = shape.kinds
            && !kinds.has(kind)
        {
            return self.misfit(|| match kinds.is_empty() {
                true => NOTHING.to_owned(),
                false => format!("it is {} and should be {}", kind.word(), kinds.words()),
            });
        }
        if let Some(values) = &shape.values {
            self.step(values.len())?;
            if !values.iter().any(|value| same(value, data)) {
                // In alternatives this is how they are told apart, so it says nothing for the one that it stands in.
                return self.misfit_early(|| match values.is_empty() {
                    true => NOTHING.to_owned(),
                    false => format!("it is none of the values that it may have: {}", shown(values)),
                });
            }
        }
        Ok(())
    }

    fn number(&mut self, shape: &Shape, number: &Number) -> Fit {
        for (bound, limit) in &shape.bounds {
            let order = number::compare(number, limit);
            let (holds, word) = match bound {
                Bound::Minimum => (order.is_ge(), "at least"),
                Bound::Maximum => (order.is_le(), "at most"),
                Bound::ExclusiveMinimum => (order.is_gt(), "more than"),
                Bound::ExclusiveMaximum => (order.is_lt(), "less than"),
            };
            if !holds {
                return self.misfit(|| format!("it should be {word} {limit}"));
            }
        }
        Ok(())
    }

    fn text(&mut self, shape: &Shape, text: &str) -> Fit {
        if shape.sizes.is_empty() {
            return Ok(());
        }
        // Counting characters reads the whole text; a step is worth about as much as these bytes.
        self.step(text.len() / 64)?;
        let length = text.chars().count();
        self.sizes(shape, length, "characters", |size| match size {
            Size::LengthMin => Some(true),
            Size::LengthMax => Some(false),
            Size::ItemsMin | Size::ItemsMax | Size::PropertiesMin | Size::PropertiesMax => None,
        })
    }

    fn array(&mut self, shape: &'a Shape, items: &'a [Value]) -> Fit {
        self.sizes(shape, items.len(), "items", |size| match size {
            Size::ItemsMin => Some(true),
            Size::ItemsMax => Some(false),
            Size::LengthMin | Size::LengthMax | Size::PropertiesMin | Size::PropertiesMax => None,
        })?;
        for (index, item) in items.iter().enumerate() {
            match shape.prefix.get(index).or(shape.items.as_deref()) {
                Some(shape) => self.below(Part::Index(index), shape, item)?,
                None => break,
            }
        }
        Ok(())
    }

    fn object(&mut self, shape: &'a Shape, members: &'a Map<String, Value>) -> Fit {
        self.sizes(shape, members.len(), "properties", |size| match size {
            Size::PropertiesMin => Some(true),
            Size::PropertiesMax => Some(false),
            Size::LengthMin | Size::LengthMax | Size::ItemsMin | Size::ItemsMax => None,
        })?;
        let Some(object) = &shape.object else { return Ok(()) };
        self.step(object.required.len())?;
        if let Some(missing) = object.required.iter().find(|name| !members.contains_key(*name)) {
            self.path.push(Part::Key(missing));
            return self.misfit_early(|| "it is missing".to_owned());
        }
        for (name, member) in members {
            match object.properties.get(name).or(object.additional.as_deref()) {
                Some(shape) => self.below(Part::Key(name), shape, member)?,
                None => self.step(1)?,
            }
        }
        Ok(())
    }

    /// How many of the alternatives fit; stops at `enough`.
    fn alternatives(&mut self, alternatives: &'a [Shape], data: &'a Value, enough: usize) -> Result<usize, Stop> {
        let (place, depth) = (self.path.len(), self.depth);
        let needed = self.needed;
        self.needed = needed.max(place + 1);
        let mut fitting = 0;
        let mut nearest: Option<Misfit> = None;
        for shape in alternatives {
            match self.fits(shape, data) {
                Ok(()) => fitting += 1,
                Err(Stop::Misfit(misfit)) => {
                    self.path.truncate(place);
                    self.depth = depth;
                    if nearest.as_ref().is_none_or(|nearest| misfit.reach > nearest.reach) {
                        nearest = Some(misfit);
                    }
                }
                Err(stop @ (Stop::Steps | Stop::Depth)) => return Err(stop),
            }
            if fitting == enough {
                break;
            }
        }
        self.needed = needed;
        match nearest {
            // One that went well further than this place is likely the one that was meant.
            Some(misfit) if fitting == 0 && misfit.reach > place => Err(Stop::Misfit(misfit)),
            Some(_) | None if fitting == 0 => self
                .misfit(|| "it fits none of the alternatives".to_owned())
                .map(|()| fitting),
            Some(_) | None => Ok(fitting),
        }
    }

    /// `is_min` says whether a size is the least or the most that `count` may be, if it is about this.
    fn sizes(&mut self, shape: &Shape, count: usize, of: &str, is_min: impl Fn(Size) -> Option<bool>) -> Fit {
        let count = count as u64;
        for (size, limit) in &shape.sizes {
            let (holds, word) = match is_min(*size) {
                Some(true) => (count >= *limit, "at least"),
                Some(false) => (count <= *limit, "at most"),
                None => continue,
            };
            if !holds {
                return self.misfit(|| format!("its number of {of} is {count} and should be {word} {limit}"));
            }
        }
        Ok(())
    }

    fn below(&mut self, part: Part<'a>, shape: &'a Shape, data: &'a Value) -> Fit {
        self.path.push(part);
        self.fits(shape, data)?;
        self.path.pop();
        Ok(())
    }

    fn step(&mut self, count: usize) -> Fit {
        self.steps = self.steps.saturating_add(count);
        if self.steps > limits::CHECK_STEPS_MAX {
            return Err(Stop::Steps);
        }
        Ok(())
    }

    fn misfit(&self, problem: impl FnOnce() -> String) -> Fit {
        self.misfit_at(self.path.len(), problem)
    }

    /// One that is no better than if the value above did not fit.
    fn misfit_early(&self, problem: impl FnOnce() -> String) -> Fit {
        self.misfit_at(self.path.len().saturating_sub(1), problem)
    }

    fn misfit_at(&self, reach: usize, problem: impl FnOnce() -> String) -> Fit {
        let mut misfit = Misfit {
            reach,
            path: String::new(),
            problem: String::new(),
        };
        if reach >= self.needed {
            for part in &self.path {
                match part {
                    Part::Key(key) => push_key(&mut misfit.path, key),
                    Part::Index(index) => push_key(&mut misfit.path, &index.to_string()),
                }
            }
            if misfit.path.is_empty() {
                misfit.path.push('/');
            }
            misfit.problem = problem();
        }
        Err(Stop::Misfit(misfit))
    }
}

/// The first of some values, each cut where it is long.
fn shown(values: &[Value]) -> String {
    const VALUES_MAX: usize = 8;
    const BYTES_MAX: usize = 40;
    let mut words: Vec<String> = values
        .iter()
        .take(VALUES_MAX)
        .map(|value| {
            let text = value.to_string();
            match text.char_indices().nth(BYTES_MAX) {
                Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
                None => text,
            }
        })
        .collect();
    if values.len() > VALUES_MAX {
        words.push("…".to_owned());
    }
    words.join(", ")
}
