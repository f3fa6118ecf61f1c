//! When to try again, as data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::millis;

#[cfg(test)]
mod tests;

/// How often to try, and how long to wait in between.
///
/// Pure data: it reads no clock and draws no random number, so the same arguments give the same answer for ever.
/// Durations count in whole milliseconds, rounded up.
///
/// ```
/// use std::time::Duration;
/// use hive_errors::RetryPolicy;
///
/// let policy = RetryPolicy::exponential(3).without_jitter();
/// assert_eq!(policy.delay_after(1, 0, None), Some(Duration::from_millis(100)));
/// assert_eq!(policy.delay_after(2, 0, None), Some(Duration::from_millis(200)));
/// assert_eq!(policy.delay_after(3, 0, None), None); // three attempts in all, so the third failure is final
/// ```
///
/// # Serialised form
///
/// `{"attempts_max":3,"base_ms":100,"factor":2,"delay_max_ms":60000,"jitter":"full"}`. Only `attempts_max` is required;
/// the others default to those of [`exponential`](Self::exponential). Zero attempts or a zero factor are refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct RetryPolicy {
    attempts_max: u32,
    base_ms: u64,
    factor: u32,
    delay_max_ms: u64,
    jitter: Jitter,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Jitter {
    /// Anywhere between no delay and the whole of it: those that failed together do not come back together.
    Full,
    None,
}

/// 100 ms outlasts a lock or a dropped connection, and is short enough not to be noticed.
const BASE_MS: u64 = 100;
const FACTOR: u32 = 2;
/// A dependency that is away for hours is asked once a minute, not once a day.
const DELAY_MAX_MS: u64 = 60_000;

impl RetryPolicy {
    /// One attempt and no retry.
    pub const fn none() -> Self {
        Self {
            attempts_max: 1,
            base_ms: 0,
            factor: 1,
            delay_max_ms: 0,
            jitter: Jitter::None,
        }
    }

    /// Up to `attempts_max` attempts in all; after the n-th failure a delay of up to 100 ms × 2ⁿ⁻¹, never more than
    /// 60 s, with full jitter.
    pub const fn exponential(attempts_max: u32) -> Self {
        Self {
            base_ms: BASE_MS,
            factor: FACTOR,
            delay_max_ms: DELAY_MAX_MS,
            jitter: Jitter::Full,
            ..Self::none()
        }
        .with_attempts(attempts_max)
    }

    /// Up to `attempts_max` attempts in all with the same delay after each, without jitter.
    pub const fn fixed(attempts_max: u32, delay: Duration) -> Self {
        let delay_ms = millis::ceil(delay);
        Self {
            base_ms: delay_ms,
            delay_max_ms: delay_ms,
            ..Self::none()
        }
        .with_attempts(attempts_max)
    }

    /// Sets how many attempts there are in all. The first one always takes place, so 0 means 1.
    #[must_use]
    pub const fn with_attempts(mut self, attempts_max: u32) -> Self {
        self.attempts_max = if attempts_max == 0 { 1 } else { attempts_max };
        self
    }

    /// Sets the delay after the first failure. The cap still applies.
    #[must_use]
    pub const fn with_base(mut self, base: Duration) -> Self {
        self.base_ms = millis::ceil(base);
        self
    }

    /// Sets what the delay is multiplied by after each further failure; 1 keeps it constant, and 0 means 1.
    #[must_use]
    pub const fn with_factor(mut self, factor: u32) -> Self {
        self.factor = if factor == 0 { 1 } else { factor };
        self
    }

    /// Sets the longest delay the policy asks for on its own account.
    #[must_use]
    pub const fn with_cap(mut self, delay_max: Duration) -> Self {
        self.delay_max_ms = millis::ceil(delay_max);
        self
    }

    /// Waits the whole delay each time.
    #[must_use]
    pub const fn without_jitter(mut self) -> Self {
        self.jitter = Jitter::None;
        self
    }

    /// How many attempts there are in all, at least 1.
    pub const fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// How long to wait before the next attempt; `None` means give up.
    ///
    /// - `failures`: how many attempts have failed so far, counting the one just now (so at least 1; 0 is read as 1).
    /// - `random`: a uniform random number. It decides the jitter and nothing else.
    /// - `retry_after`: what the other side asked for, and a floor: the answer is never shorter. With jitter the delay
    ///   is added to it, so that those told the same time do not all come back at that time. It may exceed the cap;
    ///   a caller that does not trust the other side bounds it first.
    pub fn delay_after(&self, failures: u32, random: u64, retry_after: Option<Duration>) -> Option<Duration> {
        let failures = failures.max(1);
        if failures >= self.attempts_max {
            return None;
        }
        let full_ms = self.full_delay_ms(failures);
        let floor = retry_after.unwrap_or(Duration::ZERO);
        Some(match self.jitter {
            Jitter::Full => floor.saturating_add(Duration::from_millis(fraction(full_ms, random))),
            Jitter::None => floor.max(Duration::from_millis(full_ms)),
        })
    }

    /// `min(base × factor^(failures - 1), cap)`, in milliseconds.
    fn full_delay_ms(&self, failures: u32) -> u64 {
        let growth = u64::from(self.factor).saturating_pow(failures.saturating_sub(1));
        self.base_ms.saturating_mul(growth).min(self.delay_max_ms)
    }
}

/// A whole number in `0..=max`, uniform when `random` is.
fn fraction(max: u64, random: u64) -> u64 {
    let scaled = (u128::from(random) * (u128::from(max) + 1)) >> u64::BITS;
    // Invariant: random < 2^64, so scaled < max + 1 and the conversion cannot fail.
    u64::try_from(scaled).unwrap_or(max)
}

/// The serialised form before it is checked.
#[derive(Deserialize)]
struct Stored {
    attempts_max: u32,
    #[serde(default = "default_base_ms")]
    base_ms: u64,
    #[serde(default = "default_factor")]
    factor: u32,
    #[serde(default = "default_delay_max_ms")]
    delay_max_ms: u64,
    #[serde(default = "default_jitter")]
    jitter: Jitter,
}

fn default_base_ms() -> u64 {
    BASE_MS
}

fn default_factor() -> u32 {
    FACTOR
}

fn default_delay_max_ms() -> u64 {
    DELAY_MAX_MS
}

fn default_jitter() -> Jitter {
    Jitter::Full
}

impl TryFrom<Stored> for RetryPolicy {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let Stored {
            attempts_max,
            base_ms,
            factor,
            delay_max_ms,
            jitter,
        } = stored;
        if attempts_max == 0 {
            return Err("attempts_max counts the first attempt, so it is at least 1");
        }
        if factor == 0 {
            return Err("factor is at least 1");
        }
        Ok(Self {
            attempts_max,
            base_ms,
            factor,
            delay_max_ms,
            jitter,
        })
    }
}
