use expect_test::expect;

use super::*;
use crate::{Context, Schemas};

struct Echo;

impl Agent for Echo {
    const NAME: &'static str = "echo";
    const CAPABILITIES: &'static [&'static str] = &["text"];
    type Input = String;
    type Output = String;

    fn schemas() -> Result<Schemas, Failure> {
        Schemas::parse(r#"{"type":"string"}"#, "true")
    }

    async fn run(&self, _: &Context, input: String) -> Result<String, Failure> {
        Ok(input)
    }
}

#[test]
fn what_is_not_said_is_not_written() {
    let description = Description::new("acme.echo", "1.2.3")
        .agent::<Echo>()
        .unwrap()
        .to_json()
        .unwrap();
    expect![[r#"{"name":"acme.echo","version":"1.2.3","agents":[{"name":"echo","capabilities":["text"],"input_schema":{"type":"string"},"output_schema":true}]}"#]]
    .assert_eq(&description);
}

#[test]
fn a_plugin_that_nobody_could_call_is_refused() {
    assert!(
        Description::new("", "1.0.0")
            .agent::<Echo>()
            .unwrap()
            .to_json()
            .is_err()
    );
    assert!(Description::new("acme.echo", "1.0.0").to_json().is_err());
    assert!(
        Description::new("acme.echo", "1.0.0")
            .agent::<Echo>()
            .unwrap()
            .agent::<Echo>()
            .is_err()
    );
}
