//! Waiting between tries: exponential, with jitter, up to a bound.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::Clock;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Waits longer and longer. It has no end of its own: what it guards ends with the host.
#[derive(Debug)]
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(crate) fn new() -> Self {
        let builder = ExponentialBuilder::default().with_min_delay(FIRST).with_max_delay(LONGEST);
        Self(builder.with_jitter().without_max_times().build())
    }

    pub(crate) async fn wait(&mut self, clock: &dyn Clock) {
        clock.sleep(self.0.next().unwrap_or(LONGEST)).await;
    }
}
