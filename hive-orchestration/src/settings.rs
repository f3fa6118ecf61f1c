//! What an operator may set without touching the code.

use std::time::Duration;

use hive_core::config::{Environment, Loaded, Loader};
use hive_errors::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;

/// A hive's settings, for a configuration file, the environment, or a larger configuration of your own.
///
/// ```
/// use hive_orchestration::Hive;
/// use hive_orchestration::core::config::Environment;
/// use hive_orchestration::settings::Settings;
///
/// // Defaults < hive.toml, if there is one < HIVE_CONCURRENCY, HIVE_DRAIN_MS.
/// let environment = Environment::new("HIVE", [("HIVE_CONCURRENCY".into(), "8".into())]);
/// let settings = Settings::load(environment)?;
/// assert_eq!(settings.concurrency, 8);
/// let _builder = Hive::open("hive.db").settings(&settings);
/// # Ok::<(), hive_orchestration::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// How many attempts run at once; at least 1.
    pub concurrency: usize,
    /// How long a shutdown lets running attempts go on, in milliseconds.
    pub drain_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: limits::CONCURRENCY,
            drain_ms: u64::try_from(limits::DRAIN.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Settings {
    /// The settings of `hive.toml` in the current directory, if it exists, and of `environment`;
    /// [`Environment::from_process`]`("HIVE")` is the usual one. Settings of your own need a [`Loader`] of your own.
    ///
    /// # Errors
    /// `config`, naming the place, for a key that does not exist or a value that does not fit.
    pub fn load(environment: Environment) -> Result<Loaded<Self>> {
        Loader::new()
            .file_if_exists("hive.toml")
            .environment(environment)
            .load()
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
