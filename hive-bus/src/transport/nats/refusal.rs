//! What the server or the way to it says when something fails, in the words of this house.

use async_nats::jetstream::context::{PublishError, PublishErrorKind, RequestError, RequestErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{ConnectError, ConnectErrorKind, client};
use hive_errors::{Error, ErrorKind};

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing was asked, which says nothing new about the server.
    Untried(Error),
    /// The server answered, and asking again would not change that.
    Answered(Error),
    /// The server is there and cannot do it at the moment.
    Unready(Error),
    /// No answer came; the connection is of no more use.
    Away(Error),
}

/// What the server does not take because something else has come before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The last message has another id than was expected.
    Id,
    /// The last message, or that of the subject, has another sequence than was expected.
    Sequence,
}

/// What publishing came to: refused for what has come before, or failed.
pub(super) fn unpublished(error: PublishError) -> Result<Refused, Failed> {
    match error.kind() {
        PublishErrorKind::WrongLastMessageId => Ok(Refused::Id),
        PublishErrorKind::WrongLastSequence => Ok(Refused::Sequence),
        PublishErrorKind::StreamNotFound => Err(unready(error)),
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Err(away(error)),
        PublishErrorKind::MaxPayloadExceeded => Err(Failed::Answered(too_large(error))),
        PublishErrorKind::MaxAckPending | PublishErrorKind::Other => {
            let told = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<jetstream::Error>());
            Err(match told {
                Some(told) => refused(told.clone()),
                None => away(error),
            })
        }
    }
}

/// What a request for something of JetStream's came to.
pub(super) fn unanswered(error: RequestError) -> Failed {
    match error.kind() {
        RequestErrorKind::NoResponders => unready(error),
        RequestErrorKind::TimedOut => away(error),
        RequestErrorKind::InvalidSubject => Failed::Answered(internal(error)),
        RequestErrorKind::Other => match std::error::Error::source(&error) {
            Some(source) if source.is::<serde_json::Error>() => Failed::Answered(unreadable(error)),
            Some(_) | None => away(error),
        },
    }
}

/// What a plain request came to.
pub(super) fn unheard(error: client::RequestError) -> Failed {
    match error.kind() {
        client::RequestErrorKind::NoResponders => unready(error),
        client::RequestErrorKind::TimedOut | client::RequestErrorKind::Other => away(error),
        client::RequestErrorKind::InvalidSubject => Failed::Answered(internal(error)),
        client::RequestErrorKind::MaxPayloadExceeded => Failed::Answered(too_large(error)),
    }
}

/// What JetStream answered, when that is an error.
pub(super) fn refused(error: jetstream::Error) -> Failed {
    let code = error.error_code();
    let told = match code {
        ErrorCode::STREAM_NOT_FOUND => Error::new(ErrorKind::NotFound, "the stream is gone from the nats server")
            .with_hint("restore it, or open the transport anew to make it again"),
        ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED => Error::new(ErrorKind::DiskFull, "the nats server has no room left")
            .with_hint("give JetStream or the account more room, or keep fewer events"),
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => {
            return Failed::Answered(too_large(error));
        }
        ErrorCode::STREAM_SUBJECT_OVERLAP => Error::new(
            ErrorKind::Config,
            "another stream of the nats server has the same subjects",
        )
        .with_hint("give the transport another prefix, or the name that it had before"),
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => Error::new(
            ErrorKind::Config,
            "the nats server stands alone and keeps each event once",
        )
        .with_hint("ask for one replica, or for a cluster of servers"),
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Error::new(ErrorKind::Config, "the nats server has no JetStream for this account")
                .with_hint("start it with -js, or enable JetStream for the account")
        }
        ErrorCode::CLUSTER_NOT_AVAILABLE => {
            return Failed::Unready(
                Error::new(ErrorKind::Storage, "the nats servers have no leader at the moment")
                    .with("code", code.0)
                    .with_source(error),
            );
        }
        // The server may know more of them.
        _ => Error::new(ErrorKind::Storage, "the nats server did not do what it was asked for")
            .with_hint("look at the cause below, then at the server"),
    };
    Failed::Answered(told.with("code", code.0).with_source(error))
}

/// Why there is no connection.
pub(super) fn unconnected(error: ConnectError) -> Failed {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => Failed::Answered(
            Error::new(ErrorKind::Config, "the nats server refuses the user or the password")
                .with_hint("correct user and password, or the token, in the address")
                .with_source(error),
        ),
        ConnectErrorKind::ServerParse => Failed::Answered(address(error)),
        ConnectErrorKind::Tls => Failed::Away(
            Error::new(ErrorKind::Storage, "no secure connection to the nats server")
                .with_hint("look at the certificates, the server's and those that are trusted")
                .with_source(error),
        ),
        ConnectErrorKind::Dns | ConnectErrorKind::TimedOut | ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            Failed::Away(
                Error::new(ErrorKind::Storage, "the nats server cannot be reached")
                    .with_hint("look at the server and the way to it; another attempt follows by itself")
                    .with_source(error),
            )
        }
    }
}

pub(super) fn address(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Config, "the address is not one of a nats server")
        .with_hint("write it as nats://[user:password@]host[:port], or tls://… for TLS")
        .with_source(source)
}

/// What was asked for was not answered, or never left.
pub(super) fn away(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failed {
    Failed::Away(
        Error::new(ErrorKind::Storage, "the connection to the nats server broke")
            .with_hint("look at the server and the way to it; another attempt follows by itself")
            .with_source(source),
    )
}

/// What the server says that makes no sense here.
pub(super) fn unreadable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Storage, "the nats server's answer is not what was expected")
        .with_hint("check that it is of version 2.9 or later")
        .with_source(source)
}

pub(super) fn too_large(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(
        ErrorKind::PayloadTooLarge,
        "the nats server takes no message of this size",
    )
    .with_hint("raise its max_payload; 1 MiB, which is its default, is enough for every event")
    .with_source(source)
}

fn unready(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failed {
    Failed::Unready(
        Error::new(ErrorKind::Storage, "no stream of the nats server takes the request")
            .with_hint("check that JetStream is enabled, that the stream is there, and that its leader is")
            .with_source(source),
    )
}

fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Internal, "a subject is none").with_source(source)
}
