//! What a JSON Schema says about keys: which exist, which are secret, what type a text is to become.

use std::collections::BTreeSet;

use serde_json::Value;

/// How deep keys are listed for a suggestion; a type that contains itself has no end.
const KEYS_DEPTH_MAX: usize = 8;

/// A place in a configuration, as its schema describes it.
#[derive(Clone)]
pub(super) struct Shape<'a> {
    root: &'a Value,
    /// The schemas of which one or all describe the place: references followed, alternatives laid side by side.
    nodes: Vec<&'a Value>,
}

/// What stands below a place.
pub(super) enum Child<'a> {
    Known(Shape<'a>),
    /// Anything may stand there.
    Open,
    /// Nothing may stand there; these may.
    Unknown(Vec<&'a str>),
}

impl<'a> Shape<'a> {
    pub(super) fn root(schema: &'a Value) -> Self {
        Self::of(schema, [schema])
    }

    fn of(root: &'a Value, nodes: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut all = Vec::new();
        nodes.into_iter().for_each(|node| resolve(root, node, &mut all));
        Self { root, nodes: all }
    }

    /// What the member `key` is, when this is a table.
    pub(super) fn child(&self, key: &str) -> Child<'a> {
        let mut found = Vec::new();
        let mut names = BTreeSet::new();
        let mut open = false;
        for node in &self.nodes {
            let properties = node.get("properties").and_then(Value::as_object);
            if let Some(schema) = properties.and_then(|properties| properties.get(key)) {
                found.push(schema);
                continue;
            }
            names.extend(
                properties
                    .into_iter()
                    .flat_map(|properties| properties.keys())
                    .map(String::as_str),
            );
            let patterns = node.get("patternProperties").and_then(Value::as_object);
            found.extend(patterns.into_iter().flat_map(|patterns| patterns.values()));
            match node.get("additionalProperties") {
                Some(Value::Object(_)) => found.extend(node.get("additionalProperties")),
                Some(Value::Bool(true)) => open = true,
                // JSON Schema would allow any further key. A schema that lists keys, or is of another type, does not mean it.
                Some(_) | None => open |= says_nothing(node),
            }
        }
        self.child_of(found, open, names.into_iter().collect())
    }

    /// What an item is, when this is a list.
    pub(super) fn item(&self) -> Child<'a> {
        let mut found = Vec::new();
        let mut open = false;
        for node in &self.nodes {
            let items = node.get("items").filter(|items| items.is_object());
            let tuple = node.get("prefixItems").and_then(Value::as_array);
            open |= items.is_none() && tuple.is_none();
            found.extend(items);
            found.extend(tuple.into_iter().flatten());
        }
        self.child_of(found, open, Vec::new())
    }

    fn child_of(&self, found: Vec<&'a Value>, open: bool, names: Vec<&'a str>) -> Child<'a> {
        if !found.is_empty() {
            Child::Known(Self::of(self.root, found))
        } else if open {
            Child::Open
        } else {
            Child::Unknown(names)
        }
    }

    /// The shape at a path of names and indices, as far as the schema describes it.
    pub(super) fn at(&self, path: &[String]) -> Option<Self> {
        path.iter().try_fold(self.clone(), |shape, step| {
            let child = if step.parse::<usize>().is_ok() && shape.allows("array") {
                shape.item()
            } else {
                shape.child(step)
            };
            match child {
                Child::Known(child) => Some(child),
                Child::Open | Child::Unknown(_) => None,
            }
        })
    }

    /// The known name that an environment variable's segment means: case, `-` and `_` do not count.
    pub(super) fn name_like(&self, segment: &str) -> Option<&'a str> {
        let plain = |text: &str| text.to_lowercase().replace('-', "_");
        let names = self
            .nodes
            .iter()
            .filter_map(|node| node.get("properties")?.as_object())
            .flat_map(|names| names.keys());
        let mut near = names.map(String::as_str).filter(|name| plain(name) == plain(segment));
        near.next()
    }

    /// Whether the value here is never shown.
    pub(super) fn is_secret(&self) -> bool {
        self.nodes
            .iter()
            .any(|node| node.get("writeOnly") == Some(&Value::Bool(true)))
    }

    /// Whether a value here may contain something that is never shown.
    pub(super) fn contains_secret(&self) -> bool {
        fn look(root: &Value, node: &Value, seen: &mut Vec<*const Value>) -> bool {
            let mut nodes = Vec::new();
            resolve(root, node, &mut nodes);
            nodes.into_iter().any(|node| {
                if node.get("writeOnly") == Some(&Value::Bool(true)) {
                    return true;
                }
                if seen.contains(&std::ptr::from_ref(node)) {
                    return false;
                }
                seen.push(std::ptr::from_ref(node));
                let lists = ["properties", "patternProperties"]
                    .into_iter()
                    .filter_map(|key| node.get(key)?.as_object());
                let tuple = node.get("prefixItems").and_then(Value::as_array);
                let single = ["items", "additionalProperties"]
                    .into_iter()
                    .filter_map(|key| node.get(key));
                lists
                    .flat_map(|map| map.values())
                    .chain(tuple.into_iter().flatten())
                    .chain(single)
                    .any(|below| look(root, below, seen))
            })
        }
        let mut seen = Vec::new();
        self.nodes.iter().any(|node| look(self.root, node, &mut seen))
    }

    /// Whether a value of this JSON type may stand here, as far as the schema says.
    pub(super) fn allows(&self, kind: &str) -> bool {
        self.nodes.iter().any(|node| match node.get("type") {
            Some(Value::String(only)) => only == kind,
            Some(Value::Array(several)) => several.iter().any(|one| one == kind),
            Some(_) | None => match node.get("const").or_else(|| node.get("enum")?.get(0)) {
                Some(example) => type_of(example) == kind,
                None => says_nothing(node),
            },
        })
    }

    /// Every key below, dots between tables, down to a bound.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        self.collect_keys("", KEYS_DEPTH_MAX, &mut keys);
        keys
    }

    fn collect_keys(&self, path: &str, depth: usize, keys: &mut Vec<String>) {
        if depth == 0 {
            return;
        }
        let names = self
            .nodes
            .iter()
            .filter_map(|node| node.get("properties")?.as_object())
            .flat_map(|names| names.keys());
        for name in names.collect::<BTreeSet<_>>() {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            keys.push(path.clone());
            if let Child::Known(child) = self.child(name) {
                child.collect_keys(&path, depth - 1, keys);
            }
        }
    }
}

/// Whether a schema leaves open what may stand there.
fn says_nothing(node: &Value) -> bool {
    match node {
        Value::Bool(any) => *any,
        Value::Object(keywords) => {
            let is_open_object =
                keywords.get("type").is_some_and(|kind| kind == "object") && !keywords.contains_key("properties");
            let is_closed = [
                "type",
                "properties",
                "const",
                "enum",
                "$ref",
                "anyOf",
                "oneOf",
                "allOf",
                "additionalProperties",
            ];
            (is_open_object && keywords.get("additionalProperties") != Some(&Value::Bool(false)))
                || !is_closed.iter().any(|keyword| keywords.contains_key(*keyword))
        }
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Adds `node` and whatever it refers to or is composed of.
fn resolve<'a>(root: &'a Value, node: &'a Value, all: &mut Vec<&'a Value>) {
    // A reference may lead back to where it stands.
    if all.iter().any(|known| std::ptr::eq(*known, node)) {
        return;
    }
    all.push(node);
    if let Some(target) = node.get("$ref").and_then(Value::as_str) {
        let target = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        target.into_iter().for_each(|target| resolve(root, target, all));
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        node.get(keyword)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .for_each(|part| resolve(root, part, all));
    }
}
