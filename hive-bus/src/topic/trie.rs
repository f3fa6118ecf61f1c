//! Many patterns against one topic.

mod tokens;

use std::fmt;

use self::tokens::{Token, Tokens};
use super::{Pattern, Topic};
use crate::limits;

/// Finds which of many patterns match a topic, without looking at each.
///
/// A match looks each token of the topic up once and then visits only the branches that the topic can take, so its cost
/// depends on the topic and on what matches, not on how many patterns there are: well under a microsecond among ten
/// thousand. It allocates nothing and learns nothing, whatever is published.
///
/// A topic can take two branches at a token: the one of that token and the one of `*`. Patterns that differ in where they
/// put `*` may therefore cost one visit each, up to 2¹⁷ visits for a topic of
/// [`TOPIC_TOKENS_MAX`](limits::TOPIC_TOKENS_MAX) tokens. But each branch is there for a pattern that somebody added, of
/// which none makes more than it has tokens: however they are chosen, a match visits no more than the patterns' tokens
/// together. Whoever takes patterns from strangers bounds it by how many it takes.
///
/// ```
/// use hive_bus::{Pattern, PatternTrie, Topic};
///
/// let mut trie = PatternTrie::new();
/// let alarm = trie.insert(&Pattern::new("task.failed.>")?, "alarm");
/// trie.insert(&Pattern::ALL, "log");
///
/// let topic = Topic::new("task.failed.reviewer")?;
/// let mut found: Vec<_> = trie.matches(&topic).into_iter().copied().collect();
/// found.sort_unstable();
/// assert_eq!(found, ["alarm", "log"]);
///
/// assert_eq!(trie.remove(alarm), Some("alarm"));
/// assert_eq!(trie.matches(&topic), [&"log"]);
/// # Ok::<(), hive_bus::Error>(())
/// ```
#[derive(Clone)]
pub struct PatternTrie<T> {
    tokens: Tokens,
    root: Node,
    /// By slot. The slots of values that were taken out are in `free` and used again.
    values: Vec<Option<Entry<T>>>,
    free: Vec<usize>,
    next_serial: u64,
}

/// What [`PatternTrie::insert`] gives for taking the value out again. No other insertion of the same trie gets the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PatternKey {
    slot: usize,
    serial: u64,
}

#[derive(Clone)]
struct Entry<T> {
    serial: u64,
    pattern: Pattern,
    value: T,
}

#[derive(Clone, Default)]
struct Node {
    /// The slots of patterns that end here.
    ends: Vec<usize>,
    /// The slots of patterns whose `>` stands here: they match one or more tokens more.
    rests: Vec<usize>,
    any: Option<Box<Node>>,
    /// Sorted by token. A hash table here would be looked up at every visit; numbers that lie together are as fast, and
    /// nobody outside chooses them.
    literals: Vec<(Token, Box<Node>)>,
}

/// A token of a pattern.
#[derive(Clone, Copy)]
enum Step {
    Literal(Token),
    Any,
    Rest,
}

impl<T> PatternTrie<T> {
    /// No patterns yet.
    pub fn new() -> Self {
        Self {
            tokens: Tokens::default(),
            root: Node::default(),
            values: Vec::new(),
            free: Vec::new(),
            next_serial: 0,
        }
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a value; the same pattern may be added any number of times.
    pub fn insert(&mut self, pattern: &Pattern, value: T) -> PatternKey {
        let serial = self.next_serial;
        self.next_serial += 1;
        let entry = Some(Entry {
            serial,
            pattern: pattern.clone(),
            value,
        });
        let slot = self.free.pop().unwrap_or(self.values.len());
        match self.values.get_mut(slot) {
            Some(free) => *free = entry,
            None => self.values.push(entry),
        }
        let tokens = &mut self.tokens;
        let steps = steps(pattern, |token| Some(tokens.take(token)));
        self.root.insert(&steps, slot);
        PatternKey { slot, serial }
    }

    /// Takes a value out, and the branches that only it needed. `None` when it is out already.
    pub fn remove(&mut self, key: PatternKey) -> Option<T> {
        let held = self.values.get_mut(key.slot)?;
        let Entry { pattern, value, .. } = held.take_if(|entry| entry.serial == key.serial)?;
        self.free.push(key.slot);
        let steps = steps(&pattern, |token| self.tokens.get(token));
        self.root.remove(&steps, key.slot);
        for token in literals(&pattern) {
            self.tokens.release(token);
        }
        Some(value)
    }

    /// The values whose pattern matches, each once, in no particular order.
    pub fn matches(&self, topic: &Topic) -> Vec<&T> {
        let mut found = Vec::new();
        self.for_each_match(topic, |value| found.push(value));
        found
    }

    /// Every value, in no particular order.
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(&'a T)) {
        self.values.iter().flatten().for_each(|entry| visit(&entry.value));
    }

    /// [`PatternTrie::matches`] without the list.
    pub fn for_each_match<'a>(&'a self, topic: &Topic, mut visit: impl FnMut(&'a T)) {
        let mut tokens = [None; limits::TOPIC_TOKENS_MAX];
        let mut count = 0;
        // Invariant: a topic has no more tokens than there is room for.
        for (place, token) in tokens.iter_mut().zip(topic.tokens()) {
            *place = self.tokens.get(token);
            count += 1;
        }
        let tokens = tokens.get(..count).unwrap_or_default();
        self.root.visit(tokens, &mut |slot| {
            if let Some(Some(entry)) = self.values.get(slot) {
                visit(&entry.value);
            }
        });
    }
}

impl<T> Default for PatternTrie<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// How much there is of everything, and not all of it.
impl<T> fmt::Debug for PatternTrie<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatternTrie")
            .field("values", &self.len())
            .field("nodes", &self.root.count())
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}

/// `*` alone means everything, which in the trie is `>`.
fn steps(pattern: &Pattern, mut token: impl FnMut(&str) -> Option<Token>) -> Vec<Step> {
    if pattern.is_all() {
        return vec![Step::Rest];
    }
    let step = |text| match text {
        "*" => Some(Step::Any),
        ">" => Some(Step::Rest),
        literal => token(literal).map(Step::Literal),
    };
    pattern.tokens().filter_map(step).collect()
}

/// The tokens that [`steps`] asks for.
fn literals(pattern: &Pattern) -> impl Iterator<Item = &str> {
    pattern.tokens().filter(|token| !matches!(*token, "*" | ">"))
}

// The recursion below is as deep as a pattern has tokens, which `limits::TOPIC_TOKENS_MAX` bounds.
impl Node {
    fn insert(&mut self, steps: &[Step], slot: usize) {
        match steps.split_first() {
            None => self.ends.push(slot),
            Some((Step::Rest, _)) => self.rests.push(slot),
            Some((Step::Any, below)) => self.any.get_or_insert_default().insert(below, slot),
            Some((Step::Literal(token), below)) => {
                let at = self.literals.binary_search_by_key(token, |(token, _)| *token);
                let at = at.unwrap_or_else(|at| {
                    self.literals.insert(at, (*token, Box::default()));
                    at
                });
                if let Some((_, node)) = self.literals.get_mut(at) {
                    node.insert(below, slot);
                }
            }
        }
    }

    fn remove(&mut self, steps: &[Step], slot: usize) {
        match steps.split_first() {
            None => self.ends.retain(|&other| other != slot),
            Some((Step::Rest, _)) => self.rests.retain(|&other| other != slot),
            Some((Step::Any, below)) => {
                self.any = self.any.take().and_then(|mut node| {
                    node.remove(below, slot);
                    (!node.is_empty()).then_some(node)
                });
            }
            Some((Step::Literal(token), below)) => {
                if let Ok(at) = self.literals.binary_search_by_key(token, |(token, _)| *token)
                    && let Some((_, node)) = self.literals.get_mut(at)
                {
                    node.remove(below, slot);
                    if node.is_empty() {
                        self.literals.remove(at);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.rests.is_empty() && self.any.is_none() && self.literals.is_empty()
    }

    /// `None` stands for a token that is in no pattern.
    fn visit(&self, tokens: &[Option<Token>], found: &mut impl FnMut(usize)) {
        let Some((token, below)) = tokens.split_first() else {
            self.ends.iter().copied().for_each(found);
            return;
        };
        self.rests.iter().copied().for_each(&mut *found);
        if let Some(node) = &self.any {
            node.visit(below, found);
        }
        if let Some(token) = token
            && let Ok(at) = self.literals.binary_search_by_key(token, |(token, _)| *token)
            && let Some((_, node)) = self.literals.get(at)
        {
            node.visit(below, found);
        }
    }

    /// Itself and all below.
    fn count(&self) -> usize {
        let literals = self.literals.iter().map(|(_, node)| node);
        1 + self.any.iter().chain(literals).map(|node| node.count()).sum::<usize>()
    }
}
