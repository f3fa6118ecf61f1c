//! Rust as tokens: comments and strings are out of the way, and what macros contain is in sight.

use std::str::FromStr;

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// The tokens of a file; a file that is no Rust is a fault of its own.
pub(crate) fn parse(path: &str, text: &str) -> Vec<TokenTree> {
    TokenStream::from_str(text)
        .unwrap_or_else(|error| panic!("{path} is no rust: {error}"))
        .into_iter()
        .collect()
}

/// The identifier at `at`.
pub(crate) fn ident(tokens: &[TokenTree], at: usize) -> Option<&Ident> {
    match tokens.get(at)? {
        TokenTree::Ident(ident) => Some(ident),
        TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    }
}

/// Whether the identifier `word` stands at `at`.
pub(crate) fn is_ident(tokens: &[TokenTree], at: usize, word: &str) -> bool {
    ident(tokens, at).is_some_and(|ident| *ident == word)
}

/// Whether `::` stands at `at`.
pub(crate) fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens, at, ':') && is_punct(tokens, at + 1, ':')
}

pub(crate) fn is_punct(tokens: &[TokenTree], at: usize, mark: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

/// What the group at `at` contains, if it is one between these delimiters.
pub(crate) fn group(tokens: &[TokenTree], at: usize, delimiter: Delimiter) -> Option<Vec<TokenTree>> {
    match tokens.get(at)? {
        TokenTree::Group(group) if group.delimiter() == delimiter => Some(group.stream().into_iter().collect()),
        TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    }
}

/// Calls `look` with every run of tokens, however deep, and each position in it.
pub(crate) fn everywhere(tokens: &[TokenTree], look: &mut impl FnMut(&[TokenTree], usize)) {
    for (at, token) in tokens.iter().enumerate() {
        look(tokens, at);
        if let TokenTree::Group(group) = token {
            everywhere(&group.stream().into_iter().collect::<Vec<_>>(), look);
        }
    }
}

/// The line that a token begins in.
pub(crate) fn line(token: &TokenTree) -> usize {
    token.span().start().line
}
