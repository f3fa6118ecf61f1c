//! The rows, and every statement on them.

use std::sync::OnceLock;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

use super::{Holder, Lease, Outcome, Status, Token, check_name, check_ttl};
use crate::clock::Clock;
use crate::db::{Dialect, Migration, Migrations, Snapshot, Tx};
use crate::limits;
use crate::rng::{Rng, SystemRng};

/// The tables of this module. Whoever uses leases gives them to [`Options::migrations`](crate::db::Options::migrations).
pub static MIGRATIONS: Migrations = Migrations {
    owner: "hive-core",
    list: &[Migration::new(
        1,
        "lease",
        // A row without a holder is free. That of the empty name holds the greatest token of all rows that were pruned.
        "CREATE TABLE hive_lease (
                 name TEXT PRIMARY KEY, token INTEGER NOT NULL, holder TEXT,
                 process INTEGER NOT NULL, granted_us INTEGER NOT NULL, until_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
             INSERT INTO hive_lease (name, token, holder, process, granted_us, until_us) VALUES ('', 0, NULL, 0, 0, 0);",
        "DROP TABLE hive_lease;",
    )],
};

/// What time it is for leases: microseconds on a clock, and whose clock that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// 0 for the server's clock, which outlives processes; otherwise a process's own number.
    pub(super) process: i64,
    pub(super) us: i64,
}

impl Moment {
    fn now(db: &Snapshot<'_>, clock: &dyn Clock) -> Result<Self> {
        Ok(match db.dialect() {
            Dialect::Sqlite => Self {
                process: process(),
                us: micros(clock.monotonic()),
            },
            Dialect::Postgres => Self {
                process: 0,
                us: db.now()?.as_micros(),
            },
        })
    }

    fn after(self, ttl: Duration) -> i64 {
        self.us.saturating_add(micros(ttl))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// What tells this process from those before it: their monotonic clocks cannot be compared.
fn process() -> i64 {
    static PROCESS: OnceLock<i64> = OnceLock::new();
    *PROCESS.get_or_init(|| (SystemRng.next_u64() >> 1).cast_signed() | 1)
}

/// A name's row while it is held by somebody.
struct Row {
    holder: String,
    token: Token,
    process: i64,
    granted_us: i64,
    until_us: i64,
}

impl Row {
    fn find(db: &Snapshot<'_>, name: &str) -> Result<Option<Self>> {
        db.query_opt(
            "SELECT holder, token, process, granted_us, until_us FROM hive_lease WHERE name = ?1 AND holder IS NOT NULL",
            &[&name],
            |row| {
                Ok(Self {
                    holder: row.get(0)?,
                    token: row.get(1)?,
                    process: row.get(2)?,
                    granted_us: row.get(3)?,
                    until_us: row.get(4)?,
                })
            },
        )
    }

    /// What it means now; `None` when it has run out, or its process has died.
    fn status(self, now: Moment) -> Option<Status> {
        // A clock that shows a moment before the grant was set back, and the lease has all of its time before it.
        let left = self.until_us.saturating_sub(now.us.max(self.granted_us));
        if self.process != now.process || left <= 0 {
            return None;
        }
        Some(Status {
            holder: self.holder,
            token: self.token,
            left: Duration::from_micros(left.unsigned_abs()),
        })
    }
}

/// Takes the lease on `name` for `ttl`, when it is free, has run out, or is `holder`'s own already. In each case the token
/// grows, and an earlier lease of the same holder is lost.
///
/// # Errors
/// `invalid-input` when the name is empty, longer than [`limits::LEASE_NAME_BYTES_MAX`] or holds control characters, or when
/// `ttl` is not between [`limits::LEASE_TTL_MIN`] and [`limits::LEASE_TTL_MAX`]; what [`Tx::execute`] returns.
pub fn acquire(tx: &mut Tx<'_>, name: &str, holder: &Holder, ttl: Duration) -> Result<Outcome<Lease>> {
    let now = Moment::now(tx, &*holder.clock)?;
    acquire_at(tx, now, name, holder, ttl)
}

pub(super) fn acquire_at(
    tx: &mut Tx<'_>,
    now: Moment,
    name: &str,
    holder: &Holder,
    ttl: Duration,
) -> Result<Outcome<Lease>> {
    check_name(name)?;
    check_ttl(ttl)?;
    for _ in 0..TRIES {
        let taken = tx.query_opt(
            "INSERT INTO hive_lease (name, token, holder, process, granted_us, until_us)
             VALUES (?1, 1 + (SELECT token FROM hive_lease WHERE name = ''), ?2, ?3, ?4, ?5)
             ON CONFLICT (name) DO UPDATE SET token = hive_lease.token + 1, holder = excluded.holder,
                 process = excluded.process, granted_us = excluded.granted_us, until_us = excluded.until_us
             WHERE hive_lease.holder IS NULL OR hive_lease.holder = excluded.holder
                 OR hive_lease.process <> excluded.process OR hive_lease.until_us <= excluded.granted_us
             RETURNING token",
            &[&name, &holder.as_str(), &now.process, &now.us, &now.after(ttl)],
            |row| row.get::<Token>(0),
        )?;
        if let Some(token) = taken {
            return Ok(Outcome::Won(Lease {
                name: name.into(),
                holder: holder.clone(),
                token: above_pruned(tx, name, token)?,
                ttl,
            }));
        }
        if let Some(row) = Row::find(tx, name)? {
            let set_back = (row.granted_us > now.us).then_some((row.token, row.granted_us));
            if let Some(status) = row.status(now) {
                if let Some((token, granted_us)) = set_back {
                    restart(tx, now, name, token, granted_us)?;
                }
                return Ok(Outcome::Taken(status));
            }
        }
        // It became free between the two statements, which only READ COMMITTED lets us see.
    }
    Err(Error::new(
        ErrorKind::Conflict,
        "the lease changed hands faster than it could be read",
    )
    .with("name", name)
    .retryable())
}

/// The channel on which releases are told, whatever the name: few wait, and who was woken for nothing looks once.
pub(super) const RELEASED: &str = "hive_lease";

/// How often a name may change hands between two statements. Once is rare, thrice does not happen by chance.
const TRIES: u32 = 3;

/// Lets a lease that was granted later than now begin now, so that it runs out by the clock as it has been set.
fn restart(tx: &mut Tx<'_>, now: Moment, name: &str, token: Token, granted_us: i64) -> Result<()> {
    let sql = "UPDATE hive_lease SET granted_us = ?4, until_us = until_us - granted_us + ?4
               WHERE name = ?1 AND token = ?2 AND granted_us = ?3 AND holder IS NOT NULL";
    tx.execute(sql, &[&name, &token, &granted_us, &now.us]).map(drop)
}

/// Lifts a token above all that were pruned. Under READ COMMITTED the name's row may have been pruned by a transaction that
/// committed while the insert waited for it; what that left behind is seen by the next statement only.
fn above_pruned(tx: &mut Tx<'_>, name: &str, token: Token) -> Result<Token> {
    let sql = "UPDATE hive_lease SET token = 1 + (SELECT token FROM hive_lease WHERE name = '')
               WHERE name = ?1 AND token <= (SELECT token FROM hive_lease WHERE name = '') RETURNING token";
    let lifted = tx.query_opt(sql, &[&name], |row| row.get(0))?;
    Ok(lifted.unwrap_or(token))
}

/// Lets the lease run for its time to live from now on. Also one that has run out, as long as nobody else has taken it.
///
/// # Errors
/// `lease-lost` when somebody has, or when it was released; what [`Tx::execute`] returns.
pub fn renew(tx: &mut Tx<'_>, lease: &Lease) -> Result<()> {
    let now = Moment::now(tx, &*lease.holder.clock)?;
    renew_at(tx, now, lease)
}

pub(super) fn renew_at(tx: &mut Tx<'_>, now: Moment, lease: &Lease) -> Result<()> {
    let sql = "UPDATE hive_lease SET process = ?3, granted_us = ?4, until_us = ?5
               WHERE name = ?1 AND token = ?2 AND holder IS NOT NULL";
    let until = now.after(lease.ttl);
    let renewed = tx.execute(sql, &[&lease.name(), &lease.token, &now.process, &now.us, &until])?;
    if renewed == 0 { Err(lease.lost()) } else { Ok(()) }
}

/// Gives the lease back, so that the next one need not wait.
///
/// # Errors
/// `lease-lost` when somebody else has taken it, or when it was released before; what [`Tx::execute`] returns.
pub fn release(tx: &mut Tx<'_>, lease: &Lease) -> Result<()> {
    let now = Moment::now(tx, &*lease.holder.clock)?;
    release_at(tx, now, lease)
}

pub(super) fn release_at(tx: &mut Tx<'_>, now: Moment, lease: &Lease) -> Result<()> {
    let sql = "UPDATE hive_lease SET holder = NULL, process = ?3, granted_us = ?4, until_us = ?4
               WHERE name = ?1 AND token = ?2 AND holder IS NOT NULL";
    let released = tx.execute(sql, &[&lease.name(), &lease.token, &now.process, &now.us])?;
    if released == 0 {
        return Err(lease.lost());
    }
    tx.notify(RELEASED);
    Ok(())
}

/// Refuses to go on when the lease is no longer the caller's. What the transaction writes, before or after this call,
/// commits only while nobody else has taken the lease: on PostgreSQL whoever wants it waits for the commit, and when this
/// process stands still before it, until the server ends a transaction that has been idle for too long.
///
/// # Errors
/// `lease-lost`; what [`Tx::query`](Snapshot::query) returns.
pub fn guard(tx: &mut Tx<'_>, lease: &Lease) -> Result<()> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => "SELECT 1 FROM hive_lease WHERE name = ?1 AND token = ?2 AND holder IS NOT NULL",
        // Locked, because a takeover between this statement and the commit would be seen by nobody: readers do not conflict.
        Dialect::Postgres => "SELECT 1 FROM hive_lease WHERE name = ?1 AND token = ?2 AND holder IS NOT NULL FOR SHARE",
    };
    tx.query_opt(sql, &[&lease.name(), &lease.token], |_| Ok(()))?
        .ok_or_else(|| lease.lost())
}

/// Who holds `name` now; `None` when nobody does. The clock is that of this process's holders.
///
/// # Errors
/// `invalid-input` for what cannot be a name; what [`Snapshot::query`] returns.
pub fn current(db: &Snapshot<'_>, clock: &dyn Clock, name: &str) -> Result<Option<Status>> {
    current_at(db, Moment::now(db, clock)?, name)
}

pub(super) fn current_at(db: &Snapshot<'_>, now: Moment, name: &str) -> Result<Option<Status>> {
    check_name(name)?;
    Ok(Row::find(db, name)?.and_then(|row| row.status(now)))
}

/// Forgets names that nobody has held for `idle`, at most [`limits::LEASE_PRUNE`] of them, and returns how many. For
/// programs that make up names as they go; a name that is used again still gets a greater token than ever before. The clock
/// is that of this process's holders; on SQLite, what an earlier process left behind has been idle for long enough.
///
/// # Errors
/// What [`Tx::execute`] returns.
pub fn prune(tx: &mut Tx<'_>, clock: &dyn Clock, idle: Duration) -> Result<usize> {
    let now = Moment::now(tx, clock)?;
    prune_at(tx, now, idle)
}

pub(super) fn prune_at(tx: &mut Tx<'_>, now: Moment, idle: Duration) -> Result<usize> {
    let before = now.us.saturating_sub(micros(idle));
    let pruned = tx.query(
        "DELETE FROM hive_lease WHERE name IN (
             SELECT name FROM hive_lease WHERE name <> '' AND (until_us <= ?1 OR process <> ?2) ORDER BY name LIMIT ?3)
         AND (until_us <= ?1 OR process <> ?2) RETURNING token",
        &[&before, &now.process, &limits::LEASE_PRUNE],
        |row| row.get::<Token>(0),
    )?;
    if let Some(greatest) = pruned.iter().max() {
        let sql = "UPDATE hive_lease SET token = ?1 WHERE name = '' AND token < ?1";
        tx.execute(sql, &[greatest])?;
    }
    Ok(pruned.len())
}
