//! Which module may know which: the `mod` lines of a `lib.rs` stand in reading order, and a module imports only from
//! those above it.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, TokenTree};

use super::tokens::{self, everywhere, group, ident, is_ident, is_path_separator, is_punct};
use super::tree::{Tree, assert_tidy, is_test};

/// The top-level modules of a crate in order, and the module that each name re-exported at the root comes from.
struct Crate {
    order: Vec<String>,
    exports: BTreeMap<String, String>,
}

impl Crate {
    fn parse(path: &str, text: &str) -> Self {
        let tokens = tokens::parse(path, text);
        let mut order = Vec::new();
        let mut exports = BTreeMap::new();
        for at in 0..tokens.len() {
            // One that is written out here belongs to the root, not to the order.
            if is_ident(&tokens, at, "mod")
                && is_punct(&tokens, at + 2, ';')
                && let Some(name) = ident(&tokens, at + 1)
            {
                order.push(name.to_string());
            }
            if is_ident(&tokens, at, "use") {
                let mut paths = Vec::new();
                use_paths(&tokens, at + 1, &mut Vec::new(), &mut paths);
                for path in paths {
                    let path: Vec<&String> = path.iter().filter(|part| *part != "self" && *part != "crate").collect();
                    if let [module, .., name] = path.as_slice() {
                        exports.insert((*name).clone(), (*module).clone());
                    }
                }
            }
        }
        Self { order, exports }
    }

    /// The top-level module that a name after `crate::` leads to.
    fn module<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let module = self.exports.get(name).map_or(name, String::as_str);
        self.order.iter().any(|known| known == module).then_some(module)
    }

    fn rank(&self, module: &str) -> usize {
        self.order
            .iter()
            .position(|known| known == module)
            .unwrap_or(usize::MAX)
    }
}

/// Every whole path of the `use` tree that begins at `at`.
fn use_paths(tokens: &[TokenTree], mut at: usize, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let depth = prefix.len();
    while let Some(token) = tokens.get(at) {
        if let TokenTree::Ident(name) = token {
            if is_ident(tokens, at, "as") {
                at += 2;
                continue;
            }
            prefix.push(name.to_string());
        } else if let Some(inner) = group(tokens, at, Delimiter::Brace) {
            let mut next = 0;
            while next < inner.len() {
                next = use_paths(&inner, next, prefix, paths) + 1;
            }
            prefix.truncate(depth);
            return at + 1;
        } else if !is_punct(tokens, at, ':') {
            break;
        }
        at += 1;
    }
    if prefix.len() > depth {
        paths.push(prefix.clone());
    }
    prefix.truncate(depth);
    at
}

/// One line for each pair of modules, with the first place that is wrong.
fn order(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (folder, _) in tree.packages() {
        let root = format!("{folder}/src/lib.rs");
        let Some(text) = tree.get(&root) else { continue };
        let krate = Crate::parse(&root, text);
        let source = format!("{folder}/src/");
        let mut wrong = BTreeMap::new();
        for (path, text) in tree.rust() {
            let Some(inner) = path.strip_prefix(&source).and_then(|inner| inner.strip_suffix(".rs")) else {
                continue;
            };
            if is_test(path) || inner.starts_with("bin/") {
                continue;
            }
            let place: Vec<&str> = inner.split('/').collect();
            let Some(own) = place
                .first()
                .and_then(|own| krate.order.iter().find(|known| known == own))
            else {
                continue;
            };
            uses(&tokens::parse(path, text), place.len(), &mut |name, line| {
                if let Some(used) = krate.module(name)
                    && krate.rank(used) > krate.rank(own)
                {
                    wrong
                        .entry((own.clone(), used.to_owned()))
                        .or_insert_with(|| format!("{path}:{line}"));
                }
            });
        }
        let pairs = wrong.into_iter();
        faults.extend(pairs.map(|((own, used), at)| format!("{root}: {own} stands above {used} and uses it, at {at}")));
    }
    faults
}

/// Calls `found` with each name that stands after `crate::`, or after as many `super::` as lead to the root from a module
/// of this depth.
fn uses(tokens: &[TokenTree], depth: usize, found: &mut impl FnMut(&str, usize)) {
    let mut at = 0;
    while at < tokens.len() {
        // An inline module is a step further from the root; tests in one may use what they like.
        if is_ident(tokens, at, "mod")
            && let Some(inner) = group(tokens, at + 2, Delimiter::Brace)
        {
            if !is_ident(tokens, at + 1, "tests") {
                uses(&inner, depth + 1, found);
            }
            at += 3;
            continue;
        }
        if let Some(TokenTree::Group(inner)) = tokens.get(at) {
            uses(&inner.stream().into_iter().collect::<Vec<_>>(), depth, found);
        }
        let begins = !(at >= 2 && is_path_separator(tokens, at - 2));
        let (mut next, mut up) = (at, 0);
        while begins && is_ident(tokens, next, "super") && is_path_separator(tokens, next + 1) {
            next += 3;
            up += 1;
        }
        if begins && is_ident(tokens, at, "crate") && is_path_separator(tokens, at + 1) {
            next = at + 3;
            up = depth;
        }
        if up == depth && next > at {
            let line = tokens.get(at).map_or(0, tokens::line);
            if let Some(name) = ident(tokens, next) {
                found(&name.to_string(), line);
            } else if let Some(inner) = group(tokens, next, Delimiter::Brace) {
                first_names(&inner).iter().for_each(|name| found(name, line));
            }
        }
        at += 1;
    }
}

/// The first name of each branch of a braced `use` tree.
fn first_names(branches: &[TokenTree]) -> Vec<String> {
    let starts = (0..branches.len()).filter(|at| *at == 0 || is_punct(branches, at - 1, ','));
    starts
        .filter_map(|at| ident(branches, at).map(ToString::to_string))
        .collect()
}

/// `pub use a::*` hides what a crate offers.
fn globs(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.rust() {
        everywhere(&tokens::parse(path, text), &mut |tokens, at| {
            if !is_ident(tokens, at, "pub") {
                return;
            }
            let at = if group(tokens, at + 1, Delimiter::Parenthesis).is_some() {
                at + 2
            } else {
                at + 1
            };
            if !is_ident(tokens, at, "use") {
                return;
            }
            let end = (at..tokens.len())
                .find(|end| is_punct(tokens, *end, ';'))
                .unwrap_or(tokens.len());
            let statement = tokens.get(at..end).unwrap_or_default();
            everywhere(statement, &mut |tokens, at| {
                if is_punct(tokens, at, '*') {
                    let line = tokens.get(at).map_or(0, tokens::line);
                    faults.push(format!("{path}:{line}: name what is re-exported"));
                }
            });
        });
    }
    faults
}

#[test]
fn modules_only_know_those_above() {
    assert_tidy(order(&Tree::house()));
}

#[test]
fn modules_that_look_down_are_found() {
    let check = |path: &str, text: &str| {
        let lib = "mod low;\npub mod mid;\nmod high;\nmod root { pub use other; }\npub use high::{Top, deep::Deeper as Renamed};";
        order(&Tree::of(&[("c/Cargo.toml", ""), ("c/src/lib.rs", lib), (path, text)])).len()
    };
    for wrong in [
        "use crate::high;",
        "use crate::high::Top;",
        "use crate::{low, high::Top};",
        "use crate::Top;",
        "use crate::Deeper;",
        "use super::high;",
        "use super::{low, high};",
        "fn f() { crate::high::f() }",
        "fn f() { g!(crate::high::f()) }",
        "mod inner { use super::super::high; }",
        "macro_rules! m { () => { $crate::high::f() } }",
    ] {
        assert_eq!(check("c/src/mid.rs", wrong), 1, "{wrong}");
    }
    for right in [
        "use crate::low;",
        "use crate::{low, mid};",
        "use super::low;",
        "use self::high;",
        "use crate::root;",
        "// use crate::high;",
        "fn f() { \"crate::high\"; }",
        "mod inner { use super::high; }",
        "mod tests { use crate::high; }",
        "use other::crate_high::high;",
    ] {
        assert_eq!(check("c/src/mid.rs", right), 0, "{right}");
    }
    assert_eq!(check("c/src/mid/part.rs", "use super::super::high;"), 1);
    assert_eq!(check("c/src/mid/part.rs", "use super::high;"), 0);
    assert_eq!(check("c/src/high.rs", "use crate::{low, mid, Top};"), 0);
    assert_eq!(check("c/src/mid/tests.rs", "use crate::high;"), 0);
}

#[test]
fn re_exports_are_by_name() {
    assert_tidy(globs(&Tree::house()));
}

#[test]
fn re_exports_of_everything_are_found() {
    for wrong in [
        "pub use a::*;",
        "pub(crate) use a::{b, c::*};",
        "mod m { pub use a::*; }",
    ] {
        assert_eq!(globs(&Tree::of(&[("a.rs", wrong)])).len(), 1, "{wrong}");
    }
    for right in ["use a::*;", "pub use a::b;", "pub const A: u8 = 2 * 3;"] {
        assert!(globs(&Tree::of(&[("a.rs", right)])).is_empty(), "{right}");
    }
}
