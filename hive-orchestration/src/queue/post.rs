//! Messages of runs: sent once, answered once, taken once.
//!
//! A request and its wait are one commit. The reply is an event like others; whoever hears of it first, of all processes, settles the
//! wait with it.
//!
//! Messages to an agent come through its mailbox on the bus into its inbox here, one for each tenant, in the commit that acknowledges them.
//! From there a run takes one in the commit that remembers it. Who waits is only woken and looks again: so nothing is handed to a wait
//! that nobody looks at any more.

pub(crate) mod schema;

use std::time::Duration;

use hive_bus::limits::TTL_MAX;
use hive_bus::{Address, AgentMessage, NewEvent, NewMessage, Sequence};
use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Snapshot, Tx};
use hive_core::id::EventId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::wait::{pend, resolve};
use super::{Queue, TaskRef};
use crate::journal::{self, Kind, Record};
use crate::lease::{Lease, guard, lock};
use crate::limits;

/// There is an inbox of which not all processes know.
pub(crate) const INBOXES: &str = "hive_inboxes";

/// What stands under the key of a wait for a message in an inbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Received {
    /// There may be one.
    Look,
    /// There was none.
    Nothing,
    Letter(Box<AgentMessage>),
}

/// How long whoever looks into an inbox waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting {
    Not,
    For(Duration),
    Ever,
}

/// A message as a run sends it.
pub(crate) fn own(task: &TaskRef, message: NewMessage) -> NewMessage {
    let message = message.from(&task.agent).tenant(&task.tenant).causation(task.id);
    match &task.correlation {
        Some(correlation) => message.correlation(correlation),
        None => message.correlation(task.root),
    }
}

/// An event as a run publishes it.
///
/// # Errors
/// `invalid-input` for one on the topics of messages.
pub(crate) fn own_event(task: &TaskRef, event: NewEvent) -> Result<NewEvent> {
    if event.topic().as_str().split('.').next() == Some("message") {
        return Err(
            Error::new(ErrorKind::InvalidInput, "only messages go to the topics of messages")
                .with("topic", event.topic())
                .with_hint("send it with Context::send"),
        );
    }
    let event = event.tenant(task.tenant.clone()).causation(task.id);
    Ok(match &task.correlation {
        Some(correlation) => event.correlation(correlation),
        None => event.correlation(task.root),
    })
}

/// What a wait for the reply to a request stands under. No signal's name has a control character.
fn reply_address(request: EventId) -> String {
    format!("\u{1}reply/{request}")
}

/// What waits for messages to an agent, on behalf of a tenant, stand under.
pub(crate) fn inbox_address(tenant: &str, agent: &str) -> String {
    format!("\u{1}inbox/{tenant}/{agent}")
}

/// A question to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) lease: Lease,
    pub(crate) key: String,
    pub(crate) message: NewMessage,
    pub(crate) deadline: Duration,
}

/// Sends a request and begins to wait for the reply, on the lease's strength, once.
pub(crate) fn ask(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, question: &Question) -> Result<()> {
    let Question {
        lease,
        key,
        message,
        deadline,
    } = question;
    guard(tx, *lease)?;
    // Whether the commit took place is not known to who comes again after the loss of a connection.
    if entry(tx, task.seq, key)?.is_some() {
        return Ok(());
    }
    let (now, deadline) = (tx.now()?, (*deadline).min(TTL_MAX));
    let id: EventId = queue.ids.next();
    let message = own(task, message.clone())
        .id(id)
        .reply_to(Address::Reply(id))
        .ttl_at_most(deadline);
    let to = message.address().to_string();
    let (_, place) = queue.bus.post_in(tx, message)?;
    let (until, address) = (Some(now + deadline), reply_address(id));
    pend(
        tx,
        task.seq,
        key,
        Kind::Message,
        now,
        Some(&to),
        until,
        Some(&address),
        Some(place.get()),
    )?;
    queue.wake_watchers(tx, task.id);
    // It may be the next to fall due.
    queue.wake_ready(tx);
    Ok(())
}

/// State, value and end of an entry in the journal.
type Known = (i64, Option<Payload>, Option<Timestamp>);

/// The standing entry under a key: its state, what it holds, and when its wait ends.
fn entry(tx: &Tx<'_>, task: i64, key: &str) -> Result<Option<Known>> {
    let entry = tx.query_opt(
        "SELECT state, value, wake_at FROM journal WHERE task = ?1 AND key = ?2",
        &[&task, &key],
        |row| Ok((row.get::<i64>(0)?, row.get(1)?, row.get(2)?)),
    )?;
    // What a person let run again (4) is as if it had never been.
    Ok(entry.filter(|(state, _, _)| *state != 4))
}

/// Takes the next message from the agent's inbox and remembers it, on the lease's strength, once. `None`: there is none, and the wait for
/// it is on record.
pub(crate) fn receive(
    tx: &mut Tx<'_>,
    queue: &Queue,
    lease: Lease,
    task: &TaskRef,
    key: &str,
    waiting: Waiting,
) -> Result<Option<Received>> {
    guard(tx, lease)?;
    let known = entry(tx, task.seq, key)?;
    let (mut pending, mut until) = (false, None);
    if let Some((state, value, wake_at)) = known {
        (pending, until) = (state == 0, wake_at);
        match value.map(|value| value.decode::<Received>()).transpose()? {
            None if pending => {}
            // Its time ran out.
            None => return Ok(Some(Received::Nothing)),
            Some(Received::Look) => {}
            Some(done) => return Ok(Some(done)),
        }
    }
    let (now, address) = (tx.now()?, inbox_address(&task.tenant, &task.agent));
    let found = match (take(tx, &address, now)?, waiting) {
        (Some(message), _) => Received::Letter(Box::new(message.decode()?)),
        (None, Waiting::Not) => Received::Nothing,
        (None, _) if pending => return Ok(None),
        (None, Waiting::For(_) | Waiting::Ever) => {
            let until = match waiting {
                Waiting::For(limit) => until.or(Some(now + limit.min(TTL_MAX))),
                Waiting::Not | Waiting::Ever => until,
            };
            pend(tx, task.seq, key, Kind::Message, now, None, until, Some(&address), None)?;
            open(tx, &task.agent)?;
            queue.wake_watchers(tx, task.id);
            if until.is_some() {
                queue.wake_ready(tx);
            }
            return Ok(None);
        }
    };
    // Also when it is asked for the first time and nobody waits.
    open(tx, &task.agent)?;
    let record = Record {
        lease,
        at: now,
        key: key.to_owned(),
        kind: Kind::Message,
        type_name: std::any::type_name::<AgentMessage>(),
        value: Payload::encode(&found, limits::PAYLOAD_BYTES)?,
        also: None,
    };
    journal::record(tx, &record)?;
    Ok(Some(found))
}

/// Takes the most urgent message from an inbox, the oldest of those. PostgreSQL passes over what another is taking.
fn take(tx: &mut Tx<'_>, address: &str, now: Timestamp) -> Result<Option<Payload>> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => {
            "DELETE FROM letter WHERE seq = (
                 SELECT seq FROM letter WHERE address = ?1 AND (expires_at IS NULL OR expires_at > ?2)
                 ORDER BY priority DESC, seq LIMIT 1) RETURNING value"
        }
        Dialect::Postgres => {
            "DELETE FROM letter WHERE seq = (
                 SELECT seq FROM letter WHERE address = ?1 AND (expires_at IS NULL OR expires_at > ?2)
                 ORDER BY priority DESC, seq LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING value"
        }
    };
    tx.query_opt(sql, &[&address, &now], |row| row.get(0))
}

/// Notes that the agent has an inbox.
fn open(tx: &mut Tx<'_>, agent: &str) -> Result<()> {
    let new = tx.execute(
        "INSERT INTO post (agent) VALUES (?1) ON CONFLICT (agent) DO NOTHING",
        &[&agent],
    )?;
    if new > 0 {
        tx.notify(INBOXES);
    }
    Ok(())
}

/// Says which capabilities the mailbox of an agent has that has an inbox.
pub(crate) fn declare(tx: &mut Tx<'_>, agent: &str, capabilities: &str) -> Result<()> {
    let changed = tx.execute(
        "UPDATE post SET capabilities = ?2 WHERE agent = ?1 AND (capabilities IS NULL OR capabilities <> ?2)",
        &[&agent, &capabilities],
    )?;
    if changed > 0 {
        tx.notify(INBOXES);
    }
    Ok(())
}

/// The agents that have inboxes, with the capabilities of their mailboxes where they are known.
pub(crate) fn inboxes(db: &Snapshot<'_>) -> Result<Vec<(String, Option<String>)>> {
    db.query("SELECT agent, capabilities FROM post ORDER BY agent", &[], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Puts a message into an agent's inbox; `false` when that is full. Those who wait are told with [`nudge`], after the commit: until then
/// who begins to wait would miss it.
pub(crate) fn put(tx: &mut Tx<'_>, agent: &str, message: &AgentMessage) -> Result<bool> {
    let (now, address) = (tx.now()?, inbox_address(&message.tenant, agent));
    let kept = tx.query_one("SELECT count(*) FROM letter WHERE address = ?1", &[&address], |row| {
        row.get::<u64>(0)
    })?;
    if kept >= limits::INBOX_LETTERS {
        let expired = tx.execute(
            "DELETE FROM letter WHERE address = ?1 AND expires_at IS NOT NULL AND expires_at <= ?2",
            &[&address, &now],
        )?;
        if expired == 0 {
            return Ok(false);
        }
    }
    // Canonical, and of no more than an event may have.
    let value = Payload::encode(message, limits::PAYLOAD_BYTES)?;
    tx.execute(
        "INSERT INTO letter (tenant, address, message, priority, value, expires_at, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (address, message) DO NOTHING",
        &[
            &message.tenant,
            &address,
            &message.id,
            &(message.priority as i64),
            &value,
            &message.expires,
            &now,
        ],
    )?;
    Ok(true)
}

/// Waits for what comes to this address, the oldest first: tasks and keys.
pub(crate) fn waits(db: &Snapshot<'_>, address: &str) -> Result<Vec<(i64, String)>> {
    db.query(
        "SELECT task, key FROM journal WHERE kind = 12 AND state = 0 AND signal = ?1 ORDER BY at, task LIMIT ?2",
        &[&address, &limits::INBOX_WOKEN],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Lets those who wait at this inbox look into it.
pub(crate) fn nudge(tx: &mut Tx<'_>, queue: &Queue, address: &str) -> Result<()> {
    let look = Payload::encode(&Received::Look, limits::PAYLOAD_BYTES)?;
    settle(tx, queue, address, &look)
}

fn settle(tx: &mut Tx<'_>, queue: &Queue, address: &str, value: &Payload) -> Result<()> {
    let mut waits = waits(tx, address)?;
    waits.sort();
    lock(tx, waits.iter().map(|(task, _)| *task))?;
    for (task, key) in waits {
        resolve(tx, queue, task, &key, Some(value))?;
    }
    Ok(())
}

/// Whether a run waits for the reply to this request.
pub(crate) fn is_awaited(db: &Snapshot<'_>, request: EventId) -> Result<bool> {
    Ok(!waits(db, &reply_address(request))?.is_empty())
}

/// Brings a reply to the run that waits for it; the first one counts.
pub(crate) fn answered(tx: &mut Tx<'_>, queue: &Queue, request: EventId, reply: &AgentMessage) -> Result<()> {
    let value = Payload::encode(reply, limits::PAYLOAD_BYTES)?;
    settle(tx, queue, &reply_address(request), &value)
}

/// The place in the log of the oldest request whose reply a run waits for.
pub(crate) fn oldest_request(db: &Snapshot<'_>) -> Result<Option<Sequence>> {
    let oldest = db.query_one(
        "SELECT min(remaining) FROM journal WHERE kind = 12 AND state = 0 AND signal IS NOT NULL",
        &[],
        |row| row.get::<Option<u64>>(0),
    )?;
    Ok(oldest.map(Sequence::new))
}

/// Inboxes with messages of which those who wait were not told.
pub(crate) fn unheard(db: &Snapshot<'_>) -> Result<Vec<String>> {
    let filled = db.query(
        "SELECT DISTINCT address FROM letter ORDER BY address LIMIT ?1",
        &[&limits::INBOX_LOOK],
        |row| row.get::<String>(0),
    )?;
    let mut unheard = Vec::new();
    for address in filled {
        if !waits(db, &address)?.is_empty() {
            unheard.push(address);
        }
    }
    Ok(unheard)
}

/// Removes up to `limit` messages from inboxes whose time is over; how many.
pub(crate) fn prune(tx: &mut Tx<'_>, limit: u64) -> Result<u64> {
    let now = tx.now()?;
    let gone = tx.execute(
        "DELETE FROM letter WHERE seq IN (
             SELECT seq FROM letter WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
        &[&now, &limit],
    )?;
    Ok(gone as u64)
}
