//! Locks that are held while a task waits.

use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{Block, Expr, ExprAwait, ExprMethodCall, Pat, Stmt};

use super::syntax::{is_one_of, name, place};
use super::walker::Walker;
use crate::rules::catalog::rust as rule;

/// Guards of one block that are followed.
const GUARDS_MAX: usize = 50;

/// `let guard = mutex.lock().unwrap(); …; other().await;`
pub(super) fn block(walker: &mut Walker<'_, '_>, block: &Block) {
    if !walker.scope.in_async || walker.scope.test {
        return;
    }
    // Each guard is followed to the end of its block, so only so many are.
    let mut followed = 0;
    for (at, stmt) in block.stmts.iter().enumerate() {
        let Stmt::Local(local) = stmt else { continue };
        let Some(init) = &local.init else { continue };
        let (Some(guard), Some(span)) = (bound_name(&local.pat), guard_of(&init.expr)) else {
            continue;
        };
        followed += 1;
        if followed > GUARDS_MAX {
            return;
        }
        for later in block.stmts.iter().skip(at + 1) {
            let mut finder = Finder {
                guard: Some(&guard),
                ..Finder::default()
            };
            finder.visit_stmt(later);
            if finder.awaits {
                let message = format!("`{guard}` is held until the end of its block, and a task may wait in between");
                walker.report(&rule::RUST_LOCK_ACROSS_AWAIT, place(span), message);
            }
            // Dropped, moved away, or reported once.
            if finder.awaits || finder.given_away {
                break;
            }
        }
    }
}

/// `match mutex.lock().unwrap().state { … => other().await }`: the guard lives as long as the arms.
pub(super) fn scrutinee(
    walker: &mut Walker<'_, '_>,
    value: &Expr,
    only_let: bool,
    look_inside: impl FnOnce(&mut Finder<'_>),
) {
    if !walker.scope.in_async || walker.scope.test {
        return;
    }
    let mut finder = Finder {
        only_let,
        ..Finder::default()
    };
    finder.visit_expr(value);
    let Some(span) = finder.lock else { return };
    let mut inside = Finder::default();
    look_inside(&mut inside);
    if inside.awaits {
        let message = "the guard lives as long as what is done with its value, and a task may wait in there";
        walker.report(&rule::RUST_LOCK_ACROSS_AWAIT, place(span), message);
    }
}

/// `mutex.lock().unwrap().send(…).await`
pub(super) fn awaited(walker: &mut Walker<'_, '_>, wait: &ExprAwait) {
    if !walker.scope.in_async || walker.scope.test {
        return;
    }
    // A lock that is itself awaited is one made for async code.
    let Expr::MethodCall(call) = &*wait.base else { return };
    if is_lock(call) {
        return;
    }
    let mut receiver: &Expr = &call.receiver;
    let mut unwrapped = false;
    while let Expr::MethodCall(inner) = receiver {
        if is_lock(inner) && (unwrapped || inner.method == "lock") {
            let message = "the guard lives to the end of the statement, and the task waits in it";
            walker.report(&rule::RUST_LOCK_ACROSS_AWAIT, place(inner.method.span()), message);
            return;
        }
        unwrapped = is_one_of(inner, &["unwrap", "expect"]);
        receiver = &inner.receiver;
    }
}

/// The lock whose guard the expression is: `m.lock()`, and what opens its result.
fn guard_of(expr: &Expr) -> Option<Span> {
    match expr {
        Expr::Paren(inner) => guard_of(&inner.expr),
        Expr::Try(inner) => guard_of(&inner.expr),
        Expr::MethodCall(call) if is_one_of(call, &["unwrap", "expect", "unwrap_or_else", "map_err"]) => {
            let Expr::MethodCall(inner) = &*call.receiver else {
                return None;
            };
            if is_lock(inner) {
                Some(inner.method.span())
            } else {
                guard_of(&call.receiver)
            }
        }
        // `read()` and `write()` without a result to open are as likely no locks at all.
        Expr::MethodCall(call) if is_lock(call) && call.method == "lock" => Some(call.method.span()),
        _ => None,
    }
}

fn is_lock(call: &ExprMethodCall) -> bool {
    call.args.is_empty() && is_one_of(call, &["lock", "read", "write"])
}

fn bound_name(pat: &Pat) -> Option<String> {
    match pat {
        Pat::Ident(ident) => Some(ident.ident.to_string()),
        Pat::Type(typed) => bound_name(&typed.pat),
        _ => None,
    }
}

/// Looks for awaits and for what becomes of a guard, not into closures and blocks that run at another time.
#[derive(Default)]
pub(super) struct Finder<'a> {
    guard: Option<&'a str>,
    only_let: bool,
    in_let: bool,
    awaits: bool,
    given_away: bool,
    lock: Option<Span>,
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_await(&mut self, wait: &'ast ExprAwait) {
        self.awaits |= !self.given_away;
        if let Expr::MethodCall(call) = &*wait.base
            && is_lock(call)
        {
            return self.visit_expr(&call.receiver);
        }
        visit::visit_expr_await(self, wait);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        self.given_away |= call
            .args
            .iter()
            .any(|arg| name(arg).as_deref() == self.guard && self.guard.is_some());
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.given_away |= call
            .args
            .iter()
            .any(|arg| name(arg).as_deref() == self.guard && self.guard.is_some());
        if is_lock(call) && call.method == "lock" && (self.in_let || !self.only_let) {
            self.lock.get_or_insert(call.method.span());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_let(&mut self, binding: &'ast syn::ExprLet) {
        let outer = std::mem::replace(&mut self.in_let, true);
        visit::visit_expr_let(self, binding);
        self.in_let = outer;
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        // `select!` and `join!` wait, whatever they are given.
        let waits = mac.path.segments.last().is_some_and(|last| {
            ["select", "join", "try_join"]
                .iter()
                .any(|macro_name| last.ident == macro_name)
        });
        self.awaits |= waits && !self.given_away;
        visit::visit_macro(self, mac);
    }

    fn visit_expr_closure(&mut self, _: &'ast syn::ExprClosure) {}

    fn visit_expr_async(&mut self, _: &'ast syn::ExprAsync) {}

    fn visit_item(&mut self, _: &'ast syn::Item) {}
}
