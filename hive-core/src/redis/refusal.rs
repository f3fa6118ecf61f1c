//! What the server or the way to it says when something fails, in the words of this house.

use std::sync::Arc;
use std::vec::IntoIter;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    Cmd, ErrorKind as Theirs, FromRedisValue, ParsingError, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    from_redis_value,
};
use hive_errors::{Error, ErrorKind, Result};

/// What the server is asked for. All of it may be asked for twice.
#[derive(Clone, Debug)]
pub enum Call {
    /// One command, which has one answer.
    One(Cmd),
    /// Several in one go, with an answer each. With [`Pipeline::ignore_errors`], what the server refuses is refused where its
    /// answer is taken, and otherwise refuses the whole call.
    Several(Pipeline),
}

/// What the server says to one of the commands.
pub(super) type Answer = RedisResult<Value>;

impl Call {
    /// One answer for each command. An error that is about more than one of several commands is the whole call's.
    pub(super) async fn make(&self, connection: &mut MultiplexedConnection) -> RedisResult<Vec<Answer>> {
        match self {
            Self::One(command) => Ok(vec![Ok(command.query_async(connection).await?)]),
            Self::Several(commands) => {
                let answers: Vec<Answer> = commands.query_async(connection).await?;
                let outage = answers.iter().filter_map(|answer| answer.as_ref().err());
                match outage.into_iter().find(|error| verdict(error) != Verdict::Serves) {
                    Some(error) => Err(error.clone()),
                    None => Ok(answers),
                }
            }
        }
    }
}

/// What a server said to a [`Call`], to be taken in the order of its commands.
#[derive(Debug)]
pub struct Answers {
    answers: IntoIter<Answer>,
    server: Arc<str>,
}

impl Answers {
    pub(super) fn new(answers: Vec<Answer>, server: Arc<str>) -> Self {
        Self {
            answers: answers.into_iter(),
            server,
        }
    }

    /// The next answer, as a `T`.
    ///
    /// # Errors
    /// What the server refused this command with, as [`Link::call`](super::Link::call) says it; `storage` when the answer is
    /// missing or no `T`.
    pub fn take<T: FromRedisValue>(&mut self) -> Result<T> {
        let taken = match self.answers.next() {
            Some(Ok(value)) => from_redis_value(value).map_err(unreadable),
            Some(Err(error)) => Err(refused(error)),
            None => Err(short_of_answers()),
        };
        taken.map_err(|error| error.with("server", &self.server))
    }
}

/// What an error says about the server.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It serves, and did not like this call.
    Serves,
    /// It is there and cannot serve, or will not serve us. After a failover another server may have its name, so the next
    /// call looks for it anew.
    Refuses,
    /// The connection is of no more use.
    Broken,
}

pub(super) fn verdict(error: &RedisError) -> Verdict {
    match error.kind() {
        Theirs::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::ReadOnly,
        )
        | Theirs::InvalidClientConfig
        | Theirs::AuthenticationFailed => Verdict::Refuses,
        Theirs::Server(_) | Theirs::Extension => match error.code() {
            // The password was changed or the user removed under a connection that was let in before.
            Some("NOAUTH" | "WRONGPASS") => Verdict::Broken,
            _ => Verdict::Serves,
        },
        Theirs::Io
        | Theirs::Parse
        | Theirs::UnexpectedReturnType
        | Theirs::Client
        | Theirs::MasterNameNotFoundBySentinel
        | Theirs::NoValidReplicasFoundBySentinel
        | Theirs::EmptySentinelList
        | Theirs::ClusterConnectionNotFound
        | Theirs::RESP3NotSupported
        // The library may add kinds. Whatever is not an answer of the server is the connection's matter.
        | _ => Verdict::Broken,
    }
}

/// The error for the caller.
pub(super) fn refused(error: RedisError) -> Error {
    let kind = error.kind();
    let code = error.code().map(str::to_owned);
    let told = match (kind, code.as_deref()) {
        (Theirs::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => Error::new(
            ErrorKind::Config,
            "the redis server refuses the user, the password or the command",
        )
        .with_hint("correct user and password in the address, and what the server lets that user do"),
        (Theirs::InvalidClientConfig, _) => {
            Error::new(ErrorKind::Config, "the settings for the redis server do not fit")
                .with_hint("correct the address or the certificate")
        }
        (_, Some("OOM")) => Error::new(ErrorKind::Overloaded, "the redis server has no room left")
            .with_hint("raise its maxmemory, or keep less there"),
        (_, Some("WRONGTYPE")) => Error::new(ErrorKind::Conflict, "a key on the redis server holds something else")
            .with_hint("use a prefix of your own on this server"),
        (_, Some("MISCONF")) => Error::new(ErrorKind::Storage, "the redis server cannot write to its disk")
            .with_hint("look at the room on its disk and at its log; it takes writes again by itself"),
        _ => Error::new(ErrorKind::Storage, "the redis server did not serve the call")
            .with_hint("look at the cause below, then at the server and the way to it"),
    };
    let told = match code {
        Some(code) => told.with("code", code),
        None => told,
    };
    told.with_source(error)
}

fn unreadable(error: ParsingError) -> Error {
    Error::new(
        ErrorKind::Storage,
        "the redis server's answer is of another type than expected",
    )
    .with_hint("check that the address is that of a redis server")
    .with_source(error)
}

fn short_of_answers() -> Error {
    Error::new(
        ErrorKind::Storage,
        "the redis server gave fewer answers than it was asked for",
    )
    .with_hint("check that the address is that of a redis server")
}
