//! The guides of Hive, compiled and run, and the tests that police the house.
//!
//! Each module below is a page of `docs/guides`; its code is a test. Beside them stand the
//! [architecture](../ARCHITECTURE.md), the [glossary](../GLOSSARY.md) and the decisions in `docs/adr`, and
//! `docs/tests/tidy.rs` checks what a program can check of them and of the code.
//!
//! It is not a crate to depend on: it has no code of its own.

#[doc = include_str!("../guides/quickstart.md")]
pub mod quickstart {}

#[doc = include_str!("../guides/agents.md")]
pub mod agents {}

#[doc = include_str!("../guides/steps.md")]
pub mod steps {}

#[doc = include_str!("../guides/children.md")]
pub mod children {}

#[doc = include_str!("../guides/undo.md")]
pub mod undo {}

#[doc = include_str!("../guides/waiting.md")]
pub mod waiting {}

#[doc = include_str!("../guides/plans.md")]
pub mod plans {}

#[doc = include_str!("../guides/changing-code.md")]
pub mod changing_code {}

#[doc = include_str!("../guides/routing.md")]
pub mod routing {}

#[doc = include_str!("../guides/limits.md")]
pub mod limits {}

#[doc = include_str!("../guides/budgets.md")]
pub mod budgets {}

#[doc = include_str!("../guides/families.md")]
pub mod families {}

#[doc = include_str!("../guides/memory.md")]
pub mod memory {}

#[doc = include_str!("../guides/schedules.md")]
pub mod schedules {}

#[doc = include_str!("../guides/events.md")]
pub mod events {}

#[doc = include_str!("../guides/processes.md")]
pub mod processes {}

#[doc = include_str!("../guides/capacity.md")]
pub mod capacity {}

#[doc = include_str!("../guides/metrics.md")]
pub mod metrics {}

#[doc = include_str!("../guides/testing-agents.md")]
pub mod testing_agents {}

#[doc = include_str!("../guides/storage.md")]
pub mod storage {}

#[doc = include_str!("../guides/errors.md")]
pub mod errors {}

#[doc = include_str!("../guides/plugins.md")]
pub mod plugins {}

/// The README's code is compiled as well.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub mod readme {}
