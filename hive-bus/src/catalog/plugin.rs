//! Plugins are loaded, swapped and kept within their bounds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A plugin was loaded and serves tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginLoaded {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
}

typed_event!(
    PluginLoaded,
    "plugin.loaded",
    plugin,
    Self {
        plugin: "acme-lint".into(),
        version: "1.0.0".into()
    }
);

/// A plugin's version was replaced while it served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginSwapped {
    /// The plugin's name.
    pub plugin: String,
    /// The version that served until now.
    pub from: String,
    /// The version that serves from now on.
    pub to: String,
}

typed_event!(
    PluginSwapped,
    "plugin.swapped",
    plugin,
    Self {
        plugin: "acme-lint".into(),
        from: "1.0.0".into(),
        to: "1.1.0".into()
    }
);

/// A plugin was taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginUnloaded {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

typed_event!(
    PluginUnloaded,
    "plugin.unloaded",
    plugin,
    Self {
        plugin: "acme-lint".into(),
        version: "1.0.0".into(),
        reason: None
    }
);

/// A plugin could not be loaded, or broke while it served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginFailed {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// The error's code, such as `timeout`; see the pages of `hive-errors`.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
}

typed_event!(
    PluginFailed,
    "plugin.failed",
    plugin,
    Self {
        plugin: "acme-lint".into(),
        version: "1.0.0".into(),
        code: "panic".into(),
        message: "unreachable executed".into()
    }
);

/// A plugin tried what it was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginDenied {
    /// The plugin's name.
    pub plugin: String,
    /// The capability it lacks, such as `http`.
    pub capability: String,
    /// What it tried, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

typed_event!(
    PluginDenied,
    "plugin.denied",
    plugin,
    Self {
        plugin: "acme-lint".into(),
        capability: "http".into(),
        detail: Some("example.com is not an allowed host".into())
    }
);
