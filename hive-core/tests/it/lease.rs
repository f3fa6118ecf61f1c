//! Leases from outside: many tasks, many processes, holders that die or stand still.

mod parties;
mod process;
#[cfg(all(feature = "postgres", feature = "test-util", unix))]
mod server;

use hive_core::db::{Migration, Migrations, Options};
use hive_core::lease;

/// What is written in a holder's name: in the order of `place`, tokens must never go back.
static DEEDS: Migrations = Migrations {
    owner: "deeds",
    list: &[Migration::new(
        1,
        "deed",
        "CREATE TABLE deed (place INTEGER PRIMARY KEY, token INTEGER NOT NULL, doer TEXT NOT NULL) STRICT;",
        "DROP TABLE deed;",
    )],
};

fn with_tables(options: Options) -> Options {
    options.migrations(&lease::MIGRATIONS).migrations(&DEEDS)
}

/// One more deed, in the name of `lease` and only if it is still held.
fn deed(tx: &mut hive_core::db::Tx<'_>, lease: &lease::Lease, doer: &str) -> hive_errors::Result<()> {
    lease::guard(tx, lease)?;
    let next = tx.query_one("SELECT coalesce(max(place), 0) + 1 FROM deed", &[], |row| {
        row.get::<i64>(0)
    })?;
    let sql = "INSERT INTO deed (place, token, doer) VALUES (?1, ?2, ?3)";
    tx.execute(sql, &[&next, &lease.token(), &doer]).map(drop)
}

/// All deeds in order, once they have been found to be those of one holder after another.
async fn deeds(db: &hive_core::db::Db) -> Vec<(lease::Token, String)> {
    let all = "SELECT token, doer FROM deed ORDER BY place";
    let deeds = db.read(move |db| db.query(all, &[], |row| Ok((row.get::<lease::Token>(0)?, row.get::<String>(1)?))));
    let deeds = deeds.await.unwrap();
    for pair in deeds.windows(2) {
        let [(before, one), (after, other)] = pair else {
            panic!("two of them")
        };
        assert!(before <= after, "a deed of {before} comes before one of {after}");
        assert!(
            before < after || one == other,
            "{one} and {other} had the same token {before}"
        );
    }
    deeds
}
