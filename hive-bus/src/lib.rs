//! Durable events, topics and subscriptions of a hive: what happened is on disk before anybody hears of it, and who
//! listens misses nothing.
//!
//! ```
//! use std::sync::Arc;
//!
//! use hive_bus::{Bus, NewEvent, Query, catalog::TaskFailed};
//! use hive_core::clock::SystemClock;
//! use hive_core::db::{Db, Options};
//! use hive_core::id::IdSource;
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> hive_bus::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("hive.db");
//! let db = Db::open(Options::file(path).migrations(&hive_bus::MIGRATIONS)).await?;
//! let bus = Bus::open(db.clone(), Arc::new(SystemClock), IdSource::system()).await?;
//! let mut orders = bus.subscribe("order.>").await?;
//!
//! // On disk when it returns.
//! let order = NewEvent::new("order.placed", "order.placed.berlin", &json!({ "cents": 1999 }))?.correlation("order-4711");
//! bus.publish(order).await?;
//!
//! let event = orders.next().await?;
//! assert_eq!((event.event_type(), event.correlation()), ("order.placed", Some("order-4711")));
//!
//! // Together with what it tells of: both, or neither.
//! let shipped = NewEvent::new("order.shipped", "order.shipped.berlin", &json!({}))?
//!     .correlation("order-4711")
//!     .causation(event.id());
//! let bus_in_tx = bus.clone();
//! db.write(move |tx| {
//!     // … the order's own row …
//!     bus_in_tx.publish_in(tx, shipped.clone())
//! })
//! .await?;
//!
//! // And it can be asked for later.
//! let page = bus.history(Query::new().event_type("order.shipped")).await?;
//! assert_eq!(page.events.len(), 1);
//! println!("{}", bus.trace("order-4711").await?);
//! # assert_eq!(bus.trace("order-4711").await?.to_string(), "1 order.placed.berlin\n  2 order.shipped.berlin\n");
//! # assert!(!event.is::<TaskFailed>());
//! # bus.close();
//! # db.close().await
//! # }
//! ```
//!
//! # What it promises
//!
//! - A published event is on disk when `publish` returns, and has a [`Sequence`] greater than every event's that a reader has
//!   seen. On other transports than a database it is as safe as the transport makes it, which each of them says.
//! - An event published in a transaction exists exactly if the transaction was committed.
//! - A [`Subscription`] hands out every matching event once, in the order of the sequences, however slow it is, unless its
//!   [`Lag`] says otherwise. A slow one costs neither memory nor its publishers' time.
//! - A [`Consumer`] is given each matching event until it has been handled: at least once, in order by key, over restarts, by one
//!   of its members. What a handler writes in the transaction that acknowledges ([`Delivery::ack_in`]) happens exactly once.
//! - Nothing asks in a loop: an idle bus costs no time, with a thousand consumers neither.
//!
//! # With other systems
//!
//! An event is a CloudEvent 1.0, in JSON ([`Event::to_cloudevent_json`]), in batches, and over HTTP in its three modes. What
//! others send is received with its own id, subject, extensions and media type, published once however often it comes, and sent
//! on as it was:
//!
//! ```
//! use hive_bus::{NewEvent, Sequence};
//!
//! let headers = [
//!     ("ce-specversion", "1.0"),
//!     ("ce-id", "A234-1234"),
//!     ("ce-source", "https://example.com/cameras/1"),
//!     ("ce-type", "com.example.picture.taken"),
//!     ("ce-time", "2026-01-02T03:04:05Z"),
//!     ("ce-lens", "50%20mm"),
//!     ("Content-Type", "image/png"),
//! ];
//! for event in NewEvent::from_http(headers, b"\x89PNG")? {
//!     // Here `bus.publish(event.tenant("acme")).await?` would follow; this is what comes out of the bus then.
//!     let event = event.tenant("acme").at(Sequence::new(1))?;
//!     assert_eq!(event.topic().as_str(), "com.example.picture.taken");
//!     assert_eq!(event.content()?.as_ref(), b"\x89PNG");
//!     let message = event.to_http_structured()?;
//!     assert!(String::from_utf8_lossy(&message.body).contains(r#""id":"A234-1234""#));
//! }
//! # Ok::<(), hive_bus::Error>(())
//! ```
//!
//! # What it is not
//!
//! It knows nothing of agents or of how tasks run; the built-in types only name what others publish. It is no broker: it lives in
//! your process, and speaks to one where you give it one.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `postgres`: the bus on a PostgreSQL server that several processes share.
//! - `nats`: [`transport`] gains `transport::nats::Nats`, a stream of NATS JetStream.
//! - `redis`: the transport on a Redis server, `transport::redis`.
//! - `test-util`: the suite that every transport passes, for transports of your own.
//!
//! # Modules
//!
//! In reading order; each knows only those before it.
//!
//! | module | |
//! |---|---|
//! | [`limits`] | every bound, with its reason |
//! | `topic` | [`Topic`], [`Pattern`], [`Patterns`] and [`PatternTrie`] |
//! | `event` | [`NewEvent`], [`Event`], [`TypedEvent`], and their CloudEvents forms in JSON and over HTTP |
//! | `message` | [`AgentMessage`], [`NewMessage`] and [`Address`]: events that are addressed to somebody |
//! | `schema` | [`TopicRegistry`]: which types there are, and what is checked |
//! | [`catalog`] | the built-in types |
//! | `log` | the tables |
//! | `live` | [`Live`]: the end of a log, waking who waits, and the newest events in memory |
//! | [`transport`] | [`Transport`](transport::Transport): what carries events, and its adapters |
//! | `history` | [`Query`], [`Page`], [`Trace`] |
//! | `pressure` | publishers wait for subscriptions that ask them to |
//! | `subscription` | [`Subscription`] and its [`Lag`] |
//! | [`telemetry`] | what is counted and measured |
//! | `consumer` | [`Consumer`] and [`Delivery`] |
//! | `duty` | what one process at a time does for all that share a database |
//! | `outbox` | the relay from a database to another transport: [`Bus::open_with`] |
//! | `retention` | [`RetentionPolicy`]: what may be forgotten, and when |
//! | `bus` | [`Bus`] |
//! | `mailbox` | [`Mailbox`], [`Letter`], [`Bus::send`], [`Bus::request`], [`Bus::message_status`] |

pub mod limits;

mod topic;
mod event;
mod message;
mod schema;
pub mod catalog;
mod log;
mod live;
pub mod transport;
mod history;
mod pressure;
mod subscription;
pub mod telemetry;
mod consumer;
mod duty;
mod outbox;
mod retention;
mod bus;
mod mailbox;

pub use hive_errors::{Error, ErrorKind, Result};

pub use self::bus::Bus;
pub use self::consumer::{Begin, Consume, Consumer, ConsumerInfo, Delivery, Order};
pub use self::event::{
    Event, ExtensionValue, HttpMessage, NewEvent, SOURCE_DEFAULT, Sequence, TENANT_DEFAULT, TypedEvent,
};
pub use self::history::{Page, Query, Trace, TraceEntry};
pub use self::live::{Head, Interest, Live};
pub use self::log::MIGRATIONS;
pub use self::mailbox::{Letter, Mailbox, MailboxInfo, MessageStatus, OpenMailbox, Receipt, Tracked};
pub use self::message::{Address, AgentMessage, NewMessage, Priority};
pub use self::retention::{Pruned, Retention, RetentionPolicy};
pub use self::schema::{EventType, EventTypeSpec, SchemaChange, TopicRegistry, Validation};
pub use self::subscription::{Lag, Subscribe, Subscription};
pub use self::topic::{Pattern, PatternKey, PatternTrie, Patterns, Topic};
