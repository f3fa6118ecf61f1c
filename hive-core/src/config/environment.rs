use std::collections::BTreeMap;
use std::fmt;

use hive_errors::{Error, ErrorKind, Result};
use serde_json::{Number, Value};

use super::shape::{Child, Shape};
use super::tree::Tree;
use super::{Source, unknown};

/// The variables of a process that configure it: those with a prefix.
///
/// `HIVE_DATABASE__PATH` sets `database.path`: after the prefix and one underscore come the names, two underscores
/// between tables, in any case, `_` also for `-`. The schema says what the text becomes: a boolean (`true`, `false`), a
/// number, a list (a JSON array, or items with commas between them), a table (a JSON object), else the text itself.
///
/// Whoever loads a configuration hands the variables in, so that a test needs no process of its own.
#[derive(Clone)]
pub struct Environment {
    prefix: String,
    /// By name without prefix; `None` when the value is not Unicode.
    variables: BTreeMap<String, Option<String>>,
}

impl Environment {
    /// These variables, as far as they begin with `prefix` and an underscore.
    pub fn new(prefix: impl Into<String>, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::collect(
            prefix.into(),
            variables.into_iter().map(|(name, value)| (name, Some(value))),
        )
    }

    /// The variables of this process, as far as they begin with `prefix` and an underscore.
    pub fn from_process(prefix: impl Into<String>) -> Self {
        // A name that is not Unicode cannot be one of ours, whose prefix is; a value that is not is reported when loading.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())));
        Self::collect(prefix.into(), variables)
    }

    fn collect(prefix: String, variables: impl Iterator<Item = (String, Option<String>)>) -> Self {
        let ours = variables.filter_map(|(name, value)| {
            let rest = name.strip_prefix(&prefix)?.strip_prefix('_')?;
            Some((rest.to_owned(), value))
        });
        let variables = ours.collect();
        Self { prefix, variables }
    }

    /// Without the variable of this name after the prefix, which is meant for something else: `HIVE_LOG` is `without("LOG")`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    pub(super) fn tree(&self, shape: &Shape<'_>) -> Result<Tree> {
        let mut tree = Tree::table(BTreeMap::new(), Source::Default);
        for (name, text) in &self.variables {
            let source = Source::Environment {
                variable: format!("{}_{name}", self.prefix),
            };
            let (path, found) = locate(name, shape);
            if let Child::Unknown(names) = &found {
                return Err(self.spell(unknown(&path, &source, names, shape)));
            }
            let text = text.as_deref().ok_or_else(|| {
                Error::new(ErrorKind::Config, "a variable's value is not Unicode").with("source", &source)
            })?;
            let value = match &found {
                Child::Known(shape) => convert(text, shape).map_err(|expected| {
                    let error = Error::new(ErrorKind::Config, "a configuration value does not fit")
                        .with("source", &source)
                        .with("key", path.join("."))
                        .with("reason", format_args!("expected {expected}"));
                    if shape.contains_secret() {
                        error
                    } else {
                        error.with("value", text)
                    }
                })?,
                Child::Open | Child::Unknown(_) => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
            };
            let inner = Tree::from_value(value, &source);
            tree.merge(path.iter().rev().fold(inner, |inner, name| {
                Tree::table(BTreeMap::from([(name.clone(), inner)]), source.clone())
            }));
        }
        Ok(tree)
    }

    /// Shows the suggestion as it would be spelt in the environment.
    fn spell(&self, error: Error) -> Error {
        match error
            .field("nearest")
            .map(|key| key.to_uppercase().replace('-', "_").replace('.', "__"))
        {
            Some(name) => {
                let hint = format!("did you mean {}_{name}?", self.prefix);
                error.with_hint(hint)
            }
            None => error,
        }
    }
}

/// The path that a variable's name means, and what stands there.
fn locate<'a>(name: &str, root: &Shape<'a>) -> (Vec<String>, Child<'a>) {
    let mut path = Vec::new();
    let mut here = Child::Known(root.clone());
    for segment in name.split("__") {
        let lower = segment.to_lowercase();
        here = match here {
            Child::Known(shape) => {
                let name = shape.name_like(segment).map_or(lower, str::to_owned);
                let child = shape.child(&name);
                path.push(name);
                child
            }
            Child::Open => {
                path.push(lower);
                Child::Open
            }
            unknown @ Child::Unknown(_) => return (path, unknown),
        };
    }
    (path, here)
}

/// Makes of a text what the schema wants there, or says what that would be.
fn convert(text: &str, shape: &Shape<'_>) -> Result<Value, &'static str> {
    let trimmed = text.trim();
    if shape.allows("boolean")
        && let Ok(value) = trimmed.parse::<bool>()
    {
        return Ok(value.into());
    }
    if (shape.allows("integer") || shape.allows("number"))
        && let Some(number) = number(trimmed)
        && (shape.allows("number") || !number.is_f64())
    {
        return Ok(number.into());
    }
    if (shape.allows("array") && trimmed.starts_with('[')) || (shape.allows("object") && trimmed.starts_with('{')) {
        let value: Option<Value> = serde_json::from_str(trimmed).ok();
        if let Some(value) = value {
            return Ok(value);
        }
    }
    if shape.allows("string") {
        return Ok(text.into());
    }
    if shape.allows("array") && !trimmed.starts_with('[') {
        return match shape.item() {
            _ if trimmed.is_empty() => Ok(Value::Array(Vec::new())),
            Child::Known(item) => trimmed.split(',').map(|part| convert(part.trim(), &item)).collect(),
            Child::Open | Child::Unknown(_) => Ok(trimmed.split(',').map(|part| Value::from(part.trim())).collect()),
        };
    }
    let expected = [
        ("boolean", "true or false"),
        ("integer", "an integer"),
        ("number", "a number"),
        ("array", "a list with commas, or a JSON array"),
        ("object", "a JSON object"),
    ];
    Err(expected
        .into_iter()
        .find(|(kind, _)| shape.allows(kind))
        .map_or("another type", |(_, words)| words))
}

fn number(text: &str) -> Option<Number> {
    let integer = text
        .parse::<i64>()
        .ok()
        .map(Number::from)
        .or_else(|| text.parse::<u64>().ok().map(Number::from));
    // Only a text that looks like a number: `inf` and `nan` parse as floats, too.
    let float = || {
        text.parse::<f64>()
            .ok()
            .filter(|_| text.contains(|c: char| c.is_ascii_digit()))
            .and_then(Number::from_f64)
    };
    integer.or_else(float)
}

/// Names only: values may be secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("prefix", &self.prefix)
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .finish()
    }
}
