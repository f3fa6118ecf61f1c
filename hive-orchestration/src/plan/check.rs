//! Finds everything that is wrong with a plan.

use std::collections::HashMap;

use hive_core::nearest::nearest;
use serde_json::Value;

use super::catalogue::Catalogue;
use super::finding::{Code, Finding, Findings};
use super::fit::{Fuel, misfit};
use super::graph::Graph;
use super::literal::{Literal, names};
use super::node::{Node, Plan};
use super::reference::{Found, Reference, is_pointer, references, tokens};
use super::schema::{Part, View};
use crate::context::Colleague;
use crate::limits;
use crate::router::Target;

impl Plan {
    /// Finds everything that is wrong with the plan when these are the agents that there are: its size, ids, references, cycles,
    /// targets, and whether what a node gives its agent is what that takes. Pure.
    ///
    /// Types are compared as far as JSON Schemas tell that something is certainly wrong: a type that cannot fit, a property that is
    /// missing or that nobody knows, a pointer that leads nowhere. The rest shows when the node starts. What is for a capability has to
    /// fit each agent that has it.
    ///
    /// # Errors
    /// The findings; an `Ok` says that there are none.
    pub fn check(&self, catalogue: &Catalogue) -> Result<(), Findings> {
        let mut found = self.check_size();
        if !found.is_empty() {
            // What follows takes time that depends on the size.
            return Findings::of(found);
        }
        let checker = Checker::of(self, catalogue);
        for (place, node) in self.nodes.iter().enumerate() {
            checker.node(place, node, &mut found);
        }
        let graph = Graph::of(self);
        if graph.edges() > limits::PLAN_EDGES {
            let message = format!("its nodes need each other {} times", graph.edges());
            let hint = format!(
                "at most {} are possible; put nodes between that gather",
                limits::PLAN_EDGES
            );
            found.push(Finding::new("/nodes", Code::LimitReached, message, hint));
        }
        found.extend(circles(self, &graph.sorted().1));
        Findings::of(found)
    }

    fn check_size(&self) -> Vec<Finding> {
        if self.nodes.is_empty() {
            return vec![Finding::new(
                "/nodes",
                Code::Empty,
                "the plan has no nodes",
                "add at least one",
            )];
        }
        if self.nodes.len() > limits::PLAN_NODES {
            let message = format!("the plan has {} nodes", self.nodes.len());
            let hint = format!("at most {} are possible; plan in stages", limits::PLAN_NODES);
            return vec![Finding::new("/nodes", Code::LimitReached, message, hint)];
        }
        // Before it is written down, because that goes as deep as the plan does.
        let mut found = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let value = |at: &str| format!("/nodes/{place}{at}");
            for (at, what) in references(&node.input, &value("/input")) {
                if what == Found::TooDeep {
                    found.push(too_deep(&at));
                }
            }
            for (number, condition) in node.when.iter().enumerate() {
                let deep = condition.value.iter().flat_map(|value| references(value, ""));
                if deep.into_iter().any(|(_, what)| what == Found::TooDeep) {
                    found.push(too_deep(&value(&format!("/when/{number}/value"))));
                }
            }
        }
        if !found.is_empty() {
            return found;
        }
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |text| text.len());
        if bytes > limits::PLAN_BYTES {
            let message = format!("the plan has {bytes} bytes");
            let hint = format!(
                "at most {} are possible; keep long texts elsewhere and name them in the inputs",
                limits::PLAN_BYTES
            );
            found.push(Finding::new("", Code::LimitReached, message, hint));
        }
        found
    }
}

fn too_deep(at: &str) -> Finding {
    let at: String = at.chars().take(limits::PLAN_ID_BYTES * 4).collect();
    let hint = format!("at most {} levels are possible", limits::PLAN_INPUT_DEPTH);
    Finding::new(at, Code::LimitReached, "it nests too deep", hint)
}

/// A finding for each circle, at its first node.
pub(super) fn circles(plan: &Plan, circles: &[Vec<usize>]) -> Vec<Finding> {
    let id = |place: &usize| plan.nodes.get(*place).map_or("", |node| node.id.as_str());
    let told = |circle: &Vec<usize>| {
        let first = circle.first().copied().unwrap_or_default();
        let mut path: Vec<String> = circle
            .iter()
            .map(|place| format!("`{:.80}`", id(place).escape_debug()))
            .collect();
        path.push(path.first().cloned().unwrap_or_default());
        let message = format!("nodes need each other in a circle: {}", path.join(" needs "));
        let hint = "take one of these references, conditions or `after` away";
        Finding::new(format!("/nodes/{first}"), Code::Cycle, message, hint)
    };
    circles.iter().map(told).collect()
}

struct Checker<'a> {
    places: HashMap<&'a str, usize>,
    /// Who may get each node.
    meant: Vec<Vec<&'a Colleague>>,
    targets: Vec<Result<Target, hive_errors::Error>>,
    catalogue: &'a Catalogue,
    plan: &'a Plan,
}

impl<'a> Checker<'a> {
    fn of(plan: &'a Plan, catalogue: &'a Catalogue) -> Self {
        let mut places = HashMap::with_capacity(plan.nodes.len());
        for (place, node) in plan.nodes.iter().enumerate() {
            places.entry(node.id.as_str()).or_insert(place);
        }
        let targets: Vec<Result<Target, _>> = plan.nodes.iter().map(|node| node.target.parse()).collect();
        let meant = |target: &Result<Target, _>| target.as_ref().map_or(Vec::new(), |target| catalogue.meant(target));
        Self {
            places,
            meant: targets.iter().map(meant).collect(),
            targets,
            catalogue,
            plan,
        }
    }

    fn node(&self, place: usize, node: &Node, found: &mut Vec<Finding>) {
        let at = format!("/nodes/{place}");
        self.id(place, node, &at, found);
        if !(1..=limits::PLAN_ATTEMPTS).contains(&node.attempts) {
            let message = format!("{} attempts are not possible", node.attempts);
            let hint = format!("give a number from 1 to {}", limits::PLAN_ATTEMPTS);
            found.push(Finding::new(
                format!("{at}/attempts"),
                Code::InvalidAttempts,
                message,
                hint,
            ));
        }
        self.target(place, node, &at, found);
        for (number, id) in node.after.iter().enumerate() {
            found.extend(self.unknown_node(id, &format!("{at}/after/{number}")));
        }
        self.conditions(node, &at, found);
        for (at, what) in references(&node.input, &format!("{at}/input")) {
            match what {
                Found::Reference(reference) => found.extend(self.unknown_node(reference.from, &format!("{at}/$from"))),
                Found::Malformed(malformed) => {
                    let at = malformed
                        .key
                        .map_or(at.clone(), |key| format!("{at}/{}", super::reference::escaped(&key)));
                    let hint = r#"write {"$from": "id"}, and "path" and "default" where they are needed"#;
                    found.push(Finding::new(at, Code::InvalidReference, malformed.message, hint));
                }
                // Told of before.
                Found::TooDeep => {}
            }
        }
        self.types(place, node, &at, found);
    }

    fn id(&self, place: usize, node: &Node, at: &str, found: &mut Vec<Finding>) {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let shown = format!("{:.80}", node.id.escape_debug());
        if node.id.is_empty() || node.id.len() > limits::PLAN_ID_BYTES || !node.id.bytes().all(fits) {
            let message = format!("`{shown}` cannot be an id");
            let hint = format!(
                "use ASCII letters, digits, `-`, `_` and `.`, at most {}",
                limits::PLAN_ID_BYTES
            );
            found.push(Finding::new(format!("{at}/id"), Code::InvalidId, message, hint));
        }
        let first = self.places.get(node.id.as_str()).copied().unwrap_or(place);
        if first != place {
            let message = format!("the node at /nodes/{first} has the id `{shown}` too");
            found.push(Finding::new(
                format!("{at}/id"),
                Code::DuplicateId,
                message,
                "give each node an id of its own",
            ));
        }
    }

    fn target(&self, place: usize, node: &Node, at: &str, found: &mut Vec<Finding>) {
        let at = format!("{at}/target");
        let target = match self.targets.get(place) {
            Some(Ok(target)) => target,
            Some(Err(_)) | None => {
                let near = nearest(&node.target, self.catalogue.agents());
                let hint = match near {
                    Some(near) => format!("did you mean `agent:{near}`?"),
                    None => "write `agent:NAME` or `capability:NAME`".to_owned(),
                };
                let message = format!("`{:.80}` is no target", node.target.escape_debug());
                found.push(Finding::new(at, Code::InvalidTarget, message, hint));
                return;
            }
        };
        if self.meant.get(place).is_some_and(|meant| !meant.is_empty()) {
            return;
        }
        let there_is = |prefix: &str, near: Option<&str>, all: String| match near {
            Some(near) => format!("did you mean `{prefix}{near}`?"),
            None => format!("there is {all}"),
        };
        let agents = || self.catalogue.agents();
        let (code, message, hint) = match target {
            Target::Agent(name) => (
                Code::UnknownAgent,
                format!("no agent is called `{name}`"),
                there_is("agent:", nearest(name, agents()), names(agents())),
            ),
            Target::Version(name, range) => (
                Code::UnknownAgent,
                format!("no agent `{name}` in a version {range} is there"),
                there_is("agent:", nearest(name, agents()), names(agents())),
            ),
            Target::Capability(capability) => (
                Code::UnknownCapability,
                format!("nobody can do `{capability}`"),
                there_is(
                    "capability:",
                    nearest(capability.as_str(), self.catalogue.capabilities()),
                    names(self.catalogue.capabilities()),
                ),
            ),
        };
        found.push(Finding::new(at, code, message, hint));
    }

    fn unknown_node(&self, id: &str, at: &str) -> Option<Finding> {
        if self.places.contains_key(id) {
            return None;
        }
        let ids = || self.plan.nodes.iter().map(|node| node.id.as_str());
        let hint = match nearest(id, ids()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there is {}", names(ids())),
        };
        let message = format!("the plan has no node `{:.80}`", id.escape_debug());
        Some(Finding::new(at, Code::UnknownNode, message, hint))
    }

    fn conditions(&self, node: &Node, at: &str, found: &mut Vec<Finding>) {
        for (number, condition) in node.when.iter().enumerate() {
            let at = format!("{at}/when/{number}");
            let mut wrong = |at: String, message: &str, hint: &str| {
                found.push(Finding::new(at, Code::InvalidCondition, message, hint));
            };
            if !is_pointer(&condition.path) {
                wrong(
                    format!("{at}/path"),
                    "it is no JSON pointer",
                    "begin it with `/`, or leave it out",
                );
                continue;
            }
            match (&condition.value, condition.op.takes_value()) {
                // Null is not told from nothing where it is written down.
                (None | Some(Value::Null), true) => {
                    wrong(
                        at.clone(),
                        "there is no `value` to compare with",
                        "add one, or ask whether it is `absent`",
                    );
                }
                (Some(_), false) => wrong(format!("{at}/value"), "nothing is compared here", "take `value` away"),
                (Some(value), true) if condition.op.is_order() && !(value.is_number() || value.is_string()) => {
                    wrong(
                        format!("{at}/value"),
                        "only numbers and texts have an order",
                        "give one of these",
                    );
                }
                (Some(_), true) | (None, false) => {}
            }
            if let Some(unknown) = self.unknown_node(&condition.from, &format!("{at}/$from")) {
                found.push(unknown);
            } else {
                found.extend(self.part(&condition.from, &condition.path, &format!("{at}/path")).err());
            }
        }
    }

    /// What a pointer into a node's output leads to, for each agent that may have that node; nothing where that is not known.
    fn part(&self, from: &str, path: &str, at: &str) -> Result<Vec<Vec<View<'a>>>, Finding> {
        let meant = self.places.get(from).and_then(|place| self.meant.get(*place));
        let tokens: Vec<String> = tokens(path).collect();
        let mut parts = Vec::new();
        for one in meant.into_iter().flatten() {
            match View::whole(one.output.as_value()).part(&tokens) {
                Part::Is(views) => parts.push(views),
                Part::Unknown => {}
                Part::Nowhere { token, known } => {
                    let hint = match nearest(&token, known.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("there is {}", names(known.into_iter())),
                    };
                    let message = format!(
                        "the output of `{:.80}`, of the agent `{}`, has no `{:.80}` there",
                        from.escape_debug(),
                        one.name,
                        token.escape_debug()
                    );
                    return Err(Finding::new(at, Code::UnknownPath, message, hint));
                }
            }
        }
        Ok(parts)
    }

    fn types(&self, place: usize, node: &Node, at: &str, found: &mut Vec<Finding>) {
        let Some(meant) = self.meant.get(place) else { return };
        let at = format!("{at}/input");
        let fuel = Fuel::default();
        let mut told: Vec<Finding> = Vec::new();
        if meant.is_empty() {
            // Nobody takes it, but where its references lead is known all the same.
            let everything = Value::Bool(true);
            let reference =
                |reference: Reference<'_>, _: View<'_>, at: &str| self.reference(reference, None, at, &fuel);
            let literal = Literal {
                fuel: &fuel,
                reference: &reference,
            };
            told.extend(literal.anything(&node.input, View::whole(&everything), &at));
        }
        for one in meant {
            let reference = |reference: Reference<'_>, target: View<'_>, at: &str| {
                self.reference(reference, Some(target), at, &fuel)
            };
            let literal = Literal {
                fuel: &fuel,
                reference: &reference,
            };
            for mut finding in literal.check(&node.input, View::whole(one.input.as_value()), &at) {
                if meant.len() > 1 {
                    finding.message = format!("{} (agent `{}`)", finding.message, one.name);
                }
                if !told.contains(&finding) {
                    told.push(finding);
                }
            }
        }
        found.extend(told);
    }

    fn reference(&self, reference: Reference<'_>, target: Option<View<'_>>, at: &str, fuel: &Fuel) -> Vec<Finding> {
        let parts = match self.part(reference.from, reference.path, &format!("{at}/path")) {
            Ok(parts) => parts,
            Err(finding) => return vec![finding],
        };
        let Some(target) = target else { return Vec::new() };
        let mut found = Vec::new();
        if let Some(misfit) = parts.iter().find_map(|part| misfit(part, target, fuel)) {
            let place = if misfit.at.is_empty() {
                String::new()
            } else {
                format!(" at `{}`", misfit.at)
            };
            let message = format!(
                "the output of `{}`{place} does not fit: {}",
                reference.from, misfit.message
            );
            let hint = "refer to another part with `path`, or put a node between that converts it";
            found.push(Finding::new(at, misfit.code, message, hint));
        }
        if let Some(default) = reference.default {
            let nothing = |_: Reference<'_>, _: View<'_>, _: &str| Vec::new();
            let literal = Literal {
                fuel,
                reference: &nothing,
            };
            found.extend(literal.check(default, target, &format!("{at}/default")));
        }
        found
    }
}
