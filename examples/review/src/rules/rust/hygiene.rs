//! What a library should leave to the program, and small traps.

use proc_macro2::Span;
use syn::{Expr, ExprCall, ExprCast, Macro, Type};

use super::syntax::{is_one_of, name, place};
use super::walker::Walker;
use crate::language::Role;
use crate::rules::catalog::rust as rule;

pub(super) fn macro_call(walker: &mut Walker<'_, '_>, mac: &Macro, macro_name: &str) {
    let Some(span) = mac.path.segments.last().map(|last| last.ident.span()) else {
        return;
    };
    match macro_name {
        "dbg" if !walker.scope.test => walker.report(
            &rule::RUST_DBG,
            place(span),
            "`dbg!` is for the one who writes the code",
        ),
        "print" | "println" | "eprint" | "eprintln"
            if walker.in_library() && !talks_to_cargo(mac) && !walker.is_explained(span) =>
        {
            walker.report(
                &rule::RUST_PRINT,
                place(span),
                format!("`{macro_name}!` writes to a stream that is the program's"),
            );
        }
        _ => {}
    }
}

/// `cargo:rerun-if-changed=…`: the way a build script speaks.
fn talks_to_cargo(mac: &Macro) -> bool {
    mac.tokens
        .clone()
        .into_iter()
        .next()
        .is_some_and(|first| first.to_string().starts_with("\"cargo:"))
}

pub(super) fn call(walker: &mut Walker<'_, '_>, call: &ExprCall, path: &str, span: Span) {
    match path {
        "std::process::exit" if walker.in_library() && !walker.is_explained(span) => {
            walker.report(
                &rule::RUST_PROCESS_EXIT,
                place(span),
                format!("`{path}` ends every thread of the caller"),
            );
        }
        "std::mem::forget" | "core::mem::forget"
            if !walker.scope.test && !gives_away(call) && !walker.is_explained(span) =>
        {
            walker.report(
                &rule::RUST_MEM_FORGET,
                place(span),
                "the value is never dropped, and nothing says why",
            );
        }
        _ => {}
    }
}

/// `forget(self)` after the parts were taken, and guards that only a panic needs, are what the function is for.
fn gives_away(call: &ExprCall) -> bool {
    let name = call.args.first().and_then(name).unwrap_or_default();
    ["self", "this", "guard", "bomb"]
        .iter()
        .any(|known| name.ends_with(known))
}

const NARROW: [&str; 6] = ["u8", "u16", "u32", "i8", "i16", "i32"];

/// `items.len() as u32`
pub(super) fn cast(walker: &mut Walker<'_, '_>, cast: &ExprCast) {
    let in_scope = walker.hits.file.role != Role::Build && !walker.scope.test && !walker.scope.constant;
    let Expr::MethodCall(call) = inner(&cast.expr) else {
        return;
    };
    let Type::Path(target) = &*cast.ty else { return };
    let Some(target) = target.path.get_ident().map(ToString::to_string) else {
        return;
    };
    let counts = is_one_of(call, &["len", "count"]) && call.args.is_empty();
    let span = cast.as_token.span;
    if in_scope && counts && NARROW.contains(&target.as_str()) && !walker.is_explained(span) {
        let message = format!("`{}() as {target}` drops the upper bits of a large number", call.method);
        walker.report(&rule::RUST_TRUNCATING_CAST, place(span), message);
    }
}

fn inner(expr: &Expr) -> &Expr {
    if let Expr::Paren(paren) = expr {
        inner(&paren.expr)
    } else {
        expr
    }
}
