//! The time. The one place that may ask for it, so that a test can own it.

use std::{fmt, time::Duration};

use async_trait::async_trait;

/// A point in time, in UTC.
pub type Timestamp = jiff::Timestamp;

/// The time, in its two kinds.
///
/// # Contract
///
/// - [`now`](Self::now) is wall time, for records and schedules, in whole microseconds, which is how finely stores keep
///   instants: what is told at once is what is read later. It may jump.
/// - [`elapsed`](Self::elapsed) and [`sleep`](Self::sleep) use time that never jumps.
///
/// ```
/// use std::time::Duration;
/// use fastflow_core::{Clock, Timestamp};
///
/// #[derive(Debug)]
/// struct Frozen(Timestamp);
///
/// #[async_trait::async_trait]
/// impl Clock for Frozen {
///     fn now(&self) -> Timestamp {
///         self.0
///     }
///     fn elapsed(&self) -> Duration {
///         Duration::ZERO
///     }
///     async fn sleep(&self, _: Duration) {
///         std::future::pending().await
///     }
/// }
///
/// assert_eq!(Frozen(Timestamp::UNIX_EPOCH).now(), Timestamp::UNIX_EPOCH);
/// ```
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Wall time. It may jump.
    fn now(&self) -> Timestamp;
    /// Time since this clock began, for timeouts and leases. It never jumps.
    fn elapsed(&self) -> Duration;
    /// Sleeps in the second kind of time.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; dropping it only stops waiting.
    async fn sleep(&self, duration: Duration);
}

/// The machine's own clocks.
///
/// ```
/// use fastflow_core::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// assert!(clock.now() > "2024-01-01T00:00:00Z".parse().unwrap());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    began: std::time::Instant,
}

impl SystemClock {
    /// A clock whose [`elapsed`](Clock::elapsed) begins now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    pub fn new() -> Self {
        Self { began: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
