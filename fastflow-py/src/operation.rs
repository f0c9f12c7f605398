//! One call of the orchestrator, to be blocked on or awaited.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fastflow_core::{Clock as _, Error, ErrorKind, SystemClock};
use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::{engine::Shared, error, mailbox, process::Owned};

/// How often a blocked call looks whether somebody pressed Ctrl-C.
pub(crate) const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// Makes the Python value of a result, once a thread of Python's fetches it.
pub(crate) type Finish = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
/// The call itself.
pub(crate) type Work = Pin<Box<dyn Future<Output = Result<Finish, Error>> + Send>>;

/// A value that Python understands.
pub(crate) trait Record: Send + Sized + 'static {
    /// How much memory it takes up, roughly.
    fn held_bytes(&self) -> usize {
        size_of::<Self>()
    }

    /// The Python value.
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

impl Record for () {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}

impl<T: Record> Record for Option<T> {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.map_or_else(|| Ok(py.None()), |value| value.into_python(py))
    }
}

impl<T: Record> Record for Vec<T> {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let items: PyResult<Vec<_>> = self.into_iter().map(|item| item.into_python(py)).collect();
        Ok(pyo3::types::PyList::new(py, items?)?.into_any().unbind())
    }
}

/// One call of the orchestrator. It begins when somebody blocks on it or awaits it, and can be used once.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Operation {
    shared: Arc<Shared>,
    work: Owned<Mutex<Option<Work>>>,
    then: Option<Py<PyAny>>,
    within: Mutex<Option<f64>>,
}

impl Operation {
    pub(crate) fn new(shared: &Arc<Shared>, work: Work) -> Self {
        Self {
            shared: Arc::clone(shared),
            work: Owned::new(Mutex::new(Some(work))),
            then: None,
            within: Mutex::default(),
        }
    }

    /// An operation from a future of the orchestrator's.
    pub(crate) fn of<T: Record>(
        shared: &Arc<Shared>,
        future: impl Future<Output = fastflow_core::Result<T>> + Send + 'static,
    ) -> Self {
        let work = async move {
            let value = future.await?;
            Ok(Box::new(move |py: Python<'_>| value.into_python(py)) as Finish)
        };
        Self::new(shared, Box::pin(work))
    }

    /// Begins it, and answers an `asyncio.Future` of the running loop for its result, or for the end of these seconds.
    pub(crate) fn future<'py>(&self, py: Python<'py>, limit: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let work = self.take(py)?;
        let then = self.then.as_ref().map(|then| then.clone_ref(py));
        mailbox::deliver_later(py, &self.shared, work, mailbox::Wanted { then, limit })
    }

    fn take(&self, py: Python<'_>) -> PyResult<Work> {
        self.shared.check(py)?;
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.ok_or_else(|| PyRuntimeError::new_err("an operation is used once"))
    }
}

/// The Python value of a result, as `then` makes it.
pub(crate) fn finished(
    py: Python<'_>,
    shared: &Shared,
    result: Result<Finish, Error>,
    then: Option<&Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let value = result.map_err(|error| shared.raised(py, &error))?(py)?;
    match then {
        Some(then) => then.call1(py, (value,)),
        None => Ok(value),
    }
}

#[pymethods]
impl Operation {
    /// The same, with its result given to a function, in the thread that fetches it.
    fn then(&self, py: Python<'_>, function: Py<PyAny>) -> PyResult<Self> {
        let work = self.take(py)?;
        Ok(Self {
            shared: Arc::clone(&self.shared),
            work: Owned::new(Mutex::new(Some(work))),
            then: Some(function),
            within: Mutex::default(),
        })
    }

    /// The same, to be awaited for so many seconds at most.
    fn within(slf: Bound<'_, Self>, seconds: Option<f64>) -> Bound<'_, Self> {
        *slf.get().within.lock().unwrap_or_else(PoisonError::into_inner) = seconds;
        slf
    }

    /// The same, begun now in the threads of the flow, whenever somebody waits for it.
    fn begun(&self, py: Python<'_>) -> PyResult<Self> {
        let task = self.shared.handle(py)?.spawn(self.take(py)?);
        let work = async move {
            task.await.unwrap_or_else(|failed| {
                Err(Error::new(ErrorKind::Unavailable, "the flow ended first").because(failed))
            })
        };
        Ok(Self {
            shared: Arc::clone(&self.shared),
            work: Owned::new(Mutex::new(Some(Box::pin(work)))),
            then: self.then.as_ref().map(|then| then.clone_ref(py)),
            within: Mutex::default(),
        })
    }

    /// Waits for the result without holding the interpreter, for so many seconds at most. Ctrl-C ends it.
    #[pyo3(signature = (timeout = None))]
    pub(crate) fn block(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let mut work = self.take(py)?;
        let handle = self.shared.handle(py)?;
        let clock = SystemClock::new();
        let limit =
            timeout.map(limit).transpose()?.flatten().map(|limit| clock.elapsed().saturating_add(limit));
        loop {
            let left = limit.map(|limit| limit.saturating_sub(clock.elapsed()));
            let pause = left.map_or(SIGNALS_EVERY, |left| left.min(SIGNALS_EVERY));
            let answer = py.detach(|| {
                self.shared.block_on(async {
                    tokio::select! {
                        biased;
                        result = &mut work => Some(result),
                        () = clock.sleep(pause) => None,
                    }
                })
            });
            match answer {
                Some(Some(result)) => return finished(py, &self.shared, result, self.then.as_ref()),
                Some(None) => {}
                None => {
                    drop_within(&handle, work);
                    return Err(error::closed(py));
                }
            }
            if let Err(interrupt) = py.check_signals() {
                drop_within(&handle, work);
                return Err(interrupt);
            }
            if limit.is_some_and(|limit| clock.elapsed() >= limit) {
                drop_within(&handle, work);
                return Err(error::timed_out(py, timeout.unwrap_or_default()));
            }
        }
    }

    fn __await__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let limit = *self.within.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.future(py, limit)?.call_method0("__await__")?.unbind())
    }
}

/// What a future holds may want the runtime when it goes.
fn drop_within(handle: &tokio::runtime::Handle, work: Work) {
    let _entered = handle.enter();
    drop(work);
}

/// A length of time that Python gave as seconds.
pub(crate) fn seconds(given: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(given).map_err(|_| {
        let error =
            Error::new(ErrorKind::Invalid, "not a length of time").with("found", format!("{given} s"));
        Python::attach(|py| error::raised(py, &error))
    })
}

/// The same, where it is how long something is waited for at most: without end, there is no limit.
pub(crate) fn limit(given: f64) -> PyResult<Option<Duration>> {
    if given == f64::INFINITY { Ok(None) } else { seconds(given).map(Some) }
}
