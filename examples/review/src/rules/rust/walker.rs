//! One walk over the tree for all rules. The walker knows where it is; the rules know what to make of it.

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Token, Visibility};

use super::imports::Imports;
use super::lints::Off;
use super::{concurrency, errors, guards, hygiene, injection, panics, shape, syntax, tests_quality, unsafety};
use crate::file::Place;
use crate::language::Role;
use crate::rules::Rule;
use crate::rules::hits::Hits;

/// The walk's place in the tree.
#[derive(Clone, Copy, Default)]
pub(super) struct Scope {
    /// Inside code that only tests run.
    pub(super) test: bool,
    /// Inside a function that a test runner runs.
    pub(super) test_function: bool,
    /// Directly inside an async function or block, not inside a closure of it.
    pub(super) in_async: bool,
    /// Inside the value of a constant or static.
    pub(super) constant: bool,
    /// The function's documentation has a `# Panics` or `# Safety` part.
    pub(super) panics_documented: bool,
    pub(super) safety_documented: bool,
    /// Inside `impl Drop`, where an error has nowhere to go.
    pub(super) drop: bool,
    /// Inside an implementation of a trait, whose signatures are not its own.
    pub(super) trait_impl: bool,
    /// Inside `fn main`.
    pub(super) main: bool,
    /// Inside a loop of the function.
    pub(super) in_loop: bool,
    /// Control flow around this place, within the function.
    pub(super) nesting: usize,
    /// What the author has switched off around this place.
    off: Off,
}

pub(super) struct Walker<'h, 'f> {
    pub(super) hits: &'h mut Hits<'f>,
    pub(super) scope: Scope,
    pub(super) imports: Imports,
    pub(super) undocumented: Vec<(String, Place)>,
    /// The last line of which it was asked whether a comment argues for its unsafe code, and the answer.
    pub(super) argued: Option<(u32, bool)>,
}

pub(super) fn walk(hits: &mut Hits<'_>, tree: &syn::File) {
    let test = hits.file.role == Role::Test
        || tree
            .attrs
            .iter()
            .any(|attr| syntax::is_test_item(std::slice::from_ref(attr)));
    let mut walker = Walker {
        hits,
        scope: Scope {
            test,
            off: Off::default().with(&tree.attrs),
            ..Scope::default()
        },
        imports: Imports::of(tree),
        undocumented: Vec::new(),
        argued: None,
    };
    walker.visit_file(tree);
    shape::undocumented(walker);
}

impl Walker<'_, '_> {
    /// Whether this is code that others call and tests do not stand in.
    pub(super) fn in_library(&self) -> bool {
        self.hits.file.role == Role::Library && !self.scope.test && !self.scope.main
    }

    /// Records a finding, unless the author has switched the lint off that looks for the same.
    pub(super) fn report(&mut self, rule: &'static Rule, place: Place, message: impl Into<String>) {
        if !self.scope.off.has(rule) {
            self.hits.at(rule, place, message);
        }
    }

    /// Records a finding about lines up to `end_line`, likewise.
    pub(super) fn report_on(&mut self, rule: &'static Rule, place: Place, end_line: u32, message: String) {
        if !self.scope.off.has(rule) {
            self.hits.on(rule, rule.severity, place, end_line, message);
        }
    }

    /// Whether a comment speaks of the place, so that somebody has thought about it: on the line, or above the lines that
    /// a statement may take to get there.
    pub(super) fn is_explained(&self, span: Span) -> bool {
        let file = self.hits.file;
        let here = syntax::line(span);
        let mut above = (here.saturating_sub(3)..here)
            .rev()
            .take_while(|number| file.is_code_line(*number) || file.is_comment_line(*number));
        !file.comment_on(here).trim().is_empty() || above.any(|number| file.is_comment_line(number))
    }

    /// Looks at the inside with another scope.
    fn within(&mut self, scope: Scope, inside: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.scope, scope);
        inside(self);
        self.scope = outer;
    }

    /// The scope inside an item with these attributes.
    fn inside(&self, attrs: &[Attribute]) -> Scope {
        Scope {
            test: self.scope.test || syntax::is_test_item(attrs),
            off: self.scope.off.with(attrs),
            ..self.scope
        }
    }

    fn function(&self, attrs: &[Attribute], sig: &syn::Signature) -> Scope {
        let docs = syntax::docs(attrs);
        Scope {
            test_function: syntax::is_test_function(attrs),
            in_async: sig.asyncness.is_some(),
            constant: sig.constness.is_some(),
            panics_documented: docs.contains("# Panic") || has_attribute(attrs, "track_caller"),
            safety_documented: docs.contains("# Safety"),
            main: sig.ident == "main",
            in_loop: false,
            nesting: 0,
            ..self.inside(attrs)
        }
    }

    fn nested(&mut self, span: Span, is_loop: bool, inside: impl FnOnce(&mut Self)) {
        let scope = Scope {
            nesting: self.scope.nesting + 1,
            in_loop: self.scope.in_loop || is_loop,
            ..self.scope
        };
        shape::nesting(self, scope.nesting, span);
        self.within(scope, inside);
    }

    /// Remembers a public item that nobody described.
    fn document(&mut self, attrs: &[Attribute], vis: &Visibility, kind: &str, ident: &syn::Ident) {
        if self
            .scope
            .off
            .with(attrs)
            .has(&crate::rules::catalog::rust::RUST_UNDOCUMENTED)
        {
            return;
        }
        if matches!(vis, Visibility::Public(_))
            && self.in_library()
            && !syntax::is_test_item(attrs)
            && !syntax::is_documented(attrs)
        {
            self.undocumented
                .push((format!("{kind} {ident}"), syntax::place(ident.span())));
        }
    }
}

fn has_attribute(attrs: &[Attribute], name: &str) -> bool {
    attrs.iter().any(|attr| attr.path().is_ident(name))
}

/// Macros whose arguments are expressions.
const EXPRESSION_MACROS: [&str; 36] = [
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "format",
    "format_args",
    "print",
    "println",
    "eprint",
    "eprintln",
    "write",
    "writeln",
    "panic",
    "unreachable",
    "vec",
    "dbg",
    "error",
    "warn",
    "info",
    "debug",
    "trace",
    "log",
    "bail",
    "ensure",
    "anyhow",
    "join",
    "try_join",
    "ready",
    "pin",
    "todo",
    "unimplemented",
    "matches",
    "concat",
    "try",
];

impl<'ast> Visit<'ast> for Walker<'_, '_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let tests = item.ident == "tests" || item.ident == "test";
        let scope = self.inside(&item.attrs);
        self.within(
            Scope {
                test: scope.test || tests,
                ..scope
            },
            |walker| visit::visit_item_mod(walker, item),
        );
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let scope = self.function(&item.attrs, &item.sig);
        if !scope.main {
            self.document(&item.attrs, &item.vis, "fn", &item.sig.ident);
        }
        unsafety::function(self, &item.attrs, &item.vis, &item.sig);
        self.within(scope, |walker| {
            shape::function(walker, &item.sig, &item.block);
            tests_quality::function(walker, &item.attrs, &item.sig, &item.block);
            visit::visit_item_fn(walker, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let scope = self.function(&item.attrs, &item.sig);
        if !self.scope.trait_impl {
            self.document(&item.attrs, &item.vis, "fn", &item.sig.ident);
            unsafety::function(self, &item.attrs, &item.vis, &item.sig);
        }
        self.within(Scope { main: false, ..scope }, |walker| {
            shape::function(walker, &item.sig, &item.block);
            visit::visit_impl_item_fn(walker, item);
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        let scope = self.function(&item.attrs, &item.sig);
        self.within(Scope { main: false, ..scope }, |walker| {
            if let Some(block) = &item.default {
                shape::function(walker, &item.sig, block);
            }
            visit::visit_trait_item_fn(walker, item);
        });
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        unsafety::implementation(self, item);
        let of = |name: &str| {
            item.trait_
                .as_ref()
                .is_some_and(|(path, _)| path.segments.last().is_some_and(|last| last.ident == name))
        };
        let scope = Scope {
            drop: of("Drop"),
            trait_impl: item.trait_.is_some(),
            ..self.inside(&item.attrs)
        };
        self.within(scope, |walker| visit::visit_item_impl(walker, item));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.document(&item.attrs, &item.vis, "trait", &item.ident);
        self.within(self.inside(&item.attrs), |walker| visit::visit_item_trait(walker, item));
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.document(&item.attrs, &item.vis, "struct", &item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.document(&item.attrs, &item.vis, "enum", &item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.document(&item.attrs, &item.vis, "type", &item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.document(&item.attrs, &item.vis, "const", &item.ident);
        self.within(
            Scope {
                constant: true,
                ..self.inside(&item.attrs)
            },
            |walker| visit::visit_item_const(walker, item),
        );
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.document(&item.attrs, &item.vis, "static", &item.ident);
        concurrency::static_item(self, item);
        self.within(
            Scope {
                constant: true,
                ..self.inside(&item.attrs)
            },
            |walker| visit::visit_item_static(walker, item),
        );
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        guards::block(self, block);
        visit::visit_block(self, block);
    }

    fn visit_stmt(&mut self, stmt: &'ast syn::Stmt) {
        errors::statement(self, stmt);
        visit::visit_stmt(self, stmt);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        let scope = Scope {
            in_async: closure.asyncness.is_some(),
            // What a closure does is often the load of a test, not its way of waiting.
            test_function: false,
            in_loop: false,
            ..self.scope
        };
        self.within(scope, |walker| visit::visit_expr_closure(walker, closure));
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.within(
            Scope {
                in_async: true,
                ..self.scope
            },
            |walker| visit::visit_expr_async(walker, block),
        );
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        unsafety::block(self, block);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_expr_if(&mut self, branch: &'ast syn::ExprIf) {
        guards::scrutinee(self, &branch.cond, true, |finder| {
            finder.visit_block(&branch.then_branch)
        });
        self.visit_expr(&branch.cond);
        self.nested(branch.if_token.span, false, |walker| {
            walker.visit_block(&branch.then_branch)
        });
        match branch.else_branch.as_ref().map(|(_, inside)| &**inside) {
            // `else if` reads on at the same level.
            Some(Expr::If(next)) => self.visit_expr_if(next),
            Some(inside) => self.nested(branch.if_token.span, false, |walker| walker.visit_expr(inside)),
            None => {}
        }
    }

    fn visit_expr_match(&mut self, branch: &'ast syn::ExprMatch) {
        guards::scrutinee(self, &branch.expr, false, |finder| {
            branch.arms.iter().for_each(|arm| finder.visit_arm(arm))
        });
        self.visit_expr(&branch.expr);
        self.nested(branch.match_token.span, false, |walker| {
            branch.arms.iter().for_each(|arm| walker.visit_arm(arm))
        });
    }

    fn visit_expr_while(&mut self, branch: &'ast syn::ExprWhile) {
        guards::scrutinee(self, &branch.cond, true, |finder| finder.visit_block(&branch.body));
        self.visit_expr(&branch.cond);
        self.nested(branch.while_token.span, true, |walker| walker.visit_block(&branch.body));
    }

    fn visit_expr_for_loop(&mut self, branch: &'ast syn::ExprForLoop) {
        guards::scrutinee(self, &branch.expr, false, |finder| finder.visit_block(&branch.body));
        self.visit_expr(&branch.expr);
        self.nested(branch.for_token.span, true, |walker| walker.visit_block(&branch.body));
    }

    fn visit_expr_loop(&mut self, branch: &'ast syn::ExprLoop) {
        self.nested(branch.loop_token.span, true, |walker| walker.visit_block(&branch.body));
    }

    fn visit_expr_await(&mut self, wait: &'ast syn::ExprAwait) {
        guards::awaited(self, wait);
        visit::visit_expr_await(self, wait);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let Expr::Path(path) = &*call.func {
            let resolved = self.imports.resolve(&path.path);
            let span = path
                .path
                .segments
                .last()
                .map_or_else(Span::call_site, |last| last.ident.span());
            concurrency::call(self, &resolved, span);
            hygiene::call(self, call, &resolved, span);
            unsafety::call(self, &resolved, span);
            tests_quality::call(self, &resolved, span);
            injection::call(self, call, &resolved, span);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        panics::method(self, call);
        concurrency::method(self, call);
        injection::method(self, call);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_cast(&mut self, cast: &'ast syn::ExprCast) {
        hygiene::cast(self, cast);
        visit::visit_expr_cast(self, cast);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        let name = syntax::macro_name(mac);
        panics::macro_call(self, mac, &name);
        hygiene::macro_call(self, mac, &name);
        if EXPRESSION_MACROS.contains(&name.as_str())
            && let Ok(args) = mac.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated)
        {
            for arg in &args {
                // The arguments live only here, so they are visited with a lifetime of their own.
                <Self as Visit<'_>>::visit_expr(self, arg);
            }
        }
        visit::visit_macro(self, mac);
    }
}
