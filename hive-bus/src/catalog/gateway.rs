//! The outside world talks to a hive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The gateway accepts connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayListening {
    /// Which interface, such as `http` or `ws`.
    pub listener: String,
    /// The address it listens on.
    pub address: String,
}

typed_event!(
    GatewayListening,
    "gateway.listening",
    listener,
    Self {
        listener: "http".into(),
        address: "127.0.0.1:8080".into()
    }
);

/// A client opened a lasting connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayConnected {
    /// Which interface, such as `http` or `ws`.
    pub listener: String,
    /// The connection's id.
    pub connection: String,
    /// Who it is, once it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

typed_event!(
    GatewayConnected,
    "gateway.connected",
    listener,
    Self {
        listener: "ws".into(),
        connection: "c-17".into(),
        principal: Some("dashboard".into())
    }
);

/// A lasting connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayDisconnected {
    /// Which interface, such as `http` or `ws`.
    pub listener: String,
    /// The connection's id.
    pub connection: String,
    /// Why, for people.
    pub reason: String,
}

typed_event!(
    GatewayDisconnected,
    "gateway.disconnected",
    listener,
    Self {
        listener: "ws".into(),
        connection: "c-17".into(),
        reason: "the client was too slow".into()
    }
);

/// The gateway refused a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayRefused {
    /// Which interface, such as `http` or `ws`.
    pub listener: String,
    /// The HTTP status it answered with.
    pub status: u16,
    /// The error's code, such as `limit-reached`; see the pages of `hive-errors`.
    pub code: String,
    /// Who asked, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

typed_event!(
    GatewayRefused,
    "gateway.refused",
    listener,
    Self {
        listener: "http".into(),
        status: 429,
        code: "limit-reached".into(),
        principal: Some("dashboard".into())
    }
);
