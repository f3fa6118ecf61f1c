//! Lints that the author has switched off: what was decided there is not asked again.

use syn::{Attribute, Meta};

use crate::rules::Rule;
use crate::rules::catalog::rust as rule;

/// Compiler and Clippy lints that look for what a rule looks for.
static LINTS: [(&str, &Rule); 22] = [
    ("unwrap_used", &rule::RUST_UNWRAP),
    ("expect_used", &rule::RUST_EXPECT),
    ("panic", &rule::RUST_PANIC),
    ("missing_panics_doc", &rule::RUST_PANIC),
    ("todo", &rule::RUST_TODO),
    ("unimplemented", &rule::RUST_TODO),
    ("undocumented_unsafe_blocks", &rule::RUST_UNSAFE_WITHOUT_SAFETY),
    ("missing_safety_doc", &rule::RUST_UNSAFE_FN_DOCS),
    ("static_mut_refs", &rule::RUST_STATIC_MUT),
    ("await_holding_lock", &rule::RUST_LOCK_ACROSS_AWAIT),
    ("cast_possible_truncation", &rule::RUST_TRUNCATING_CAST),
    ("mem_forget", &rule::RUST_MEM_FORGET),
    ("exit", &rule::RUST_PROCESS_EXIT),
    ("print_stdout", &rule::RUST_PRINT),
    ("print_stderr", &rule::RUST_PRINT),
    ("dbg_macro", &rule::RUST_DBG),
    ("too_many_lines", &rule::RUST_LONG_FUNCTION),
    ("cognitive_complexity", &rule::RUST_LONG_FUNCTION),
    ("excessive_nesting", &rule::RUST_DEEP_NESTING),
    ("too_many_arguments", &rule::RUST_MANY_PARAMETERS),
    ("missing_docs", &rule::RUST_UNDOCUMENTED),
    ("let_underscore_must_use", &rule::RUST_SWALLOWED_ERROR),
];

/// A set of lints that are off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Off(u32);

impl Off {
    /// With what these attributes switch off: `#[allow(clippy::…)]`, `#[expect(…)]`, `#![allow(…)]`.
    pub(super) fn with(mut self, attrs: &[Attribute]) -> Self {
        for attr in attrs {
            let Meta::List(list) = &attr.meta else { continue };
            if !(attr.path().is_ident("allow") || attr.path().is_ident("expect")) {
                continue;
            }
            for token in list.tokens.clone() {
                let name = token.to_string();
                for (bit, _) in LINTS.iter().enumerate().filter(|(_, (lint, _))| *lint == name) {
                    self.0 |= 1 << bit;
                }
            }
        }
        self
    }

    pub(super) fn has(self, rule: &'static Rule) -> bool {
        LINTS
            .iter()
            .enumerate()
            .any(|(bit, (_, off))| off.id == rule.id && self.0 & (1 << bit) != 0)
    }
}
