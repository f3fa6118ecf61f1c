//! Code that the compiler does not check.

use proc_macro2::Span;
use syn::{Attribute, ExprUnsafe, ItemImpl, Safety, Signature, Visibility};

use super::syntax::{docs, line, place};
use super::walker::Walker;
use crate::rules::catalog::rust as rule;

pub(super) fn block(walker: &mut Walker<'_, '_>, block: &ExprUnsafe) {
    let span = block.unsafe_token.span;
    let first_inside = line(block.block.brace_token.span.open()).saturating_add(1);
    let argued = is_argued(walker, span) || speaks_of_safety(walker.hits.file.comment_on(first_inside));
    // An unsafe function that lists its conditions has given the argument for its inside.
    if !argued && !walker.scope.safety_documented && !walker.scope.test {
        walker.report(
            &rule::RUST_UNSAFE_WITHOUT_SAFETY,
            place(span),
            "nothing says why this is sound",
        );
    }
}

pub(super) fn implementation(walker: &mut Walker<'_, '_>, item: &ItemImpl) {
    if let Some(token) = &item.unsafety
        && !is_argued(walker, token.span)
        && !docs(&item.attrs).to_ascii_lowercase().contains("safety")
        && !walker.scope.test
    {
        let message = "nothing says why the type keeps what the trait promises";
        walker.report(&rule::RUST_UNSAFE_WITHOUT_SAFETY, place(token.span), message);
    }
}

pub(super) fn function(walker: &mut Walker<'_, '_>, attrs: &[Attribute], vis: &Visibility, sig: &Signature) {
    let is_unsafe = matches!(sig.safety, Safety::Unsafe(_));
    if is_unsafe
        && matches!(vis, Visibility::Public(_))
        && walker.in_library()
        && !docs(attrs).to_ascii_lowercase().contains("safety")
    {
        let message = format!("what a caller of `{}` must see to is not written down", sig.ident);
        walker.report(&rule::RUST_UNSAFE_FN_DOCS, place(sig.ident.span()), message);
    }
}

pub(super) fn call(walker: &mut Walker<'_, '_>, path: &str, span: Span) {
    let transmutes = [
        "std::mem::transmute",
        "core::mem::transmute",
        "std::mem::transmute_copy",
        "core::mem::transmute_copy",
    ];
    if transmutes.contains(&path) && !walker.scope.test && !walker.scope.safety_documented && !is_argued(walker, span) {
        walker.report(
            &rule::RUST_TRANSMUTE,
            place(span),
            "nothing says why both types are laid out alike",
        );
    }
}

/// Whether a comment on the line, or above the statement it belongs to, argues for it. Asked once for each line: there may
/// be any number of unsafe blocks on it.
fn is_argued(walker: &mut Walker<'_, '_>, span: Span) -> bool {
    let here = line(span);
    if let Some((last, argued)) = walker.argued
        && last == here
    {
        return argued;
    }
    let file = walker.hits.file;
    // The statement may begin some lines earlier: `let x =`, a call, an attribute.
    let mut lines = (here.saturating_sub(6)..=here).rev();
    let argued = lines.any(|number| speaks_of_safety(&file.comment_about(number)));
    walker.argued = Some((here, argued));
    argued
}

fn speaks_of_safety(comment: &str) -> bool {
    let comment = comment.to_ascii_lowercase();
    comment.contains("safety") || comment.contains("sound")
}
