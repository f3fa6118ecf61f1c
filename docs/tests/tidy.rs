//! The tests that police the house. Each rule is a function over a [`tree`](tidy::tree) of files that lists what breaks it,
//! and comes with a sample that does.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails where it panics")]

mod tidy {
    //! The rules, and what they are made of.

    pub(crate) mod tokens;
    pub(crate) mod tree;

    mod crates;
    mod dependencies;
    mod errors;
    mod facade;
    mod features;
    mod files;
    mod links;
    mod modules;
    mod source;
    mod words;
}
