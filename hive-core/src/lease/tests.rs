//! Leases on SQLite. What needs several processes or a server is in `tests/it/lease.rs`.

mod fences;
mod keeping;
mod model;
mod time;

use std::sync::Arc;
use std::time::Duration;

use hive_errors::{ErrorKind, Result};
use tempfile::TempDir;

use super::table::{Moment, acquire_at, current_at, prune_at, release_at, renew_at};
use super::{Holder, Lease, MIGRATIONS, Outcome, Status, guard};
use crate::clock::SystemClock;
use crate::db::{Db, Options, Tx};
use crate::rng::SeededRng;

const TTL: Duration = Duration::from_secs(30);
const NAME: &str = "sweep";

/// A database with leases in it, and a clock for them that is told the time.
struct Home {
    _dir: TempDir,
    db: Db,
    now: Moment,
}

impl Home {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::file(dir.path().join("test.db")).migrations(&MIGRATIONS);
        Self {
            db: Db::open(options).await.unwrap(),
            _dir: dir,
            now: Moment {
                process: 1,
                us: 1_000_000_000,
            },
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.us += i64::try_from(time.as_micros()).unwrap();
    }

    fn set_back(&mut self, time: Duration) {
        self.now.us -= i64::try_from(time.as_micros()).unwrap();
    }

    async fn tx<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Tx<'_>, Moment) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let now = self.now;
        self.db.write(move |tx| work(tx, now)).await
    }

    async fn acquire(&self, name: &'static str, holder: &Holder, ttl: Duration) -> Result<Outcome<Lease>> {
        let holder = holder.clone();
        self.tx(move |tx, now| acquire_at(tx, now, name, &holder, ttl)).await
    }

    async fn take(&self, holder: &Holder) -> Lease {
        self.acquire(NAME, holder, TTL).await.unwrap().won().unwrap()
    }

    /// What `holder` is told, who is not to get the lease.
    async fn taken(&self, holder: &Holder) -> Status {
        match self.acquire(NAME, holder, TTL).await.unwrap() {
            Outcome::Won(lease) => panic!("won {lease:?}"),
            Outcome::Taken(status) => status,
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        self.tx(move |tx, now| renew_at(tx, now, &lease)).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        self.tx(move |tx, now| release_at(tx, now, &lease)).await
    }

    async fn guard(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        self.tx(move |tx, _| guard(tx, &lease)).await
    }

    async fn current(&self, name: &'static str) -> Option<Status> {
        let now = self.now;
        self.db.read(move |db| current_at(db, now, name)).await.unwrap()
    }

    async fn prune(&self, idle: Duration) -> usize {
        self.tx(move |tx, now| prune_at(tx, now, idle)).await.unwrap()
    }

    /// That a holder has nothing to say any more.
    async fn assert_fenced(&self, lease: &Lease) {
        for refused in [
            self.guard(lease).await,
            self.renew(lease).await,
            self.release(lease).await,
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error:?}");
            assert_eq!(error.field("name"), Some(lease.name()));
            assert_eq!(error.field("token"), Some(lease.token().to_string().as_str()));
        }
    }
}

/// Holders whose names begin with `a`, `b`, `c` …
fn holders<const N: usize>() -> [Holder; N] {
    let rng = SeededRng::new(7);
    let mut labels = 'a'..='z';
    std::array::from_fn(|_| Holder::new(&labels.next().unwrap().to_string(), Arc::new(SystemClock), &rng).unwrap())
}
