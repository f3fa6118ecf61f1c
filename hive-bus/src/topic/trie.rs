//! Many patterns against one topic.

use std::collections::HashMap;

use super::{Pattern, Topic};

/// Finds which of many patterns match a topic, without looking at each.
///
/// A match visits only the branches that the topic can take, so its cost depends on the topic's tokens and on what
/// matches, not on how many patterns there are. Patterns that differ in where they put `*` may cost up to one visit each.
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
#[derive(Clone, Debug)]
pub struct PatternTrie<T> {
    root: Node,
    values: HashMap<u64, Entry<T>>,
    next_key: u64,
}

/// What [`PatternTrie::insert`] gives for taking the value out again. No other insertion of the same trie gets the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PatternKey(u64);

#[derive(Clone, Debug)]
struct Entry<T> {
    pattern: Pattern,
    value: T,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Patterns that end here.
    ends: Vec<u64>,
    /// Patterns whose `>` stands here: they match one or more tokens more.
    rests: Vec<u64>,
    any: Option<Box<Node>>,
    literal: HashMap<Box<str>, Node>,
}

impl<T> PatternTrie<T> {
    /// No patterns yet.
    pub fn new() -> Self {
        Self {
            root: Node::default(),
            values: HashMap::new(),
            next_key: 0,
        }
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Adds a value; the same pattern may be added any number of times.
    pub fn insert(&mut self, pattern: &Pattern, value: T) -> PatternKey {
        let key = self.next_key;
        self.next_key += 1;
        self.root.insert(steps(pattern), key);
        self.values.insert(
            key,
            Entry {
                pattern: pattern.clone(),
                value,
            },
        );
        PatternKey(key)
    }

    /// Takes a value out, and the branches that only it needed. `None` when it is out already.
    pub fn remove(&mut self, key: PatternKey) -> Option<T> {
        let entry = self.values.remove(&key.0)?;
        self.root.remove(steps(&entry.pattern), key.0);
        Some(entry.value)
    }

    /// The values whose pattern matches, each once, in no particular order.
    pub fn matches(&self, topic: &Topic) -> Vec<&T> {
        let mut found = Vec::new();
        self.for_each_match(topic, |value| found.push(value));
        found
    }

    /// Every value, in no particular order.
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(&'a T)) {
        self.values.values().for_each(|entry| visit(&entry.value));
    }

    /// [`PatternTrie::matches`] without the list.
    pub fn for_each_match<'a>(&'a self, topic: &Topic, mut visit: impl FnMut(&'a T)) {
        self.root.visit(topic.tokens(), &mut |key| {
            if let Some(entry) = self.values.get(&key) {
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

/// `*` alone means everything, which in the trie is `>`.
fn steps(pattern: &Pattern) -> impl Iterator<Item = &str> {
    let all = pattern.is_all().then_some(">");
    all.into_iter()
        .chain(pattern.tokens().skip(if all.is_some() { 1 } else { 0 }))
}

// The recursion below is as deep as a pattern has tokens, which `limits::TOPIC_TOKENS_MAX` bounds.
impl Node {
    fn insert<'a>(&mut self, mut steps: impl Iterator<Item = &'a str>, key: u64) {
        let mut node = self;
        loop {
            match steps.next() {
                None => return node.ends.push(key),
                Some(">") => return node.rests.push(key),
                Some("*") => node = node.any.get_or_insert_default(),
                Some(token) => node = node.literal.entry(token.into()).or_default(),
            }
        }
    }

    fn remove<'a>(&mut self, mut steps: impl Iterator<Item = &'a str>, key: u64) {
        self.remove_at(&mut steps, key);
    }

    fn remove_at(&mut self, steps: &mut dyn Iterator<Item = &str>, key: u64) {
        match steps.next() {
            None => self.ends.retain(|&other| other != key),
            Some(">") => self.rests.retain(|&other| other != key),
            Some("*") => {
                if let Some(node) = &mut self.any {
                    node.remove_at(steps, key);
                    if node.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some(token) => {
                if let Some(node) = self.literal.get_mut(token) {
                    node.remove_at(steps, key);
                    if node.is_empty() {
                        self.literal.remove(token);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.rests.is_empty() && self.any.is_none() && self.literal.is_empty()
    }

    fn visit<'a>(&self, mut tokens: impl Iterator<Item = &'a str> + Clone, found: &mut impl FnMut(u64)) {
        let Some(token) = tokens.next() else {
            self.ends.iter().copied().for_each(found);
            return;
        };
        self.rests.iter().copied().for_each(&mut *found);
        if let Some(node) = &self.any {
            node.visit(tokens.clone(), found);
        }
        if let Some(node) = self.literal.get(token) {
            node.visit(tokens, found);
        }
    }
}
