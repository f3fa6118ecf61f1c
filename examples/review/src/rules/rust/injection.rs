//! Commands and statements put together from values.

use proc_macro2::Span;
use syn::{Expr, ExprCall, ExprMethodCall};

use super::syntax::{format_template, is_one_of, pastes_constants_only, place, string};
use super::walker::Walker;
use crate::rules::catalog::rust as rule;

const STATEMENT_METHODS: [&str; 16] = [
    "execute",
    "execute_batch",
    "batch_execute",
    "simple_query",
    "query",
    "query_one",
    "query_opt",
    "query_row",
    "query_map",
    "query_raw",
    "prepare",
    "prepare_cached",
    "prepare_typed",
    "fetch_all",
    "fetch_one",
    "raw_sql",
];
const STATEMENT_FUNCTIONS: [&str; 5] = [
    "sqlx::query",
    "sqlx::query_as",
    "sqlx::query_scalar",
    "sqlx::raw_sql",
    "diesel::sql_query",
];

pub(super) fn method(walker: &mut Walker<'_, '_>, call: &ExprMethodCall) {
    if walker.scope.test {
        return;
    }
    if is_one_of(call, &STATEMENT_METHODS)
        && let Some(first) = call.args.first()
    {
        statement(walker, first, call.method.span());
    }
    if call.method == "arg"
        && let Some(argument) = call.args.first()
        && format_template(argument).is_some()
        && !pastes_constants_only(argument)
        && let Expr::MethodCall(before) = &*call.receiver
        && before.method == "arg"
        && before
            .args
            .first()
            .and_then(string)
            .is_some_and(|flag| flag == "-c" || flag == "/C" || flag == "/c")
        && starts_a_shell(&before.receiver)
    {
        walker.report(
            &rule::RUST_SHELL_COMMAND,
            place(call.method.span()),
            "a value becomes a part of the command",
        );
    }
}

pub(super) fn call(walker: &mut Walker<'_, '_>, call: &ExprCall, path: &str, span: Span) {
    if !walker.scope.test
        && STATEMENT_FUNCTIONS.contains(&path)
        && let Some(first) = call.args.first()
    {
        statement(walker, first, span);
    }
}

fn statement(walker: &mut Walker<'_, '_>, argument: &Expr, span: Span) {
    let Some(template) = format_template(argument) else {
        return;
    };
    let first = template
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_sql = [
        "select", "insert", "update", "delete", "drop", "alter", "replace", "with", "truncate",
    ]
    .contains(&first.as_str());
    if is_sql && !pastes_constants_only(argument) && !walker.is_explained(span) {
        walker.report(
            &rule::RUST_SQL_FORMAT,
            place(span),
            "a value becomes a part of the statement",
        );
    }
}

fn starts_a_shell(expr: &Expr) -> bool {
    match expr {
        Expr::MethodCall(call) => starts_a_shell(&call.receiver),
        Expr::Call(call) => call.args.first().and_then(string).is_some_and(|program| {
            let program = program.rsplit('/').next().unwrap_or(&program).to_ascii_lowercase();
            ["sh", "bash", "zsh", "dash", "cmd", "cmd.exe"].contains(&program.as_str())
        }),
        _ => false,
    }
}
