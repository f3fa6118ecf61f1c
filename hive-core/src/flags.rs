//! Switches that can be turned at run time.
//!
//! A [`Flag`] is a constant with a name, a default and a reason; [`Flags`] holds what is on. A flag is for rolling a change
//! out and taking it back without a restart. What an operator sets once belongs in the [configuration](crate::config).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hive_errors::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::nearest::nearest;

/// A switch, as code names it.
///
/// ```
/// use hive_core::flags::{Flag, Flags};
///
/// const FAST_CLAIMS: Flag = Flag::new("fast-claims", false, "claims tasks in batches");
///
/// let flags = Flags::new([FAST_CLAIMS])?;
/// assert!(!flags.enabled(FAST_CLAIMS));
/// flags.set("fast-claims", true)?;
/// assert!(flags.enabled(FAST_CLAIMS));
/// assert_eq!(flags.set("fast-claim", true).unwrap_err().field("nearest"), Some("fast-claims"));
/// # Ok::<(), hive_errors::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    name: &'static str,
    default: bool,
    about: &'static str,
}

impl Flag {
    /// A switch of this name, its position unless someone turns it, and what it does, in one phrase for an operator.
    pub const fn new(name: &'static str, default: bool, about: &'static str) -> Self {
        Self { name, default, about }
    }

    /// The name by which it is turned.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Its position unless someone turns it.
    pub const fn default(self) -> bool {
        self.default
    }

    /// What it does.
    pub const fn about(self) -> &'static str {
        self.about
    }
}

/// The positions of all flags of a process. Cheap to clone; clones are the same switches.
#[derive(Clone)]
pub struct Flags {
    switches: Arc<BTreeMap<&'static str, Switch>>,
}

struct Switch {
    flag: Flag,
    on: watch::Sender<bool>,
}

/// A flag and its position, for a list.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlagState {
    /// The flag.
    pub flag: Flag,
    /// Whether it is on.
    pub enabled: bool,
}

impl Flags {
    /// These flags, each in its default position. The same flag may be named twice.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when two different flags have the same name.
    pub fn new(flags: impl IntoIterator<Item = Flag>) -> Result<Self> {
        let mut switches: BTreeMap<&'static str, Switch> = BTreeMap::new();
        for flag in flags {
            let switch = switches.entry(flag.name).or_insert_with(|| Switch {
                flag,
                on: watch::Sender::new(flag.default),
            });
            if switch.flag != flag {
                return Err(Error::new(ErrorKind::Config, "two flags have the same name")
                    .with("flag", flag.name)
                    .with_hint("define the flag once, as a constant, and name that in both places"));
            }
        }
        Ok(Self {
            switches: Arc::new(switches),
        })
    }

    /// Whether `flag` is on. A flag that is not among these cannot be turned, so it is in its default position.
    pub fn enabled(&self, flag: Flag) -> bool {
        self.switches
            .get(flag.name)
            .map_or(flag.default, |switch| *switch.on.borrow())
    }

    /// Turns the flag of this name and tells whoever watches it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an unknown name, with the field `nearest` where one is near; nothing changes then.
    pub fn set(&self, name: &str, enabled: bool) -> Result<()> {
        let switch = self.switch(name)?;
        let changed = switch
            .on
            .send_if_modified(|on| std::mem::replace(on, enabled) != enabled);
        if changed {
            tracing::info!(flag = name, enabled, "a flag was turned");
        }
        Ok(())
    }

    /// Turns several flags, or none when a name is unknown.
    ///
    /// # Errors
    /// As [`Flags::set`].
    pub fn set_all<'a>(&self, positions: impl IntoIterator<Item = (&'a str, bool)>) -> Result<()> {
        let positions: Vec<_> = positions.into_iter().collect();
        for (name, _) in &positions {
            self.switch(name)?;
        }
        positions
            .into_iter()
            .try_for_each(|(name, enabled)| self.set(name, enabled))
    }

    /// All flags and their positions, sorted by name.
    pub fn list(&self) -> impl Iterator<Item = FlagState> {
        self.switches.values().map(|switch| FlagState {
            flag: switch.flag,
            enabled: *switch.on.borrow(),
        })
    }

    /// Watches one flag: [`FlagWatch::changed`] waits for the next turn.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the flag is not among these.
    pub fn watch(&self, flag: Flag) -> Result<FlagWatch> {
        Ok(FlagWatch {
            receiver: self.switch(flag.name)?.on.subscribe(),
            _flags: self.clone(),
        })
    }

    fn switch(&self, name: &str) -> Result<&Switch> {
        self.switches.get(name).ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound, "unknown flag").with("flag", name);
            match nearest(name, self.switches.keys().copied()) {
                Some(nearest) => error
                    .with("nearest", nearest)
                    .with_hint(format!("did you mean `{nearest}`?")),
                None => error.with_hint("list the flags to see their names"),
            }
        })
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.list().map(|state| (state.flag.name, state.enabled)))
            .finish()
    }
}

/// Sees one flag being turned.
#[derive(Debug)]
pub struct FlagWatch {
    receiver: watch::Receiver<bool>,
    /// The switch lives as long as someone watches it, so that waiting cannot fail.
    _flags: Flags,
}

impl FlagWatch {
    /// Whether the flag is on.
    pub fn enabled(&self) -> bool {
        *self.receiver.borrow()
    }

    /// Waits until the flag is turned and says how it then stands. Turns in quick succession may be seen as one.
    ///
    /// # Cancel safety
    /// No turn is lost when the future is dropped.
    pub async fn changed(&mut self) -> bool {
        if self.receiver.changed().await.is_err() {
            // Invariant: the sender lives in `_flags`. Without one the flag cannot be turned any more.
            std::future::pending::<()>().await;
        }
        *self.receiver.borrow_and_update()
    }
}
