//! Durable events, topics and subscriptions of a hive.

pub mod limits;

mod bus;
pub mod catalog;
mod event;
mod history;
mod live;
mod log;
mod schema;
mod subscription;
mod topic;

pub use hive_errors::{Error, ErrorKind, Result};

pub use self::bus::Bus;
pub use self::event::{Event, NewEvent, SOURCE_DEFAULT, Sequence, TENANT_DEFAULT, TypedEvent};
pub use self::history::{Page, Query, Trace, TraceEntry};
pub use self::log::MIGRATIONS;
pub use self::schema::{EventType, TopicRegistry};
pub use self::subscription::{Subscribe, Subscription};
pub use self::topic::{Pattern, PatternKey, PatternTrie, Topic};
