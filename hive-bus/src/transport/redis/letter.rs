//! Consumers: their state, and their dead letters.

use ::redis::{Cmd, cmd};
use hive_errors::Result;

use super::entry::foreign;
use super::keys::Keys;
use super::log::fitting;
use super::server::{Script, Server};
use crate::event::Sequence;
use crate::limits;
use crate::transport::{Change, DeadLetter, Register};

static STORE: Script = Script::new(include_str!("store.lua"));
static BURY: Script = Script::new(include_str!("bury.lua"));
static LETTERS: Script = Script::new(include_str!("letters.lua"));
static PURGE: Script = Script::new(include_str!("purge.lua"));
static REMOVE: Script = Script::new(include_str!("remove.lua"));

pub(super) async fn load(server: &Server, keys: &Keys, consumer: &str) -> Result<Option<Register>> {
    let mut command = cmd("HMGET");
    command.arg(keys.consumer(consumer)).arg("state").arg("revision");
    let (state, revision): (Option<Vec<u8>>, Option<u64>) = server.one(command).await?;
    Ok(state
        .zip(revision)
        .map(|(state, revision)| Register::new(state, revision)))
}

pub(super) async fn store(server: &Server, keys: &Keys, consumer: &str, change: Change) -> Result<Option<u64>> {
    let expected = change.expected.map(|revision| revision.to_string()).unwrap_or_default();
    let bytes = |letter: &DeadLetter| Ok((letter.event.sequence().get(), letter.to_bytes()?));
    let letters = change.dead.iter().map(bytes).collect::<Result<Vec<_>>>()?;
    let (register, dead, order) = (keys.consumer(consumer), keys.dead(consumer), keys.order(consumer));
    let write = |command: &mut Cmd, letters: &[(u64, Vec<u8>)]| {
        for (sequence, letter) in letters {
            command.arg(sequence).arg(letter);
        }
    };
    let mut rest = letters.as_slice();
    loop {
        let (some, after) = rest.split_at(fitting(rest, |(_, letter)| letter.len()));
        if after.is_empty() {
            break;
        }
        let arguments = |command: &mut Cmd| {
            command.arg(&expected);
            write(command, some);
        };
        if !server.run(&BURY, &[&register, &dead, &order], arguments).await? {
            return Ok(None);
        }
        rest = after;
    }
    let call = server.call();
    let arguments = |command: &mut Cmd| {
        command.arg(consumer).arg(&expected).arg(call).arg(&change.state);
        command.arg(u8::from(change.wake)).arg(limits::REDIS_CHANGES);
        command.arg(rest.len());
        write(command, rest);
        for sequence in &change.revived {
            command.arg(sequence.get());
        }
    };
    let places = [&*register, &*keys.names, &*dead, &*order, &*keys.changes];
    let revision: Vec<u64> = server.run(&STORE, &places, arguments).await?;
    Ok(revision.first().copied())
}

pub(super) async fn remove(server: &Server, keys: &Keys, consumer: &str) -> Result<bool> {
    let (register, dead, order) = (keys.consumer(consumer), keys.dead(consumer), keys.order(consumer));
    let answer = keys.answer(server.call());
    let places = [&*register, &*keys.names, &*dead, &*order, &*keys.changes, &*answer];
    let arguments = |command: &mut Cmd| {
        command.arg(kept()).arg(consumer).arg(limits::REDIS_CHANGES);
    };
    server.run(&REMOVE, &places, arguments).await
}

pub(super) async fn consumers(server: &Server, keys: &Keys, after: &str, limit: usize) -> Result<Vec<String>> {
    let mut command = cmd("ZRANGEBYLEX");
    command.arg(&keys.names).arg(format!("({after}")).arg("+");
    command
        .arg("LIMIT")
        .arg(0)
        .arg(i64::try_from(limit).unwrap_or(i64::MAX));
    server.one(command).await
}

pub(super) async fn page(
    server: &Server,
    keys: &Keys,
    consumer: &str,
    after: Sequence,
    limit: usize,
) -> Result<Vec<DeadLetter>> {
    let (dead, order) = (keys.dead(consumer), keys.order(consumer));
    let mut letters = Vec::new();
    let mut after = after;
    while letters.len() < limit {
        let count = limits::REDIS_LETTERS.min(limit - letters.len());
        let arguments = |command: &mut Cmd| {
            command.arg(after.get()).arg(count);
        };
        let found: Vec<Vec<u8>> = server.run(&LETTERS, &[&dead, &order], arguments).await?;
        for letter in &found {
            letters.push(DeadLetter::from_bytes(letter)?);
        }
        if found.len() < count {
            break;
        }
        after = letters.last().map_or(after, |letter| letter.event.sequence());
    }
    Ok(letters)
}

pub(super) async fn find(
    server: &Server,
    keys: &Keys,
    consumer: &str,
    sequences: &[Sequence],
) -> Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    for some in sequences.chunks(limits::REDIS_LETTERS) {
        let mut command = cmd("HMGET");
        command.arg(keys.dead(consumer));
        for sequence in some {
            command.arg(sequence.get());
        }
        let found: Vec<Option<Vec<u8>>> = server.one(command).await?;
        if found.len() != some.len() {
            return Err(foreign("the server gave fewer letters than it was asked for"));
        }
        for letter in found.into_iter().flatten() {
            letters.push(DeadLetter::from_bytes(&letter)?);
        }
    }
    Ok(letters)
}

pub(super) async fn purge(server: &Server, keys: &Keys, consumer: &str, sequences: &[Sequence]) -> Result<usize> {
    let (dead, order) = (keys.dead(consumer), keys.order(consumer));
    let mut purged = 0;
    for some in sequences.chunks(limits::REDIS_SCRIPT_EVENTS) {
        let arguments = |command: &mut Cmd| {
            command.arg(kept());
            for sequence in some {
                command.arg(sequence.get());
            }
        };
        let answer = keys.answer(server.call());
        purged += server
            .run::<usize>(&PURGE, &[&dead, &order, &answer], arguments)
            .await?;
    }
    Ok(purged)
}

/// For how many milliseconds an answer is kept.
fn kept() -> u64 {
    u64::try_from(limits::REDIS_ANSWER_KEPT.as_millis()).unwrap_or(u64::MAX)
}
