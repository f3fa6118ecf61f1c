//! The relay: what a database has committed is passed on to another transport, in order and at least once.
//!
//! A bus that was opened with [`Bus::open_with`](crate::Bus::open_with) publishes to its database and to nothing else: an event is
//! acknowledged when it is on disk, together with whatever its transaction wrote, and no publisher waits for the other transport
//! or notices that it is away. A task follows the end of the database's log, as a subscription does, and hands each page to
//! [`Transport::relay`]. Subscriptions and consumers read from there.
//!
//! - **Nothing is lost.** The relay goes on behind what the transport says that it has ([`Transport::relayed`]): after a restart,
//!   a kill or an answer that was lost on the way, and also when the transport has lost what it had, which is noticed with the
//!   next event or after [`limits::RELAY_LOOK`].
//! - **In order, and once.** Events keep the sequences that they have in the database. What the transport has already it leaves
//!   out, so relaying again is safe.
//! - **One at a time.** Where several processes share the database, a lease says who relays; the others wait for it. One that
//!   stood still and does not know that it was replaced adds nothing: the transport refuses what is not newer (`conflict`), and
//!   whoever is refused asks whether it still holds the lease.
//! - **Never for ever.** An event that the transport refuses for good, because it is too large for it or it cannot express it, is
//!   put with the dead letters of the consumer `relay/` and the transport's name, with an error in the log; the relay goes on
//!   with the next. [`Bus::redrive`](crate::Bus::redrive) sends it again, *at the end of the log*: it keeps its id and time and
//!   gets a new sequence, because nobody would look for it at its old place any more. So it comes after events that it came
//!   before, also those of its key.
//!
//! The relay is a consumer to whoever looks: [`Bus::consumer_info`](crate::Bus::consumer_info) says how far behind it is,
//! [`Bus::pause`](crate::Bus::pause) stops it, and retention stays behind it. How far it came is written down with a second's
//! delay. When a transport is not relayed to any more, [`Bus::remove_consumer`](crate::Bus::remove_consumer) forgets its relay,
//! for which retention would wait.
//!
//! A new transport is given the whole log, from its oldest event on. A database relays to one transport of each name. What was
//! published in a transaction of [`Write::relaxed`](hive_core::db::Write::relaxed) may be relayed before it is on disk, and a loss
//! of power then takes it from the database alone.

mod record;
mod relay;

use hive_errors::{Error, ErrorKind, Result};

pub(crate) use self::relay::Relay;
use crate::consumer::RELAY_PREFIX;
use crate::event::Sequence;
use crate::limits;
use crate::transport::{Database, Transport};

/// Whether a consumer of this name is a relay.
pub(crate) fn is_relay(name: &str) -> bool {
    name.starts_with(RELAY_PREFIX)
}

/// The name of the relay to a transport.
pub(crate) fn name_of(transport: &dyn Transport) -> String {
    format!("{RELAY_PREFIX}{}", transport.name())
}

/// Sends dead letters of a relay again, at the end of the log; how many there were.
pub(crate) async fn redrive(database: &Database, name: &str, sequences: &[Sequence]) -> Result<usize> {
    if sequences.len() > limits::DEAD_PAGE_MAX {
        return Err(Error::new(
            ErrorKind::LimitReached,
            "these are too many letters to bring back at once",
        )
        .with("letters", sequences.len())
        .with("limit", limits::DEAD_PAGE_MAX)
        .with_hint("bring them back a page at a time"));
    }
    if database.load(name).await?.is_none() {
        return Err(Error::new(ErrorKind::NotFound, "there is no relay of this name").with("relay", name));
    }
    let mut sequences = sequences.to_vec();
    sequences.sort_unstable();
    sequences.dedup();
    let (own, name) = (database.clone(), name.to_owned());
    database
        .db()
        .write(move |tx| own.publish_letters_in(tx, &name, &sequences))
        .await
}

/// Refuses a transport that nothing can be relayed to.
async fn check_target(transport: &dyn Transport) -> Result<()> {
    // A database says so without asking anybody. What has to be asked may be away, and nobody waits for that here.
    let told = tokio::select! {
        biased;
        told = transport.relayed() => told,
        () = std::future::ready(()) => return Ok(()),
    };
    match told {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
