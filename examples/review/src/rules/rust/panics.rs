//! Panics in library code.

use syn::{Expr, ExprMethodCall, Macro};

use super::syntax::{is_constant, is_one_of, place, string};
use super::walker::Walker;
use crate::rules::catalog::rust as rule;

/// `unwrap` and `expect`.
pub(super) fn method(walker: &mut Walker<'_, '_>, call: &ExprMethodCall) {
    let unwraps = call.method == "unwrap" && call.args.is_empty();
    let expects = call.method == "expect" && call.args.len() == 1;
    if !(unwraps || expects) || !may_panic(walker) || is_harmless(&call.receiver) {
        return;
    }
    let span = call.method.span();
    if walker.is_explained(span) {
        return;
    }
    if unwraps {
        walker.report(
            &rule::RUST_UNWRAP,
            place(span),
            "the caller cannot handle what makes this panic",
        );
    } else if let Some(message) = call.args.first().and_then(string)
        && message.split_whitespace().count() < 2
    {
        walker.report(
            &rule::RUST_EXPECT,
            place(span),
            format!("\"{message}\" does not say what was expected"),
        );
    }
}

/// `panic!`, `todo!` and `unimplemented!`.
pub(super) fn macro_call(walker: &mut Walker<'_, '_>, mac: &Macro, name: &str) {
    let Some(span) = mac.path.segments.last().map(|last| last.ident.span()) else {
        return;
    };
    match name {
        "todo" | "unimplemented" if !walker.scope.test => {
            walker.report(
                &rule::RUST_TODO,
                place(span),
                format!("`{name}!` panics when it is reached"),
            );
        }
        "panic" if may_panic(walker) && !walker.is_explained(span) => {
            walker.report(
                &rule::RUST_PANIC,
                place(span),
                "the caller cannot handle this panic, nor read of it",
            );
        }
        _ => {}
    }
}

/// Whether a panic here would surprise a caller.
fn may_panic(walker: &Walker<'_, '_>) -> bool {
    walker.in_library() && !walker.scope.constant && !walker.scope.panics_documented && !walker.scope.safety_documented
}

/// Values whose `unwrap` says nothing about the input.
fn is_harmless(receiver: &Expr) -> bool {
    match receiver {
        // A poisoned lock: some other thread has panicked already.
        Expr::MethodCall(call)
            if call.args.is_empty() && is_one_of(call, &["lock", "read", "write", "join", "into_inner", "get_mut"]) =>
        {
            true
        }
        // `Regex::new("…").unwrap()`, `"127.0.0.1".parse().unwrap()`: right or wrong for ever.
        other if is_constant(other) => true,
        // `bytes[0..4].try_into().unwrap()`: the length stands there.
        Expr::MethodCall(call) if call.method == "try_into" => has_literal_range(&call.receiver),
        // `write!(text, …).unwrap()`: a string cannot fail to grow.
        Expr::Macro(call) => call
            .mac
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "write" || last.ident == "writeln"),
        // The wait on a condition passes a poisoned lock on.
        Expr::MethodCall(call) => is_one_of(call, &["wait", "wait_while", "wait_timeout", "wait_timeout_while"]),
        _ => false,
    }
}

fn has_literal_range(expr: &Expr) -> bool {
    match expr {
        Expr::Index(index) => match &*index.index {
            Expr::Range(range) => {
                let literal = |end: &Option<Box<Expr>>| end.as_ref().is_none_or(|end| is_constant(end));
                literal(&range.start) && literal(&range.end)
            }
            _ => false,
        },
        Expr::Paren(inner) => has_literal_range(&inner.expr),
        Expr::Reference(inner) => has_literal_range(&inner.expr),
        _ => false,
    }
}
