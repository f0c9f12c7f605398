//! An executor for work that can wait: its programs run at a low priority, so the machine stays lively.
//!
//! It shows what an executor of your own has to do, and what it had better leave to others:
//!
//! - It **starts** attempts. Here, from threads with a low priority, which the kernel hands down to everything
//!   that is started from them: no program runs a single instruction at another.
//! - It **keeps no table** of what it started: [`list`](Executor::list) and [`reattach`](Executor::reattach) ask
//!   the runtime, here the files of the [`ProcessExecutor`]. So a host that was killed loses nothing.
//! - It **never starts an attempt twice**. The shim's guard file sees to that. An executor whose sandbox has no
//!   shim takes the same guard before it starts anything, and voids it in `reattach`; and it writes `log.ndjson`
//!   itself, with [`LogWriter`](fastflow_core::journal::LogWriter).
//! - It **claims only what it can**: [`capabilities`](Executor::capabilities) chooses the cases of the
//!   conformance suite that it has to pass, and `tests/custom_executor.rs` runs them.

use std::sync::Arc;

use async_trait::async_trait;
use fastflow_core::{
    Error, ErrorKind, OwnerId, Result,
    executor::{
        AttemptRef, AttemptSpec, Capabilities, ExecutionHandle, Executor, ProcessExecutor, Reattached, Start,
    },
};
use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Runtime};

/// The priority of the programs, as of `nice`: the largest number is the lowest priority.
pub(crate) const NICENESS: i32 = 15;
/// The threads that start programs.
const THREADS: usize = 1;

/// Runs programs as local processes that give way to everything else.
#[derive(Debug)]
pub(crate) struct PatientExecutor {
    inner: Arc<ProcessExecutor>,
    threads: Option<Runtime>,
}

impl PatientExecutor {
    /// Starts programs through `inner`, at a low priority.
    ///
    /// # Errors
    ///
    /// When the threads cannot be made.
    pub(crate) fn new(inner: ProcessExecutor) -> Result<Self> {
        let threads = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("patient")
            .enable_all()
            // On Linux the priority belongs to the thread, and `None` is the one that asks.
            .on_thread_start(|| {
                if let Err(error) = setpriority_process(None, NICENESS) {
                    tracing::warn!(%error, "programs run at the usual priority");
                }
            })
            .build()?;
        Ok(Self { inner: Arc::new(inner), threads: Some(threads) })
    }
}

#[async_trait]
impl Executor for PatientExecutor {
    fn kind(&self) -> &'static str {
        "patient"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn probe(&self) -> Result<()> {
        self.inner.probe().await
    }

    async fn start(&self, spec: AttemptSpec) -> Result<Start> {
        let closed = || Error::new(ErrorKind::Unavailable, "the executor has been closed");
        let inner = Arc::clone(&self.inner);
        let start = self.threads.as_ref().ok_or_else(closed)?.spawn(async move { inner.start(spec).await });
        // A start that nobody waits for any more goes on to its end, and `reattach` finds it.
        start.await.map_err(|panic| Error::new(ErrorKind::Internal, "starting panicked").because(panic))?
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<ExecutionHandle>> {
        self.inner.list(owner).await
    }

    async fn reattach(&self, attempt: &AttemptRef) -> Result<Reattached> {
        self.inner.reattach(attempt).await
    }
}

impl Drop for PatientExecutor {
    fn drop(&mut self) {
        // Dropping the threads waits for them, which asynchronous code must not do. Programs go on either way.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}
