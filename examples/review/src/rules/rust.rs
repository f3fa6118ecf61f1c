//! The rules for Rust, on the syntax tree.

mod concurrency;
mod depth;
mod errors;
mod guards;
mod hygiene;
mod imports;
mod injection;
mod lints;
mod panics;
mod shape;
mod syntax;
mod tests_quality;
mod unsafety;
mod walker;

use std::str::FromStr;
use std::thread;

use proc_macro2::TokenStream;

use super::hits::Hits;
use crate::language::{Language, Role};
use crate::limits;

/// Runs the rules; gives a sentence when they could not look at the file.
///
/// The parser and the walk are recursive, so they get a thread with a large stack, and a file that nests deeper than that
/// stack allows is not parsed at all.
pub(super) fn run(hits: &mut Hits<'_>) -> Option<String> {
    if hits.file.language != Language::Rust {
        return None;
    }
    if !hits.file.whole {
        return Some(
            "only the changed places are known, so the rules that need the syntax tree did not run".to_owned(),
        );
    }
    let builder = thread::Builder::new()
        .name("syntax".to_owned())
        .stack_size(limits::SYNTAX_STACK_BYTES);
    thread::scope(|scope| match builder.spawn_scoped(scope, || analyse(hits)) {
        Ok(thread) => thread
            .join()
            .unwrap_or_else(|_| Some("the parser failed on the file".to_owned())),
        Err(error) => Some(format!("no thread for the parser: {error}")),
    })
}

fn analyse(hits: &mut Hits<'_>) -> Option<String> {
    // A first line for the shell is no Rust; as a comment it keeps its length and the line numbers.
    let text = match hits.file.text().strip_prefix("#!") {
        Some(rest) if !rest.trim_start().starts_with('[') => format!("//{rest}"),
        Some(_) | None => hits.file.text().to_owned(),
    };
    let unparsed = |hits: &Hits<'_>, reason: &str| {
        // Test data may be wrong on purpose.
        (hits.file.role != Role::Test).then(|| format!("{reason}, so the rules that need the syntax tree did not run"))
    };
    let Ok(tokens) = TokenStream::from_str(&text) else {
        return unparsed(hits, "the file is not Rust that the parser knows");
    };
    if depth::measure(tokens.clone()) > limits::SYNTAX_DEPTH_MAX {
        return unparsed(hits, "the file is nested too deeply");
    }
    let Ok(tree) = syn::parse2::<syn::File>(tokens) else {
        return unparsed(hits, "the file is not Rust that the parser knows");
    };
    walker::walk(hits, &tree);
    None
}

#[cfg(test)]
mod tests;
