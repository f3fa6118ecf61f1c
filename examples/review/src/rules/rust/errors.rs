//! Errors that nobody looks at.

use proc_macro2::Span;
use syn::{Expr, Pat, Stmt};

use super::syntax::{is_one_of, place};
use super::walker::Walker;
use crate::rules::catalog::rust as rule;

/// Calls that report by their result alone whether the data is safe.
const LOST_WRITES: [&str; 13] = [
    "write_all",
    "write_fmt",
    "sync_all",
    "sync_data",
    "set_len",
    "commit",
    "execute",
    "execute_batch",
    "rename",
    "copy",
    "create_dir",
    "create_dir_all",
    "set_permissions",
];

/// `result.ok();` and `let _ = file.sync_all();`.
pub(super) fn statement(walker: &mut Walker<'_, '_>, stmt: &Stmt) {
    if walker.scope.test || walker.scope.drop {
        return;
    }
    match stmt {
        Stmt::Expr(Expr::MethodCall(call), Some(_))
            if call.method == "ok" && call.args.is_empty() && !says_all_by_its_state(&call.receiver) =>
        {
            drop_of(walker, call.method.span(), "`.ok()` turns the error into nothing");
        }
        Stmt::Local(local) if matches!(local.pat, Pat::Wild(_)) => {
            if let Some((name, span)) = local.init.as_ref().and_then(|init| last_call(&init.expr))
                && LOST_WRITES.contains(&name.as_str())
            {
                drop_of(walker, span, &format!("whether `{name}` worked is not looked at"));
            }
        }
        Stmt::Local(_) | Stmt::Item(_) | Stmt::Expr(..) | Stmt::Macro(_) => {}
    }
}

/// A cell that is set already, an exchange that another thread won, a receiver that is gone: not failures.
fn says_all_by_its_state(receiver: &Expr) -> bool {
    let names = [
        "set",
        "compare_exchange",
        "compare_exchange_weak",
        "send",
        "try_send",
        "unbounded_send",
        "try_lock",
    ];
    matches!(receiver, Expr::MethodCall(call) if is_one_of(call, &names))
}

fn drop_of(walker: &mut Walker<'_, '_>, span: Span, message: &str) {
    if !walker.is_explained(span) {
        walker.report(&rule::RUST_SWALLOWED_ERROR, place(span), message);
    }
}

/// The call whose result the expression is.
fn last_call(expr: &Expr) -> Option<(String, Span)> {
    match expr {
        Expr::Await(wait) => last_call(&wait.base),
        Expr::Paren(inner) => last_call(&inner.expr),
        Expr::MethodCall(call) => Some((call.method.to_string(), call.method.span())),
        Expr::Call(call) => match &*call.func {
            // Only the operations on files: a function of the same name may mean anything.
            Expr::Path(path) if path.path.segments.iter().any(|segment| segment.ident == "fs") => path
                .path
                .segments
                .last()
                .map(|last| (last.ident.to_string(), last.ident.span())),
            _ => None,
        },
        _ => None,
    }
}
