//! The engine of one process: a SQLite file with one writer and a pool of readers.

use std::path::Path;

use hive_errors::Result;

use super::batch::Writer;
use super::house::House;
use super::lock::FileLock;
use super::migrate::Migrations;
use super::options::{Stats, Times, Write};
use super::place;
use super::reader::Readers;
use super::set::{Cell, Set};
use super::sqlite;
use super::tx::{Snapshot, Tx};

pub(super) struct File {
    // Before the writer, which gives the file's lock back when it ends.
    readers: Readers,
    writer: Writer,
}

impl File {
    pub(super) fn open(
        path: &Path,
        migrations: &[&'static Migrations],
        house: &House,
        readers: usize,
        times: Times,
    ) -> Result<Self> {
        let file = place::resolve(path)?;
        let lock = FileLock::take(&file)?;
        let writing = match sqlite::prepare(&file, migrations, house) {
            Ok(writing) => writing,
            Err(error) => {
                lock.withdraw();
                return Err(error);
            }
        };
        let readers = Readers::new(file, readers, times.read, house.clone());
        let writer = Writer::start(writing, lock, house.clone(), times.write, readers.others())?;
        Ok(Self { readers, writer })
    }

    pub(super) async fn write<T, F>(&self, asked: Write, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.writer.write(asked, false, work).await
    }

    /// Appends rows that fit their set, all or none: with their keys, if the set tells them.
    pub(super) async fn append(&self, set: &'static Set, rows: Vec<Vec<Cell>>) -> Result<Vec<Option<i64>>> {
        let insert = move |tx: &mut Tx<'_>| tx.insert_checked(set, &rows).map(|inserted| inserted.keys);
        self.write(Write::durable(), insert).await
    }

    pub(super) async fn change_schema<F>(&self, work: F) -> Result<()>
    where
        F: FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static,
    {
        self.writer.write(Write::durable(), true, work).await
    }

    pub(super) fn readers(&self) -> &Readers {
        &self.readers
    }

    pub(super) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&Snapshot<'_>) -> Result<T> + Send + 'static,
    {
        self.readers.read(work).await
    }

    pub(super) fn stats(&self) -> Stats {
        self.writer.stats()
    }

    pub(super) async fn close(&self) -> Result<()> {
        self.readers.shut();
        self.writer.shut();
        self.writer.ended().await
    }

    /// How many writes wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.writer.waiting()
    }
}
