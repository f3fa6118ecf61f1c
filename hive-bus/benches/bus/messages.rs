//! Messages that are sent, received and acknowledged, everything on record.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hive_bus::AgentMessage;
use hive_core_bench::{Bar, Figures};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::publish::{BATCH, body};
use crate::sqlite;

const AGENTS: usize = 8;
const MESSAGES: usize = 24_000;

pub(crate) fn run(runtime: &Runtime, figures: &mut Figures) -> Vec<(String, Bar)> {
    let (own, _folder) = sqlite::open(runtime);
    let per_s = runtime.block_on(async {
        let received = Arc::new(AtomicUsize::new(0));
        let mut receiving = JoinSet::new();
        for agent in 0..AGENTS {
            let mailbox = own.bus.mailbox(format!("agent-{agent}")).prefetch(1_024).await.unwrap();
            let received = Arc::clone(&received);
            receiving.spawn(async move {
                let mut settling = JoinSet::new();
                let mailbox = Arc::new(mailbox);
                while received.load(Ordering::Acquire) < MESSAGES {
                    let next = tokio::time::timeout(std::time::Duration::from_millis(200), mailbox.batch(512));
                    let Ok(letters) = next.await else { continue };
                    let letters = letters.unwrap();
                    let (mailbox, received) = (Arc::clone(&mailbox), Arc::clone(&received));
                    settling.spawn(async move {
                        let count = letters.len();
                        mailbox.ack_all(letters).await.unwrap();
                        received.fetch_add(count, Ordering::AcqRel);
                    });
                }
                settling.join_all().await;
                Instant::now()
            });
        }
        let begun = Instant::now();
        let mut sending = JoinSet::new();
        for agent in 0..AGENTS {
            let bus = own.bus.clone();
            sending.spawn(async move {
                for _ in 0..MESSAGES / AGENTS / BATCH {
                    let message = || {
                        let to = AgentMessage::to(format!("agent-{agent}"));
                        to.kind("bench.message").body(&body()).unwrap()
                    };
                    bus.send_all((0..BATCH).map(|_| message()).collect()).await.unwrap();
                }
            });
        }
        sending.join_all().await;
        while received.load(Ordering::Acquire) < MESSAGES {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let took = begun.elapsed();
        receiving.join_all().await;
        MESSAGES as f64 / took.as_secs_f64()
    });
    figures.record("bus.sqlite.messages_per_s", per_s, "messages/s");
    own.close(runtime);
    vec![("bus.sqlite.messages_per_s".to_owned(), Bar::PerS(20_000.0))]
}
