//! The schemas that a database has seen, so that a program which cannot read its events, or whose events others cannot
//! read, is refused before it writes any.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hive_core::db::{Snapshot, Tx};
use hive_errors::{Error, ErrorKind, Result};
use serde_json::Value;

use super::TopicRegistry;
use super::compatible::{SchemaChange, compatible};
use crate::limits;

/// What makes the table. The schemas are a JSON array: usually of one, and of more when programs each added properties
/// that the others do not know.
pub(crate) const CREATE: &str = "CREATE TABLE event_schema (
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    schemas TEXT    NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;";

/// What takes the table away.
pub(crate) const DROP: &str = "DROP TABLE event_schema;";

const SELECT: &str = "SELECT name, version, schemas FROM event_schema";

const UPSERT: &str = "INSERT INTO event_schema (name, version, schemas) VALUES (?1, ?2, ?3)
    ON CONFLICT (name, version) DO UPDATE SET schemas = excluded.schemas";

/// Writes down which schemas the registry's types have.
///
/// # Errors
/// `conflict` naming the type, its version and the places in its data, when a schema that the database has seen breaks
/// those who know this one, or the other way round. `limit-reached` when the database knows
/// [`limits::SCHEMAS_REMEMBERED_MAX`] of one version already. Then nothing is written.
pub(crate) fn record(tx: &mut Tx<'_>, registry: &TopicRegistry) -> Result<()> {
    let mut seen = seen(tx, registry)?;
    let mut news = Vec::new();
    for known in registry.every() {
        let (name, version) = (known.name(), known.schema_version());
        let schemas = seen.remove(&(name.to_owned(), version)).unwrap_or_default();
        let joined = join(schemas, known.schema().as_value())
            .map_err(|e| e.with("event_type", name).with("version", version))?;
        if let Some(schemas) = joined {
            news.push((name, version, Value::Array(schemas).to_string()));
        }
    }
    for (name, version, schemas) in news {
        tx.execute(UPSERT, &[&name, &version, &schemas])?;
    }
    Ok(())
}

/// What the database has seen of the registry's types, by name and version.
fn seen(db: &Snapshot<'_>, registry: &TopicRegistry) -> Result<BTreeMap<(String, u16), Vec<Value>>> {
    let mut seen = BTreeMap::new();
    db.each(SELECT, &[], |row| {
        let (name, version) = (row.text(0)?, row.get(1)?);
        if registry.get_version(name, version).is_some() {
            let schemas = serde_json::from_str(row.text(2)?).map_err(|e| {
                Error::new(ErrorKind::Corrupt, "a type's stored schemas are not JSON")
                    .with("event_type", name)
                    .with("version", version)
                    .with_source(e)
            })?;
            seen.insert((name.to_owned(), version), schemas);
        }
        Ok(true)
    })?;
    Ok(seen)
}

/// What is remembered once `new` was seen as well; `None` when that is nothing new.
///
/// Invariant: every two that are remembered can be read by whoever knows either, and none says less than another.
pub(super) fn join(schemas: Vec<Value>, new: &Value) -> Result<Option<Vec<Value>>> {
    let mut is_known = false;
    let mut joined = Vec::new();
    for old in schemas {
        let changes = compatible(&old, new)?;
        // Whoever leaves out, or changes nothing, says nothing new; whoever only adds says all that was said before.
        is_known |= changes.iter().all(SchemaChange::is_loss);
        if !changes.iter().all(SchemaChange::is_gain) {
            joined.push(old);
        }
    }
    if is_known {
        return Ok(None);
    }
    if joined.len() == limits::SCHEMAS_REMEMBERED_MAX {
        return Err(Error::new(
            ErrorKind::LimitReached,
            "too many schemas of one version of a type are in use beside each other",
        )
        .with("limit", limits::SCHEMAS_REMEMBERED_MAX)
        .with_hint("bring them together in one schema, in a version of its own"));
    }
    joined.push(new.clone());
    Ok(Some(joined))
}
