//! The size and shape of functions, and what is written about them.

use proc_macro2::Span;
use syn::{Block, FnArg, Signature};

use super::syntax::{line, place};
use super::walker::Walker;
use crate::rules::catalog::rust as rule;

/// Lines of code; blank lines and comments do not count.
const LINES_MAX: usize = 100;
const NESTING_MAX: usize = 5;
const PARAMETERS_MAX: usize = 7;
/// Items named in one message.
const NAMED: usize = 5;

pub(super) fn function(walker: &mut Walker<'_, '_>, sig: &Signature, block: &Block) {
    if walker.scope.test {
        return;
    }
    let at = place(sig.ident.span());
    let (start, end) = (
        line(block.brace_token.span.open()),
        line(block.brace_token.span.close()),
    );
    let lines = (start..=end)
        .filter(|number| walker.hits.file.is_code_line(*number))
        .count();
    if lines > LINES_MAX {
        let message = format!("`{}` has {lines} lines of code", sig.ident);
        walker.report_on(&rule::RUST_LONG_FUNCTION, at, end, message);
    }
    let parameters = sig
        .inputs
        .iter()
        .filter(|input| !matches!(input, FnArg::Receiver(_)))
        .count();
    if parameters > PARAMETERS_MAX && !walker.scope.trait_impl && sig.abi.is_none() {
        let message = format!("`{}` takes {parameters} values", sig.ident);
        walker.report(&rule::RUST_MANY_PARAMETERS, at, message);
    }
}

/// Reports the first level that is too deep, not those inside it.
pub(super) fn nesting(walker: &mut Walker<'_, '_>, depth: usize, span: Span) {
    if depth == NESTING_MAX + 1 && !walker.scope.test {
        let message = format!("this stands inside {NESTING_MAX} other branches and loops");
        walker.report(&rule::RUST_DEEP_NESTING, place(span), message);
    }
}

/// One finding for all public items of the file that nobody described.
pub(super) fn undocumented(mut walker: Walker<'_, '_>) {
    let counts = |at: &&(String, crate::file::Place)| walker.hits.file.counts(at.1.line, at.1.line);
    let found: Vec<&(String, crate::file::Place)> = walker.undocumented.iter().filter(counts).collect();
    let Some((_, at)) = found.first() else { return };
    let mut names: Vec<String> = found.iter().take(NAMED).map(|(name, _)| format!("`{name}`")).collect();
    if found.len() > NAMED {
        names.push(format!("and {} more", found.len() - NAMED));
    }
    walker.report(
        &rule::RUST_UNDOCUMENTED,
        *at,
        format!("without documentation: {}", names.join(", ")),
    );
}
