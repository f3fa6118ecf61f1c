//! What a PostgreSQL server knows of itself.

use hive_errors::Result;

use super::{Concern, Finding, is_damage};
use crate::db::{Db, Snapshot};
use crate::limits;

const INVALID_INDEXES: &str = "SELECT c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND pg_table_is_visible(i.indrelid) ORDER BY 1 LIMIT ?1";

const UNCHECKED_CONSTRAINTS: &str =
    "SELECT k.conname::text || ' of ' || k.conrelid::regclass::text FROM pg_constraint k
    WHERE NOT k.convalidated AND k.conrelid <> 0 AND pg_table_is_visible(k.conrelid) ORDER BY 1 LIMIT ?1";

/// The schema in which `amcheck` is, where the function may be called.
const AMCHECK: &str = "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = 'bt_index_check' AND p.pronargs = 1
    WHERE e.extname = 'amcheck' AND has_function_privilege(p.oid, 'EXECUTE')";

const TREES: &str =
    "SELECT c.oid::bigint, c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
    WHERE i.indisvalid AND c.relkind = 'i' AND c.relpersistence = 'p' AND pg_table_is_visible(i.indrelid) ORDER BY 2";

pub(super) async fn check(db: &Db) -> Result<Vec<Finding>> {
    let (indexes, constraints, amcheck) = db
        .read(|db| {
            let schema = db.query_opt(AMCHECK, &[], |row| row.get::<String>(0))?;
            Ok((names(db, INVALID_INDEXES)?, names(db, UNCHECKED_CONSTRAINTS)?, schema))
        })
        .await?;
    let unusable = indexes
        .into_iter()
        .map(|name| Finding::new(Concern::Structure, format!("index {name} is not valid")));
    let unchecked = constraints
        .into_iter()
        .map(|name| Finding::new(Concern::Reference, format!("constraint {name} was never checked")));
    let mut found: Vec<Finding> = unusable.chain(unchecked).collect();
    if let Some(schema) = amcheck {
        trees(db, &schema, &mut found).await?;
    }
    Ok(found)
}

fn names(db: &Snapshot<'_>, sql: &str) -> Result<Vec<String>> {
    let limit = i64::try_from(limits::DB_FINDINGS).unwrap_or(i64::MAX);
    db.query(sql, &[&limit], |row| row.get(0))
}

/// Each tree in a read of its own: together they may take longer than one may.
async fn trees(db: &Db, schema: &str, found: &mut Vec<Finding>) -> Result<()> {
    let trees = db
        .read(|db| db.query(TREES, &[], |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?))))
        .await?;
    for (tree, name) in trees {
        if found.len() >= limits::DB_FINDINGS {
            break;
        }
        // No row when it was dropped since it was listed.
        let sql =
            format!("SELECT {schema}.bt_index_check(c.oid::regclass)::text FROM pg_class c WHERE c.oid = ?1::bigint");
        match db.read(move |db| db.query(&sql, &[&tree], |_| Ok(()))).await {
            Ok(_) => {}
            Err(error) if is_damage(&error) => {
                found.push(Finding::new(Concern::Structure, format!("index {name}: {error}")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
