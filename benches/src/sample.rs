//! Durations, and what they come to.

use std::time::Duration;

/// Durations of the same thing, measured again and again.
///
/// ```
/// use std::time::Duration;
/// use fastflow_benches::sample::Samples;
///
/// let samples: Samples = (1..=100).map(Duration::from_millis).collect();
/// assert_eq!(samples.median(), Duration::from_millis(51));
/// assert_eq!(samples.p95(), Duration::from_millis(96));
/// assert_eq!(samples.p99(), Duration::from_millis(100));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The one in the middle; zero when there is none.
    pub fn median(&self) -> Duration {
        self.quantile(50)
    }

    /// The one that 95 of 100 do not exceed; zero when there is none.
    pub fn p95(&self) -> Duration {
        self.quantile(95)
    }

    /// The one that 99 of 100 do not exceed; zero when there is none.
    pub fn p99(&self) -> Duration {
        self.quantile(99)
    }

    /// The longest; zero when there is none.
    pub fn longest(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    fn quantile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<T: IntoIterator<Item = Duration>>(durations: T) -> Self {
        Self(durations.into_iter().collect())
    }
}

/// How many of something happen in a second.
#[expect(clippy::cast_precision_loss, reason = "a count in a table")]
pub fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}
