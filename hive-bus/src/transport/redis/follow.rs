//! Following the log: what others append is told to whoever waits here.
//!
//! One task with a connection of its own, because it waits at the server: for the next event, and for the next change of a
//! consumer's state. Both are streams, so a connection that breaks between two answers loses nothing. While nobody waits, it
//! reads nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Value, cmd, pipe};
use hive_core::clock::timeout;
use hive_errors::{Error, ErrorKind, Result, RetryPolicy};

use super::Shared;
use super::entry::{Told, bytes, foreign, list, parts};
use super::log::{End, end};
use crate::event::{Event, Sequence};
use crate::limits;

/// Tells who waits of what comes, until it is ended. One per transport.
pub(super) async fn follow(shared: Arc<Shared>) {
    let backoff = RetryPolicy::exponential(u32::MAX).with_cap(limits::FOLLOW_BACKOFF_MAX);
    let mut failures = 0;
    loop {
        shared.live.watched().await;
        if let Err(error) = watch(&shared, &mut failures).await {
            failures += 1;
            tracing::warn!(%error, failures, "the log of events cannot be followed; trying again");
            let random = shared.server.rng().next_u64();
            let wait = backoff.delay_after(failures, random, None);
            let clock = shared.server.clock();
            clock.sleep(wait.unwrap_or(limits::FOLLOW_BACKOFF_MAX)).await;
        }
    }
}

/// Follows on one connection for as long as somebody waits.
async fn watch(shared: &Shared, failures: &mut u32) -> Result<()> {
    let mut connection = shared.server.link().apart().await?;
    let known = shared.live.head().sequence;
    let mut place = Place::find(shared, &mut connection).await?;
    // What came while nobody followed is in the log, for everybody to look.
    shared.live.lost(known, place.events);
    shared.live.committed_to(place.events);
    shared.live.wake_all();
    while shared.live.is_watched() {
        place.step(shared, &mut connection).await?;
        *failures = 0;
    }
    Ok(())
}

/// How far one has come.
struct Place {
    events: Sequence,
    changes: String,
}

impl Place {
    /// The ends as they are now.
    async fn find(shared: &Shared, connection: &mut MultiplexedConnection) -> Result<Self> {
        let keys = &shared.keys;
        let mut commands = pipe();
        commands.add_command(end(keys));
        commands
            .cmd("XREVRANGE")
            .arg(&keys.changes)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1);
        let asked = timeout(shared.server.clock(), shared.patience, commands.query_async(connection)).await;
        let (end, changes): (End, Vec<Value>) = asked.map_err(|_| late(shared))?.map_err(|e| broken(shared, e))?;
        let newest = changes.into_iter().next().and_then(parts);
        let newest = newest.and_then(|(id, _)| String::from_utf8(id).ok());
        Ok(Self {
            events: end.last(),
            changes: newest.unwrap_or_else(|| "0-0".to_owned()),
        })
    }

    /// Waits for what is next in either stream and tells of it.
    async fn step(&mut self, shared: &Shared, connection: &mut MultiplexedConnection) -> Result<()> {
        let keys = &shared.keys;
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(shared.log.look(limits::FOLLOW_EVENTS));
        command
            .arg("BLOCK")
            .arg(u64::try_from(limits::REDIS_BLOCK.as_millis()).unwrap_or(u64::MAX));
        command.arg("STREAMS").arg(&keys.events).arg(&keys.changes);
        // Behind the entry that ends with it, whatever its count.
        command.arg(format!("{}-{}", self.events, u64::MAX)).arg(&self.changes);
        let patience = limits::REDIS_BLOCK.saturating_add(shared.patience);
        let asked = timeout(shared.server.clock(), patience, command.query_async(connection)).await;
        let answer: Value = asked.map_err(|_| late(shared))?.map_err(|e| broken(shared, e))?;
        for (stream, entries) in streams(answer).ok_or_else(|| foreign("the answer to a read is none"))? {
            if stream == keys.events.as_bytes() {
                self.tell(shared, entries)?;
            } else {
                self.touch(shared, entries)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, shared: &Shared, entries: Vec<Value>) -> Result<()> {
        let entries = shared.log.entries(entries)?;
        let events = entries.iter().flatten().map(Told::event).collect::<Result<Vec<_>>>()?;
        let Some(reached) = events.last().map(Event::sequence) else {
            return Ok(());
        };
        shared.live.committed(self.events, events, reached);
        self.events = reached;
        Ok(())
    }

    fn touch(&mut self, shared: &Shared, entries: Vec<Value>) -> Result<()> {
        let mut names = BTreeSet::new();
        for entry in entries {
            let odd = || foreign("a change of a consumer's state cannot be read");
            let (id, fields) = parts(entry).ok_or_else(odd)?;
            let name = fields.into_iter().nth(1).and_then(bytes);
            names.insert(name.and_then(|name| String::from_utf8(name).ok()).ok_or_else(odd)?);
            self.changes = String::from_utf8(id).map_err(|_| odd())?;
        }
        for name in names {
            shared.live.touch(&name);
        }
        Ok(())
    }
}

/// The streams of an answer, each with its entries; none when the time ran out.
fn streams(answer: Value) -> Option<Vec<(Vec<u8>, Vec<Value>)>> {
    let pair = |stream| <[Value; 2]>::try_from(list(stream)?).ok().map(<(Value, Value)>::from);
    let streams = if answer == Value::Nil {
        Vec::new()
    } else if let Value::Map(streams) = answer {
        streams
    } else {
        list(answer)?.into_iter().map(pair).collect::<Option<_>>()?
    };
    let stream = |(name, entries)| Some((bytes(name)?, list(entries)?));
    streams.into_iter().map(stream).collect()
}

fn late(shared: &Shared) -> Error {
    Error::new(ErrorKind::Timeout, "the redis server did not answer in time")
        .with("server", shared.server.link().server())
        .with_hint("look at the server and the way to it, or allow more time")
}

fn broken(shared: &Shared, error: ::redis::RedisError) -> Error {
    Error::new(ErrorKind::Storage, "the redis server did not serve the call")
        .with("server", shared.server.link().server())
        .with_hint("look at the cause below, then at the server and the way to it")
        .with_source(error)
}
