//! What the server's streams are asked for: to be there, and for single messages.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, PurgeResponse, RawMessage, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Request, StatusCode};
use hive_errors::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Options;
use super::link::{Line, Link};
use super::names::Names;
use super::refusal::{self, Failed, refused, unreadable};

/// A message as it is stored.
pub(super) struct Stored {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) headers: async_nats::HeaderMap,
    pub(super) body: bytes::Bytes,
}

impl From<StreamMessage> for Stored {
    fn from(message: StreamMessage) -> Self {
        Self {
            subject: message.subject.to_string(),
            sequence: message.sequence,
            headers: message.headers,
            body: message.payload,
        }
    }
}

/// Which message.
pub(super) enum Which<'a> {
    At(u64),
    /// The first from this sequence on whose subject matches.
    From(u64, &'a str),
    /// The last whose subject matches.
    Last(&'a str),
}

/// Makes the streams, as far as they are not there. How many servers keep each event.
pub(super) async fn prepare(link: &Link, names: &Names, options: &Options) -> Result<usize> {
    if !(1..=5).contains(&options.replicas) {
        return Err(
            Error::new(ErrorKind::Config, "a stream has from 1 to 5 replicas").with("replicas", options.replicas)
        );
    }
    let events = Config {
        name: names.events.clone(),
        description: Some("events of a hive".to_owned()),
        subjects: vec![names.every_event()],
        max_messages: limit(options.events_max.map(u64::from)),
        max_bytes: limit(options.bytes_max.map(u64::from)),
        max_age: options.age_max.unwrap_or_default(),
        // Longer than the messages live is refused.
        duplicate_window: options
            .age_max
            .map_or(options.duplicate_window, |age| age.min(options.duplicate_window)),
        ..common(options)
    };
    let replicas = ensure(link, events).await?;
    for (name, subjects, description) in [
        (&names.states, names.every_state(), "how far a hive's consumers came"),
        (&names.dead, names.every_letter(), "dead letters of a hive's consumers"),
    ] {
        // As tools for buckets expect it.
        let bucket = Config {
            name: name.clone(),
            description: Some(description.to_owned()),
            subjects: vec![subjects],
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            duplicate_window: options.duplicate_window,
            allow_rollup: true,
            deny_delete: true,
            ..common(options)
        };
        ensure(link, bucket).await?;
    }
    Ok(replicas)
}

fn common(options: &Options) -> Config {
    Config {
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        num_replicas: options.replicas,
        max_consumers: -1,
        max_messages_per_subject: -1,
        allow_direct: true,
        ..Config::default()
    }
}

fn limit(most: Option<u64>) -> i64 {
    most.map_or(-1, |most| i64::try_from(most).unwrap_or(i64::MAX))
}

/// Makes the stream or takes the one that is there, whatever limits its keeper has given it since.
async fn ensure(link: &Link, config: Config) -> Result<usize> {
    let config = Arc::new(config);
    let info = link
        .call(|line| {
            let config = Arc::clone(&config);
            async move {
                if let Some(info) = info(&line, &config.name).await? {
                    return Ok(info);
                }
                match line.ask(format!("STREAM.CREATE.{}", config.name), &*config).await? {
                    Ok(made) => Ok(made),
                    // Somebody else was faster, with other limits.
                    Err(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                        info(&line, &config.name).await?.ok_or_else(|| refused(error))
                    }
                    Err(error) => Err(refused(error)),
                }
            }
        })
        .await?;
    let found = &info.config;
    let differs = if found.subjects != config.subjects {
        "subjects"
    } else if found.retention != config.retention {
        "retention"
    } else if found.max_messages_per_subject != config.max_messages_per_subject {
        "max_msgs_per_subject"
    } else if !found.allow_direct {
        "allow_direct"
    } else if found.sealed || found.mirror.is_some() || found.no_ack {
        "what may be written"
    } else {
        return Ok(found.num_replicas);
    };
    Err(Error::new(
        ErrorKind::Config,
        "the nats server has a stream of this name that is for something else",
    )
    .with("stream", &config.name)
    .with("differs", differs)
    .with_hint("give the transport another name, or the prefix that it had before"))
}

/// What there is to know of a stream; `None` when there is none.
async fn info(line: &Line, stream: &str) -> Result<Option<Info>, Failed> {
    let answer = line.ask(format!("STREAM.INFO.{stream}"), &json!({})).await?;
    found(answer, ErrorCode::STREAM_NOT_FOUND)
}

/// The sequence of a stream's last message.
pub(super) async fn last_sequence(line: &Line, stream: &str) -> Result<u64, Failed> {
    #[derive(Deserialize)]
    struct Short {
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        last_seq: u64,
    }
    let info: Result<Short, _> = line.ask(format!("STREAM.INFO.{stream}"), &json!({})).await?;
    Ok(info.map_err(refused)?.state.last_seq)
}

/// A message, from the server that leads: what was acknowledged is there.
pub(super) async fn get(line: &Line, stream: &str, which: &Which<'_>) -> Result<Option<Stored>, Failed> {
    #[derive(Deserialize)]
    struct Answer {
        message: RawMessage,
    }
    let answer = line.ask(format!("STREAM.MSG.GET.{stream}"), &which.request()).await?;
    let Some(Answer { message }) = found(answer, ErrorCode::NO_MESSAGE_FOUND)? else {
        return Ok(None);
    };
    let message = StreamMessage::try_from(message).map_err(|e| Failed::Answered(unreadable(e)))?;
    Ok(Some(message.into()))
}

/// A message, from any server that keeps it. It costs half as much; where there are several, one of them may be behind.
pub(super) async fn get_direct(line: &Line, stream: &str, which: &Which<'_>) -> Result<Option<Stored>, Failed> {
    let request = match which {
        // Its own subject, for permissions.
        Which::Last(subject) => line
            .client()
            .send_request(format!("$JS.API.DIRECT.GET.{stream}.{subject}"), Request::new()),
        Which::At(_) | Which::From(_, _) => line.client().send_request(
            format!("$JS.API.DIRECT.GET.{stream}"),
            Request::new().payload(which.request().to_string().into()),
        ),
    };
    let message = request.await.map_err(refusal::unheard)?;
    line.answered();
    match message.status {
        Some(StatusCode::NOT_FOUND) => return Ok(None),
        Some(status) => {
            let told = format!("{status} {}", message.description.unwrap_or_default());
            return Err(Failed::Answered(unreadable(told)));
        }
        None => {}
    }
    let message = StreamMessage::try_from(message).map_err(|e| Failed::Answered(unreadable(e)))?;
    Ok(Some(message.into()))
}

impl Which<'_> {
    fn request(&self) -> Value {
        match self {
            Self::At(sequence) => json!({ "seq": sequence }),
            Self::From(sequence, subject) => json!({ "seq": sequence, "next_by_subj": subject }),
            Self::Last(subject) => json!({ "last_by_subj": subject }),
        }
    }
}

/// Removes every message whose subject matches, and gives how many there were.
pub(super) async fn purge(line: &Line, stream: &str, subject: &str) -> Result<u64, Failed> {
    let answer = line
        .ask(format!("STREAM.PURGE.{stream}"), &json!({ "filter": subject }))
        .await?;
    let purged: PurgeResponse = answer.map_err(refused)?;
    Ok(purged.purged)
}

/// Every subject that matches and has a message.
pub(super) async fn subjects(line: &Line, stream: &str, filter: &str) -> Result<Vec<String>, Failed> {
    #[derive(Deserialize)]
    struct Page {
        state: State,
        #[serde(default)]
        total: usize,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        subjects: Option<HashMap<String, u64>>,
    }
    let mut subjects = Vec::new();
    loop {
        let request = json!({ "subjects_filter": filter, "offset": subjects.len() });
        let page: Page = line
            .ask(format!("STREAM.INFO.{stream}"), &request)
            .await?
            .map_err(refused)?;
        let found = page.state.subjects.unwrap_or_default();
        let last = found.is_empty();
        subjects.extend(found.into_keys());
        if last || subjects.len() >= page.total {
            return Ok(subjects);
        }
    }
}

/// The answer, or nothing where it says that there is none.
fn found<T>(answer: Result<T, jetstream::Error>, nothing: ErrorCode) -> Result<Option<T>, Failed> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.error_code() == nothing => Ok(None),
        Err(error) => Err(refused(error)),
    }
}
