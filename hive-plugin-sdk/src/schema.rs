//! JSON Schemas of what goes into an agent and what comes out.

use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

#[cfg(test)]
mod tests;

/// The JSON Schema of a type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Schema(Value);

impl Schema {
    /// A schema written by hand.
    ///
    /// # Errors
    ///
    /// A terminal failure when the text is not a JSON object or a JSON boolean, which is what a schema is.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let invalid = |reason: String| {
            Failure::terminal("the schema is not a json schema")
                .with_code("invalid-input")
                .with("reason", reason)
                .with_hint("a schema is a json object or a json boolean")
        };
        let value: Value = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if value.is_object() || value.is_boolean() {
            Ok(Self(value))
        } else {
            Err(invalid("it is another kind of value".to_owned()))
        }
    }

    /// The schema of `T`, from the type itself.
    #[cfg(feature = "schemars")]
    pub fn of<T: schemars::JsonSchema>() -> Self {
        Self(schemars::schema_for!(T).to_value())
    }

    /// The schema as JSON.
    pub fn as_value(&self) -> &Value {
        &self.0
    }
}

/// The schemas of an agent's input and output. A missing one accepts everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schemas {
    /// What the agent takes.
    pub input: Option<Schema>,
    /// What the agent returns.
    pub output: Option<Schema>,
}

impl Schemas {
    /// No schemas: the hive checks neither input nor output, and the agent's own types are the only check.
    pub fn none() -> Self {
        Self::default()
    }

    /// Schemas written by hand.
    ///
    /// # Errors
    ///
    /// What [`Schema::parse`] says of either.
    pub fn parse(input: &str, output: &str) -> Result<Self, Failure> {
        Ok(Self {
            input: Some(Schema::parse(input).map_err(|failure| failure.with("schema", "input"))?),
            output: Some(Schema::parse(output).map_err(|failure| failure.with("schema", "output"))?),
        })
    }

    /// The schemas of two types, from the types themselves.
    #[cfg(feature = "schemars")]
    pub fn of<I: schemars::JsonSchema, O: schemars::JsonSchema>() -> Self {
        Self {
            input: Some(Schema::of::<I>()),
            output: Some(Schema::of::<O>()),
        }
    }
}
