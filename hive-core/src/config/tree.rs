//! The values of one layer, or of all merged, each with its source.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::Source;
use super::secret::REDACTED;
use super::shape::{Child, Shape};

#[derive(Clone)]
pub(super) struct Tree {
    node: Node,
    source: Source,
}

#[derive(Clone)]
enum Node {
    Table(BTreeMap<String, Tree>),
    List(Vec<Tree>),
    /// Neither object nor array.
    Leaf(Value),
}

/// One step into a tree.
#[derive(Copy, Clone)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

/// The steps of a path such as `servers[0].port`, indices as numbers.
pub(super) fn steps(path: &str) -> Vec<String> {
    path.split(['.', '[', ']'])
        .filter(|step| !step.is_empty())
        .map(str::to_owned)
        .collect()
}

impl Tree {
    pub(super) fn table(members: BTreeMap<String, Tree>, source: Source) -> Self {
        Self {
            node: Node::Table(members),
            source,
        }
    }

    pub(super) fn list(items: Vec<Tree>, source: Source) -> Self {
        Self {
            node: Node::List(items),
            source,
        }
    }

    /// A value of one source.
    pub(super) fn from_value(value: Value, source: &Source) -> Self {
        let node = match value {
            Value::Object(members) => Node::Table(
                members
                    .into_iter()
                    .map(|(key, value)| (key, Self::from_value(value, source)))
                    .collect(),
            ),
            Value::Array(items) => Node::List(items.into_iter().map(|item| Self::from_value(item, source)).collect()),
            leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => Node::Leaf(leaf),
        };
        Self {
            node,
            source: source.clone(),
        }
    }

    /// `inner` below the tables that `key` names, dots between them.
    pub(super) fn nested(key: &str, inner: Self, source: Source) -> Self {
        key.rsplit('.').fold(inner, |inner, name| {
            Self::table(BTreeMap::from([(name.to_owned(), inner)]), source.clone())
        })
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn is_redacted(&self) -> bool {
        matches!(&self.node, Node::Leaf(Value::String(text)) if text == REDACTED)
    }

    pub(super) fn children(&self) -> Vec<(Step<'_>, &Tree)> {
        match &self.node {
            Node::Table(members) => members.iter().map(|(key, below)| (Step::Key(key), below)).collect(),
            Node::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, below)| (Step::Index(index), below))
                .collect(),
            Node::Leaf(_) => Vec::new(),
        }
    }

    /// Puts `over` over this: tables key by key, anything else whole.
    pub(super) fn merge(&mut self, over: Self) {
        match (&mut self.node, over.node) {
            (Node::Table(under), Node::Table(members)) => {
                for (key, tree) in members {
                    match under.get_mut(&key) {
                        Some(below) => below.merge(tree),
                        None => drop(under.insert(key, tree)),
                    }
                }
                // What is missing in a table is missing where someone last wrote it.
                self.source = over.source;
            }
            (_, node) => {
                *self = Self {
                    node,
                    source: over.source,
                }
            }
        }
    }

    pub(super) fn to_value(&self) -> Value {
        match &self.node {
            Node::Table(members) => members
                .iter()
                .map(|(key, below)| (key.clone(), below.to_value()))
                .collect(),
            Node::List(items) => items.iter().map(Self::to_value).collect(),
            Node::Leaf(value) => value.clone(),
        }
    }

    /// The source of everything that a layer can replace, by its key. An empty table counts as a value.
    pub(super) fn sources(&self) -> BTreeMap<String, Source> {
        let mut sources = BTreeMap::new();
        self.collect_sources("", &mut sources);
        sources
    }

    fn collect_sources(&self, path: &str, sources: &mut BTreeMap<String, Source>) {
        match &self.node {
            Node::Table(members) if !members.is_empty() => {
                for (key, below) in members {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    below.collect_sources(&path, sources);
                }
            }
            Node::Table(_) if path.is_empty() => {}
            Node::Table(_) | Node::List(_) | Node::Leaf(_) => {
                drop(sources.insert(path.to_owned(), self.source.clone()))
            }
        }
    }

    /// The source of what stands at `path` or of the innermost thing around it; `None` when that is the whole.
    pub(super) fn nearest_source(&self, path: &str) -> Option<&Source> {
        let mut found = None;
        let mut here = self;
        for step in steps(path) {
            let below = match &here.node {
                Node::Table(members) => members.get(&step),
                Node::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                Node::Leaf(_) => None,
            };
            let Some(below) = below else { break };
            found = Some(&below.source);
            here = below;
        }
        found
    }

    /// The secret values in this tree, as an error message might quote them.
    pub(super) fn secrets(&self, shape: &Shape<'_>) -> Vec<String> {
        let mut secrets = Vec::new();
        self.collect_secrets(shape, shape.is_secret(), &mut secrets);
        secrets
    }

    fn collect_secrets(&self, shape: &Shape<'_>, secret: bool, secrets: &mut Vec<String>) {
        // Where a secret may stand deeper down, a text in the wrong place is most likely that secret.
        if let Node::Leaf(value) = &self.node
            && (secret || shape.contains_secret())
        {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // `{:?}` escapes what a plain quotation does not.
            let quoted = format!("{text:?}").trim_matches('"').to_owned();
            secrets.extend([text, quoted].into_iter().filter(|text| !text.is_empty()));
        }
        for (step, below) in self.children() {
            let child = match step {
                Step::Key(key) => shape.child(key),
                Step::Index(_) => shape.item(),
            };
            match child {
                Child::Known(child) => below.collect_secrets(&child, secret || child.is_secret(), secrets),
                // Without a shape there is no secret of its own below, but a secret may be made of anything.
                Child::Open | Child::Unknown(_) => below.collect_secrets(shape, secret, secrets),
            }
        }
    }
}
