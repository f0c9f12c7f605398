//! Waiting between tries: exponential, with jitter, up to a bound.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::Clock;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Waits longer and longer. It has no end of its own: what it guards ends with the host.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Option<ExponentialBackoff>);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) async fn wait(&mut self, clock: &dyn Clock) {
        let delays = self.0.get_or_insert_with(|| {
            exponential(clock).with_min_delay(FIRST).with_max_delay(LONGEST).without_max_times().build()
        });
        let delay = delays.next().unwrap_or(LONGEST);
        clock.sleep(delay).await;
    }
}

/// Waits that begin now, with jitter.
pub(super) fn exponential(clock: &dyn Clock) -> ExponentialBuilder {
    // The nanosecond at which the first wait begins spreads them: no two begin at one, and a test can repeat it.
    let seed = clock.now().as_nanosecond().to_le_bytes();
    let seed = seed.first_chunk().map_or(0, |low| u64::from_le_bytes(*low));
    ExponentialBuilder::default().with_jitter().with_jitter_seed(seed)
}
