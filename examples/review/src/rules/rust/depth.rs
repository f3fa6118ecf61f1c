//! How deep the syntax tree of some tokens can become, told without recursion.
//!
//! Not only brackets nest: `!!!!x`, `a + b + c …`, `A<B<C<…`, `|x| |y| …` and `if … else if …` make a tree as deep as they are
//! long. So the depth of a token is bounded by the number of tokens since the last place at which every such chain must have
//! ended: a semicolon, or a comma as far as neither `<` nor `|` was left open before it.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What entering a bracket costs against one more token of a chain: the parser's way down to an operand.
const BRACKET: usize = 4;

/// One bracket that has been entered.
struct Level {
    tokens: proc_macro2::token_stream::IntoIter,
    /// The depth at which the bracket stands.
    base: usize,
    /// Tokens since the last reset.
    run: usize,
    /// `<` and `|` since the last semicolon: each may hold open what a comma does not close.
    open: usize,
    /// Whether the token before was `{…}`.
    after_braces: bool,
}

impl Level {
    fn new(tokens: TokenStream, base: usize) -> Self {
        Self {
            tokens: tokens.into_iter(),
            base,
            run: 0,
            open: 0,
            after_braces: false,
        }
    }
}

/// An upper bound of the nesting, in units of about one operator each.
pub(super) fn measure(tokens: TokenStream) -> usize {
    let mut deepest = 0;
    let mut levels = vec![Level::new(tokens, 0)];
    while let Some(level) = levels.last_mut() {
        let Some(token) = level.tokens.next() else {
            levels.pop();
            continue;
        };
        level.run += 1;
        let after_braces = std::mem::replace(&mut level.after_braces, false);
        match token {
            TokenTree::Group(group) => {
                let base = level.base + level.run + level.open + BRACKET;
                level.after_braces = group.delimiter() == Delimiter::Brace;
                deepest = deepest.max(base);
                levels.push(Level::new(group.stream(), base));
                continue;
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ';' => (level.run, level.open) = (0, 0),
                ',' => level.run = 0,
                // An attribute begins the next item or statement.
                '#' if after_braces => (level.run, level.open) = (1, 0),
                '<' | '|' => level.open += 1,
                _ => {}
            },
            // A statement or an arm ended with the braces, unless the chain goes on.
            TokenTree::Ident(ident) if after_braces && ident != "else" && ident != "as" => {
                (level.run, level.open) = (1, 0);
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {}
        }
        deepest = deepest.max(level.base + level.run + level.open);
    }
    deepest
}
