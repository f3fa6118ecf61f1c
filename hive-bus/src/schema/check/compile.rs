//! From a schema as JSON to shapes.

use std::collections::BTreeMap;

use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use super::super::keyword::{Holds, Kinds, definition, holds, push_key, same};
use super::{Bound, Checker, Shape, Size, Target, UNDERSTOOD};
use crate::limits;

pub(super) fn compile(schema: &Value) -> Result<Checker> {
    // Bounds the size and the depth of all of it, also of values within.
    Payload::encode(schema, limits::SCHEMA_BYTES_MAX).map_err(|e| {
        Error::new(e.kind(), "the schema is too large, or nests too deep")
            .with("limit", limits::SCHEMA_BYTES_MAX)
            .with_source(e)
    })?;
    let mut compiler = Compiler {
        names: BTreeMap::new(),
        path: String::new(),
        depth: 0,
    };
    let definitions = compiler.definitions(schema)?;
    let root = compiler.shape(schema)?;
    let checker = Checker { root, definitions };
    Circles::new(&checker).look()?;
    Ok(checker)
}

struct Compiler<'a> {
    /// Where each definition stands.
    names: BTreeMap<&'a str, usize>,
    path: String,
    depth: usize,
}

impl<'a> Compiler<'a> {
    fn definitions(&mut self, schema: &'a Value) -> Result<Vec<Shape>> {
        let Some(definitions) = schema.get("$defs") else {
            return Ok(Vec::new());
        };
        let Some(definitions) = definitions.as_object() else {
            return Err(self.wrong_value("$defs", "an object of schemas"));
        };
        self.names = definitions
            .keys()
            .enumerate()
            .map(|(index, name)| (name.as_str(), index))
            .collect();
        definitions
            .iter()
            .map(|(name, schema)| self.below(&["$defs", name], schema))
            .collect()
    }

    fn shape(&mut self, schema: &'a Value) -> Result<Shape> {
        let members = match schema {
            Value::Bool(true) => return Ok(Shape::default()),
            Value::Bool(false) => {
                return Ok(Shape {
                    kinds: Some(Kinds::NONE),
                    ..Shape::default()
                });
            }
            Value::Object(members) => members,
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(self.error("a schema is an object, or true or false"));
            }
        };
        self.depth += 1;
        if self.depth > limits::SCHEMA_DEPTH_MAX {
            return Err(self
                .error("the schema nests too deep")
                .with("limit", limits::SCHEMA_DEPTH_MAX)
                .with_hint("give its parts names in $defs"));
        }
        let mut shape = Shape::default();
        for (keyword, value) in members {
            self.keyword(&mut shape, keyword, value)?;
        }
        self.depth -= 1;
        Ok(shape)
    }

    fn keyword(&mut self, shape: &mut Shape, keyword: &str, value: &'a Value) -> Result<()> {
        match keyword {
            "type" => {
                let kinds = Kinds::of_keyword(value)
                    .ok_or_else(|| self.wrong_value(keyword, "the name of a type, or a list of names"))?;
                shape.kinds = Some(kinds);
            }
            "enum" => only(shape, self.some(keyword, value, "a list of values")?),
            "const" => only(shape, std::slice::from_ref(value)),
            "required" => {
                let names: Option<Vec<String>> = value
                    .as_array()
                    .and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
                let names = names.ok_or_else(|| self.wrong_value(keyword, "a list of names"))?;
                shape.object.get_or_insert_default().required = names;
            }
            "properties" => {
                let properties = self.members(keyword, value)?;
                let properties = properties
                    .iter()
                    .map(|(name, schema)| Ok((name.clone(), self.below(&[keyword, name], schema)?)))
                    .collect::<Result<_>>()?;
                shape.object.get_or_insert_default().properties = properties;
            }
            "additionalProperties" => {
                let additional = self.below(&[keyword], value)?;
                shape.object.get_or_insert_default().additional = Some(Box::new(additional));
            }
            "items" => shape.items = Some(Box::new(self.below(&[keyword], value)?)),
            "prefixItems" => shape.prefix = self.list(keyword, value)?,
            "allOf" => shape.all = self.list(keyword, value)?,
            "anyOf" => shape.any = Some(self.list(keyword, value)?),
            "oneOf" => shape.one = Some(self.list(keyword, value)?),
            "$ref" => shape.reference = Some(self.target(keyword, value)?),
            "minimum" => self.bound(shape, keyword, value, Bound::Minimum)?,
            "maximum" => self.bound(shape, keyword, value, Bound::Maximum)?,
            "exclusiveMinimum" => self.bound(shape, keyword, value, Bound::ExclusiveMinimum)?,
            "exclusiveMaximum" => self.bound(shape, keyword, value, Bound::ExclusiveMaximum)?,
            "minLength" => self.size(shape, keyword, value, Size::LengthMin)?,
            "maxLength" => self.size(shape, keyword, value, Size::LengthMax)?,
            "minItems" => self.size(shape, keyword, value, Size::ItemsMin)?,
            "maxItems" => self.size(shape, keyword, value, Size::ItemsMax)?,
            "minProperties" => self.size(shape, keyword, value, Size::PropertiesMin)?,
            "maxProperties" => self.size(shape, keyword, value, Size::PropertiesMax)?,
            // They say where the schema is and what dialect it is in, which is one for the whole of it.
            "$id" | "$schema" | "$defs" if self.depth == 1 && self.path.is_empty() => {}
            "$id" | "$schema" | "$defs" => {
                return Err(self.unknown(keyword, "it may only stand at the top of the schema"));
            }
            // What a validator may check of a format is its own affair, so nobody can rely on it.
            "format" | "contentEncoding" | "contentMediaType" => {}
            other if holds(other) == Holds::Annotation => {}
            other => return Err(self.unknown(other, UNDERSTOOD)),
        }
        Ok(())
    }

    fn bound(&self, shape: &mut Shape, keyword: &str, value: &Value, bound: Bound) -> Result<()> {
        let Value::Number(limit) = value else {
            return Err(self.wrong_value(keyword, "a number"));
        };
        shape.bounds.push((bound, limit.clone()));
        Ok(())
    }

    fn size(&self, shape: &mut Shape, keyword: &str, value: &Value, size: Size) -> Result<()> {
        let limit = value
            .as_u64()
            .ok_or_else(|| self.wrong_value(keyword, "a whole number from 0"))?;
        shape.sizes.push((size, limit));
        Ok(())
    }

    fn target(&self, keyword: &str, value: &Value) -> Result<Target> {
        let reference = value.as_str().ok_or_else(|| self.wrong_value(keyword, "a text"))?;
        let index = match reference.strip_prefix("#/$defs/") {
            Some(name) => definition(name).and_then(|name| self.names.get(name.as_str()).copied()),
            None if reference == "#" => return Ok(Target::Root),
            None => None,
        };
        index.map(Target::Definition).ok_or_else(|| {
            self.error("a reference in the schema leads nowhere")
                .with("reference", one_line(reference))
                .with_hint("refer to `#` or to `#/$defs/…` within the same schema; nothing is fetched")
        })
    }

    fn members(&self, keyword: &str, value: &'a Value) -> Result<&'a Map<String, Value>> {
        value
            .as_object()
            .ok_or_else(|| self.wrong_value(keyword, "an object of schemas"))
    }

    fn list(&mut self, keyword: &str, value: &'a Value) -> Result<Vec<Shape>> {
        let schemas = self.some(keyword, value, "a list of schemas")?;
        let shapes = schemas.iter().enumerate();
        shapes
            .map(|(index, schema)| self.below(&[keyword, &index.to_string()], schema))
            .collect()
    }

    fn some(&self, keyword: &str, value: &'a Value, expected: &'static str) -> Result<&'a [Value]> {
        match value.as_array() {
            Some(values) if !values.is_empty() => Ok(values),
            Some(_) | None => Err(self.wrong_value(keyword, expected)),
        }
    }

    fn below(&mut self, parts: &[&str], schema: &'a Value) -> Result<Shape> {
        let length = self.path.len();
        for part in parts {
            push_key(&mut self.path, part);
        }
        let shape = self.shape(schema)?;
        self.path.truncate(length);
        Ok(shape)
    }

    fn unknown(&self, keyword: &str, hint: &str) -> Error {
        self.error("the schema has a keyword that is not understood")
            .with("keyword", one_line(keyword))
            .with_hint(format!("leave it out or say it otherwise: {hint}"))
    }

    fn wrong_value(&self, keyword: &str, expected: &'static str) -> Error {
        self.error("a keyword of the schema has a value that it cannot have")
            .with("keyword", one_line(keyword))
            .with("expected", expected)
    }

    fn error(&self, message: &'static str) -> Error {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        Error::new(ErrorKind::InvalidInput, message).with("path", path)
    }
}

/// Both `const` and `enum` may stand in one schema.
fn only(shape: &mut Shape, values: &[Value]) {
    shape.values = Some(match shape.values.take() {
        None => values.to_vec(),
        Some(mut others) => {
            others.retain(|other| values.iter().any(|value| same(value, other)));
            others
        }
    });
}

/// A stranger's text, cut and escaped.
fn one_line(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// Looks for references that come back to where they began without a step into the data: to check with them would never
/// end. What nests in the data ends with the data.
struct Circles<'a> {
    checker: &'a Checker,
    /// By definition, the root last: `None` while it is being looked at, then how many references follow one another from it.
    lengths: BTreeMap<usize, Option<usize>>,
}

impl<'a> Circles<'a> {
    fn new(checker: &'a Checker) -> Self {
        Self {
            checker,
            lengths: BTreeMap::new(),
        }
    }

    fn look(&mut self) -> Result<()> {
        (0..=self.checker.definitions.len()).try_for_each(|index| self.from(index, 0).map(drop))
    }

    /// `before` bounds the recursion, the length what a check will do.
    fn from(&mut self, index: usize, before: usize) -> Result<usize> {
        let length = match self.lengths.get(&index) {
            Some(Some(known)) => *known,
            Some(None) => {
                let circle = Error::new(ErrorKind::InvalidInput, "references in the schema lead in a circle");
                return Err(circle.with_hint("a schema may contain itself in a property or an item, but not be itself"));
            }
            None => {
                self.lengths.insert(index, None);
                let checker = self.checker;
                let length = self.within(checker.definitions.get(index).unwrap_or(&checker.root), before)?;
                self.lengths.insert(index, Some(length));
                length
            }
        };
        if before.max(length) > limits::SCHEMA_DEPTH_MAX {
            let error = Error::new(
                ErrorKind::InvalidInput,
                "too many references in the schema follow one another",
            );
            return Err(error.with("limit", limits::SCHEMA_DEPTH_MAX));
        }
        Ok(length)
    }

    fn within(&mut self, shape: &Shape, before: usize) -> Result<usize> {
        if before > limits::SCHEMA_DEPTH_MAX {
            return Ok(before);
        }
        let mut length = match shape.reference {
            None => 0,
            Some(Target::Root) => 1 + self.from(self.checker.definitions.len(), before + 1)?,
            Some(Target::Definition(index)) => 1 + self.from(index, before + 1)?,
        };
        let alternatives = shape.any.iter().chain(&shape.one).flatten();
        for part in shape.all.iter().chain(alternatives) {
            length = length.max(self.within(part, before)?);
        }
        Ok(length)
    }
}
