//! Whether and when a failed attempt is followed by another.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ByteSize, Seconds};
use crate::run::{Exit, Failure};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// How many further attempts a run gets, and when.
///
/// ```
/// use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};
/// use fastflow_core::pipeline::{RetryPolicy, RetryStrategy};
///
/// let policy = RetryPolicy { attempts: 2, strategy: RetryStrategy::exponential(), ..RetryPolicy::default() };
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
    /// How much of each wait is left to chance, in percent of it: from 0, none, to 100, all of it.
    pub jitter_percent: u8,
    /// The longest wait, whatever the strategy says. None: no limit but the strategy's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<Seconds>,
    /// Which failures are followed by another attempt.
    pub when: RetryWhen,
    /// More memory after an attempt ran out of it. None: always the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryEscalation>,
}

/// Which failures are followed by another attempt. Where nothing is named, all are.
///
/// ```
/// use fastflow_core::pipeline::{RetryReason, RetryWhen};
///
/// let when = RetryWhen { reasons: [RetryReason::Lost].into(), ..RetryWhen::default() };
/// assert_eq!(serde_json::to_string(&when).unwrap(), r#"{"reasons":["lost"]}"#);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryWhen {
    /// The reasons; [`Exit`](RetryReason::Exit) stands for every exit code other than 0.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub reasons: BTreeSet<RetryReason>,
    /// The exit codes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub exit_codes: BTreeSet<u8>,
}

/// A class of failures, as a retry policy names it.
///
/// ```
/// use fastflow_core::pipeline::RetryReason;
///
/// assert_eq!(serde_json::to_string(&RetryReason::OutOfMemory).unwrap(), r#""out_of_memory""#);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RetryReason {
    /// The program ended with an exit code other than 0.
    Exit,
    /// A signal ended it.
    Signal,
    /// It ran out of memory.
    OutOfMemory,
    /// Its time limit was reached.
    TimedOut,
    /// It was ended because it was not healthy.
    Unhealthy,
    /// Its sandbox was stopped from outside.
    Interrupted,
    /// Its environment could not be made ready.
    EnvironmentFailed,
    /// It could not be started.
    StartFailed,
    /// Nobody can know how it ended.
    Lost,
}

impl RetryReason {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Exit,
        Self::Signal,
        Self::OutOfMemory,
        Self::TimedOut,
        Self::Unhealthy,
        Self::Interrupted,
        Self::EnvironmentFailed,
        Self::StartFailed,
        Self::Lost,
    ];

    /// The class of a failure.
    pub fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Exit(Exit::Code(_)) => Self::Exit,
            Failure::Exit(Exit::Signal(_)) => Self::Signal,
            Failure::Exit(Exit::OutOfMemory) => Self::OutOfMemory,
            Failure::TimedOut => Self::TimedOut,
            Failure::Unhealthy(_) => Self::Unhealthy,
            Failure::Interrupted => Self::Interrupted,
            Failure::EnvironmentFailed(_) => Self::EnvironmentFailed,
            Failure::StartFailed(_) => Self::StartFailed,
            Failure::Lost(_) => Self::Lost,
        }
    }

    /// The reason as files name it, such as `out_of_memory`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Signal => "signal",
            Self::OutOfMemory => "out_of_memory",
            Self::TimedOut => "timed_out",
            Self::Unhealthy => "unhealthy",
            Self::Interrupted => "interrupted",
            Self::EnvironmentFailed => "environment_failed",
            Self::StartFailed => "start_failed",
            Self::Lost => "lost",
        }
    }
}

/// How much more memory an attempt gets after each that ran out of it.
///
/// ```
/// use fastflow_core::pipeline::{ByteSize, MemoryEscalation};
///
/// let more = MemoryEscalation { factor: 2.0, max: ByteSize(4 << 30) };
/// assert_eq!(serde_json::to_string(&more).unwrap(), r#"{"factor":2.0,"max":4294967296}"#);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryEscalation {
    /// The growth of the limit each time, more than 1.
    pub factor: f64,
    /// The highest limit.
    pub max: ByteSize,
}

impl MemoryEscalation {
    /// The growth where a file names none.
    pub const DEFAULT_FACTOR: f64 = 2.0;
    /// The largest growth a file may ask for.
    pub const MAX_FACTOR: f64 = 16.0;
}

impl RetryPolicy {
    /// The most additional attempts a file may ask for.
    pub const MAX_ATTEMPTS: u32 = 1000;

    /// How long to wait after attempt `failed_attempt` failed, before the next one; `None` when there is no
    /// further attempt. Without chance: [`spread`](Self::spread) adds it.
    pub fn delay(&self, failed_attempt: NonZeroU32) -> Option<Duration> {
        let wait = || self.strategy.delay(failed_attempt);
        let longest = self.max_delay.map_or(Duration::MAX, Seconds::duration);
        (failed_attempt.get() <= self.attempts).then(|| wait().min(longest))
    }

    /// Whether another attempt may follow this failure, as far as it depends on why it failed.
    ///
    /// ```
    /// use fastflow_core::{pipeline::{RetryPolicy, RetryWhen}, run::{Exit, Failure}};
    ///
    /// let when = RetryWhen { exit_codes: [75].into(), ..RetryWhen::default() };
    /// let policy = RetryPolicy { when, ..RetryPolicy::default() };
    /// assert!(policy.follows(&Failure::Exit(Exit::Code(75))));
    /// assert!(!policy.follows(&Failure::Exit(Exit::Code(1))));
    /// ```
    pub fn follows(&self, failure: &Failure) -> bool {
        let RetryWhen { reasons, exit_codes } = &self.when;
        let is_named = match failure {
            Failure::Exit(Exit::Code(code)) => {
                u8::try_from(*code).is_ok_and(|code| exit_codes.contains(&code))
            }
            _ => false,
        };
        is_named
            || reasons.contains(&RetryReason::of(failure))
            || (reasons.is_empty() && exit_codes.is_empty())
    }

    /// The wait of `delay` with its part of chance: between what [`jitter_percent`](Self::jitter_percent) leaves of it
    /// and all of it. `random` is any number, each as likely: 0 gives the whole wait, the largest the shortest one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fastflow_core::pipeline::RetryPolicy;
    ///
    /// let policy = RetryPolicy { jitter_percent: 50, ..RetryPolicy::default() };
    /// let waits = [0, u32::MAX].map(|random| policy.spread(Duration::from_secs(60), random).as_secs());
    /// assert_eq!(waits, [60, 30]);
    /// ```
    pub fn spread(&self, delay: Duration, random: u32) -> Duration {
        let percent = u128::from(self.jitter_percent.min(100));
        // Divided twice, so that the longest wait there is does not overflow.
        let open = delay.as_nanos() * percent / 100;
        let left_out = open * u128::from(random) / u128::from(u32::MAX);
        let seconds = u64::try_from(left_out / NANOS_PER_SECOND).unwrap_or(u64::MAX);
        let nanos = u32::try_from(left_out % NANOS_PER_SECOND).unwrap_or_default();
        delay.saturating_sub(Duration::new(seconds, nanos))
    }

    /// The memory limit of an attempt that `out_of_memory_attempts` earlier ones ran out of, where the first had
    /// `base`: it grows by the factor each time, up to the highest limit, and is never below `base`.
    ///
    /// ```
    /// use fastflow_core::pipeline::{ByteSize, MemoryEscalation, RetryPolicy};
    ///
    /// let memory = Some(MemoryEscalation { factor: 2.0, max: ByteSize(3 << 30) });
    /// let policy = RetryPolicy { memory, ..RetryPolicy::default() };
    /// let limits = [0, 1, 2].map(|n| policy.memory_limit(ByteSize(1 << 30), n));
    /// assert_eq!(limits, [ByteSize(1 << 30), ByteSize(2 << 30), ByteSize(3 << 30)]);
    /// ```
    pub fn memory_limit(&self, base: ByteSize, out_of_memory_attempts: u32) -> ByteSize {
        let Some(MemoryEscalation { factor, max }) = self.memory else { return base };
        if out_of_memory_attempts == 0 || base == ByteSize(0) {
            return base;
        }
        let exponent = i32::try_from(out_of_memory_attempts).unwrap_or(i32::MAX);
        #[expect(clippy::cast_precision_loss, reason = "limits are not that exact")]
        let grown = base.0 as f64 * factor.powi(exponent);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is not negative, and what is too large becomes the largest number"
        )]
        let grown = ByteSize(grown as u64);
        grown.min(max).max(base)
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
