//! The engine of many processes: a database on a PostgreSQL server.

use std::sync::Arc;

use hive_errors::Result;

use super::house::House;
use super::migrate::{self, Migrations};
use super::options::{Stats, Times, Write};
use super::postgres::{Appends, Begin, Bell, Config, Isolation, Lanes, Link, Timeouts};
use super::set::{Cell, Set};
use super::tx::{Snapshot, Tx};
use crate::limits;
use crate::rng::SystemRng;

pub(super) struct Server {
    // Before the lanes, on which its rows travel.
    appends: Appends,
    lanes: Lanes,
    bell: Bell,
    house: House,
    place: String,
    times: Times,
}

impl Server {
    pub(super) async fn open(
        address: &str,
        migrations: &[&'static Migrations],
        house: &House,
        connections: usize,
        times: Times,
    ) -> Result<Self> {
        let config = Arc::new(Config::parse(address, Timeouts::default())?);
        let rng = Arc::new(SystemRng);
        let lanes = Lanes::new(Arc::clone(&config), connections, rng.clone());
        let server = Self {
            place: config.place().to_owned(),
            appends: Appends::new(&lanes, times.write, &house.wakeups),
            bell: Bell::hang(config, &house.wakeups, rng),
            lanes,
            house: house.clone(),
            times,
        };
        match server.bring_up(migrations).await {
            Ok(()) => Ok(server),
            Err(error) => {
                // What it could not do matters more than how it ended.
                drop(server.close().await);
                Err(error)
            }
        }
    }

    async fn bring_up(&self, migrations: &[&'static Migrations]) -> Result<()> {
        let sets = migrations.to_vec();
        let pending = self.read(move |db| {
            migrate::check(db, &sets)?;
            migrate::pending(db, &sets)
        });
        // Nothing to do is the common case and costs no lock.
        if pending.await?.is_empty() {
            return Ok(());
        }
        let sets = migrations.to_vec();
        self.change_schema(move |tx| migrate::up(tx, &sets)).await
    }

    pub(super) async fn write<T, F>(&self, asked: Write, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let begin = Begin {
            isolation: if asked.is_read_committed() {
                Isolation::ReadCommitted
            } else {
                Isolation::Serializable
            },
            relaxed: asked.is_relaxed(),
            ..Begin::write()
        };
        self.lanes.run(begin, self.times.write, self.on_link(work)).await
    }

    pub(super) async fn append(&self, set: &'static Set, rows: Vec<Vec<Cell>>) -> Result<Vec<Option<i64>>> {
        self.appends.append(set, rows).await
    }

    /// Migrations wait for each other on a lock of their own, must see what was done meanwhile, and take as long as it takes
    /// to write a large table anew.
    pub(super) async fn change_schema<F>(&self, work: F) -> Result<()>
    where
        F: FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static,
    {
        let begin = Begin {
            isolation: Isolation::ReadCommitted,
            unhurried: true,
            ..Begin::write()
        };
        self.lanes
            .run(begin, limits::DB_MIGRATION_TIMEOUT, self.on_link(work))
            .await
    }

    /// The closure as a lane runs it.
    fn on_link<T, F>(&self, mut work: F) -> impl FnMut(&mut Link) -> Result<T> + Send + 'static
    where
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let house = self.house.clone();
        move |link| {
            let snapshot = Snapshot::postgres(link, &*house.clock);
            let mut tx = Tx::new(snapshot, &house.wakeups);
            let value = work(&mut tx)?;
            if let Some(doom) = tx.doom() {
                return Err(doom);
            }
            for hook in tx.take_hooks() {
                link.on_commit(hook);
            }
            Ok(value)
        }
    }

    pub(super) async fn read<T, F>(&self, mut work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot<'_>) -> Result<T> + Send + 'static,
    {
        let house = self.house.clone();
        let reading = move |link: &mut Link| {
            let snapshot = Snapshot::postgres(link, &*house.clock);
            let value = work(&snapshot)?;
            snapshot.doom().map_or(Ok(value), Err)
        };
        self.lanes.run(Begin::read(), self.times.read, reading).await
    }

    pub(super) fn stats(&self) -> Stats {
        let counts = self.lanes.counts();
        Stats {
            writes: counts.writes,
            commits: counts.commits,
        }
    }

    /// The server's address without the password.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) async fn close(&self) -> Result<()> {
        let closed = self.lanes.close().await;
        // After the last commit, which may have had something to tell.
        self.bell.close().await;
        closed
    }

    /// How many closures wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lanes.waiting()
    }
}
