//! One orchestrator with a runtime of its own.

use std::{
    future::Future,
    mem::ManuallyDrop,
    os::fd::{AsRawFd, RawFd},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastflow_core::{Error, ErrorKind, HostInfo, Orchestrator, Shutdown, hosting::HostPlace};
use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyDict};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
};
use tracing::Dispatch;

use crate::{
    code::Code,
    config::Config,
    error,
    events::Events,
    mailbox::Mailboxes,
    operation::{Operation, Record, seconds},
    packages::Packages,
    pipelines::Pipelines,
    process::Process,
    record::Fields,
    runs::Runs,
    schedules::Schedules,
    secrets::Secrets,
    source::Source,
    stream::Stream,
};

/// Threads that work for one flow. They wait nearly always.
const WORKERS_MAX: usize = 4;
/// How long blocking work may hold up the end of a flow, such as a look at a slow disk.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// What the parts of one flow have in common.
pub(crate) struct Shared {
    process: Process,
    config: Config,
    dispatch: Dispatch,
    /// Kept, and not dropped, in a forked child: the threads that would have to end are not there.
    parts: ManuallyDrop<Parts>,
    mailboxes: Mailboxes,
}

struct Parts {
    /// Nothing else keeps a handle of it: that would keep its descriptors.
    runtime: Mutex<Option<Runtime>>,
    /// From its opening to the end of the threads: what it holds, such as files, goes with them.
    flow: RwLock<Option<Orchestrator>>,
    /// Whether the flow is being closed, or was.
    closing: AtomicBool,
    /// Rings when the threads are about to end.
    stopping: watch::Sender<bool>,
    blocked: Blocked,
}

/// How many threads of Python's are inside the runtime now. It must not end under them.
#[derive(Default)]
struct Blocked {
    threads: Mutex<usize>,
    left: Condvar,
}

impl Blocked {
    fn threads(&self) -> MutexGuard<'_, usize> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them; it leaves when this is dropped.
struct Inside<'a>(&'a Blocked);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        *self.0.threads() -= 1;
        self.0.left.notify_all();
    }
}

impl Drop for Shared {
    #[expect(unsafe_code, reason = "dropped once, here, and only where its threads are")]
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        let runtime = self.take_runtime();
        let handle = runtime.as_ref().map(|runtime| runtime.handle().clone());
        let _entered = handle.as_ref().map(Handle::enter);
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
        self.config.end_services();
        self.mailboxes.ring_all();
        // SAFETY: this is the only place that drops it, and nothing uses it afterwards.
        unsafe { ManuallyDrop::drop(&mut self.parts) }
    }
}

impl Shared {
    fn take_runtime(&self) -> Option<Runtime> {
        self.parts.runtime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Refuses calls in a forked child.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.process.check(py)
    }

    /// The runtime, while there is one.
    pub(crate) fn handle(&self, py: Python<'_>) -> PyResult<Handle> {
        self.check(py)?;
        let runtime = self.parts.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        runtime.as_ref().map(|runtime| runtime.handle().clone()).ok_or_else(|| error::closed(py))
    }

    /// Carries a future out in this thread, which must not hold the interpreter. `None` when the flow ends first.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let (handle, inside) = {
            let runtime = self.parts.runtime.lock().unwrap_or_else(PoisonError::into_inner);
            let handle = runtime.as_ref()?.handle().clone();
            *self.parts.blocked.threads() += 1;
            (handle, Inside(&self.parts.blocked))
        };
        let mut stopping = self.parts.stopping.subscribe();
        let waiting = async {
            tokio::select! {
                biased;
                answer = future => Some(answer),
                _ = stopping.wait_for(|stopping| *stopping) => None,
            }
        };
        // What is said in this thread is heard by the log of the flow, too.
        let answer = tracing::dispatcher::with_default(&self.dispatch, || handle.block_on(waiting));
        drop(inside);
        answer
    }

    /// The exception for an error. What a flow cannot do because it was closed is told as that.
    pub(crate) fn raised(&self, py: Python<'_>, error: &Error) -> PyErr {
        if error.kind() == ErrorKind::Unavailable && self.parts.closing.load(Ordering::Acquire) {
            return error::closed(py);
        }
        error::raised(py, error)
    }

    /// The mailboxes of event loops.
    pub(crate) fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes
    }

    fn flow(&self) -> Result<Orchestrator, Error> {
        let opened = self.parts.flow.read().unwrap_or_else(PoisonError::into_inner).clone();
        opened.ok_or_else(|| Error::new(ErrorKind::Unavailable, "this flow was not opened yet"))
    }

    fn keep(&self, flow: &Orchestrator) -> Result<(), Error> {
        let mut kept = self.parts.flow.write().unwrap_or_else(PoisonError::into_inner);
        if kept.is_some() {
            return Err(Error::new(ErrorKind::Conflict, "a flow is opened once"));
        }
        *kept = Some(flow.clone());
        Ok(())
    }

    /// One call of the orchestrator.
    pub(crate) fn call<T: Record, F>(
        self: &Arc<Self>,
        call: impl FnOnce(Orchestrator) -> F + Send + 'static,
    ) -> Operation
    where
        F: Future<Output = fastflow_core::Result<T>> + Send + 'static,
    {
        let flow = self.flow();
        Operation::of(self, async move { call(flow?).await })
    }

    /// A stream of the orchestrator's.
    pub(crate) fn stream<T: Record>(
        self: &Arc<Self>,
        py: Python<'_>,
        items: impl FnOnce(&Orchestrator) -> futures::stream::BoxStream<'static, fastflow_core::Result<T>>,
        options: StreamOptions,
    ) -> PyResult<Stream> {
        let handle = self.handle(py)?;
        let _entered = handle.enter();
        let flow = self.flow().map_err(|error| error::raised(py, &error))?;
        Ok(Stream::of(self, items(&flow), options.then, options.timeout))
    }
}

/// How a stream crosses.
pub(crate) struct StreamOptions {
    /// What each item is given to.
    pub(crate) then: Option<Py<PyAny>>,
    /// How many seconds each item is waited for.
    pub(crate) timeout: Option<f64>,
}

/// Has what is said in this thread, which is one of the flow's, heard by its log until the thread ends.
fn hear(dispatch: &Dispatch) {
    std::mem::forget(tracing::dispatcher::set_default(dispatch));
}

/// One orchestrator with a runtime of its own.
#[pyclass(frozen, module = "fastflow._fastflow", weakref)]
pub(crate) struct Engine {
    shared: Arc<Shared>,
}

#[pymethods]
impl Engine {
    /// Nothing is opened yet. `options` is what `fastflow.open` was given.
    #[new]
    fn new(options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let config = Config::read(options)?;
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(WORKERS_MAX);
        let dispatch = config.dispatch();
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("fastflow")
            .on_thread_start({
                let dispatch = dispatch.clone();
                move || hear(&dispatch)
            })
            .enable_all()
            .build()
            .map_err(|error| {
                PyRuntimeError::new_err(format!("cannot start the threads of a flow: {error}"))
            })?;
        let parts = Parts {
            runtime: Mutex::new(Some(runtime)),
            flow: RwLock::default(),
            closing: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
            blocked: Blocked::default(),
        };
        let parts = ManuallyDrop::new(parts);
        Ok(Self {
            shared: Arc::new(Shared {
                process: Process::current(),
                config,
                dispatch,
                parts,
                mailboxes: Mailboxes::default(),
            }),
        })
    }

    /// Opens the data directory, and hosts as it was told to.
    fn open(&self) -> Operation {
        let shared = Arc::clone(&self.shared);
        Operation::of(&self.shared, async move {
            let flow = shared.config.builder()?.build().await?;
            // Known before it hosts: whoever forks meanwhile must be able to let go of its locks.
            shared.keep(&flow)?;
            flow.start().await?;
            shared.config.check_source(&flow).await
        })
    }

    /// Ends the work of the host. Programs run on, unless it drains them: then it waits for `drain` seconds, and stops
    /// what is left with `grace` seconds between asking and killing.
    #[pyo3(signature = (drain = None, grace = 10.0))]
    fn close(&self, drain: Option<f64>, grace: f64) -> PyResult<Operation> {
        let how = match drain {
            Some(patience) => Shutdown::Drain { patience: seconds(patience)?, grace: seconds(grace)? },
            None => self.shared.config.shutdown(seconds(grace)?),
        };
        let shared = Arc::clone(&self.shared);
        Ok(Operation::of(&self.shared, async move {
            shared.parts.closing.store(true, Ordering::Release);
            match shared.flow() {
                Ok(flow) => flow.shutdown(how).await,
                Err(_) => Ok(()),
            }
        }))
    }

    /// Ends the threads of the flow. Nothing can be called after it.
    fn stop(&self, py: Python<'_>) {
        if !self.shared.process.is_current() {
            return;
        }
        let parts = &self.shared.parts;
        parts.closing.store(true, Ordering::Release);
        parts.stopping.send_replace(true);
        py.detach(|| {
            // Nobody enters any more once it is taken.
            let Some(runtime) = self.shared.take_runtime() else { return };
            let waiting =
                parts
                    .blocked
                    .left
                    .wait_timeout_while(parts.blocked.threads(), STOP_LIMIT, |inside| *inside > 0);
            drop(waiting);
            let entered = runtime.enter();
            drop(parts.flow.write().unwrap_or_else(PoisonError::into_inner).take());
            drop(entered);
            runtime.shutdown_timeout(STOP_LIMIT);
        });
        self.shared.config.end_services();
        self.shared.mailboxes.ring_all();
    }

    /// Whether the flow belongs to this process, and its threads with it.
    fn is_own(&self) -> bool {
        self.shared.process.is_current()
    }

    /// Whether the flow belongs to this process, and was not stopped.
    fn is_alive(&self, py: Python<'_>) -> bool {
        self.shared.handle(py).is_ok()
    }

    /// The data directory.
    #[getter]
    fn data_dir(&self) -> PathBuf {
        self.shared.config.data_dir().to_owned()
    }

    /// Who hosts the data directory now.
    fn host(&self) -> Operation {
        self.shared.call(|flow| async move { flow.host().await })
    }

    /// The descriptors whose locks a forked child shares with this process, for the child to open something else there.
    fn inherited_locks(&self) -> Vec<RawFd> {
        // Never waited for: in a forked child, who changes it is not there.
        let Ok(flow) = self.shared.parts.flow.try_read() else { return Vec::new() };
        let locks = flow.as_ref().map(Orchestrator::inherited_locks).unwrap_or_default();
        locks.iter().map(AsRawFd::as_raw_fd).collect()
    }

    /// Code that is in no source.
    #[getter]
    fn code(&self) -> Code {
        Code::new(&self.shared)
    }

    /// The runs.
    #[getter]
    fn runs(&self) -> Runs {
        Runs::new(&self.shared)
    }

    /// The pipelines.
    #[getter]
    fn pipelines(&self) -> Pipelines {
        Pipelines::new(&self.shared)
    }

    /// The schedules.
    #[getter]
    fn schedules(&self) -> Schedules {
        Schedules::new(&self.shared)
    }

    /// The events.
    #[getter]
    fn events(&self) -> Events {
        Events::new(&self.shared)
    }

    /// The packages.
    #[getter]
    fn packages(&self) -> Packages {
        Packages::new(&self.shared)
    }

    /// The secrets.
    #[getter]
    fn secrets(&self) -> Secrets {
        Secrets::new(&self.shared)
    }

    /// The source of pipelines.
    #[getter]
    fn source(&self) -> Source {
        Source::new(&self.shared)
    }
}

impl Record for HostInfo {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let fields = Fields::new(py).with("pid", self.pid)?.with("since", self.since)?;
        let fields = fields.with("is_here", self.place == HostPlace::Here)?;
        Ok(fields.with("source", self.source)?.done())
    }
}
