//! Write agents as sandboxed WebAssembly plugins.
//!
//! A plugin is a crate that implements [`Agent`] and exports it. Compiled for `wasm32-unknown-unknown` it is a component
//! that sees nothing of the machine: what it may do are the capabilities that the hive granted it, each an interface of
//! the contract in `wit/hive.wit`, which this crate also carries as [`WIT`].
//!
//! ```
//! use hive_plugin_sdk::testing::{TestHost, TestTask};
//! use hive_plugin_sdk::{Agent, Context, Failure};
//!
//! #[derive(Default)]
//! struct WordCount;
//!
//! impl Agent for WordCount {
//!     const NAME: &'static str = "word-count";
//!     type Input = String;
//!     type Output = usize;
//!
//!     async fn run(&self, _cx: &Context, text: String) -> Result<usize, Failure> {
//!         Ok(text.split_whitespace().count())
//!     }
//! }
//!
//! hive_plugin_sdk::export_plugin!("acme.word-count", WordCount);
//!
//! // In a test, natively:
//! # fn main() -> Result<(), Failure> {
//! let mut plugin = TestHost::new().load::<ExportedPlugin>("{}")?;
//! assert_eq!(plugin.run::<usize>(&TestTask::new("word-count", "to be or not")?)?, 4);
//! # Ok(()) }
//! ```
//!
//! # Building
//!
//! The crate needs `crate-type = ["cdylib"]`, and
//!
//! ```text
//! rustup target add wasm32-unknown-unknown
//! cargo build --release --target wasm32-unknown-unknown
//! ```
//!
//! makes a core module that carries its contract. A component is made of it by `wasm-tools component new`, or at once by
//! naming Rust's own `wasm-component-ld` as that target's linker. A plugin in another language is built from the
//! contract alone.
//!
//! # What a plugin cannot do
//!
//! There is no WASI. `std::fs`, `std::env` and `std::net` return errors; `SystemTime::now` and `thread::spawn` panic, and
//! a panic ends the attempt; `println!` is silent. Time comes from [`clock`], randomness from [`random`], lines for the
//! operator go to [`log`], and everything else is a capability. A component imports only what it calls, and `log` in any
//! case, because a panic is reported there.
//!
//! # What this is not
//!
//! It is the guest's side only. It contains no runtime that loads plugins, and none exists in this workspace yet; it
//! depends on no other crate of Hive. No tool packs, signs or publishes plugins yet either.
//!
//! # Features
//!
//! - `schemars`: JSON Schemas of an agent's input and output, derived from the types. Off by default; schemas can be
//!   written by hand ([`Schemas::parse`]) or left out.
//!
//! # Modules
//!
//! In the order in which they build on each other: `failure`, `schema`, then one for each capability ([`log`], [`clock`],
//! [`random`], [`events`], [`memory`], [`steps`], [`tasks`], [`model`], [`http`]), then `task`, `context`, `agent`, `call`,
//! `description`, `plugin` and `export`, and last [`testing`].

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[rustfmt::skip]
#[expect(unsafe_code, unreachable_pub, unused_qualifications, reason = "generated from wit/hive.wit")]
pub mod bindings;
mod failure;
mod json;
mod schema;
mod host;
pub mod log;
pub mod clock;
pub mod random;
pub mod events;
pub mod memory;
pub mod steps;
pub mod tasks;
pub mod model;
pub mod http;
mod task;
mod drive;
mod context;
mod agent;
mod call;
mod description;
mod plugin;
#[doc(hidden)]
pub mod export;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use agent::Agent;
pub use call::Call;
pub use context::{Context, Model};
pub use description::Description;
pub use failure::Failure;
pub use plugin::{NoConfig, Plugin};
pub use schema::{Schema, Schemas};
pub use task::{Reply, Task};

/// The run-time half of the generated bindings, under a name that they can find from here.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings_runtime {
    pub use wit_bindgen::rt::{Cleanup, maybe_link_cabi_realloc, run_ctors_once};
}

/// The contract between a hive and its plugins, for tools and for plugins in other languages.
pub const WIT: &str = include_str!("../wit/hive.wit");

/// The name and version of the contract that this release is built for.
pub const CONTRACT: &str = "hive:plugin@0.1.0";
