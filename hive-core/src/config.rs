//! Configuration from layers, each overriding the one before: defaults, files, environment, code.
//!
//! The keys that exist are those of the type, by its JSON Schema; every other key is refused with the place where it
//! stands and the nearest key that exists, because a misspelt setting that is silently ignored is found at night. Where a
//! value came from can be asked ([`Loaded::source`]). Values of type [`Secret`] appear in no output and no error.
//!
//! ```
//! use hive_core::config::{Environment, Loader, Secret};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize, JsonSchema)]
//! struct Settings {
//!     workers: u16,
//!     database: Database,
//!     token: Option<Secret<String>>,
//! }
//!
//! #[derive(Debug, Serialize, Deserialize, JsonSchema)]
//! struct Database {
//!     path: String,
//! }
//!
//! impl Default for Settings {
//!     fn default() -> Self {
//!         Self { workers: 4, database: Database { path: "hive.db".into() }, token: None }
//!     }
//! }
//!
//! let settings = Loader::<Settings>::new()
//!     .text("hive.toml", "workers = 8\n[database]\npath = 'a.db'")
//!     .environment(Environment::new("HIVE", [("HIVE_DATABASE__PATH".into(), "b.db".into())]))
//!     .set("workers", 16)
//!     .load()?;
//! assert_eq!((settings.workers, settings.database.path.as_str()), (16, "b.db"));
//! assert_eq!(settings.source("database.path").unwrap().to_string(), "environment variable HIVE_DATABASE__PATH");
//!
//! let error = Loader::<Settings>::new().text("hive.toml", "worker = 8").load().unwrap_err();
//! assert_eq!(error.field("nearest"), Some("workers"));
//! # Ok::<(), hive_errors::Error>(())
//! ```

mod environment;
mod file;
mod loaded;
mod secret;
mod shape;
mod tree;

#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use hive_errors::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::nearest::nearest;
use crate::payload::Schema;

use shape::{Child, Shape};
use tree::Tree;

pub use environment::Environment;
pub use loaded::{Loaded, Source};
pub use secret::Secret;

/// Collects the layers of a configuration and loads it.
///
/// The order of the layers is fixed: `T::default()`, files in the order in which they were named, environment, code. Within
/// tables, layers are merged key by key; lists and values are replaced whole.
///
/// `T` is described by its JSON Schema, so `#[serde(rename)]`, `Option`, maps, enums and `#[serde(flatten)]` work;
/// names by `#[serde(alias)]` are not part of a schema and are refused.
pub struct Loader<T> {
    files: Vec<Layer>,
    profile: Option<String>,
    environment: Option<Environment>,
    code: Vec<(String, Result<Value, serde_json::Error>)>,
    kind: PhantomData<fn() -> T>,
}

enum Layer {
    /// A file, which must exist or need not.
    File { path: PathBuf, required: bool },
    /// TOML under a name for errors.
    Text { name: String, toml: String },
}

impl<T: Default + Serialize + DeserializeOwned + JsonSchema> Loader<T> {
    /// Only the defaults.
    pub fn new() -> Self {
        Self {
            files: Vec::new(),
            profile: None,
            environment: None,
            code: Vec::new(),
            kind: PhantomData,
        }
    }

    /// A TOML file that must exist.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(Layer::File {
            path: path.into(),
            required: true,
        });
        self
    }

    /// A TOML file that may be absent; one that exists but cannot be read is an error all the same.
    #[must_use]
    pub fn file_if_exists(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(Layer::File {
            path: path.into(),
            required: false,
        });
        self
    }

    /// TOML that is there already, such as one compiled into the program; `name` stands in errors.
    #[must_use]
    pub fn text(mut self, name: impl Into<String>, toml: impl Into<String>) -> Self {
        self.files.push(Layer::Text {
            name: name.into(),
            toml: toml.into(),
        });
        self
    }

    /// Where the program runs, such as `production`: next to each file `hive.toml`, the file `hive.production.toml` is read
    /// after it where it exists.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// The environment's variables.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Sets one key, dots between tables: `.set("database.path", "a.db")`. For a secret, give what it holds.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Serialize) -> Self {
        self.code.push((key.into(), serde_json::to_value(value)));
        self
    }

    /// Reads the layers and makes a `T` of them.
    ///
    /// Blocks on the file system; meant for the start of a program.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]. The fields say where (`source`: a file with its line, a variable, code), which `key`, the
    /// `nearest` key that exists, and the `reason`, without the values of secrets.
    pub fn load(self) -> Result<Loaded<T>> {
        let schema = Schema::of::<T>();
        let shape = Shape::root(schema.as_value());

        let mut tree = Self::defaults()?;
        let mut overriding = Vec::new();
        for layer in &self.files {
            overriding.extend(layer.read(self.profile.as_deref())?);
        }
        if let Some(environment) = &self.environment {
            overriding.push(environment.tree(&shape)?);
        }
        for (key, value) in self.code {
            let value = value.map_err(|source| {
                Error::new(ErrorKind::Config, "a value set in code has no JSON form")
                    .with("key", &key)
                    .with_source(source)
            })?;
            overriding.push(Tree::nested(&key, Tree::from_value(value, &Source::Code), Source::Code));
        }
        for layer in overriding {
            check(&layer, &shape, &mut Vec::new(), &shape)?;
            tree.merge(layer);
        }

        let value = serde_path_to_error::deserialize(tree.to_value())
            .map_err(|error| misfit(&tree, &shape, &error.path().to_string(), error.inner()))?;
        Ok(Loaded::new(value, tree.sources()))
    }

    fn defaults() -> Result<Tree> {
        let value = secret::exposing(|| serde_json::to_value(T::default())).map_err(|source| {
            Error::new(ErrorKind::Config, "the default configuration has no JSON form").with_source(source)
        })?;
        Ok(Tree::from_value(value, &Source::Default))
    }
}

impl Layer {
    fn read(&self, profile: Option<&str>) -> Result<Vec<Tree>> {
        match self {
            Self::Text { name, toml } => Ok(vec![file::parse(name, toml)?]),
            Self::File { path, required } => {
                let mut trees: Vec<Tree> = file::read(path, *required)?.into_iter().collect();
                if let Some(profile) = profile {
                    trees.extend(file::read(&file::profiled(path, profile)?, false)?);
                }
                Ok(trees)
            }
        }
    }
}

/// Refuses keys that do not exist, and a secret that was printed and read back.
fn check(tree: &Tree, shape: &Shape<'_>, path: &mut Vec<String>, root: &Shape<'_>) -> Result<()> {
    if shape.is_secret() && tree.is_redacted() {
        return Err(
            Error::new(ErrorKind::Config, "a secret was replaced by its redacted form")
                .with("source", tree.source())
                .with("key", path.join("."))
                .with_hint("a secret is never printed; give what it holds, from code with Secret::expose"),
        );
    }
    for (step, below) in tree.children() {
        path.push(step.to_string());
        let child = match step {
            tree::Step::Key(key) => shape.child(key),
            tree::Step::Index(_) => shape.item(),
        };
        match child {
            Child::Known(child) => check(below, &child, path, root)?,
            // Whatever stands below fits, or is a matter of types, which are checked in the end.
            Child::Open => {}
            // Within a secret the name itself may be what is not to be shown.
            Child::Unknown(_) if shape.is_secret() => {
                path.pop();
                return Err(
                    Error::new(ErrorKind::Config, "unknown configuration key within a secret")
                        .with("source", below.source())
                        .with("key", path.join(".")),
                );
            }
            Child::Unknown(names) => return Err(unknown(path, below.source(), &names, root)),
        }
        path.pop();
    }
    Ok(())
}

/// The error of a key that does not exist.
fn unknown(path: &[String], source: &Source, siblings: &[&str], root: &Shape<'_>) -> Error {
    let key = path.join(".");
    let (name, table) = path
        .split_last()
        .map_or(("", &[][..]), |(name, table)| (name.as_str(), table));
    let in_table = |name: &str| {
        table
            .iter()
            .map(String::as_str)
            .chain([name])
            .collect::<Vec<_>>()
            .join(".")
    };
    // The right name in the wrong table is as common as a wrong name.
    let elsewhere = || {
        root.keys()
            .into_iter()
            .find(|known| known.rsplit('.').next() == Some(name))
    };
    let suggestion = nearest(name, siblings.iter().copied()).map(in_table).or_else(elsewhere);

    let error = Error::new(ErrorKind::Config, "unknown configuration key")
        .with("source", source)
        .with("key", &key);
    let mut names = siblings.to_vec();
    names.sort_unstable();
    match suggestion {
        Some(nearest) => error
            .with("nearest", &nearest)
            .with_hint(format!("did you mean `{nearest}`?")),
        None if names.is_empty() => error.with_hint(format!("`{}` takes a value and no table", table.join("."))),
        None => error.with_hint(format!("the keys here are {}", names.join(", "))),
    }
}

/// The error of a value that does not fit its type.
fn misfit(tree: &Tree, shape: &Shape<'_>, path: &str, source: &serde_json::Error) -> Error {
    let reason = source.to_string();
    let secret_here = shape.at(&tree::steps(path)).is_some_and(|shape| shape.is_secret());
    // The message may quote the value, also from an outer path where serde buffers (flattened and untagged types).
    let reason = if secret_here
        || tree
            .secrets(shape)
            .iter()
            .any(|secret| reason.contains(secret.as_str()))
    {
        "the value does not fit its type".to_owned()
    } else {
        reason
    };
    let error = Error::new(ErrorKind::Config, "a configuration value does not fit");
    let error = match tree.nearest_source(path) {
        Some(source) => error.with("source", source),
        None => error,
    };
    error.with("key", path).with("reason", reason)
}

impl<T: Default + Serialize + DeserializeOwned + JsonSchema> Default for Loader<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Names of layers and keys only: values may be secret.
impl<T> fmt::Debug for Loader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self
            .files
            .iter()
            .map(|layer| match layer {
                Layer::File { path, .. } => path.display().to_string(),
                Layer::Text { name, .. } => name.clone(),
            })
            .collect();
        f.debug_struct("Loader")
            .field("files", &names)
            .field("profile", &self.profile)
            .field("environment", &self.environment)
            .field("code", &self.code.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .finish()
    }
}
