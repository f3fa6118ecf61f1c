//! Ids, clock, configuration, database and model port of a hive.

pub mod clock;
pub mod config;
pub mod db;
pub mod flags;
pub mod id;
pub mod limits;
pub mod model;
pub mod nearest;
pub mod payload;
pub mod rng;
pub mod shutdown;

/// What `id_type!` names in the crates that call it.
#[doc(hidden)]
pub mod __private {
    pub use hive_errors::Error;
    pub use {schemars, serde, uuid};
}
