//! The record and the code disagree: the task is held until a person decides, never retried for ever.

use hive_core::payload::Payload;
use hive_errors::Error;
use serde::de::DeserializeOwned;

use super::Context;
use crate::journal::{Entry, Kind, Standing};
use crate::queue::wait::{NewWait, Wanted};

/// What the journal holds under a key, read as the code at hand expects it.
pub(crate) enum Recall<T> {
    /// Nothing yet.
    New,
    /// The outcome.
    Done(T),
    /// It was begun; for a step that must not run twice, nobody knows how it ended.
    Begun,
    /// It is over and left no value: a timer, children, a wait whose time ran out.
    Over,
}

impl Context {
    /// Looks `key` up. When the record does not fit, or its outcome is not known, waits for a person's decision first.
    pub(crate) async fn recall<T: DeserializeOwned>(&self, key: &str, kind: Kind) -> Recall<T> {
        loop {
            let entry = self.run.journal().get(key).cloned();
            // Never there, or a person let it run again.
            let Some(entry) = entry else { return Recall::New };
            if entry.standing == Standing::Held {
                // An earlier run held it and said why.
                self.settled(key, None).await;
                continue;
            }
            let report = match read::<T>(&entry, kind) {
                Ok(recall) => match recall {
                    Recall::Begun if kind == Kind::Once => {
                        "this step was cut off while it ran, by the death of its process or by a time limit, and it must \
                         not run twice: nobody knows whether it took effect. Find out, then decide: adopt its output if \
                         it did, rerun it if it did not"
                            .to_owned()
                    }
                    Recall::New | Recall::Done(_) | Recall::Begun | Recall::Over => return recall,
                },
                Err(report) => report,
            };
            self.hold(key, kind, report).await;
        }
    }

    async fn hold(&self, key: &str, kind: Kind, report: String) {
        tracing::warn!(task = %self.task_id(), step = key, report, "a step is held for a person's decision");
        let held = Entry {
            kind,
            standing: Standing::Held,
            value: None,
        };
        self.run.journal().put(key.to_owned(), held);
        self.settled(
            key,
            Some(NewWait {
                key: key.to_owned(),
                what: Wanted::Decision { kind, report },
            }),
        )
        .await;
    }
}

fn read<T: DeserializeOwned>(entry: &Entry, kind: Kind) -> Result<Recall<T>, String> {
    // A step may become one that must not run twice, or the reverse: what is on record stays true.
    if entry.kind.word() != kind.word() {
        return Err(format!(
            "the journal holds a {:?} under this name, but the code now asks for a {kind:?}. Give the new one another \
             name and run the old version to the end, or rerun it as what it is now",
            entry.kind
        ));
    }
    match (entry.standing, &entry.value) {
        (Standing::Pending | Standing::Held, _) => Ok(Recall::Begun),
        (Standing::Done, None) => Ok(Recall::Over),
        (Standing::Done, Some(value)) => decode(value).map(Recall::Done),
    }
}

fn decode<T: DeserializeOwned>(value: &Payload) -> Result<T, String> {
    value.decode::<T>().map_err(|error: Error| {
        format!(
            "the recorded output does not fit the type that the code now expects ({}): {error}. Adopt an output that \
             fits, or rerun the step if that is harmless",
            std::any::type_name::<T>()
        )
    })
}
