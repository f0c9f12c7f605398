//! One host: what it is in, and what each of its calls goes through.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Notify, time::Instant};

use super::stage::{EPOCH, Fate, Stage};
use crate::{Clock, Error, ErrorKind, Result, Timestamp};

/// Where a host is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Life {
    Awake,
    /// It does nothing, and knows nothing of it.
    Paused,
    Dead,
}

/// One host process, from its start to its death.
pub(super) struct Host {
    pub(super) stage: Arc<Stage>,
    /// Counts the hosts of a simulation.
    pub(super) number: u32,
    life: Mutex<Life>,
    /// Rings when it changes. Not a watch channel: that wakes those who wait in an order of its own.
    changed: Notify,
    /// How far its wall clock is off, in seconds.
    offset: AtomicI64,
    began: Instant,
}

impl Host {
    pub(super) fn new(stage: Arc<Stage>, number: u32, offset: i64) -> Self {
        Self {
            stage,
            number,
            life: Mutex::new(Life::Awake),
            changed: Notify::new(),
            offset: AtomicI64::new(offset),
            began: Instant::now(),
        }
    }

    pub(super) fn life(&self) -> Life {
        *self.life.lock().unwrap()
    }

    /// The dead stay dead.
    pub(super) fn set(&self, life: Life) {
        let mut now = self.life.lock().unwrap();
        if *now != Life::Dead {
            *now = life;
        }
        drop(now);
        self.changed.notify_waiters();
        if life == Life::Dead {
            self.stage.deaths.notify_one();
        }
    }

    pub(super) fn jump(&self, seconds: i64) {
        self.offset.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(super) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Passes while the host is awake. The dead wait for ever.
    pub(super) async fn gate(&self) {
        while self.life() != Life::Awake {
            self.changed.notified().await;
        }
    }

    /// Takes a call to where it has its effect, and its answer back: each way may be long, or lead nowhere.
    pub(super) async fn call<T: Send>(
        &self,
        what: &'static str,
        effect: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        self.gate().await;
        let fate = self.stage.fate();
        self.travel(fate.request).await;
        match fate.end {
            Fate::CrashBefore if self.stage.is_stormy() => self.die(what).await,
            Fate::ErrorBefore => {
                self.stage.trace(self.number, what, "had no effect");
                return Err(unavailable());
            }
            _ => {}
        }
        let answer = effect();
        self.stage.trace(self.number, what, if answer.is_ok() { "ok" } else { "refused" });
        self.travel(fate.answer).await;
        match fate.end {
            Fate::CrashAfter if self.stage.is_stormy() => self.die(what).await,
            Fate::ErrorAfter => {
                self.stage.trace(self.number, what, "its answer is lost");
                Err(unavailable())
            }
            _ => answer,
        }
    }

    pub(super) async fn travel(&self, duration: Duration) {
        if !duration.is_zero() {
            sleep(duration).await;
        }
        self.gate().await;
    }

    async fn die<T>(&self, what: &'static str) -> T {
        self.stage.trace(self.number, what, "dies");
        self.set(Life::Dead);
        std::future::pending().await
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("number", &self.number).finish_non_exhaustive()
    }
}

#[async_trait]
impl Clock for Host {
    fn now(&self) -> Timestamp {
        EPOCH + jiff::SignedDuration::from_secs(self.offset()) + self.stage.now()
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        sleep(duration).await;
        self.gate().await;
    }
}

pub(super) fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "no answer")
}

/// Sleeps in simulated time.
#[expect(clippy::disallowed_methods, reason = "this time is simulated, and owned by the simulation")]
pub(super) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
