//! Streams of the orchestrator, to be iterated with `for` and with `async for`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fastflow_core::{Error, Result};
use futures::{StreamExt as _, stream::BoxStream};
use pyo3::{
    exceptions::{PyStopAsyncIteration, PyStopIteration},
    prelude::*,
    types::{PyDict, PyList},
};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    engine::Shared,
    operation::{Finish, Operation, Record},
    process::Owned,
};

/// Items that cross to Python at once: crossing costs more than most items do.
const BATCH_ITEMS: usize = 1024;
/// How much is read ahead of a reader who pauses, and how much crosses at once. What is larger alone comes alone.
const READ_AHEAD_MAX_BYTES: u32 = 1024 * 1024;

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
        let room = Arc::new(Semaphore::new(READ_AHEAD_MAX_BYTES as usize));
        tokio::spawn(drive(items, to, Arc::clone(&room)));
        let batches = futures::stream::unfold((from, room), |(mut from, room)| async move {
            let mut arrived = Vec::new();
            let count = from.recv_many(&mut arrived, BATCH_ITEMS).await;
            (count > 0).then(|| (batches(arrived, &room), (from, room)))
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
                let made = self.made(item.bind(py));
                if made.is_err() {
                    // A handler of a signal may have raised in there. Whoever goes on misses nothing.
                    self.ready().push_front(item);
                }
                return made.map(Some);
            }
            let Some(batch) = fetch_batch(&self.arrived) else { return Ok(None) };
            let items = batch.map_err(|error| self.shared.raised(py, &error))?(py)?;
            self.ready().extend(items);
        }
    }

    /// What becomes of an item. `then` gets a copy, since it takes apart what it gets, and may be interrupted at that.
    fn made(&self, item: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match &self.then {
            Some(then) => then.call1(item.py(), (copied(item)?,)),
            None => Ok(item.clone().unbind()),
        }
    }

    /// Whether nothing is left. Something may have come since one has looked, with the end behind it.
    fn ended(&self) -> bool {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.ended && arrived.batches.is_empty()
    }

    /// Waits until there is something to fetch, or nothing more to come.
    fn more(&self) -> Operation {
        let source = Arc::clone(&self.source);
        let arrived = Arc::clone(&self.arrived);
        Operation::new(
            &self.shared,
            Box::pin(async move {
                // Held until it is put down: one who was cancelled may bring it while the next one begins to wait.
                let mut source = source.lock().await;
                if !has_come(&arrived) {
                    let next = source.next().await;
                    let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
                    match next {
                        Some(batch) => {
                            arrived.ended |= batch.is_err();
                            arrived.batches.push_back(batch);
                        }
                        None => arrived.ended = true,
                    }
                }
                Ok(Box::new(|py: Python<'_>| Ok(py.None())) as Finish)
            }),
        )
    }
}

/// Reads ahead, so that a reader who pauses never leaves a question to the store half asked: it would keep the store from
/// being closed.
async fn drive<T: Record>(
    mut items: BoxStream<'static, Result<T>>,
    to: mpsc::Sender<Result<T>>,
    room: Arc<Semaphore>,
) {
    loop {
        let item = tokio::select! {
            biased;
            () = to.closed() => return,
            item = items.next() => item,
        };
        let Some(item) = item else { return };
        let taken = tokio::select! {
            biased;
            taken = room.acquire_many(item.as_ref().map_or(0, weight_bytes)) => taken,
            () = to.closed() => return,
        };
        let Ok(taken) = taken else { return };
        // Given back with the batch that the item comes in.
        taken.forget();
        if to.send(item).await.is_err() {
            return;
        }
    }
}

/// How much of what may be read ahead an item takes up.
fn weight_bytes(item: &impl Record) -> u32 {
    u32::try_from(item.held_bytes()).unwrap_or(u32::MAX).min(READ_AHEAD_MAX_BYTES)
}

/// What a batch takes up, until it is fetched or dropped.
struct Room {
    of: Arc<Semaphore>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.add_permits(self.bytes);
    }
}

/// What has arrived as one batch, and the error behind it.
fn batches<T: Record>(
    arrived: Vec<Result<T>>,
    room: &Arc<Semaphore>,
) -> impl Iterator<Item = Result<Batch>> + use<T> {
    let mut found = Vec::with_capacity(arrived.len());
    let mut room = Room { of: Arc::clone(room), bytes: 0 };
    let mut failed = None;
    for item in arrived {
        match item {
            Ok(item) => {
                room.bytes += weight_bytes(&item) as usize;
                found.push(item);
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    // An empty one would look like the end to whoever waits for an item.
    let batch = (!found.is_empty()).then(|| {
        Ok(Box::new(move |py: Python<'_>| {
            let _room = room;
            found.into_iter().map(|item| item.into_python(py)).collect()
        }) as Batch)
    });
    [batch, failed.map(Err)].into_iter().flatten()
}

fn fetch_batch(arrived: &Mutex<Arrived>) -> Option<std::result::Result<Batch, Error>> {
    arrived.lock().unwrap_or_else(PoisonError::into_inner).batches.pop_front()
}

fn has_come(arrived: &Mutex<Arrived>) -> bool {
    let arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
    arrived.ended || !arrived.batches.is_empty()
}

/// The same again, with dictionaries and lists of its own.
fn copied<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if let Ok(fields) = value.cast_exact::<PyDict>() {
        let copy = PyDict::new(value.py());
        for (name, value) in fields {
            copy.set_item(name, copied(&value)?)?;
        }
        return Ok(copy.into_any());
    }
    if let Ok(items) = value.cast_exact::<PyList>() {
        let items: PyResult<Vec<_>> = items.iter().map(|item| copied(&item)).collect();
        return Ok(PyList::new(value.py(), items?)?.into_any());
    }
    Ok(value.clone())
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

    fn __anext__(slf: Bound<'_, Self>) -> Next {
        Next { stream: slf.unbind() }
    }
}

/// The wait for the next item. It takes the item in the very step that hands it to the task: a task that is cancelled
/// before that has taken nothing. An item that is there already costs no turn of the loop.
#[pyclass(frozen, module = "fastflow._fastflow")]
struct Next {
    stream: Py<Stream>,
}

#[pymethods]
impl Next {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// A step of the task: the item, or the future that says when to look again. What a future fails with is raised in
    /// the task by the loop, and does not come here.
    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let stream = self.stream.get();
        stream.shared.check(py)?;
        if let Some(item) = stream.fetch(py)? {
            return Err(PyStopIteration::new_err((item,)));
        }
        if stream.ended() {
            return Err(PyStopAsyncIteration::new_err(()));
        }
        // Not kept: a future knows the task that waits for it, and the collector of cycles does not look in here.
        let future = stream.more().future(py, stream.timeout)?;
        Ok(future.call_method0("__await__")?.call_method0("__next__")?.unbind())
    }
}
