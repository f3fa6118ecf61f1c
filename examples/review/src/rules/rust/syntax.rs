//! Small questions to the syntax tree.

use proc_macro2::Span;
use syn::{Attribute, Expr, ExprMethodCall, Lit, Macro, Meta};

use crate::file::Place;

/// Where a token begins. Columns are counted in characters from one.
pub(super) fn place(span: Span) -> Place {
    let start = span.start();
    Place {
        line: u32::try_from(start.line).unwrap_or(u32::MAX),
        column: u32::try_from(start.column).unwrap_or(u32::MAX).saturating_add(1),
    }
}

/// The line a token is on.
pub(super) fn line(span: Span) -> u32 {
    place(span).line
}

/// The last name of a macro's path.
pub(super) fn macro_name(mac: &Macro) -> String {
    mac.path
        .segments
        .last()
        .map(|segment| segment.ident.to_string())
        .unwrap_or_default()
}

/// Whether the item is only there for tests: `#[test]`, `#[tokio::test]`, `#[cfg(test)]` and their kind.
pub(super) fn is_test_item(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let name = attr
            .path()
            .segments
            .last()
            .map(|segment| segment.ident.to_string())
            .unwrap_or_default();
        match name.as_str() {
            "cfg" | "cfg_attr" => mentions_test(attr),
            name => is_test_name(name),
        }
    })
}

/// Whether the function is a test that a runner runs. A benchmark is none: it has nothing to assert.
pub(super) fn is_test_function(attrs: &[Attribute]) -> bool {
    let last = |attr: &Attribute| {
        attr.path()
            .segments
            .last()
            .map(|last| last.ident.to_string())
            .unwrap_or_default()
    };
    attrs
        .iter()
        .map(last)
        .any(|name| name != "bench" && is_test_name(&name))
}

fn is_test_name(name: &str) -> bool {
    matches!(
        name,
        "test" | "bench" | "rstest" | "quickcheck" | "test_case" | "fixture"
    ) || name.ends_with("_test")
}

fn mentions_test(attr: &Attribute) -> bool {
    let Meta::List(list) = &attr.meta else { return false };
    let text: String = list.tokens.to_string().split_whitespace().collect();
    text.contains("test") && !text.contains("not(test") && attr.path().is_ident("cfg")
}

/// The documentation of an item, line by line.
pub(super) fn docs(attrs: &[Attribute]) -> String {
    let line = |attr: &Attribute| match &attr.meta {
        Meta::NameValue(value) if attr.path().is_ident("doc") => match &value.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            // `#[doc = include_str!(…)]` and the like.
            _ => Some(String::new()),
        },
        _ => None,
    };
    attrs.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Whether an item has documentation, or is kept out of it on purpose.
pub(super) fn is_documented(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let conditional = attr.path().is_ident("cfg_attr")
            && matches!(&attr.meta, Meta::List(list) if list.tokens.to_string().contains("doc"));
        attr.path().is_ident("doc") || conditional
    })
}

/// The value without brackets, references and conversions that do not change it.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(inner) => bare(&inner.expr),
        Expr::Group(inner) => bare(&inner.expr),
        Expr::Reference(inner) => bare(&inner.expr),
        Expr::MethodCall(call)
            if call.args.is_empty() && is_one_of(call, &["as_str", "as_ref", "to_string", "into"]) =>
        {
            bare(&call.receiver)
        }
        other => other,
    }
}

pub(super) fn is_one_of(call: &ExprMethodCall, names: &[&str]) -> bool {
    names.iter().any(|name| call.method == name)
}

/// The text of a string literal.
pub(super) fn string(expr: &Expr) -> Option<String> {
    match bare(expr) {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// The name, when an expression is nothing but one.
pub(super) fn name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        Expr::Paren(inner) => name(&inner.expr),
        _ => None,
    }
}

/// Whether a value is made from literals only, so that it is the same in every run.
pub(super) fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Lit(_) => true,
        Expr::Paren(inner) => is_constant(&inner.expr),
        Expr::Reference(inner) => is_constant(&inner.expr),
        Expr::Unary(inner) => is_constant(&inner.expr),
        Expr::Call(call) => !call.args.is_empty() && call.args.iter().all(is_constant),
        Expr::MethodCall(call) => is_constant(&call.receiver) && call.args.iter().all(is_constant),
        Expr::Array(array) => array.elems.iter().all(is_constant),
        Expr::Tuple(tuple) => tuple.elems.iter().all(is_constant),
        // SCREAMING_CASE names a constant.
        Expr::Path(path) => path.path.segments.last().is_some_and(|last| {
            let last = last.ident.to_string();
            last.len() > 1 && last.chars().all(|character| !character.is_lowercase())
        }),
        _ => false,
    }
}

/// The literal and the number of further arguments of a formatting macro; `None` when it formats nothing.
pub(super) fn format_template(expr: &Expr) -> Option<String> {
    let Expr::Macro(call) = bare(expr) else { return None };
    if macro_name(&call.mac) != "format" {
        return None;
    }
    let first = call.mac.tokens.clone().into_iter().next()?;
    let template = syn::parse2::<syn::LitStr>(first.into()).ok()?.value();
    template.contains('{').then_some(template)
}

/// Whether all that a formatting macro pastes in are constants by name.
pub(super) fn pastes_constants_only(expr: &Expr) -> bool {
    let Expr::Macro(call) = bare(expr) else { return false };
    let Some(template) = format_template(expr) else {
        return false;
    };
    let mut inside = template
        .split('{')
        .skip(1)
        .map(|part| part.split(['}', ':']).next().unwrap_or_default());
    let is_constant_name = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|character| character.is_ascii_uppercase() || character == '_' || character.is_ascii_digit())
    };
    let args = call.mac.tokens.clone().into_iter().skip(1);
    let mut idents = args.filter_map(|token| match token {
        proc_macro2::TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    });
    inside.all(|name| name.is_empty() || is_constant_name(name)) && idents.all(|name| is_constant_name(&name))
}
