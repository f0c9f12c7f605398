//! What one exchange with a server may use, and why it ended.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::GitLimits;
use crate::{
    Clock,
    source::{SyncFailure, SyncFailureKind as Kind},
};

/// How long anything waits at most until it looks whether it still may.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Watches over one exchange. Whoever sees it fail first says why, in words and by kind: what comes out at the other end
/// of the library that speaks git has lost that.
pub(super) struct Watch {
    clock: Arc<dyn Clock>,
    limits: GitLimits,
    deadline: Duration,
    received: AtomicU64,
    /// Of the caller, who wants all of this to end.
    interrupt: Arc<AtomicBool>,
    /// Set as soon as there is a cause: work that only computes looks at it.
    stop: AtomicBool,
    cause: Mutex<Option<SyncFailure>>,
}

impl Watch {
    pub(super) fn new(clock: Arc<dyn Clock>, limits: GitLimits, interrupt: &Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            deadline: clock.elapsed() + limits.fetch_timeout,
            clock,
            limits,
            received: AtomicU64::new(0),
            interrupt: Arc::clone(interrupt),
            stop: AtomicBool::new(false),
            cause: Mutex::new(None),
        })
    }

    /// One for a question aside: with the same time, and a cause of its own.
    pub(super) fn apart(&self) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(&self.clock),
            limits: self.limits,
            deadline: self.deadline,
            received: AtomicU64::new(0),
            interrupt: Arc::clone(&self.interrupt),
            stop: AtomicBool::new(false),
            cause: Mutex::new(None),
        })
    }

    /// Says why the exchange ends. The first one is right: what follows, follows from it.
    pub(super) fn fail(&self, kind: Kind, message: impl AsRef<str>) -> io::Error {
        let failure = SyncFailure::new(kind, message);
        let text = failure.to_string();
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.stop.store(true, Ordering::SeqCst);
        io::Error::other(text)
    }

    pub(super) fn cause(&self) -> Option<SyncFailure> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts what has come.
    pub(super) fn receive(&self, bytes: usize) -> io::Result<()> {
        let before = self.received.fetch_add(bytes as u64, Ordering::SeqCst);
        if before + bytes as u64 <= self.limits.max_fetch_bytes {
            return Ok(());
        }
        let message = format!(
            "the server sent more than the {} bytes that a fetch may bring; raise max_fetch_bytes, or keep data \
             out of the repository",
            self.limits.max_fetch_bytes
        );
        Err(self.fail(Kind::TooLarge, message))
    }

    /// Bytes that have come.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Whether it may go on, when the server has said nothing since `silent_since`.
    pub(super) fn check(&self, silent_since: Duration) -> io::Result<()> {
        self.may_go_on()?;
        if self.clock.elapsed().saturating_sub(silent_since) < self.limits.silence_timeout {
            return Ok(());
        }
        let message = format!("the server said nothing for {:?}", self.limits.silence_timeout);
        Err(self.fail(Kind::TimedOut, message))
    }

    fn may_go_on(&self) -> io::Result<()> {
        if self.interrupt.load(Ordering::SeqCst) {
            return Err(self.fail(Kind::TimedOut, "the sync was broken off by its host"));
        }
        if self.clock.elapsed() > self.deadline {
            let message = format!("the fetch was not done within {:?}", self.limits.fetch_timeout);
            return Err(self.fail(Kind::TimedOut, message));
        }
        Ok(())
    }

    /// Waits for a future, for as long as the server may be silent.
    pub(super) async fn wait<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        let mut future = std::pin::pin!(future);
        let since = self.clock.elapsed();
        loop {
            tokio::select! {
                biased;
                output = &mut future => return Ok(output),
                () = self.clock.sleep(TICK) => self.check(since)?,
            }
        }
    }

    /// Runs work that is stopped by the flag that it gets, when its time is over or its host wants it to end.
    pub(super) fn over<T>(&self, work: impl FnOnce(&AtomicBool) -> T) -> T {
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let watching = scope.spawn(|| {
                while !is_done.load(Ordering::SeqCst) && self.may_go_on().is_ok() {
                    thread::park_timeout(TICK);
                }
            });
            let done = Done { is_done: &is_done, watching: watching.thread() };
            let output = work(&self.stop);
            drop(done);
            output
        })
    }
}

/// Ends the watching thread, also when the work panics: the scope waits for it.
struct Done<'a> {
    is_done: &'a AtomicBool,
    watching: &'a thread::Thread,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::SeqCst);
        self.watching.unpark();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("received", &self.received()).finish_non_exhaustive()
    }
}
