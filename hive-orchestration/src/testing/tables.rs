//! Every table, byte for byte.

use std::fmt::Write;

use hive_core::db::Snapshot;
use hive_errors::Result;

/// The tables, by name, without SQLite's own.
pub(super) fn names(db: &Snapshot<'_>) -> Result<Vec<String>> {
    db.query(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
        &[],
        |row| row.get(0),
    )
}

/// The rows of a table as literals, sorted.
pub(super) fn rows(db: &Snapshot<'_>, table: &str) -> Result<Vec<String>> {
    let columns = db.query(
        "SELECT name FROM pragma_table_info(?1) ORDER BY cid",
        &[&table],
        |row| row.get::<String>(0),
    )?;
    let quoted: Vec<String> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
    let row = quoted.join(" || ' ' || ");
    let mut rows = db.query(&format!("SELECT {row} FROM \"{table}\""), &[], |row| {
        row.get::<String>(0)
    })?;
    rows.sort_unstable();
    Ok(rows)
}

/// Everything that is stored: times and ids included.
pub(super) fn dump(db: &Snapshot<'_>) -> Result<String> {
    let mut all = String::new();
    for table in names(db)? {
        let rows = rows(db, &table)?;
        // Writing to a string cannot fail.
        let _written = writeln!(all, "{table}: {}", rows.len());
        for row in rows {
            all.push_str(&row);
            all.push('\n');
        }
    }
    Ok(all)
}
