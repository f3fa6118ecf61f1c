//! What must not stand in Rust.

use proc_macro2::{Delimiter, TokenTree};

use super::tokens::{self, everywhere, group, is_ident, is_punct};
use super::tree::{Tree, assert_tidy};

fn forbidden(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.rust() {
        everywhere(&tokens::parse(path, text), &mut |tokens, at| {
            if let Some(what) = fault(tokens, at) {
                let line = tokens.get(at).map_or(0, tokens::line);
                faults.push(format!("{path}:{line}: {what}"));
            }
        });
    }
    faults
}

fn fault(tokens: &[TokenTree], at: usize) -> Option<&'static str> {
    // An attribute is `#[…]` or `#![…]`.
    if is_punct(tokens, at, '#') {
        let at = if is_punct(tokens, at + 1, '!') { at + 2 } else { at + 1 };
        let attribute = group(tokens, at, Delimiter::Bracket)?;
        if is_ident(&attribute, 0, "ignore") {
            return Some("a test that does not run is none");
        }
        if is_ident(&attribute, 0, "allow") {
            return Some("use `expect` with a reason: it says when it is no longer needed");
        }
    }
    if is_punct(tokens, at + 1, '!') && (is_ident(tokens, at, "todo") || is_ident(tokens, at, "unimplemented")) {
        return Some("finish it or leave it out");
    }
    if is_ident(tokens, at, "not") && is_ident(&group(tokens, at + 1, Delimiter::Parenthesis)?, 0, "feature") {
        return Some("features only add; what is there without one is there with it");
    }
    None
}

#[test]
fn source_is_whole() {
    assert_tidy(forbidden(&Tree::house()));
}

#[test]
fn source_that_is_not_is_found() {
    for wrong in [
        "#[ignore] fn f() {}",
        "#[ignore = \"slow\"] fn f() {}",
        "#[allow(dead_code)] fn f() {}",
        "#![allow(dead_code)]",
        "fn f() { todo!() }",
        "fn f() { g!(unimplemented!()) }",
        "#[cfg(not(feature = \"a\"))] fn f() {}",
        "#[cfg(all(unix, not(feature = \"a\")))] fn f() {}",
    ] {
        assert_eq!(forbidden(&Tree::of(&[("a.rs", wrong)])).len(), 1, "{wrong}");
    }
    for right in [
        "// todo!()",
        "#[expect(dead_code, reason = \"x\")] fn f() {}",
        "#[cfg(not(unix))] fn f() {}",
        "fn todo() { ignore(allow); }",
    ] {
        assert!(forbidden(&Tree::of(&[("a.rs", right)])).is_empty(), "{right}");
    }
}
