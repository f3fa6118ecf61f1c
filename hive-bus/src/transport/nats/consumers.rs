//! Consumers: their states, and their dead letters.
//!
//! A state is replaced by who has seen it: the server compares the sequence of the subject's last message with the one that is
//! expected. What was removed leaves nothing behind, and sequences only grow, so whoever saw the state before the removal cannot
//! replace the one that was made after it.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream as streams};
use hive_errors::Result;

use super::Shared;
use super::stream::{self, Stored};
use crate::event::Sequence;
use crate::limits;
use crate::transport::{Change, DeadLetter, Register};

impl Shared {
    pub(super) async fn load(&self, consumer: &str) -> Result<Option<Register>> {
        let subject = &*self.names.state(consumer);
        let found = self
            .link
            .call(|line| async move { self.last(&line, &self.names.states, subject).await });
        Ok(found
            .await?
            .map(|stored| Register::new(stored.body.to_vec(), stored.sequence)))
    }

    pub(super) async fn store(&self, consumer: &str, change: Change) -> Result<Option<u64>> {
        // To the server it means that there is nothing; no state ever has it.
        if change.expected == Some(0) {
            return Ok(None);
        }
        if !change.dead.is_empty() {
            // Not before it is at least likely that the state will be replaced.
            let revision = self.load(consumer).await?.map(|register| register.revision);
            if revision != change.expected {
                return Ok(None);
            }
            self.bury(consumer, &change.dead).await?;
        }
        let expected = Some(change.expected.unwrap_or_default());
        let revision = self
            .put(&self.names.state(consumer), expected, change.state.into())
            .await?;
        if revision.is_none() {
            return Ok(None);
        }
        if let Err(error) = self.purge(consumer, &change.revived).await {
            // The state says that they are alive, and it is what counts.
            tracing::warn!(%error, consumer, "letters that are not dead any more are still among the dead");
        }
        if change.wake {
            self.wake(consumer).await;
        }
        Ok(revision)
    }

    pub(super) async fn remove(&self, consumer: &str) -> Result<bool> {
        let known = self.load(consumer).await?.is_some();
        let (state, letters) = (&*self.names.state(consumer), &*self.names.letters(consumer));
        // The state first: who still works for it gets nothing in any more.
        let removed = self
            .link
            .call(|line| async move {
                stream::purge(&line, &self.names.states, state).await?;
                stream::purge(&line, &self.names.dead, letters).await
            })
            .await;
        removed?;
        self.wake(consumer).await;
        Ok(known)
    }

    pub(super) async fn consumers(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        let filter = &*self.names.consumers();
        let subjects = self
            .link
            .call(|line| async move { stream::subjects(&line, &self.names.states, filter).await });
        let names = subjects
            .await?
            .into_iter()
            .filter_map(|subject| self.names.consumer(&subject));
        let names: BTreeSet<String> = names.filter(|name| name.as_str() > after).collect();
        Ok(names.into_iter().take(limit).collect())
    }

    pub(super) async fn dead_letters(&self, consumer: &str, after: Sequence, limit: usize) -> Result<Vec<DeadLetter>> {
        let filter = &*self.names.letters(consumer);
        let subjects = self
            .link
            .call(|line| async move { stream::subjects(&line, &self.names.dead, filter).await });
        let sequences = subjects.await?.into_iter();
        let sequences: BTreeSet<Sequence> = sequences
            .filter_map(|subject| self.names.letter_sequence(&subject))
            .filter(|sequence| *sequence > after)
            .collect();
        let sequences: Vec<Sequence> = sequences.into_iter().take(limit).collect();
        self.dead(consumer, &sequences).await
    }

    pub(super) async fn dead(&self, consumer: &str, sequences: &[Sequence]) -> Result<Vec<DeadLetter>> {
        let found: Vec<Option<Stored>> = streams::iter(sequences.to_vec())
            .map(|sequence| async move {
                let subject = &*self.names.letter(consumer, sequence);
                self.link
                    .call(|line| async move { self.last(&line, &self.names.dead, subject).await })
                    .await
            })
            .buffered(limits::NATS_REQUESTS)
            .try_collect()
            .await?;
        found
            .into_iter()
            .flatten()
            .map(|stored| DeadLetter::from_bytes(&stored.body))
            .collect()
    }

    pub(super) async fn purge(&self, consumer: &str, sequences: &[Sequence]) -> Result<usize> {
        streams::iter(sequences.to_vec())
            .map(|sequence| async move {
                let subject = &*self.names.letter(consumer, sequence);
                self.link
                    .call(|line| async move { stream::purge(&line, &self.names.dead, subject).await })
                    .await
            })
            .buffered(limits::NATS_REQUESTS)
            .try_fold(0, |purged, one| async move { Ok(purged + usize::from(one > 0)) })
            .await
    }

    /// Puts the letters in place of those that there are of their events.
    async fn bury(&self, consumer: &str, letters: &[DeadLetter]) -> Result<()> {
        let letters = letters.iter().map(|letter| {
            let subject = self.names.letter(consumer, letter.event.sequence());
            Ok((subject, letter.to_bytes()?.into()))
        });
        let letters: Vec<(String, Bytes)> = letters.collect::<Result<_>>()?;
        streams::iter(letters)
            .map(|(subject, letter)| async move { self.put(&subject, None, letter).await })
            .buffered(limits::NATS_REQUESTS)
            .try_for_each(|_revision| async { Ok(()) })
            .await
    }

    /// Tells everybody who works for the consumer that its state is another.
    async fn wake(&self, consumer: &str) {
        self.live.touch(consumer);
        let Ok(line) = self.link.line().await else { return };
        // Lost, it is as a wake-up that came late: who waits looks from time to time, and after a connection broke.
        if let Err(error) = line.client().publish(self.names.changed(consumer), Bytes::new()).await {
            tracing::debug!(%error, consumer, "nobody else was told of a change");
        }
    }
}
