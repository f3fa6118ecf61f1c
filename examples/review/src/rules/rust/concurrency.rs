//! Threads, channels and shared state.

use proc_macro2::Span;
use syn::{Expr, ExprMethodCall, ItemStatic, StaticMutability};

use super::syntax::{is_one_of, place};
use super::walker::Walker;
use crate::rules::catalog::rust as rule;

/// Functions that stop their thread.
const BLOCKING: [&str; 3] = [
    "std::thread::sleep",
    "std::net::TcpStream::connect",
    "futures::executor::block_on",
];

pub(super) fn static_item(walker: &mut Walker<'_, '_>, item: &ItemStatic) {
    if matches!(item.mutability, StaticMutability::Mut(_)) && !walker.scope.test {
        walker.report(
            &rule::RUST_STATIC_MUT,
            place(item.ident.span()),
            "two threads may change it at once",
        );
    }
}

pub(super) fn call(walker: &mut Walker<'_, '_>, path: &str, span: Span) {
    if walker.scope.test {
        return;
    }
    let file = path.strip_prefix("std::fs::").is_some_and(|rest| {
        // Functions and the two ways to open a file; types and builders do nothing yet.
        rest.starts_with(|first: char| first.is_lowercase()) || rest == "File::open" || rest == "File::create"
    });
    let blocks = file || BLOCKING.contains(&path) || path.starts_with("reqwest::blocking::");
    if walker.scope.in_async && !walker.scope.main && blocks && !walker.is_explained(span) {
        walker.report(
            &rule::RUST_BLOCKING_IN_ASYNC,
            place(span),
            format!("`{path}` stops the thread"),
        );
    }
    let last = path.rsplit("::").next().unwrap_or(path);
    let unbounded = last == "unbounded_channel" || (last == "unbounded" && path.contains("::"));
    if unbounded && !walker.is_explained(span) {
        walker.report(
            &rule::RUST_UNBOUNDED_CHANNEL,
            place(span),
            format!("nothing limits what waits in `{last}`"),
        );
    }
}

/// `Command::new(…).output()` with the command of the standard library.
pub(super) fn method(walker: &mut Walker<'_, '_>, call: &ExprMethodCall) {
    if !walker.scope.in_async
        || walker.scope.main
        || walker.scope.test
        || !is_one_of(call, &["output", "status"])
        || !call.args.is_empty()
    {
        return;
    }
    let mut root: &Expr = &call.receiver;
    while let Expr::MethodCall(inner) = root {
        root = &inner.receiver;
    }
    if let Expr::Call(new) = root
        && let Expr::Path(path) = &*new.func
        && walker.imports.resolve(&path.path) == "std::process::Command::new"
        && !walker.is_explained(call.method.span())
    {
        let message = "the thread stops until the program has ended";
        walker.report(&rule::RUST_BLOCKING_IN_ASYNC, place(call.method.span()), message);
    }
}
