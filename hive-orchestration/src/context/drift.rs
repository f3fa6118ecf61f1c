//! The record and the code disagree: what is done then is the code's to say, and the task never tries for ever.

use hive_core::payload::Payload;
use hive_errors::Failure;
use serde::de::DeserializeOwned;

use super::Context;
use crate::drift::{Cause, Drift, Report};
use crate::journal::{Entry, Kind, Mark, Standing};
use crate::queue::wait::{NewWait, Wanted};

/// What the journal holds under a key, read as the code at hand expects it.
pub(crate) enum Recall<T> {
    /// Nothing yet, or what is to be done again.
    New,
    /// The outcome.
    Done(T),
    /// It was begun; for a step that must not run twice, nobody knows how it ended.
    Begun,
    /// It is over and left no value: a timer, children, a wait whose time ran out.
    Over,
}

/// What the code at hand asks for under a key.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) kind: Kind,
    pub(crate) mark: Mark,
    pub(crate) policy: Drift,
}

impl From<Kind> for Asked {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            mark: Mark::default(),
            policy: Drift::default(),
        }
    }
}

/// What comes of a drift, if not a failure.
pub(crate) enum Drifted {
    /// A person has decided: the journal says what.
    Settled,
    /// It is done again, and the note stands beside the new record.
    Again,
}

const CUT_OFF: &str = "this step was cut off while it ran, by the death of its process or by a time limit, and it must not run twice: \
                       nobody knows whether it took effect. Find out, then decide: adopt its output if it did, rerun it if it did not";

impl Context {
    /// Looks `key` up. When the record does not fit, or its outcome is not known, waits for a person's decision first.
    pub(crate) async fn recall<T: DeserializeOwned>(&self, key: &str, kind: Kind) -> Recall<T> {
        loop {
            // By this policy there is no failure.
            if let Ok(recall) = self.recall_as(key, &Asked::from(kind)).await {
                return recall;
            }
        }
    }

    /// Looks `key` up, and does what the policy says when the record does not fit.
    ///
    /// # Failures
    /// By the policy [`Drift::Fail`] alone.
    pub(crate) async fn recall_as<T: DeserializeOwned>(&self, key: &str, asked: &Asked) -> Result<Recall<T>, Failure> {
        loop {
            let (entry, mark) = {
                let journal = self.run.journal();
                (journal.get(key).cloned(), journal.mark(key))
            };
            let Some(entry) = entry else {
                let elsewhere = self.run.journal().elsewhere(key, asked.kind);
                let Some((place, recorded)) = elsewhere else {
                    // Never there, or a person let it run again.
                    self.probe_new(key).await;
                    return Ok(Recall::New);
                };
                match self.of_another_kind(key, &place, recorded, asked).await? {
                    Some(recall) => return Ok(recall),
                    None => continue,
                }
            };
            if entry.standing == Standing::Held {
                // An earlier run held it and said why.
                self.settled(key, None).await;
                continue;
            }
            let report = match read::<T>(key, &entry, &mark, asked) {
                Ok(Recall::Begun) if asked.kind == Kind::Once => {
                    self.hold(key, asked, CUT_OFF.to_owned()).await;
                    continue;
                }
                Ok(recall) => return Ok(recall),
                Err(report) => report,
            };
            let readable = (asked.policy == Drift::Adopt).then(|| read_value(&entry)).flatten();
            if let Some(recall) = readable {
                self.adopted(&report.under(Drift::Adopt));
                return Ok(recall);
            }
            // What must not run twice and is something else now was not said to be harmless.
            let harmless = entry.kind == asked.kind || entry.kind == Kind::Step;
            match self.drifted(key, asked, report, harmless).await? {
                Drifted::Settled => {}
                Drifted::Again => return Ok(Recall::New),
            }
        }
    }

    /// What is on record under this name is of another kind. `None`: look again.
    async fn of_another_kind<T: DeserializeOwned>(
        &self,
        key: &str,
        place: &str,
        recorded: Entry,
        asked: &Asked,
    ) -> Result<Option<Recall<T>>, Failure> {
        let report = Report::new(key, Cause::Kind, place, format!("a {}", asked.kind.word()));
        // Somebody asks for it: it is this drift, and nothing that is forgotten.
        self.run.journal().take(place);
        if asked.policy == Drift::Adopt
            && recorded.standing == Standing::Done
            && let Some(value) = &recorded.value
            && let Ok(value) = value.decode()
        {
            self.adopted(&report.under(Drift::Adopt));
            return Ok(Some(Recall::Done(value)));
        }
        let harmless = recorded.kind == Kind::Step;
        Ok(match self.drifted(key, asked, report, harmless).await? {
            Drifted::Settled => None,
            Drifted::Again => Some(Recall::New),
        })
    }

    pub(crate) fn adopted(&self, report: &Report) {
        tracing::warn!(task = %self.task_id(), %report, "what is on record is taken although it does not fit");
        if let Some(probe) = &self.run.probe {
            probe.seen().drifts.push(report.clone());
        }
    }

    /// Does what the policy says about a record that does not fit and cannot be taken as it is.
    pub(crate) async fn drifted(
        &self,
        key: &str,
        asked: &Asked,
        report: Report,
        harmless: bool,
    ) -> Result<Drifted, Failure> {
        let policy = match asked.policy {
            Drift::Pause | Drift::Adopt => Drift::Pause,
            Drift::Rerun if !harmless => Drift::Pause,
            Drift::Rerun => Drift::Rerun,
            Drift::Fail => Drift::Fail,
        };
        let report = report.under(policy);
        if let Some(probe) = &self.run.probe {
            probe.seen().drifts.push(report.clone());
            match policy {
                Drift::Pause | Drift::Adopt | Drift::Rerun => probe.rest().await,
                Drift::Fail => return Err(report.failure()),
            }
        }
        match policy {
            Drift::Pause | Drift::Adopt => {
                self.hold(key, asked, report.to_string()).await;
                Ok(Drifted::Settled)
            }
            Drift::Rerun => {
                tracing::warn!(task = %self.task_id(), %report, "what is on record is done again");
                self.run.journal().annotate(key, format!("done again. {report}"));
                Ok(Drifted::Again)
            }
            Drift::Fail => Err(report.failure()),
        }
    }

    /// Where there is only a record, what is not on it is not begun.
    async fn probe_new(&self, key: &str) {
        if let Some(probe) = &self.run.probe {
            probe.ask_for_new(key).await;
        }
    }

    async fn hold(&self, key: &str, asked: &Asked, report: String) {
        if self.run.probe.is_none() {
            tracing::warn!(task = %self.task_id(), step = key, report, "a step is held for a person's decision");
        }
        let held = Entry {
            kind: asked.kind,
            standing: Standing::Held,
            value: None,
        };
        {
            let mut journal = self.run.journal();
            journal.put(key.to_owned(), held);
            // What a person adopts is for the code that asked.
            journal.set_mark(key, asked.mark.clone());
        }
        self.settled(
            key,
            Some(NewWait {
                key: key.to_owned(),
                what: Wanted::Decision {
                    kind: asked.kind,
                    report,
                    mark: asked.mark.clone(),
                },
            }),
        )
        .await;
    }
}

fn read<T: DeserializeOwned>(key: &str, entry: &Entry, mark: &Mark, asked: &Asked) -> Result<Recall<T>, Report> {
    // A step may become one that must not run twice, or the reverse: what is on record stays true.
    if entry.kind.word() != asked.kind.word() {
        let (recorded, now) = (format!("a {:?}", entry.kind), format!("a {:?}", asked.kind));
        return Err(Report::new(key, Cause::Kind, recorded, now));
    }
    match (entry.standing, &entry.value) {
        (Standing::Pending | Standing::Held, _) => Ok(Recall::Begun),
        (Standing::Done, _) if mark.version != asked.mark.version => {
            let of = |mark: &Mark| format!("version {}", mark.version);
            Err(Report::new(key, Cause::Version, of(mark), of(&asked.mark)))
        }
        (Standing::Done, None) => Ok(Recall::Over),
        (Standing::Done, Some(value)) => decode(key, value).map(Recall::Done),
    }
}

fn read_value<T: DeserializeOwned>(entry: &Entry) -> Option<Recall<T>> {
    match &entry.value {
        Some(value) => value.decode().ok().map(Recall::Done),
        None => Some(Recall::Over),
    }
}

fn decode<T: DeserializeOwned>(key: &str, value: &Payload) -> Result<T, Report> {
    value.decode::<T>().map_err(|error| {
        let recorded = format!("an output of {} bytes", value.size());
        Report::new(key, Cause::Output, recorded, std::any::type_name::<T>()).detail(error)
    })
}
