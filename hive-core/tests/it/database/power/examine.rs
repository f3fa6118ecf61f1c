//! What is found after the power went.

use std::path::Path;

use hive_core::db::{Snapshot, Tx};
use hive_errors::Result;

use super::super::open;
use super::model::{Digest, Model, digest};

/// What a row's twin says of its content.
pub(super) fn sum(bytes: usize, fill: u8) -> i64 {
    i64::try_from(bytes).unwrap() << 8 | i64::from(fill)
}

/// Opens what a power cut left and says what is wrong with it.
pub(super) async fn examine(path: &Path, promised: u64, model: &Model) -> Result<(), String> {
    let db = open(path)
        .await
        .map_err(|error| format!("it does not open: {error:?}"))?;
    let found = db.read(content).await;
    let (serial, name, content) = found.map_err(|error| format!("it cannot be read: {error:?}"))??;
    model.judge(promised, serial, name, content)?;
    // Work goes on.
    let touch = |tx: &mut Tx<'_>| tx.execute("UPDATE row SET id = id WHERE id < 0", &[]);
    db.write(touch)
        .await
        .map_err(|error| format!("it cannot be written: {error:?}"))?;
    db.close()
        .await
        .map_err(|error| format!("it cannot be closed: {error:?}"))
}

/// The state that the database is in, by number and name, and its rows; or what is wrong with it.
pub(super) fn content(db: &Snapshot<'_>) -> Result<Result<(u64, u64, Digest), String>> {
    let integrity: String = db.query_one("PRAGMA integrity_check", &[], |row| row.get(0))?;
    if integrity != "ok" {
        return Ok(Err(format!("it is corrupt: {integrity}")));
    }
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'serial'";
    let prepared: i64 = db.query_one(tables, &[], |row| row.get(0))?;
    let (serial, name): (i64, i64) = if prepared == 0 {
        (0, 0)
    } else {
        // The table was made together with its row.
        db.query_one("SELECT last, name FROM serial", &[], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
    };
    let mut content: Result<Digest, String> = Ok(0);
    let pairs = "SELECT row.id, body, twin.id, length FROM row FULL JOIN twin ON row.id = twin.id";
    db.each(pairs, &[], |row| {
        let (id, twin): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(2)?);
        let (Some(id), Some(_)) = (id, twin) else {
            content = Err(format!("a closure is there by halves: row {id:?}, twin {twin:?}"));
            return Ok(false);
        };
        let length: i64 = row.get(3)?;
        let (bytes, fill) = (usize::try_from(length >> 8).unwrap(), length.to_le_bytes()[0]);
        if row.blob(1)? != vec![fill; bytes] {
            content = Err(format!("a closure is there by halves: row {id} is not its twin's"));
            return Ok(false);
        }
        if let Ok(sum) = &mut content {
            *sum = sum.wrapping_add(digest(id, bytes, fill));
        }
        Ok(true)
    })?;
    Ok(content.map(|content| (serial.cast_unsigned(), name.cast_unsigned(), content)))
}
