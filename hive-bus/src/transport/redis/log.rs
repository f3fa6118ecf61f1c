//! The log: appending to the stream and reading it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ::redis::{Cmd, FromRedisValue, ParsingError, Value, cmd, from_redis_value, pipe};
use hive_core::clock::Timestamp;
use hive_core::gather::Gather;
use hive_core::id::EventId;
use hive_core::redis::Call;
use hive_errors::{Error, ErrorKind, Result};

use super::entry::{Told, read, text};
use super::gather::{Part, weight};
use super::keys::Keys;
use super::server::{Script, Server};
use crate::event::{Attributes, Event, NewEvent, Sequence};
use crate::limits;
use crate::live::Live;
use crate::topic::Patterns;
use crate::transport::Found;

static PUBLISH: Script = Script::new(concat!(include_str!("entries.lua"), include_str!("publish.lua")));
static RELAY: Script = Script::new(concat!(include_str!("entries.lua"), include_str!("relay.lua")));
static GET: Script = Script::new(include_str!("get.lua"));

/// The largest sequence that the scripts can count to: they know no whole numbers beyond.
const SEQUENCE_MAX: u64 = 1 << 53;

pub(super) struct Log {
    pub(super) gather: Gather<Part, Vec<Sequence>>,
    live: Live,
    events_max: usize,
    /// How many bytes and how many events an entry had lately, so that as many are asked for as make a page.
    bytes: AtomicUsize,
    events: AtomicUsize,
    /// Up to where this process knows that it was relayed.
    seen: AtomicU64,
}

/// An event on its way to the log.
pub(super) struct Draft {
    id: EventId,
    text: Vec<u8>,
    attributes: Attributes,
}

impl Draft {
    pub(super) fn of(event: NewEvent) -> Result<Self> {
        let (id, time, attributes) = event.into_parts()?;
        Ok(Self {
            id,
            text: text(time, &attributes)?,
            attributes,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }
}

impl Log {
    pub(super) fn new(live: Live, events_max: usize) -> Self {
        Self {
            gather: Gather::new(limits::REDIS_TURNS, limits::REDIS_SCRIPT_EVENTS, weight),
            live,
            events_max,
            bytes: AtomicUsize::new(limits::REDIS_ENTRY_BYTES),
            events: AtomicUsize::new(1),
            seen: AtomicU64::new(0),
        }
    }

    /// Appends events, a script's worth at a time.
    pub(super) async fn append(&self, server: &Server, keys: &Keys, drafts: &[&Draft]) -> Result<Vec<Sequence>> {
        let mut sequences = Vec::with_capacity(drafts.len());
        let mut rest = drafts;
        while !rest.is_empty() {
            let (batch, _) = rest.split_at(fitting(rest, |draft| draft.bytes()));
            let write = |command: &mut Cmd| {
                self.sizes(command);
                for draft in batch {
                    command.arg(draft.id.as_bytes()).arg(&draft.text);
                }
            };
            let answer: Vec<u64> = server
                .run(&PUBLISH, &[&keys.head, &keys.events, &keys.ids], write)
                .await?;
            let (status, given) = answer.split_first().ok_or_else(unexpected)?;
            sequences.extend(given.iter().copied().map(Sequence::new));
            match status {
                0 if given.len() == batch.len() => {}
                1 => {
                    let asked = given.len().checked_sub(1).and_then(|last| batch.get(last));
                    let (draft, sequence) = asked.zip(sequences.last()).ok_or_else(unexpected)?;
                    // It looks different; whether it is, we say. One that is gone already is not told from another.
                    if let Some(known) = self.get(server, keys, &[*sequence]).await?.first() {
                        known.same_as(&draft.attributes)?;
                    }
                }
                2 => return Err(fed_otherwise()),
                _ => return Err(unexpected()),
            }
            rest = rest.get(given.len()..).unwrap_or_default();
        }
        Ok(sequences)
    }

    pub(super) async fn relay(&self, server: &Server, keys: &Keys, events: &[Event]) -> Result<()> {
        let mut before = Sequence::START;
        for event in events {
            if event.sequence() <= before || event.sequence().get() > SEQUENCE_MAX {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "events are relayed in the order of their sequences, from 1",
                )
                .with("sequence", event.sequence())
                .with("after", before));
            }
            before = event.sequence();
        }
        let drafts = events
            .iter()
            .map(|event| Ok((event.sequence(), event.id(), text(event.time(), event.attributes())?)))
            .collect::<Result<Vec<_>>>()?;
        let mut rest = drafts.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(fitting(rest, |(_, _, text)| text.len()));
            let write = |command: &mut Cmd| {
                self.sizes(command);
                command.arg(self.seen.load(Ordering::Acquire));
                for (sequence, id, text) in batch {
                    command.arg(sequence.get()).arg(id.as_bytes()).arg(text);
                }
            };
            let answer: Vec<u64> = server
                .run(&RELAY, &[&keys.head, &keys.events, &keys.ids], write)
                .await?;
            match *answer.as_slice() {
                [0, last] => {
                    self.seen.fetch_max(last, Ordering::AcqRel);
                }
                [1, last] => {
                    let seen = Sequence::new(self.seen.load(Ordering::Acquire));
                    let conflict = Error::new(
                        ErrorKind::Conflict,
                        "the redis server has lost events, and there would be a hole",
                    );
                    return Err(conflict
                        .with("relayed", seen)
                        .with("left", last)
                        .with_hint("ask how far it has everything, and relay from there"));
                }
                [2] => return Err(fed_otherwise()),
                _ => return Err(unexpected()),
            }
            rest = after;
        }
        Ok(())
    }

    pub(super) async fn relayed(&self, server: &Server, keys: &Keys) -> Result<Sequence> {
        let end: End = server.one(end(keys)).await?;
        let relayed = if end.is_published() {
            Sequence::START
        } else {
            end.last()
        };
        // Whoever has asked goes on from here.
        self.seen.store(relayed.get(), Ordering::Release);
        Ok(relayed)
    }

    pub(super) async fn head(server: &Server, keys: &Keys) -> Result<Sequence> {
        Ok(server.one::<End>(end(keys)).await?.last())
    }

    pub(super) async fn read(
        &self,
        server: &Server,
        keys: &Keys,
        patterns: &Patterns,
        after: Sequence,
        limit: usize,
    ) -> Result<Found> {
        let (mut events, mut bytes, mut looked) = (Vec::new(), 0, 0);
        let mut reached = after;
        let mut count = self.look(limit);
        loop {
            let known = self.live.head().sequence;
            // The end first: whatever it covers is then there to be found.
            let mut commands = pipe();
            commands.add_command(end(keys));
            commands.add_command(range(keys, reached, count));
            let mut answers = server.ask(&Call::Several(commands)).await?;
            let end: End = answers.take()?;
            let entries = self.entries(answers.take()?)?;
            let head = end.last();
            if head < known {
                self.live.lost(known, head);
                if !end.is_published() {
                    // Whoever takes the end that we know for the log's would go past what comes again.
                    return Err(lost(known, head));
                }
            }
            let full = entries.len() >= count;
            for told in entries.iter().flatten().filter(|told| told.sequence > after) {
                reached = told.sequence;
                looked += 1;
                let Some(event) = told.matching(patterns)? else {
                    continue;
                };
                bytes += event.bytes();
                events.push(event);
                if events.len() >= limit || bytes >= limits::PAGE_BYTES_MAX {
                    return Ok(Found::new(events, reached, reached >= head));
                }
            }
            if !full {
                return Ok(Found::new(events, reached.max(head), true));
            }
            if looked >= limits::REDIS_SCAN {
                return Ok(Found::new(events, reached, reached >= head));
            }
            count = self.look(usize::MAX);
        }
    }

    pub(super) async fn get(&self, server: &Server, keys: &Keys, sequences: &[Sequence]) -> Result<Vec<Event>> {
        let mut events = Vec::with_capacity(sequences.len());
        for some in sequences.chunks(limits::REDIS_GET) {
            let arguments = |command: &mut Cmd| {
                for sequence in some {
                    command.arg(sequence.get());
                }
            };
            let answer: Vec<(u64, Vec<u8>, Vec<u8>)> = server.run(&GET, &[&keys.events], arguments).await?;
            for (sequence, id, text) in answer {
                events.push(Told::new(Sequence::new(sequence), id, text).event()?);
            }
        }
        Ok(events)
    }

    pub(super) async fn find(&self, server: &Server, keys: &Keys, id: EventId) -> Result<Option<Event>> {
        let mut command = cmd("HGET");
        command.arg(&keys.ids).arg(id.as_bytes());
        let Some(sequence) = server.one::<Option<u64>>(command).await? else {
            return Ok(None);
        };
        Ok(self.get(server, keys, &[Sequence::new(sequence)]).await?.pop())
    }

    /// As on a table: the log is taken to be in the order of its dates.
    pub(super) async fn before(&self, server: &Server, keys: &Keys, time: Timestamp) -> Result<Sequence> {
        // Invariant: every event up to `low` is earlier, and the first one after `high` is not, or there is none.
        let (mut low, mut high) = (0, Self::head(server, keys).await?.get());
        while low < high {
            let middle = low + (high - low) / 2;
            let entries = self.entries(server.one(range(keys, Sequence::new(middle), 1)).await?)?;
            let next = entries.iter().flatten().find(|told| told.sequence.get() > middle);
            match next.map(Told::event).transpose()? {
                Some(event) if event.time() < time && event.sequence().get() <= high => low = event.sequence().get(),
                Some(_) | None => high = middle,
            }
        }
        Ok(Sequence::new(low))
    }

    /// What an entry and the log are to hold, for the scripts.
    fn sizes(&self, command: &mut Cmd) {
        command
            .arg(self.events_max)
            .arg(limits::REDIS_ENTRY_BYTES)
            .arg(limits::REDIS_ENTRY_EVENTS);
    }

    /// How many entries to ask for at once, for a page and for so many events.
    pub(super) fn look(&self, events: usize) -> usize {
        let a_page = limits::PAGE_BYTES_MAX / self.bytes.load(Ordering::Relaxed).max(1);
        let enough = events.div_ceil(self.events.load(Ordering::Relaxed).max(1));
        a_page.min(enough).clamp(1, limits::REDIS_LOOK)
    }

    /// The entries of an answer. Learns how large they are: at once when they grow, and slowly when they shrink.
    pub(super) fn entries(&self, answer: Vec<Value>) -> Result<Vec<Vec<Told>>> {
        let entries = answer.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        let all = || entries.iter().flatten();
        let learn = |known: &AtomicUsize, sum: usize| {
            if let Some(now) = sum.checked_div(entries.len()) {
                let before = known.load(Ordering::Relaxed);
                known.store(now.max(before - before / 4 + now / 4), Ordering::Relaxed);
            }
        };
        learn(&self.bytes, all().map(Told::bytes).sum());
        learn(&self.events, all().count());
        Ok(entries)
    }
}

/// The end of the log as the server has it: who feeds it, and its newest sequence.
pub(super) struct End {
    feed: Option<String>,
    last: Option<u64>,
}

impl End {
    pub(super) fn last(&self) -> Sequence {
        Sequence::new(self.last.unwrap_or_default())
    }

    fn is_published(&self) -> bool {
        self.feed.as_deref() == Some("published")
    }
}

impl FromRedisValue for End {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (feed, last) = from_redis_value(value)?;
        Ok(Self { feed, last })
    }
}

/// Asks for the [`End`].
pub(super) fn end(keys: &Keys) -> Cmd {
    let mut command = cmd("HMGET");
    command.arg(&keys.head).arg("feed").arg("last");
    command
}

/// The first `count` entries after a cursor.
fn range(keys: &Keys, after: Sequence, count: usize) -> Cmd {
    let mut command = cmd("XRANGE");
    let from = format!("{}-0", after.get().saturating_add(1));
    command.arg(&keys.events).arg(from).arg("+").arg("COUNT").arg(count);
    command
}

/// How many of these one script takes: at least one.
pub(super) fn fitting<T>(items: &[T], bytes: impl Fn(&T) -> usize) -> usize {
    let mut sum = 0;
    let inside = items.iter().take(limits::REDIS_SCRIPT_EVENTS).take_while(|item| {
        let before = sum;
        sum += bytes(item);
        before < limits::REDIS_SCRIPT_BYTES
    });
    inside.count()
}

fn lost(known: Sequence, left: Sequence) -> Error {
    Error::new(
        ErrorKind::Storage,
        "the redis server has lost events, which are relayed again",
    )
    .with("known", known)
    .with("left", left)
    .with_hint("read again; what was lost comes once more")
}

fn fed_otherwise() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "a transport is fed by a relay or by publishers, not by both",
    )
    .with_hint("give what is relayed and what is published prefixes of their own")
}

fn unexpected() -> Error {
    Error::new(
        ErrorKind::Internal,
        "a script has answered something else than it should",
    )
}
