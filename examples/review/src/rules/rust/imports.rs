//! What the names at the start of a path stand for.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};
use syn::{Path, UseTree};

/// The `use` declarations of a file.
#[derive(Default)]
pub(super) struct Imports {
    /// `None` where two declarations give one name two meanings.
    names: BTreeMap<String, Option<String>>,
}

impl Imports {
    pub(super) fn of(file: &syn::File) -> Self {
        let mut imports = Self::default();
        imports.visit_file(file);
        imports
    }

    /// The path with its first name replaced by what it was imported from.
    pub(super) fn resolve(&self, path: &Path) -> String {
        let written = written(path);
        let (first, rest) = written
            .split_once("::")
            .map_or((written.as_str(), ""), |(first, rest)| (first, rest));
        match self.names.get(first) {
            Some(Some(full)) if rest.is_empty() => full.clone(),
            Some(Some(full)) => format!("{full}::{rest}"),
            Some(None) => String::new(),
            None => written,
        }
    }

    fn add(&mut self, prefix: &str, tree: &UseTree) {
        let join = |name: &str| {
            if prefix.is_empty() {
                name.to_owned()
            } else {
                format!("{prefix}::{name}")
            }
        };
        match tree {
            UseTree::Path(path) => self.add(&join(&path.ident.to_string()), &path.tree),
            UseTree::Name(name) if name.ident == "self" => {
                let last = prefix.rsplit("::").next().unwrap_or(prefix).to_owned();
                self.name(last, prefix.to_owned());
            }
            UseTree::Name(name) => self.name(name.ident.to_string(), join(&name.ident.to_string())),
            UseTree::Rename(rename) if rename.ident == "self" => {
                self.name(rename.rename.to_string(), prefix.to_owned())
            }
            UseTree::Rename(rename) => self.name(rename.rename.to_string(), join(&rename.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.add(prefix, item)),
            UseTree::Glob(_) => {}
        }
    }

    fn name(&mut self, name: String, full: String) {
        let known = self.names.entry(name).or_insert_with(|| Some(full.clone()));
        if known.as_ref() != Some(&full) {
            *known = None;
        }
    }
}

impl Visit<'_> for Imports {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        self.add("", &item.tree);
    }

    fn visit_item(&mut self, item: &syn::Item) {
        visit::visit_item(self, item);
    }
}

/// The names of a path, without generic arguments.
pub(super) fn written(path: &Path) -> String {
    let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    names.join("::")
}
