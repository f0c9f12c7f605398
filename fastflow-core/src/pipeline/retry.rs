//! Whether and when a failed attempt is followed by another.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::Seconds;

/// How many further attempts a run gets, and when.
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use fastflow_core::pipeline::{RetryPolicy, RetryStrategy};
///
/// let policy = RetryPolicy { attempts: 2, strategy: RetryStrategy::exponential() };
/// let delays = [1, 2, 3].map(|n| policy.delay(NonZeroU32::new(n).unwrap()));
/// assert_eq!(delays, [Some(Duration::from_secs(60)), Some(Duration::from_secs(120)), None]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryPolicy {
    /// Attempts after the first one.
    pub attempts: u32,
    /// How long to wait before each.
    pub strategy: RetryStrategy,
}

impl RetryPolicy {
    /// The most additional attempts a file may ask for.
    pub const MAX_ATTEMPTS: u32 = 1000;

    /// How long to wait after attempt `failed_attempt` failed, before the next one; `None` when there is no
    /// further attempt. Without jitter: the caller spreads retries if it wants to.
    pub fn delay(&self, failed_attempt: NonZeroU32) -> Option<Duration> {
        (failed_attempt.get() <= self.attempts).then(|| self.strategy.delay(failed_attempt))
    }
}

/// How long to wait before each further attempt.
///
/// ```
/// use fastflow_core::pipeline::{RetryStrategy, Seconds};
///
/// assert_eq!(RetryStrategy::default(), RetryStrategy::Fixed { delay: Seconds(60) });
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RetryStrategy {
    /// Always the same.
    Fixed {
        /// The wait.
        delay: Seconds,
    },
    /// Growing: `min(max_delay, initial_delay * multiplier ^ (n - 1))` after attempt n.
    Exponential {
        /// The first wait.
        initial_delay: Seconds,
        /// The longest wait.
        max_delay: Seconds,
        /// The growth per attempt, at least 1.
        multiplier: f64,
    },
    /// As listed; the last one repeats.
    Custom {
        /// The waits, at least one. With none, the wait is [`DEFAULT_DELAY`](Self::DEFAULT_DELAY).
        delays: Vec<Seconds>,
    },
}

impl RetryStrategy {
    /// The wait where a file names none.
    pub const DEFAULT_DELAY: Seconds = Seconds(60);
    /// The longest exponential wait where a file names none.
    pub const DEFAULT_MAX_DELAY: Seconds = Seconds(3600);
    /// The exponential growth where a file names none.
    pub const DEFAULT_MULTIPLIER: f64 = 2.0;
    /// The largest growth a file may ask for.
    pub const MAX_MULTIPLIER: f64 = 1000.0;
    /// The most entries of a custom list.
    pub const MAX_DELAYS: usize = 1000;

    /// An exponential wait with its defaults: 60 s, doubling up to an hour.
    pub fn exponential() -> Self {
        Self::Exponential {
            initial_delay: Self::DEFAULT_DELAY,
            max_delay: Self::DEFAULT_MAX_DELAY,
            multiplier: Self::DEFAULT_MULTIPLIER,
        }
    }

    /// The wait after attempt `failed_attempt`, whether or not there is a further one.
    pub fn delay(&self, failed_attempt: NonZeroU32) -> Duration {
        let past = failed_attempt.get() - 1;
        match self {
            Self::Fixed { delay } => delay.duration(),
            Self::Exponential { initial_delay, max_delay, multiplier } => {
                let exponent = i32::try_from(past).unwrap_or(i32::MAX);
                let grown = f64::from(initial_delay.0) * multiplier.powi(exponent);
                // Written so that an infinite and an undefined product (0 * infinity) end well, too.
                if initial_delay.0 == 0 {
                    Duration::ZERO
                } else if grown < f64::from(max_delay.0) {
                    Duration::try_from_secs_f64(grown).unwrap_or(max_delay.duration())
                } else {
                    max_delay.duration()
                }
            }
            Self::Custom { delays } => {
                let index = usize::try_from(past).unwrap_or(usize::MAX);
                delays.get(index).or(delays.last()).unwrap_or(&Self::DEFAULT_DELAY).duration()
            }
        }
    }
}

impl Default for RetryStrategy {
    fn default() -> Self {
        Self::Fixed { delay: Self::DEFAULT_DELAY }
    }
}
