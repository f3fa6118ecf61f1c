//! Who there is to do what a plan asks for.

use std::collections::BTreeMap;
use std::fmt;

use hive_errors::Result;
use serde_json::json;

use crate::context::{Colleague, Context};
use crate::registry::Declaration;
use crate::router::Target;

/// The agents that a plan may name, with what they can do, take and give.
///
/// It comes from the hive ([`Context::catalogue`], [`Hive::catalogue`](crate::Hive::catalogue)) or from declarations. As text it is a
/// list with a line of JSON for each agent, as a prompt for a planner needs it.
///
/// ```
/// use hive_orchestration::plan::Catalogue;
/// use hive_orchestration::{Context, Failure, agent_fn};
///
/// let shout = agent_fn("shout", async |_: Context, text: String| Ok::<_, Failure>(text.to_uppercase()));
/// let catalogue = Catalogue::of([&shout.declaration()?]);
/// assert!(catalogue.to_string().contains(r#""target":"agent:shout""#));
/// # Ok::<(), hive_orchestration::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// The newest version of each agent.
    agents: BTreeMap<String, Vec<Colleague>>,
}

impl Catalogue {
    /// The agents that declare themselves so.
    pub fn of<'a>(declarations: impl IntoIterator<Item = &'a Declaration>) -> Self {
        let colleague = |one: &Declaration| Colleague {
            name: one.name().to_owned(),
            version: one.version().clone(),
            capabilities: one.capabilities().iter().map(ToString::to_string).collect(),
            input: one.input().clone(),
            output: one.output().clone(),
        };
        Self::from_known(declarations.into_iter().map(colleague))
    }

    pub(crate) fn from_known(known: impl IntoIterator<Item = Colleague>) -> Self {
        let mut agents: BTreeMap<String, Vec<Colleague>> = BTreeMap::new();
        for one in known {
            agents.entry(one.name.clone()).or_default().push(one);
        }
        for versions in agents.values_mut() {
            versions.sort_by(|one, other| other.version.cmp(&one.version));
        }
        Self { agents }
    }

    /// The names of the agents, in order.
    pub fn agents(&self) -> impl Iterator<Item = &str> + Clone {
        self.agents.keys().map(String::as_str)
    }

    /// What there is that somebody can do, in order.
    pub fn capabilities(&self) -> impl Iterator<Item = &str> {
        let all: std::collections::BTreeSet<&str> = self
            .newest()
            .flat_map(|one| one.capabilities.iter().map(String::as_str))
            .collect();
        all.into_iter()
    }

    fn newest(&self) -> impl Iterator<Item = &Colleague> {
        self.agents.values().filter_map(|versions| versions.first())
    }

    /// Who may get what is for this target: of each agent the newest version that is meant.
    pub(super) fn meant(&self, target: &Target) -> Vec<&Colleague> {
        let meant = |one: &Colleague| match target {
            Target::Agent(name) => *name == one.name,
            Target::Version(name, range) => *name == one.name && range.matches(&one.version),
            Target::Capability(wanted) => one.capabilities.contains(wanted.as_str()),
        };
        let first = |versions: &'_ Vec<Colleague>| versions.iter().position(meant);
        self.agents
            .values()
            .filter_map(|versions| first(versions).and_then(|place| versions.get(place)))
            .collect()
    }
}

impl fmt::Display for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in self.newest() {
            let capabilities: Vec<String> = one
                .capabilities
                .iter()
                .map(|name| format!("capability:{name}"))
                .collect();
            let line = json!({
                "target": format!("agent:{}", one.name),
                "capabilities": capabilities,
                "input": one.input.as_value(),
                "output": one.output.as_value(),
            });
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl Context {
    /// The agents that are there now, in all processes that share the database, to write plans for. Its answer differs between runs:
    /// what is decided by it belongs in a step.
    ///
    /// # Failures
    /// Those of reading the database.
    pub async fn catalogue(&self) -> Result<Catalogue> {
        let colleagues = std::sync::Arc::clone(&self.run.colleagues);
        let known = self.run.ask(move |db| colleagues.known(db)).await?;
        Ok(Catalogue::from_known(known))
    }
}
