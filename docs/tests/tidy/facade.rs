//! How much a user has to know at first sight.

use proc_macro2::{Delimiter, TokenTree};

use super::tokens::{self, group, ident, is_ident, is_path_separator, is_punct};
use super::tree::{Tree, assert_tidy};

const FACADE: &str = "hive-orchestration/src/lib.rs";
const NAMES_MAX: usize = 15;

/// At most fifteen names at the façade's root; what is needed less often stands in a module. Modules, and the crates
/// below under a shorter name, are doors to such rooms and not counted.
fn names(tree: &Tree) -> Vec<String> {
    let tokens = tokens::parse(FACADE, tree.get(FACADE).unwrap_or_default());
    let mut names = Vec::new();
    for at in 0..tokens.len() {
        // `pub(crate)` has a group behind `pub`, so it is none of these.
        if is_ident(&tokens, at, "pub") && !hidden(&tokens, at) {
            if is_ident(&tokens, at + 1, "use") {
                leaves(&tokens, at + 2, false, &mut names);
            } else {
                let kinds = ["const", "static", "fn", "struct", "enum", "trait", "type"];
                let kind = (at + 1..at + 4).find(|at| kinds.iter().any(|kind| is_ident(&tokens, *at, kind)));
                names.extend(kind.and_then(|at| ident(&tokens, at + 1)).map(ToString::to_string));
            }
        }
    }
    if names.len() <= NAMES_MAX {
        return Vec::new();
    }
    vec![format!(
        "{FACADE} offers {} names, {NAMES_MAX} is the most: {}",
        names.len(),
        names.join(", ")
    )]
}

/// Whether `#[doc(hidden)]` stands before.
fn hidden(tokens: &[TokenTree], at: usize) -> bool {
    at > 0
        && group(tokens, at - 1, Delimiter::Bracket).is_some_and(|inner| {
            is_ident(&inner, 0, "doc")
                && group(&inner, 1, Delimiter::Parenthesis).is_some_and(|inner| is_ident(&inner, 0, "hidden"))
        })
}

/// The names that a `use` brings into being: the last of each path, or what it is renamed to. A path of one name is a
/// whole crate.
fn leaves(tokens: &[TokenTree], mut at: usize, inside: bool, names: &mut Vec<String>) {
    let (mut last, mut path) = (None, inside);
    while at < tokens.len() && !is_punct(tokens, at, ';') {
        if let Some(name) = ident(tokens, at) {
            last = Some(name.to_string());
        } else if is_path_separator(tokens, at) {
            path = true;
        } else if is_punct(tokens, at, ',') {
            names.extend(last.take().filter(|_| path));
        } else if let Some(inner) = group(tokens, at, Delimiter::Brace) {
            last = None;
            leaves(&inner, 0, true, names);
        }
        at += 1;
    }
    names.extend(last.filter(|_| path));
}

#[test]
fn the_facade_is_small() {
    assert_tidy(names(&Tree::house()));
}

#[test]
fn a_facade_that_grows_is_found() {
    let check = |text: &str| names(&Tree::of(&[(FACADE, text)]));
    let fifteen = "pub use a::{B, C, D, E, F}; pub use g::{H, i::{J, K}, L as M, N}; pub const O: u8 = 0;
        pub fn p() {} pub struct Q; pub use r::s; pub mod t; pub use u; pub use v as w;";
    assert!(check(&format!("{fifteen} pub use x::Y;")).is_empty());
    let faults = check(&format!("{fifteen} pub use x::Y; pub use t::u as Z;"));
    assert_eq!(faults.len(), 1);
    assert!(
        faults
            .iter()
            .all(|fault| fault.contains("16") && fault.ends_with("s, Y, Z")),
        "{faults:?}"
    );
    assert!(
        check(&format!(
            "{fifteen} pub(crate) use a::b; #[doc(hidden)] pub use c::d; mod e; use f::g;"
        ))
        .is_empty()
    );
}
