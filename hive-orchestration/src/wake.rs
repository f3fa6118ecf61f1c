//! Wake-ups inside the process: who waits for what to change. Nothing here is state; lose it and only time is lost.

mod board;
mod flow;
mod sync;

#[cfg(test)]
mod tests;

pub(crate) use self::board::{News, RunSigns, Wakeups};
pub(crate) use self::flow::Flow;
