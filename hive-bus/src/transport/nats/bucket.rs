//! The values of the two buckets: consumers' states and dead letters, by subject.

use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use bytes::Bytes;
use hive_errors::Result;

use super::Shared;
use super::link::Line;
use super::publish::ship;
use super::refusal::{Failed, Refused, unpublished};
use super::stream::{self, Stored, Which};

impl Shared {
    /// The value of a subject, as it was when the last one was acknowledged.
    pub(super) async fn last(&self, line: &Line, stream: &str, subject: &str) -> Result<Option<Stored>, Failed> {
        if self.replicas > 1 {
            return stream::get(line, stream, &Which::Last(subject)).await;
        }
        stream::get_direct(line, stream, &Which::Last(subject)).await
    }

    /// Puts a value in place of the one of revision `expected`, 0 for none, or of whatever is there, and gives its own revision;
    /// `None` where there is another.
    pub(super) async fn put(&self, subject: &str, expected: Option<u64>, value: Bytes) -> Result<Option<u64>> {
        // So that an attempt whose answer was lost is known again.
        let (id, value) = (&*self.link.token(), &value);
        let put = |line: Arc<Line>| async move {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, id);
            if let Some(expected) = expected {
                headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
            }
            let acknowledgement = ship(&line, subject, headers, value).await?.await;
            match acknowledgement {
                Ok(ack) => {
                    line.answered();
                    Ok(Some(ack.sequence))
                }
                Err(error) => match unpublished(error)? {
                    Refused::Id | Refused::Sequence => {
                        line.answered();
                        Ok(None)
                    }
                },
            }
        };
        self.link.call(put).await
    }
}
