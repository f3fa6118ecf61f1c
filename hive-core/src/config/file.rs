//! TOML into a tree that knows its lines.

use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Read};
use std::path::{Path, PathBuf};

use hive_errors::{Error, ErrorKind, Result};
use serde_json::{Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Source;
use super::tree::Tree;
use crate::limits::CONFIG_BYTES_MAX;

/// The tree of a file; `None` when it need not exist and does not.
pub(super) fn read(path: &Path, required: bool) -> Result<Option<Tree>> {
    let name = path.display().to_string();
    let failed = |source: std::io::Error| {
        Error::new(ErrorKind::Config, "the configuration file cannot be read")
            .with("source", &name)
            .with_source(source)
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == IoErrorKind::NotFound && !required => return Ok(None),
        Err(error) if error.kind() == IoErrorKind::NotFound => {
            return Err(failed(error).with_hint("create the file, or correct its path"));
        }
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(Error::new(ErrorKind::Config, "the configuration file is too large")
            .with("source", &name)
            .with("limit", CONFIG_BYTES_MAX)
            .with_hint("check that the path names a configuration file"));
    }
    // The error of a conversion from bytes would carry them, and with them any secret.
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        Error::new(ErrorKind::Config, "the configuration file is not UTF-8")
            .with("source", &name)
            .with("offset", error.valid_up_to())
    })?;
    parse(&name, text).map(Some)
}

/// The file beside `path` for a profile: `hive.toml` becomes `hive.production.toml`.
pub(super) fn profiled(path: &Path, profile: &str) -> Result<PathBuf> {
    let valid = !profile.is_empty()
        && profile
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !valid {
        return Err(Error::new(ErrorKind::Config, "the profile is not a name")
            .with("profile", profile)
            .with_hint("name a profile with letters, digits, - and _ only, such as `production`"));
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy());
    Ok(path.with_extension(extension.map_or(profile.to_owned(), |extension| format!("{profile}.{extension}"))))
}

/// The tree of TOML text.
pub(super) fn parse(name: &str, text: &str) -> Result<Tree> {
    let place = Place { name, text };
    let table = DeTable::parse(text).map_err(|error| {
        // Only its message: as a whole the error quotes the line, which may hold a secret.
        Error::new(ErrorKind::Config, "the configuration file is not TOML")
            .with("source", place.source(error.span().map_or(0, |span| span.start)))
            .with("reason", error.message())
    })?;
    place.table(table.get_ref(), 0)
}

struct Place<'a> {
    name: &'a str,
    text: &'a str,
}

impl Place<'_> {
    fn source(&self, offset: usize) -> Source {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        Source::File {
            name: self.name.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        }
    }

    fn table(&self, table: &DeTable<'_>, offset: usize) -> Result<Tree> {
        let members = table.iter().map(|(key, value)| {
            // The line of the key is where someone has to look, also for a value that spans several.
            Ok((key.get_ref().clone().into_owned(), self.value(value, key.span().start)?))
        });
        Ok(Tree::table(members.collect::<Result<_>>()?, self.source(offset)))
    }

    fn value(&self, value: &Spanned<DeValue<'_>>, offset: usize) -> Result<Tree> {
        let source = self.source(offset);
        let leaf = match value.get_ref() {
            DeValue::Table(table) => return self.table(table, offset),
            DeValue::Array(items) => {
                let items = items.iter().map(|item| self.value(item, item.span().start));
                return Ok(Tree::list(items.collect::<Result<_>>()?, source));
            }
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Boolean(value) => Value::from(*value),
            DeValue::Datetime(moment) => Value::from(moment.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::from(number),
                Err(_) => return Err(misfit(&source, "the number is beyond 64 bits")),
            },
            DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
                Some(number) => Value::from(number),
                None => return Err(misfit(&source, "the number is not finite")),
            },
        };
        Ok(Tree::from_value(leaf, &source))
    }
}

fn misfit(source: &Source, reason: &'static str) -> Error {
    Error::new(ErrorKind::Config, "a configuration value does not fit")
        .with("source", source)
        .with("reason", reason)
}
