//! An executor that runs nothing: what is left is the engine itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Clock, OwnerId, Result, SystemClock,
    executor::{
        AttemptRef, AttemptSpec, Capabilities, Ended, Execution, ExecutionHandle, Executor, Reattached, Start,
    },
    run::{Exit, ExitReport, LogSummary, StopCause},
};
use tokio::sync::{Notify, Semaphore};

/// Ends every attempt well as soon as it is started, in this process.
#[derive(Clone, Debug)]
pub struct Noop {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: SystemClock,
    ended: AtomicU64,
    moved: Notify,
    room: Semaphore,
}

impl Noop {
    /// An executor before which at most `backlog` runs wait.
    pub fn new(backlog: usize) -> Self {
        let shared = Shared {
            clock: SystemClock::new(),
            ended: AtomicU64::new(0),
            moved: Notify::new(),
            room: Semaphore::new(backlog),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Waits until the backlog has room for one more run, and takes it.
    pub async fn room(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = self.shared.room.acquire().await {
            permit.forget();
        }
    }

    /// Waits until `count` attempts have ended and their end is durable.
    pub async fn ended(&self, count: u64) {
        loop {
            let moved = self.shared.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.shared.ended.load(Ordering::Acquire) >= count {
                return;
            }
            moved.await;
        }
    }
}

#[async_trait]
impl Executor for Noop {
    fn kind(&self) -> &'static str {
        "noop"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }

    async fn start(&self, spec: AttemptSpec) -> Result<Start> {
        let handle =
            ExecutionHandle { attempt: spec.id, native_id: "noop".into(), detail: serde_json::Value::Null };
        Ok(Start::Started(Box::new(NoopExecution { shared: Arc::clone(&self.shared), handle })))
    }

    async fn list(&self, _owner: &OwnerId) -> Result<Vec<ExecutionHandle>> {
        Ok(Vec::new())
    }

    async fn reattach(&self, _attempt: &AttemptRef) -> Result<Reattached> {
        Ok(Reattached::NeverStarted)
    }
}

#[derive(Debug)]
struct NoopExecution {
    shared: Arc<Shared>,
    handle: ExecutionHandle,
}

#[async_trait]
impl Execution for NoopExecution {
    fn handle(&self) -> &ExecutionHandle {
        &self.handle
    }

    async fn wait(&self) -> Result<Ended> {
        let now = self.shared.clock.now();
        Ok(Ended::Exited(ExitReport {
            exit: Exit::Code(0),
            stopped_by: None,
            started_at: now,
            ended_at: now,
            duration: Duration::ZERO,
            cpu_time: None,
            peak_memory_bytes: None,
            oom_kills: 0,
            log: LogSummary::empty(),
        }))
    }

    async fn stop(&self, _grace: Duration, _cause: StopCause) -> Result<()> {
        Ok(())
    }

    /// Called once the end is in the store.
    async fn remove(&self) -> Result<()> {
        self.shared.ended.fetch_add(1, Ordering::AcqRel);
        self.shared.room.add_permits(1);
        self.shared.moved.notify_waiters();
        Ok(())
    }
}
