//! Tests that do not test.

use proc_macro2::{Span, TokenTree};
use syn::{Attribute, Block, Expr, Meta, Signature, Stmt};

use super::syntax::{macro_name, place};
use super::walker::Walker;
use crate::rules::catalog::rust as rule;

pub(super) fn function(walker: &mut Walker<'_, '_>, attrs: &[Attribute], sig: &Signature, block: &Block) {
    if !walker.scope.test_function {
        return;
    }
    let span = sig.ident.span();
    let ignored = attrs
        .iter()
        .any(|attr| attr.path().is_ident("ignore") && matches!(attr.meta, Meta::Path(_)));
    if ignored && !walker.is_explained(span) {
        let message = format!("`{}` is not run, and nothing says why", sig.ident);
        walker.report(&rule::RUST_IGNORED_TEST, place(span), message);
    }
    // With cases in its attributes the function is more than its body.
    let parameterless = sig.inputs.is_empty();
    if parameterless && block.stmts.iter().all(is_vacuous) && !has_comment(walker, block) {
        walker.report(
            &rule::RUST_VACUOUS_TEST,
            place(span),
            format!("`{}` checks nothing", sig.ident),
        );
    }
}

pub(super) fn call(walker: &mut Walker<'_, '_>, path: &str, span: Span) {
    let sleeps = ["std::thread::sleep", "tokio::time::sleep"].contains(&path);
    // Polling a condition in a loop is the remedy; so is a clock that the test moves.
    if !sleeps || !walker.scope.test_function || walker.scope.in_loop {
        return;
    }
    let text = walker.hits.file.text();
    let moved_clock = path.starts_with("tokio") && (text.contains("start_paused") || text.contains("time::pause()"));
    if !moved_clock && !walker.is_explained(span) {
        walker.report(
            &rule::RUST_SLEEPING_TEST,
            place(span),
            format!("`{path}` hopes that the time is enough"),
        );
    }
}

/// Nothing at all, or an assertion about literals.
fn is_vacuous(stmt: &Stmt) -> bool {
    let mac = match stmt {
        Stmt::Macro(stmt) => &stmt.mac,
        Stmt::Expr(Expr::Macro(expr), _) => &expr.mac,
        Stmt::Local(_) | Stmt::Item(_) | Stmt::Expr(..) => return false,
    };
    let literal = |token: TokenTree| match token {
        TokenTree::Literal(_) | TokenTree::Punct(_) => true,
        TokenTree::Ident(ident) => ident == "true",
        TokenTree::Group(_) => false,
    };
    ["assert", "assert_eq"].contains(&macro_name(mac).as_str()) && mac.tokens.clone().into_iter().all(literal)
}

fn has_comment(walker: &Walker<'_, '_>, block: &Block) -> bool {
    let (open, close) = (block.brace_token.span.open(), block.brace_token.span.close());
    (super::syntax::line(open)..=super::syntax::line(close))
        .any(|number| !walker.hits.file.comment_on(number).trim().is_empty())
}
