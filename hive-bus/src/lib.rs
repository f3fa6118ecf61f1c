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
//! - A published event is on disk when `publish` returns, and has a [`Sequence`] greater than every earlier one's.
//! - An event published in a transaction exists exactly if the transaction was committed.
//! - A [`Subscription`] hands out every matching event once, in the order of the sequences, however slow it is. A slow one
//!   costs neither memory nor its publishers' time.
//! - A cursor that was stored goes on after a restart or a crash where it stood.
//!
//! # What it is not
//!
//! It does not remember for a subscriber how far it came, deliver to one of several competing members, or deliver again
//! what was not acknowledged: a [`Subscription`] lives as long as the value does. It knows nothing of agents or of how
//! tasks run; the built-in types only name what others publish. Events are never deleted by the bus.
//!
//! # Modules
//!
//! In reading order; each knows only those before it.
//!
//! | module | |
//! |---|---|
//! | [`limits`] | every bound, with its reason |
//! | `topic` | [`Topic`], [`Pattern`] and [`PatternTrie`] |
//! | `event` | [`NewEvent`], [`Event`], [`TypedEvent`], and their CloudEvents form |
//! | `schema` | [`TopicRegistry`]: which types there are |
//! | [`catalog`] | the built-in types |
//! | `log` | the table |
//! | `history` | [`Query`], [`Page`], [`Trace`] |
//! | `live` | the newest events in memory, and waking who waits for them |
//! | `subscription` | [`Subscription`] |
//! | `bus` | [`Bus`] |

pub mod limits;

mod topic;
mod event;
mod schema;
pub mod catalog;
mod log;
mod live;
pub mod transport;
mod history;
mod pressure;
mod subscription;
mod telemetry;
mod consumer;
mod bus;

pub use hive_errors::{Error, ErrorKind, Result};

pub use self::bus::Bus;
pub use self::consumer::{Begin, Consume, Consumer, ConsumerInfo, Delivery, Order};
pub use self::event::{Event, NewEvent, SOURCE_DEFAULT, Sequence, TENANT_DEFAULT, TypedEvent};
pub use self::history::{Page, Query, Trace, TraceEntry};
pub use self::live::{Head, Interest, Live};
pub use self::log::MIGRATIONS;
pub use self::schema::{EventType, TopicRegistry};
pub use self::subscription::{Lag, Subscribe, Subscription};
pub use self::topic::{Pattern, PatternKey, PatternTrie, Patterns, Topic};
