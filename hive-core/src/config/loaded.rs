use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

/// A loaded configuration: a `T` that knows where each of its values came from.
#[derive(Clone)]
pub struct Loaded<T> {
    value: T,
    sources: BTreeMap<String, Source>,
}

/// Where a value of a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The type's default.
    Default,
    /// A TOML file.
    File {
        /// The file as it was named.
        name: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// The variable's name.
        variable: String,
    },
    /// The program itself.
    Code,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Code => f.write_str("code"),
        }
    }
}

impl<T> Loaded<T> {
    pub(super) fn new(value: T, sources: BTreeMap<String, Source>) -> Self {
        Self { value, sources }
    }

    /// Where the value of this key came from, dots between tables: `database.path`. `None` for a table and for a key
    /// that does not exist.
    pub fn source(&self, key: &str) -> Option<&Source> {
        self.sources.get(key)
    }

    /// Every key that has a value, with its source, sorted.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.sources.iter().map(|(key, source)| (key.as_str(), source))
    }

    /// The configuration alone.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Loaded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("value", &self.value)
            .field("sources", &self.sources)
            .finish()
    }
}
