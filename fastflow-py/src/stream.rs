//! Streams of the orchestrator, to be iterated with `for` and with `async for`.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use fastflow_core::{Error, Result};
use futures::{StreamExt as _, stream::BoxStream};
use pyo3::{
    exceptions::{PyBaseException, PyException, PyStopAsyncIteration, PyStopIteration},
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

/// What has come and was not taken yet. It outlives the call that brought it: who stops waiting loses nothing.
#[derive(Default)]
struct Arrived {
    batches: Mutex<Batches>,
    /// Batches that are being made Python values of, and such values that nobody has taken: nobody waits while there are
    /// some, though another thread has fetched them.
    at_hand: AtomicUsize,
}

#[derive(Default)]
struct Batches {
    left: VecDeque<std::result::Result<Batch, Error>>,
    ended: bool,
}

impl Arrived {
    fn batches(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch, which is at hand from now on.
    fn fetch(&self) -> Option<std::result::Result<Batch, Error>> {
        let mut batches = self.batches();
        let next = batches.left.pop_front();
        if next.is_some() {
            self.at_hand.fetch_add(1, Ordering::AcqRel);
        }
        next
    }

    /// Whether somebody who looks finds something, or the end.
    fn has_come(&self) -> bool {
        let batches = self.batches();
        batches.ended || !batches.left.is_empty() || self.at_hand.load(Ordering::Acquire) > 0
    }

    fn put(&self, next: Option<Result<Batch>>) {
        let mut batches = self.batches();
        match next {
            Some(batch) => {
                batches.ended |= batch.is_err();
                batches.left.push_back(batch);
            }
            None => batches.ended = true,
        }
    }

    /// Whether nothing is left. Something may have come since one has looked, with the end behind it.
    fn has_ended(&self) -> bool {
        let batches = self.batches();
        batches.ended && batches.left.is_empty() && self.at_hand.load(Ordering::Acquire) == 0
    }
}

/// A stream of the orchestrator.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Stream {
    shared: Arc<Shared>,
    source: Owned<Arc<tokio::sync::Mutex<BoxStream<'static, Result<Batch>>>>>,
    arrived: Owned<Arc<Arrived>>,
    ready: Mutex<VecDeque<Py<PyAny>>>,
    /// Whether the first of those was put back after an exception that may be about it.
    was_put_back: AtomicBool,
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
            was_put_back: AtomicBool::new(false),
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
                return self.taken(py, item).map(Some);
            }
            let Some(batch) = self.arrived.fetch() else { return Ok(None) };
            let made = batch.map_err(|error| self.shared.raised(py, &error)).and_then(|batch| batch(py));
            if let Ok(items) = &made {
                self.arrived.at_hand.fetch_add(items.len(), Ordering::AcqRel);
            }
            self.arrived.at_hand.fetch_sub(1, Ordering::AcqRel);
            self.ready().extend(made?);
        }
    }

    /// An item as it is given out. Where that fails it is put back, for it may be a handler of a signal that has raised in
    /// there, and whoever goes on misses nothing. For an exception that may be about the item itself only once: what can
    /// never be given out keeps nobody from the rest.
    fn taken(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let made = self.made(item.bind(py));
        let may_be_about_it = |failed: &PyErr| failed.is_instance_of::<PyException>(py);
        let is_put_back = match &made {
            Ok(_) => false,
            Err(failed) => !may_be_about_it(failed) || !self.was_put_back.swap(true, Ordering::AcqRel),
        };
        if is_put_back {
            self.ready().push_front(item);
        } else {
            self.was_put_back.store(false, Ordering::Release);
            self.arrived.at_hand.fetch_sub(1, Ordering::AcqRel);
        }
        made
    }

    /// What becomes of an item. `then` gets a copy, since it takes apart what it gets, and may be interrupted at that.
    fn made(&self, item: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match &self.then {
            Some(then) => then.call1(item.py(), (copied(item)?,)),
            None => Ok(item.clone().unbind()),
        }
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
                if !arrived.has_come() {
                    let next = source.next().await;
                    arrived.put(next);
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
            if self.arrived.has_ended() {
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

    /// What `anext` with a default, and tools that step by themselves, ask for.
    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.__next__(py)
    }

    /// Raises what the loop throws in: a cancellation, or what the future has failed with.
    #[pyo3(signature = (kind, value = None, traceback = None))]
    #[expect(clippy::unused_self, reason = "a method of Python's protocol")]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let thrown = value.filter(PyAnyMethods::is_instance_of::<PyBaseException>).unwrap_or(kind);
        if let Some(traceback) = traceback {
            thrown.setattr("__traceback__", traceback)?;
        }
        Err(PyErr::from_value(thrown))
    }

    /// There is nothing to end: it has taken nothing.
    #[expect(clippy::unused_self, reason = "a method of Python's protocol")]
    fn close(&self) {}

    /// A step of the task: the item, or the future that says when to look again. What a future fails with is raised in
    /// the task by the loop, and does not come here.
    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let stream = self.stream.get();
        stream.shared.check(py)?;
        if let Some(item) = stream.fetch(py)? {
            return Err(PyStopIteration::new_err((item,)));
        }
        if stream.arrived.has_ended() {
            return Err(PyStopAsyncIteration::new_err(()));
        }
        // Not kept: a future knows the task that waits for it, and the collector of cycles does not look in here.
        let future = stream.more().future(py, stream.timeout)?;
        Ok(future.call_method0("__await__")?.call_method0("__next__")?.unbind())
    }
}
