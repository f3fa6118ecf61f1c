//! The texts of tokens as numbers.

use std::collections::HashMap;

/// The number of a text. Numbers that are not in use any more are given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token(usize);

/// The tokens of the patterns at hand. A topic's tokens are only looked up, so what is published cannot make it grow; and
/// the hash is keyed, so whoever chooses tokens cannot make them collide.
#[derive(Clone, Default)]
pub(super) struct Tokens {
    known: HashMap<Box<str>, Known>,
    free: Vec<Token>,
}

#[derive(Clone)]
struct Known {
    token: Token,
    /// How often it stands in a pattern.
    uses: usize,
}

impl Tokens {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn get(&self, text: &str) -> Option<Token> {
        self.known.get(text).map(|known| known.token)
    }

    /// The number of `text`, for one more use.
    pub(super) fn take(&mut self, text: &str) -> Token {
        if let Some(known) = self.known.get_mut(text) {
            known.uses += 1;
            return known.token;
        }
        // Invariant: the numbers in use and the free ones are those below the two counts' sum.
        let token = self.free.pop().unwrap_or(Token(self.known.len()));
        self.known.insert(text.into(), Known { token, uses: 1 });
        token
    }

    /// Gives one use back.
    pub(super) fn release(&mut self, text: &str) {
        let Some(known) = self.known.get_mut(text) else { return };
        known.uses -= 1;
        if known.uses == 0 {
            self.free.push(known.token);
            self.known.remove(text);
        }
    }
}
