//! Streams of the orchestrator, to be iterated with `for` and with `async for`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fastflow_core::{Error, Result};
use futures::{StreamExt as _, stream::BoxStream};
use pyo3::{
    exceptions::{PyRuntimeError, PyStopAsyncIteration, PyStopIteration},
    prelude::*,
};
use tokio::sync::mpsc;

use crate::{
    engine::Shared,
    operation::{Finish, Operation, Record},
    process::Owned,
};

/// Items that cross to Python at once: crossing costs more than most items do.
const BATCH_ITEMS: usize = 1024;

/// Makes the Python values of a batch.
type Batch = Box<dyn FnOnce(Python<'_>) -> PyResult<Vec<Py<PyAny>>> + Send>;

/// What has come and was not fetched yet. It outlives the call that brought it: who stops waiting loses nothing.
#[derive(Default)]
struct Arrived {
    batches: VecDeque<std::result::Result<Batch, Error>>,
    ended: bool,
}

/// A stream of the orchestrator.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Stream {
    shared: Arc<Shared>,
    source: Owned<Arc<tokio::sync::Mutex<BoxStream<'static, Result<Batch>>>>>,
    arrived: Owned<Arc<Mutex<Arrived>>>,
    ready: Mutex<VecDeque<Py<PyAny>>>,
    then: Option<Py<PyAny>>,
    timeout: Option<f64>,
}

impl Stream {
    /// Of these items, each given to `then`; with so many seconds for each wait. To be called within the runtime.
    pub(crate) fn of<T: Record>(
        shared: &Arc<Shared>,
        items: BoxStream<'static, Result<T>>,
        then: Option<Py<PyAny>>,
        timeout: Option<f64>,
    ) -> Self {
        let (to, from) = mpsc::channel(BATCH_ITEMS);
        tokio::spawn(drive(items, to));
        let batches = futures::stream::unfold(from, |mut from| async move {
            let mut arrived = Vec::new();
            let count = from.recv_many(&mut arrived, BATCH_ITEMS).await;
            (count > 0).then(|| (batches(arrived), from))
        });
        let batches = batches.flat_map(futures::stream::iter);
        Self {
            shared: Arc::clone(shared),
            source: Owned::new(Arc::new(tokio::sync::Mutex::new(batches.boxed()))),
            arrived: Owned::new(Arc::default()),
            ready: Mutex::default(),
            then,
            timeout,
        }
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<Py<PyAny>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item of those that have come. `None` when one must be waited for.
    fn fetch(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        loop {
            let item = self.ready().pop_front();
            if let Some(item) = item {
                return match &self.then {
                    Some(then) => then.call1(py, (item,)).map(Some),
                    None => Ok(Some(item)),
                };
            }
            let Some(batch) = fetch_batch(&self.arrived) else { return Ok(None) };
            let items = batch.map_err(|error| self.shared.raised(py, &error))?(py)?;
            self.ready().extend(items);
        }
    }

    fn ended(&self) -> bool {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Waits until there is something to fetch, or nothing more to come.
    fn more(&self) -> Operation {
        let source = Arc::clone(&self.source);
        let arrived = Arc::clone(&self.arrived);
        Operation::new(
            &self.shared,
            Box::pin(async move {
                let next = source.lock().await.next().await;
                let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
                match next {
                    Some(batch) => {
                        arrived.ended |= batch.is_err();
                        arrived.batches.push_back(batch);
                    }
                    None => arrived.ended = true,
                }
                Ok(Box::new(|py: Python<'_>| Ok(py.None())) as Finish)
            }),
        )
    }
}

/// Reads ahead, so that a reader who pauses never leaves a question to the store half asked: it would keep the store from
/// being closed.
async fn drive<T>(mut items: BoxStream<'static, Result<T>>, to: mpsc::Sender<Result<T>>) {
    loop {
        let item = tokio::select! {
            biased;
            () = to.closed() => return,
            item = items.next() => item,
        };
        let Some(item) = item else { return };
        if to.send(item).await.is_err() {
            return;
        }
    }
}

/// What has arrived as one batch, and the error behind it.
fn batches<T: Record>(arrived: Vec<Result<T>>) -> impl Iterator<Item = Result<Batch>> {
    let mut found = Vec::with_capacity(arrived.len());
    let mut failed = None;
    for item in arrived {
        match item {
            Ok(item) => found.push(item),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    // An empty one would look like the end to whoever waits for an item.
    let batch = (!found.is_empty()).then(|| {
        Ok(Box::new(move |py: Python<'_>| found.into_iter().map(|item| item.into_python(py)).collect())
            as Batch)
    });
    [batch, failed.map(Err)].into_iter().flatten()
}

fn fetch_batch(arrived: &Mutex<Arrived>) -> Option<std::result::Result<Batch, Error>> {
    arrived.lock().unwrap_or_else(PoisonError::into_inner).batches.pop_front()
}

#[pymethods]
impl Stream {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.shared.check(py)?;
        loop {
            if let Some(item) = self.fetch(py)? {
                return Ok(Some(item));
            }
            if self.ended() {
                return Ok(None);
            }
            self.more().block(py, self.timeout)?;
        }
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(slf: Bound<'_, Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let this = slf.get();
        this.shared.check(py)?;
        if let Some(item) = this.fetch(py)? {
            return Ok(Bound::new(py, Ready { item: Mutex::new(Some(item)) })?.into_any().unbind());
        }
        if this.ended() {
            return Err(PyStopAsyncIteration::new_err(()));
        }
        let fetched = Bound::new(py, Fetched { stream: slf.clone().unbind() })?;
        let more = this.more().then(py, fetched.into_any().unbind())?;
        let more = Bound::new(py, more)?;
        more.call_method1("within", (this.timeout,))?;
        Ok(more.into_any().unbind())
    }
}

/// Takes the item that a wait has brought, in the thread of the loop.
#[pyclass(frozen, module = "fastflow._fastflow")]
struct Fetched {
    stream: Py<Stream>,
}

#[pymethods]
impl Fetched {
    fn __call__(&self, py: Python<'_>, _none: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let stream = self.stream.get();
        match stream.fetch(py)? {
            Some(item) => Ok(item),
            None if stream.ended() => Err(PyStopAsyncIteration::new_err(())),
            None => Err(PyRuntimeError::new_err(
                "two tasks iterate over one stream; give each a stream of its own",
            )),
        }
    }
}

/// An item that is there already: awaiting it costs no turn of the loop.
#[pyclass(frozen, module = "fastflow._fastflow")]
struct Ready {
    item: Mutex<Option<Py<PyAny>>>,
}

#[pymethods]
impl Ready {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<()> {
        let item = self.item.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(PyStopIteration::new_err((item.unwrap_or_else(|| py.None()),)))
    }
}
