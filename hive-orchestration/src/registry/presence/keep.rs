//! The heartbeat, for as long as the process takes tasks.

use std::sync::Arc;

use hive_core::clock::Clock;
use hive_core::db::{Db, Dialect, Write};
use hive_core::rng::Rng;
use hive_errors::{ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::super::expire::sweep;
use super::{Load, Presence};
use crate::pace::Pace;
use crate::patience::Patience;

/// What the process says of the load of its agents.
pub(crate) type Loads = Arc<dyn Fn(&str) -> Load + Send + Sync>;

/// Says again and again that the agents are here and how busy they are, and looks for those that are not; says that they take
/// no more tasks once `draining`; and takes them back once `ending`.
///
/// # Cancel safety
/// Dropped, the agents are believed to be gone after a while.
pub(crate) async fn keep(
    db: Db,
    presence: Arc<Presence>,
    loads: Loads,
    (clock, rng, pace): (Arc<dyn Clock>, Arc<dyn Rng>, Pace),
    draining: CancellationToken,
    ending: CancellationToken,
) {
    let beat = || beat(&db, &presence, &loads, (&*clock, &*rng, pace));
    tokio::select! {
        biased;
        () = draining.cancelled() => {}
        () = beat() => {}
    }
    // Whole, also when the end follows at once. A heartbeat that is still under way does not undo it.
    let stopping = Arc::clone(&presence);
    if let Err(error) = db.write_with(CHEAP, move |tx| stopping.drain(tx)).await {
        tracing::warn!(%error, "it is not known that the agents of this process take no more tasks");
    }
    tokio::select! {
        biased;
        () = ending.cancelled() => {}
        () = beat() => {}
    }
    let leaving = Arc::clone(&presence);
    let left = db.write_with(CHEAP, move |tx| leaving.leave(tx, "the process has ended"));
    if let Err(error) = left.await {
        tracing::warn!(%error, "the agents of this process could not be taken back; they are believed to be there for a while");
    }
}

/// Goes on for ever.
async fn beat(db: &Db, presence: &Arc<Presence>, loads: &Loads, (clock, rng, pace): (&dyn Clock, &dyn Rng, Pace)) {
    let patience = || Patience::new(clock, rng);
    let mut trouble = patience();
    // On SQLite there is nobody to whom silence would mean anything: an idle process writes nothing.
    let mut said = None;
    loop {
        let words = (db.dialect() == Dialect::Sqlite).then(|| presence.words(&**loads));
        let done = if words.is_some() && words == said {
            Ok(())
        } else {
            say(db, presence, loads).await
        };
        match done {
            Ok(()) => {
                said = words;
                trouble = patience();
                clock.sleep(pace.heartbeat).await;
            }
            Err(error) if error.kind() == ErrorKind::ShuttingDown => std::future::pending().await,
            Err(error) => trouble.wait("agents could not say that they are here", &error).await,
        }
    }
}

/// What can be found out again need not be on disk.
const CHEAP: Write = Write::relaxed().read_committed();

async fn say(db: &Db, presence: &Arc<Presence>, loads: &Loads) -> Result<()> {
    let (saying, loads) = (Arc::clone(presence), Arc::clone(loads));
    db.write_with(CHEAP, move |tx| saying.heartbeat(tx, |agent| loads(agent)))
        .await?;
    sweep(db, &presence.bus).await.map(drop)
}
