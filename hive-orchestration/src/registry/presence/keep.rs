//! The heartbeat, for as long as the process takes tasks.

use std::sync::Arc;

use hive_core::clock::Clock;
use hive_core::db::Db;
use hive_core::rng::Rng;
use tokio_util::sync::CancellationToken;

use super::super::expire::sweep;
use super::{Load, Presence};
use crate::limits;
use crate::patience::Patience;

/// Says again and again that the agents are here, and looks for those that are not, until it is told to stop.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped: the agents are believed to be gone after a while.
pub(crate) async fn keep(
    db: Db,
    presence: Arc<Presence>,
    load: Arc<dyn Fn(&str) -> Load + Send + Sync>,
    (clock, rng): (Arc<dyn Clock>, Arc<dyn Rng>),
    stop: CancellationToken,
) {
    let patience = || Patience::new(&*clock, &*rng);
    let mut trouble = patience();
    loop {
        let (saying, load) = (Arc::clone(&presence), Arc::clone(&load));
        let said = db.write(move |tx| saying.heartbeat(tx, |agent| load(agent))).await;
        let done = match said {
            Ok(()) => sweep(&db, &presence.bus).await,
            Err(error) => Err(error),
        };
        let pause = async {
            match &done {
                Ok(_) => {
                    trouble = patience();
                    clock.sleep(limits::AGENT_HEARTBEAT).await;
                }
                Err(error) => trouble.wait("agents could not say that they are here", error).await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = pause => {}
        }
    }
}
