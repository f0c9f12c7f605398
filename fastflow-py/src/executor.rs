//! Executors that are written in Python.
//!
//! The orchestrator's calls wait in a queue, as values. Threads of Python's take them from there, run the methods, and
//! bring the answers back as JSON, with the object of an execution where there is one. So a method that hangs keeps one
//! of those threads, and no thread of ours.

mod call;
mod wire;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Clock as _, Error, ErrorKind, OwnerId, Result, SystemClock,
    executor::{
        AttemptRef, AttemptSpec, Capabilities, Ended, Execution, ExecutionHandle, Executor, Reattached, Start,
    },
    run::StopCause,
};
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use pyo3::prelude::*;
use tokio::sync::oneshot;

use self::{
    call::{Answer, Ask},
    wire::{FoundAnswer, HandleAnswer, StartAnswer},
};
pub(crate) use self::{
    call::{Call, ExecutorPort},
    wire::{EndedAnswer, read_attempt, read_cause, read_spec},
};
use crate::queue::{Queue, Refused};

/// Calls that may wait for a thread. Far more than there are runs in flight, each of which has one.
const MAX_WAITING_CALLS: usize = 4096;

/// What calls go through.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// Calls that are answered soon.
    pub(crate) calls: Queue<Call>,
    /// Calls that are answered when a program has ended. They have threads of their own, for they keep them.
    pub(crate) waits: Queue<Call>,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self { calls: Queue::new(MAX_WAITING_CALLS), waits: Queue::new(MAX_WAITING_CALLS) }
    }

    /// No call is answered any more.
    pub(crate) fn close(&self) {
        self.calls.close();
        self.waits.close();
    }
}

/// An executor whose methods are Python's.
#[derive(Clone, Debug)]
pub(crate) struct PythonExecutor {
    lanes: Arc<Lanes>,
    capabilities: Capabilities,
    call_timeout: Duration,
    clock: SystemClock,
}

impl PythonExecutor {
    pub(crate) fn new(lanes: Arc<Lanes>, capabilities: Capabilities, call_timeout: Duration) -> Self {
        Self { lanes, capabilities, call_timeout, clock: SystemClock::new() }
    }

    /// One call, answered within the limit of this executor.
    async fn call(&self, ask: Ask) -> Result<Answer> {
        let method = ask.method();
        let answer = put(&self.lanes.calls, ask);
        tokio::select! {
            biased;
            answer = answer => answer,
            () = self.clock.sleep(self.call_timeout) => Err(Error::new(
                ErrorKind::Unavailable,
                "a method of an executor has not answered in time; whether it has had an effect is unknown",
            )
            .with("method", method)
            .with("seconds", self.call_timeout.as_secs_f64())),
        }
    }

    fn execution(&self, handle: HandleAnswer, object: Option<Py<PyAny>>) -> Result<Box<dyn Execution>> {
        let handle = handle.try_into()?;
        let object = object.map(Arc::new).ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                "an executor has given no execution for an attempt that was started",
            )
        })?;
        Ok(Box::new(PythonExecution { executor: self.clone(), handle, object, end: Mutex::default() }))
    }
}

/// Puts a call into a queue, and waits for its answer.
fn put(queue: &Queue<Call>, ask: Ask) -> impl Future<Output = Result<Answer>> + Send + use<> {
    let (reply, answer) = oneshot::channel();
    let put = queue.put(Call::new(ask, reply)).map_err(|refused| match refused {
        Refused::Full => {
            Error::new(ErrorKind::Unavailable, "too many calls of an executor wait for a thread")
        }
        Refused::Closed => Error::new(ErrorKind::Unavailable, "the flow of the executor is closed"),
    });
    async move {
        put?;
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "the thread that ran a method of an executor has ended"))
        })
    }
}

#[async_trait]
impl Executor for PythonExecutor {
    fn kind(&self) -> &'static str {
        "python"
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn probe(&self) -> Result<()> {
        self.call(Ask::Probe).await.map(drop)
    }

    async fn start(&self, spec: AttemptSpec) -> Result<Start> {
        self.capabilities.check(spec.requirements())?;
        let answer = self.call(Ask::Start(Box::new(spec))).await?;
        Ok(match wire::read(&answer.json)? {
            StartAnswer::Started { handle } => Start::Started(self.execution(handle, answer.execution)?),
            StartAnswer::Failed { failure } => Start::Failed(failure),
        })
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<ExecutionHandle>> {
        let handles: Vec<HandleAnswer> = wire::read(&self.call(Ask::List(owner.clone())).await?.json)?;
        handles.into_iter().map(TryInto::try_into).collect()
    }

    async fn reattach(&self, attempt: &AttemptRef) -> Result<Reattached> {
        let answer = self.call(Ask::Reattach(Box::new(attempt.clone()))).await?;
        Ok(match wire::read(&answer.json)? {
            FoundAnswer::Found { handle } => Reattached::Found(self.execution(handle, answer.execution)?),
            FoundAnswer::NeverStarted => Reattached::NeverStarted,
            FoundAnswer::Lost { cause } => Reattached::Lost(cause),
        })
    }
}

/// The end of an execution, asked for once however many wait for it.
type End = Shared<BoxFuture<'static, Result<Ended, Arc<Error>>>>;

/// One attempt in flight, behind an object of Python's.
struct PythonExecution {
    executor: PythonExecutor,
    handle: ExecutionHandle,
    object: Arc<Py<PyAny>>,
    end: Mutex<Option<End>>,
}

impl PythonExecution {
    fn end(&self) -> End {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.get_or_insert_with(|| {
            let answer = put(&self.executor.lanes.waits, Ask::Wait(Arc::clone(&self.object)));
            let read = async move { wire::read::<EndedAnswer>(&answer.await?.json) };
            read.map(|ended| ended.map(Ended::from).map_err(Arc::new)).boxed().shared()
        })
        .clone()
    }

    /// Lets the next one who waits ask again.
    fn forget(&self, failed: &End) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.as_ref().is_some_and(|end| end.ptr_eq(failed)) {
            *end = None;
        }
    }
}

impl fmt::Debug for PythonExecution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PythonExecution").field("handle", &self.handle).finish_non_exhaustive()
    }
}

#[async_trait]
impl Execution for PythonExecution {
    fn handle(&self) -> &ExecutionHandle {
        &self.handle
    }

    async fn wait(&self) -> Result<Ended> {
        let end = self.end();
        end.clone().await.map_err(|error| {
            self.forget(&end);
            Error::new(error.kind(), error.chain())
        })
    }

    async fn stop(&self, grace: Duration, cause: StopCause) -> Result<()> {
        self.executor.call(Ask::Stop(Arc::clone(&self.object), grace, cause)).await.map(drop)
    }

    async fn remove(&self) -> Result<()> {
        self.executor.call(Ask::Remove(Arc::clone(&self.object))).await.map(drop)
    }
}
