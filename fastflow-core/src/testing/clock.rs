//! A clock for tests of schedules: its wall time stands still until somebody moves it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Clock, Error, ErrorKind, Result, SystemClock, Timestamp};

/// A [`Clock`] whose wall time stands still until it is moved. Clones are one clock.
///
/// Its other time passes as that of the machine does, and jumps forward with the first: programs of tests are real, and
/// take real time to start and to end. So a sleep ends when its time has passed, or has been skipped.
///
/// ```
/// use std::time::Duration;
/// use fastflow_core::{Clock, testing::ManualClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> fastflow_core::Result<()> {
/// let clock = ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
/// let hand = clock.clone();
/// let day = Duration::from_hours(24);
/// tokio::join!(clock.sleep(day), async { hand.advance(day) }).1?;
/// assert_eq!(clock.now(), "2030-01-02T00:00:00Z".parse().unwrap());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    now: Mutex<Timestamp>,
    /// How much was skipped so far.
    skipped: watch::Sender<Duration>,
    machine: SystemClock,
}

impl ManualClock {
    /// One that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        let skipped = watch::Sender::new(Duration::ZERO);
        Self { shared: Arc::new(Shared { now: Mutex::new(now), skipped, machine: SystemClock::new() }) }
    }

    /// Moves it forward at once, as if the machine had slept: schedules do with what they have missed as they say.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such time.
    pub fn advance(&self, by: Duration) -> Result<()> {
        let mut now = self.shared.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add(by).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the clock cannot be moved so far").because(error)
        })?;
        // Under the lock, so that whoever wakes up sees the time that woke it.
        self.shared.skipped.send_modify(|skipped| *skipped = skipped.saturating_add(by));
        drop(now);
        Ok(())
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.shared.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> Duration {
        self.shared.machine.elapsed().saturating_add(*self.shared.skipped.borrow())
    }

    async fn sleep(&self, duration: Duration) {
        let mut skipped = self.shared.skipped.subscribe();
        let before = *skipped.borrow_and_update();
        tokio::select! {
            () = self.shared.machine.sleep(duration) => {}
            // The sender lives as long as this clock.
            _ = skipped.wait_for(|now| now.saturating_sub(before) >= duration) => {}
        }
    }
}
