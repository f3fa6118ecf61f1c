use proptest::prelude::*;

use super::*;
use crate::task::check_token;

const REVIEW: Capability = Capability::new("review.rust");

struct Reviewer;

impl Agent for Reviewer {
    const NAME: &'static str = "reviewer";
    const VERSION: &'static str = "2.1.0";
    const CAPABILITIES: &'static [Capability] = &[REVIEW, Capability::new("review")];
    const DOMAINS: &'static [&'static str] = &["rust"];
    const WEIGHT: u32 = 3;
    type Input = String;
    type Output = bool;

    async fn run(&self, _cx: &Context, text: String) -> Result<bool, Failure> {
        Ok(text.is_empty())
    }
}

fn echo(name: &str) -> AnyAgent {
    agent_fn(name, async |_cx: Context, text: String| Ok::<_, Failure>(text))
}

#[test]
fn an_agent_says_what_its_type_says() {
    let said = AnyAgent::from(Reviewer)
        .with_domain("async")
        .with_metadata("owner", "ada")
        .with_metadata("owner", "bob")
        .declaration()
        .unwrap();
    assert_eq!(said.name(), "reviewer");
    assert_eq!(said.version().to_string(), "2.1.0");
    let capabilities: Vec<&str> = said.capabilities().iter().map(Capability::as_str).collect();
    assert_eq!(capabilities, ["review", "review.rust"]);
    assert_eq!(said.domains().iter().collect::<Vec<_>>(), ["async", "rust"]);
    assert_eq!(said.weight(), 3);
    assert_eq!(said.metadata().get("owner").unwrap(), "bob");
    assert_eq!(said.input().as_value()["type"], "string");
    assert_eq!(said.output().as_value()["type"], "boolean");
}

#[test]
fn an_agent_that_says_nothing_has_defaults() {
    let said = echo("echo").declaration().unwrap();
    assert_eq!(said.version().to_string(), "0.1.0");
    assert_eq!(said.weight(), 1);
    assert!(said.capabilities().is_empty() && said.domains().is_empty() && said.metadata().is_empty());
}

#[test]
fn what_is_said_of_a_clone_is_not_said_of_the_other() {
    let one = echo("echo");
    let other = one.clone().with_version("9.0.0");
    assert_eq!(one.declaration().unwrap().version().to_string(), "0.1.0");
    assert_eq!(other.declaration().unwrap().version().to_string(), "9.0.0");
}

#[test]
fn hostile_declarations_are_refused_and_the_field_is_named() {
    let long = "x".repeat(10_000);
    let many = |count: usize, add: fn(AnyAgent, String) -> AnyAgent| {
        (0..count).fold(echo("a"), |agent, number| add(agent, format!("n{number}")))
    };
    for (agent, field, kind) in [
        (echo("a b"), "agent", ErrorKind::InvalidInput),
        (echo(""), "agent", ErrorKind::InvalidInput),
        (echo("a\0"), "agent", ErrorKind::InvalidInput),
        (echo("a").with_version("1"), "version", ErrorKind::InvalidInput),
        (echo("a").with_version("1.0.0\n"), "version", ErrorKind::InvalidInput),
        (
            echo("a").with_version(format!("1.0.0-{long}")),
            "version",
            ErrorKind::InvalidInput,
        ),
        (
            echo("a").with_capability("Review"),
            "capability",
            ErrorKind::InvalidInput,
        ),
        (
            echo("a").with_capability("'; DROP TABLE agent"),
            "capability",
            ErrorKind::InvalidInput,
        ),
        (echo("a").with_domain("r..st"), "domain", ErrorKind::InvalidInput),
        (echo("a").with_domain(&*long), "domain", ErrorKind::InvalidInput),
        (echo("a").with_weight(0), "weight", ErrorKind::InvalidInput),
        (echo("a").with_weight(u32::MAX), "weight", ErrorKind::InvalidInput),
        (
            echo("a").with_metadata("k", &*long),
            "metadata",
            ErrorKind::InvalidInput,
        ),
        (
            echo("a").with_metadata("k", "a\0b"),
            "metadata",
            ErrorKind::InvalidInput,
        ),
        (echo("a").with_metadata("k k", "v"), "metadata", ErrorKind::InvalidInput),
        (
            many(33, AnyAgent::with_capability),
            "capabilities",
            ErrorKind::LimitReached,
        ),
        (many(33, AnyAgent::with_domain), "domains", ErrorKind::LimitReached),
        (
            many(17, |agent, key| agent.with_metadata(key, "")),
            "metadata",
            ErrorKind::LimitReached,
        ),
    ] {
        let error = agent.declaration().unwrap_err();
        assert_eq!((error.field("field"), error.kind()), (Some(field), kind), "{error:?}");
        // Nothing of it can break a line where it is shown, or fill the screen.
        let text = format!("{error} {:?}", error.fields().collect::<Vec<_>>());
        assert!(text.len() < 1_000 && !text.contains(['\n', '\0']), "{text}");
    }
}

#[derive(Clone, Debug)]
struct Huge;

impl JsonSchema for Huge {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Huge".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "x".repeat(limits::SCHEMA_BYTES) })
    }
}

impl Serialize for Huge {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for Huge {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[test]
fn a_schema_without_end_is_refused() {
    let agent = agent_fn("a", async |_cx: Context, huge: Huge| Ok::<_, Failure>(huge));
    let error = agent.declaration().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PayloadTooLarge);
    assert_eq!(error.field("field"), Some("input_schema"));
}

proptest! {
    /// A name is valid when each of its tokens would be one of an agent, in lower case.
    #[test]
    fn names_are_tokens_between_dots(name in "[a-zA-Z0-9._ \\-é]{0,70}") {
        let valid = !name.is_empty()
            && name.len() <= limits::CAPABILITY_BYTES
            && name.split('.').all(|token| check_token("token", token).is_ok())
            && name.to_lowercase() == name;
        prop_assert_eq!(name.parse::<Capability>().is_ok(), valid);
        prop_assert_eq!(check_dotted("domain", &name).is_ok(), valid);
        let json = serde_json::to_string(&name).unwrap();
        prop_assert_eq!(serde_json::from_str::<Capability>(&json).is_ok(), valid);
    }
}
