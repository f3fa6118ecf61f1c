//! The finished report in the hive's database.

use hive::Result;
use hive::core::db::{Db, Migration, Migrations, Tx};
use hive::core::id::TaskId;
use hive::errors::{Error, ErrorKind};

use crate::report::Report;

/// The table of finished reports, one for each queen.
pub static MIGRATIONS: Migrations = Migrations {
    owner: "hive-review",
    list: &[Migration::new(
        1,
        "report",
        "CREATE TABLE report (task BLOB PRIMARY KEY, json TEXT NOT NULL) STRICT, WITHOUT ROWID;",
        "DROP TABLE report;",
    )],
};

pub(super) fn save(tx: &mut Tx<'_>, task: TaskId, json: &str) -> Result<()> {
    tx.execute("INSERT INTO report (task, json) VALUES (?1, ?2)", &[&task, &json])?;
    Ok(())
}

/// The report of a queen that has finished.
///
/// # Errors
/// `not-found` when it has not; `corrupt` when what is stored is no report.
pub async fn load(db: &Db, task: TaskId) -> Result<Report> {
    let sql = "SELECT json FROM report WHERE task = ?1";
    let json = db
        .read(move |db| db.query_opt(sql, &[&task], |row| row.get::<String>(0)))
        .await?;
    let Some(json) = json else {
        return Err(Error::new(ErrorKind::NotFound, "the report is not stored").with("task", task));
    };
    serde_json::from_str(&json).map_err(|source| {
        Error::new(ErrorKind::Corrupt, "the stored report cannot be read")
            .with("task", task)
            .with_source(source)
            .with_hint("review again with --fresh")
    })
}
