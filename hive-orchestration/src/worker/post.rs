//! Brings replies to the runs that wait for them, and messages into inboxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use hive_bus::{Address, AgentMessage, Mailbox, Subscription};
use hive_core::id::EventId;
use hive_errors::{Error, ErrorKind, Result, RetryPolicy};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shop;
use crate::limits;
use crate::patience::Patience;
use crate::queue;
use crate::queue::post;

/// Every reply to a request.
const REPLIES: &str = "message.reply.*.>";

/// Goes on until `ending`.
pub(super) async fn carry(shop: Arc<Shop>, ending: CancellationToken) {
    tokio::join!(replies(&shop, &ending), inboxes(&shop, &ending));
}

fn patience(shop: &Shop) -> Patience<'_> {
    Patience::new(&*shop.queue.clock, &*shop.queue.rng)
}

async fn replies(shop: &Shop, ending: &CancellationToken) {
    let mut trouble = patience(shop);
    while !ending.is_cancelled() {
        let heard = tokio::select! {
            biased;
            () = ending.cancelled() => return,
            heard = listen(shop, &mut trouble) => heard,
        };
        match heard {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::ShuttingDown => return,
            Err(error) => tokio::select! {
                biased;
                () = ending.cancelled() => return,
                () = trouble.wait("replies could not be listened for", &error) => {}
            },
        }
    }
}

/// Listens from the oldest request on that is still open: what was replied while nobody listened is found in the log.
async fn listen<'a>(shop: &'a Shop, trouble: &mut Patience<'a>) -> Result<()> {
    let bus = &shop.queue.bus;
    let mut replies = bus.subscribe(REPLIES).await?;
    if let Some(oldest) = shop.db.read(post::oldest_request).await?
        && oldest < replies.cursor()
    {
        replies = bus.subscribe(REPLIES).after(oldest).await?;
    }
    loop {
        let (request, reply) = next(&mut replies).await?;
        bring(shop, request, reply).await?;
        *trouble = patience(shop);
    }
}

async fn next(replies: &mut Subscription) -> Result<(EventId, AgentMessage)> {
    loop {
        let event = replies.next().await?;
        match AgentMessage::from_event(&event) {
            Ok(reply) => {
                if let Address::Reply(request) = reply.to
                    // Whoever only knows the address has not been asked.
                    && reply.causation.as_deref() == Some(&request.to_string())
                {
                    return Ok((request, reply));
                }
                tracing::warn!(sequence = %event.sequence(), "what came in place of a reply is none");
            }
            Err(error) => {
                tracing::warn!(sequence = %event.sequence(), %error, "what came in place of a reply is no message")
            }
        }
    }
}

/// Brings a reply to the run that waits for it, if one does. Others who share the database do the same; the first one counts.
async fn bring(shop: &Shop, request: EventId, reply: AgentMessage) -> Result<()> {
    let awaited = || shop.db.read(move |db| post::is_awaited(db, request));
    if !patience(shop)
        .insist("a reply could not be looked up", &shop.closed, awaited)
        .await?
    {
        return Ok(());
    }
    let (queue, reply) = (shop.queue.clone(), Arc::new(reply));
    let bring = || {
        let (queue, reply) = (queue.clone(), Arc::clone(&reply));
        queue::write(&shop.db, move |tx| post::answered(tx, &queue, request, &reply))
    };
    patience(shop)
        .insist("a reply could not be brought", &shop.closed, bring)
        .await
}

/// A mailbox that is emptied into inboxes.
struct Open {
    capabilities: String,
    _stop: DropGuard,
}

/// Keeps the mailboxes open whose agents have inboxes.
async fn inboxes(shop: &Arc<Shop>, ending: &CancellationToken) {
    let mut wakes = shop.db.listen(post::INBOXES);
    let (mut open, mut carriers, mut trouble) = (BTreeMap::new(), JoinSet::new(), patience(shop));
    let mut declared = false;
    while !ending.is_cancelled() {
        while let Some(ended) = carriers.try_join_next() {
            if let Ok(agent) = ended {
                // It is opened again, with what is known by then.
                open.remove(&agent);
            }
        }
        let looked = tokio::select! {
            biased;
            () = ending.cancelled() => break,
            looked = look(shop, ending, &mut open, &mut carriers, &mut declared) => looked,
        };
        match looked {
            Ok(()) => {
                trouble = patience(shop);
                tokio::select! {
                    biased;
                    () = ending.cancelled() => {}
                    _ = wakes.wait(shop.queue.pace.inboxes) => {}
                    () = shop.queue.clock.sleep(shop.queue.pace.inboxes) => {}
                }
            }
            Err(error) if error.kind() == ErrorKind::ShuttingDown => break,
            Err(error) => tokio::select! {
                biased;
                () = ending.cancelled() => {}
                () = trouble.wait("the inboxes could not be looked after", &error) => {}
            },
        }
    }
    open.clear();
    while let Some(ended) = carriers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "what empties a mailbox died; its messages wait for the next open");
        }
    }
}

/// Opens what is not open yet, as it should be, and wakes those who were not told.
async fn look(
    shop: &Arc<Shop>,
    ending: &CancellationToken,
    open: &mut BTreeMap<String, Open>,
    carriers: &mut JoinSet<String>,
    declared: &mut bool,
) -> Result<()> {
    let inboxes = shop.db.read(post::inboxes).await?;
    if inboxes.is_empty() {
        return Ok(());
    }
    for (agent, known) in inboxes {
        let own = declared_by(shop, &agent)?;
        // Whoever was started last says what the agent can do; and otherwise whoever knows.
        let wanted = match (own, known) {
            (Some(own), known) if !*declared || known.is_none() => {
                let (agent, said) = (agent.clone(), own.clone());
                queue::write(&shop.db, move |tx| post::declare(tx, &agent, &said)).await?;
                own
            }
            (_, Some(known)) => known,
            (_, None) => continue,
        };
        if let Some(there) = open.get(&agent) {
            if there.capabilities != wanted {
                // It ends, and is opened with the others once it has ended.
                let ending = Open {
                    capabilities: there.capabilities.clone(),
                    _stop: CancellationToken::new().drop_guard(),
                };
                open.insert(agent, ending);
            }
            continue;
        }
        let stop = ending.child_token();
        let mailbox = match mailbox(shop, &agent, &wanted).await {
            Ok(mailbox) => mailbox,
            // What had it open with other capabilities has not quite ended.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tracing::debug!(%error, agent, "a mailbox could not be opened yet");
                continue;
            }
            Err(error) => return Err(error),
        };
        carriers.spawn(empty(Arc::clone(shop), mailbox, stop.clone()));
        open.insert(
            agent,
            Open {
                capabilities: wanted,
                _stop: stop.drop_guard(),
            },
        );
    }
    *declared = true;
    for address in shop.db.read(post::unheard).await? {
        nudge(shop, address).await?;
    }
    Ok(())
}

/// The capabilities of an agent of this process.
fn declared_by(shop: &Shop, agent: &str) -> Result<Option<String>> {
    let own = shop.registry.declarations().find(|own| own.name() == agent);
    own.map(|own| {
        let names: Vec<String> = own.capabilities().iter().map(ToString::to_string).collect();
        serde_json::to_string(&names)
            .map_err(|e| Error::new(ErrorKind::Internal, "capabilities could not be written down").with_source(e))
    })
    .transpose()
}

async fn mailbox(shop: &Shop, agent: &str, capabilities: &str) -> Result<Mailbox> {
    let capabilities: Vec<String> = serde_json::from_str(capabilities)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "the capabilities of a mailbox cannot be read").with_source(e))?;
    shop.queue
        .bus
        .mailbox(agent)
        .capabilities(capabilities)
        .ack_wait(limits::INBOX_WAIT)
        .retry(RetryPolicy::exponential(limits::INBOX_TRIES).with_cap(limits::INBOX_REST))
        .await
}

/// Empties a mailbox into its agent's inboxes until `stop`; whose it was.
async fn empty(shop: Arc<Shop>, mailbox: Mailbox, stop: CancellationToken) -> String {
    let agent = mailbox.agent().to_owned();
    loop {
        let letter = tokio::select! {
            biased;
            () = stop.cancelled() => return agent,
            letter = mailbox.next() => letter,
        };
        let letter = match letter {
            Ok(letter) => Arc::new(letter),
            Err(error) => {
                tracing::debug!(%error, agent, "a mailbox is closed");
                return agent;
            }
        };
        let put = || {
            let (letter, agent) = (Arc::clone(&letter), agent.clone());
            queue::write(&shop.db, move |tx| {
                let room = post::put(tx, &agent, letter.message())?;
                if room {
                    letter.ack_in(tx)?;
                }
                Ok(room)
            })
        };
        let put = patience(&shop)
            .insist("a message could not be put into its inbox", &stop, put)
            .await;
        let address = post::inbox_address(&letter.message().tenant, &agent);
        let refused = match put {
            Ok(true) => {
                if let Err(error) = nudge(&shop, address).await {
                    // Told at the next look.
                    tracing::debug!(%error, agent, "who waits for a message could not be told");
                }
                continue;
            }
            Ok(false) => "the inbox is full".to_owned(),
            // Another has it by now, or it comes again.
            Err(error) => error.to_string(),
        };
        if let Some(letter) = Arc::into_inner(letter)
            && let Err(error) = letter.nack(refused).await
        {
            tracing::debug!(%error, agent, "a message could not be given back");
        }
    }
}

/// Lets those who wait at an inbox look into it.
async fn nudge(shop: &Shop, address: String) -> Result<()> {
    let own = address.clone();
    if shop.db.read(move |db| post::waits(db, &own)).await?.is_empty() {
        return Ok(());
    }
    let queue = shop.queue.clone();
    queue::write(&shop.db, move |tx| post::nudge(tx, &queue, &address)).await
}
