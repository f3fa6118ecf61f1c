//! The other side of the boundary: the hive in a plugin's WebAssembly build, an in-memory stand-in everywhere else.
//!
//! Both offer the same free functions. They are not behind a trait object on purpose: a component imports what it can
//! reach, so a table of all host functions would make every plugin ask for every capability.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod native;
#[cfg(target_arch = "wasm32")]
mod wasm;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{
    events_publish, http_fetch, log, memory_delete, memory_get, memory_list, memory_replace, memory_set, model_ask,
    now_micros, progress, random_bytes, random_next, steps_begin, steps_finish, tasks_call, tasks_join, tasks_start,
};
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm::{
    events_publish, http_fetch, log, memory_delete, memory_get, memory_list, memory_replace, memory_set, model_ask,
    now_micros, progress, random_bytes, random_next, steps_begin, steps_finish, tasks_call, tasks_join, tasks_start,
};
